//! Requests while their HSM is away, or answers nothing any more: they are
//! kept, shown, told of and measured, and each is signed once when it is back.
#![allow(clippy::unwrap_used, clippy::panic)]

use firmseal_e2e::custody::in_custody;
use firmseal_e2e::key_host::{softhsm, token};
use firmseal_e2e::{Server, Shell, binaries, until};
use firmseal_testkit::ports;
use serde_json::Value;

const CLOSED: &str = "firmseal_key_breaker{key=\"release\",state=\"closed\"}";
const OPEN: &str = "firmseal_key_breaker{key=\"release\",state=\"open\"}";
const QUEUED: &str = "firmseal_jobs_queued{priority=\"release\"}";
const OLDEST: &str = "firmseal_jobs_queued_oldest_seconds{priority=\"release\"}";
const SIGNINGS: &str = "firmseal_key_signings_total{key=\"release\"}";
const SIGNED: &str = "firmseal_signing_requests_total{kind=\"release\",outcome=\"signed\"}";
const TROUBLES: &str = "firmseal_incidents_total{kind=\"key\"}";

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}"))
}

/// The samples of some families, as a scraper reads them.
fn samples<'m>(metrics: &'m str, families: &[&str]) -> Vec<(&'m str, f64)> {
    let sample = |line: &'m str| {
        let (series, value) = line.rsplit_once(' ')?;
        let family = series.split('{').next()?;
        families.contains(&family).then(|| (series, value.parse().unwrap()))
    };
    metrics.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect()
}

/// The value of one series.
fn value(metrics: &str, series: &str) -> Option<f64> {
    let family = series.split('{').next()?;
    samples(metrics, &[family]).into_iter().find(|(own, _)| *own == series).map(|(_, value)| value)
}

/// What the server says of itself, once these series have these values.
fn scraped(server: &Server, what: &str, wanted: &[(&str, f64)]) -> String {
    until(what, || {
        let metrics = server.metrics();
        let is_so = |(series, wanted): &(&str, f64)| value(&metrics, series) == Some(*wanted);
        wanted.iter().all(is_so).then_some(metrics)
    })
}

/// Prometheus's own word on what the alerts make of it, if it stays as it is.
fn alerts(t: &Shell, name: &str, metrics: &str, out_of_reach: bool) {
    let rules = binaries::workspace().join("deploy/prometheus/firmseal.rules.yml");
    let families =
        ["firmseal_key_breaker", "firmseal_jobs_queued_oldest_seconds", "firmseal_anomalies_total"];
    let series = samples(metrics, &families).into_iter();
    let series: String =
        series.map(|(own, value)| format!("      - {{ series: '{own}', values: '{value}x20' }}\n")).collect();
    let fires = "\n          - exp_labels: { severity: page, key: release }\n            exp_annotations:\n              \
                 summary: the signing key release is out of reach; its jobs wait\n              \
                 runbook: docs/runbooks/hsm-outage.md";
    let expected = if out_of_reach { fires } else { " []" };
    t.write(
        name,
        format!(
            "rule_files: ['{}']\nevaluation_interval: 1m\ntests:\n  - interval: 1m\n    input_series:\n{series}    \
             alert_rule_test:\n      - eval_time: 10m\n        alertname: FirmsealKeyOutOfReach\n        \
             exp_alerts:{expected}\n      - {{ eval_time: 10m, alertname: FirmsealKeyUsedUnusually }}\n",
            rules.display()
        ),
    );
    t.ok(&format!("promtool test rules {name}")).says("SUCCESS");
}

#[test]
fn an_order_outlasts_its_hsm_and_comes_to_one_release() {
    let t = Shell::new();
    let (mut hsm, mut server) = in_custody(&t);
    hsm.start();
    server.start();
    t.ok("firmseal product create gateway --vendor example.com --class gateway --component main=1MiB");
    t.write("firmware.bin", vec![7; 70_000]);
    let order = |version: &str| {
        format!(
            "firmseal release create --product gateway --version {version} --epoch 1 --component main=firmware.bin"
        )
    };
    let first = t.json(&order("1.0.0"));
    assert_eq!(first["sequence"], 1);
    let well = [(CLOSED, 1.0), (OPEN, 0.0), (QUEUED, 0.0)];
    let counted = [&well[..], &[(SIGNINGS, 1.0), (TROUBLES, 0.0)]].concat();
    let before = scraped(&server, "the first use to be counted", &counted);
    alerts(&t, "before.yml", &before, false);

    // The HSM is away. The order is not: whoever asks is told what it waits
    // for, and how to follow it.
    hsm.dies();
    let open = until("the key to be missed", || {
        let open = t.json(&format!("{} --no-wait", order("1.1.0")));
        assert_eq!((text(&open, "kind"), text(&open, "state")), ("release", "queued"));
        open["reasons"].is_array().then_some(open)
    });
    let id = text(&open, "id").to_owned();
    let kept = t.run(&format!("{} --wait=1s", order("1.1.0"))).exits(9).hints();
    let kept = kept.says("the key is out of reach").says(&format!("firmseal request show {id}"));
    assert!(kept.stdout.contains("queued") && kept.stdout.contains(&id), "{}", kept.stdout);
    t.ok(&format!("firmseal request show {id}")).says("queued").says("1.1.0 on stable");
    let waiting = t.json("firmseal request list --orders");
    assert_eq!(waiting.as_array().unwrap().len(), 1, "{waiting}");
    // Whoever looks at numbers is told as well, and somebody is called.
    let during = scraped(&server, "the breaker to be open", &[(OPEN, 1.0), (CLOSED, 0.0), (QUEUED, 1.0)]);
    until("the order to be old", || (value(&server.metrics(), OLDEST) >= Some(1.0)).then_some(()));
    for rises in [TROUBLES, "firmseal_key_uses_total{outcome=\"trouble\"}"] {
        assert!(value(&during, rises) >= Some(1.0), "{rises} in {during}");
    }
    alerts(&t, "during.yml", &during, true);
    let releases = || t.json("firmseal release list").as_array().unwrap().clone();
    assert_eq!(releases().len(), 1);

    hsm.start();
    let made = t.json(&format!("{} --wait=2m", order("1.1.0")));
    assert_eq!((text(&made, "request"), made["sequence"].as_u64()), (id.as_str(), Some(2)));
    let again = t.json(&order("1.1.0"));
    assert_eq!(text(&again, "id"), text(&made, "id"));
    assert_eq!(releases().len(), 2);
    t.ok(&format!("firmseal request show {id}")).says("signed").says(text(&made, "id"));

    // Every time that the key was asked is told, and how it ended.
    let story = until("the release to be on record", || {
        let story = t.json(&format!("firmseal audit --request {id}")).as_array().unwrap().clone();
        story.iter().any(|record| record["action"] == "release-signed").then_some(story)
    });
    let tells = |action: &str| story.iter().filter(|record| record["action"] == action).count();
    assert_eq!(tells("release-signed"), 1, "{story:#?}");
    assert!(tells("signing-attempted") >= 1, "{story:#?}");
    // Nobody had to do anything for it to be well again.
    let after = scraped(&server, "all to be well", &[&well[..], &[(SIGNED, 2.0)]].concat());
    assert!(value(&after, TROUBLES) >= Some(1.0), "{after}");
    // A use that came to nothing is one as well.
    until("the uses to be counted", || (value(&server.metrics(), SIGNINGS) >= Some(2.0)).then_some(()));
    alerts(&t, "after.yml", &after, false);
    server.stop();
    hsm.dies();
    assert_eq!(t.json("firmseal keyhost show host")["used"], 2);
}

#[test]
fn calls_that_never_return_lose_no_request_and_sign_none_twice() {
    let t = Shell::new();
    // A module in front of the token, which hangs when it is told to.
    let shim = binaries::workspace().join("crates/keys-pkcs11/tests/shim/shim.c");
    t.ok(&format!("cc -shared -fPIC -o shim.so {} -ldl", shim.display()));
    t.ok("mkfifo gate");
    let hsm = token(&t).with("FIRMSEAL_SHIM_MODULE", softhsm()).with("FIRMSEAL_SHIM_DIR", t.path(""));
    let uri = format!(
        "pkcs11:token=hsm;object=artifact?module-path={}&pin-source=file:{}",
        t.path("shim.so").display(),
        t.path("pin").display()
    );
    hsm.ok(&format!("firmseal keys generate '{uri}' --algorithm p256 --public artifact.pub"));
    let port = ports::free();
    hsm.ok(&format!("firmseal init place --port {port} --artifact-key '{uri}'"));
    let mut server = Server::in_environment(hsm, "place", port);
    server.start();
    t.ok("firmseal product create gateway --vendor example.com --class gateway --component main=1MiB");
    let sign = |number: u8| {
        t.write(&format!("{number}.bin"), vec![number; 70_000]);
        format!("firmseal sign {number}.bin --product gateway --version 1.{number}.0 --epoch 0")
    };
    t.ok(&format!("{} --signature 0.sig", sign(0)));

    // From now on no call comes back, ever: nobody opens the gate.
    t.write("C_Sign", "hang 1000");
    let ids: Vec<_> = (1..=6)
        .map(|number| text(&t.json(&format!("{} --no-wait", sign(number))), "id").to_owned())
        .collect();
    let stands = |what: &str, is_so: &dyn Fn(&str) -> bool| {
        until(what, || is_so(&server.metrics()).then_some(()));
    };
    let keys = t.json("firmseal keys list");
    let key = keys.as_array().unwrap().iter().find(|key| key["purpose"] == "artifact").unwrap();
    let name = text(key, "name");
    let hanging = format!("firmseal_key_hanging_calls{{key=\"{name}\"}}");
    stands("calls to hang", &|metrics| value(metrics, &hanging) >= Some(1.0));
    let closed = format!("firmseal_key_breaker{{key=\"{name}\",state=\"closed\"}}");
    stands("the breaker to open", &|metrics| value(metrics, &closed) == Some(0.0));
    for id in &ids {
        t.ok(&format!("firmseal request show {id}")).says("queued");
    }
    // The HSM is back, for those who open a session anew.
    std::fs::remove_file(t.path("C_Sign")).unwrap();
    for number in 1..=6 {
        t.ok(&format!("{} --signature {number}.sig --wait=5m", sign(number)));
    }
    assert!(value(&server.metrics(), &hanging) >= Some(1.0), "those are gone for good");
    // Every call has its entry, those that hang and those that signed; some
    // entries have none, for nobody was left to make it.
    let calls = String::from_utf8(t.read("calls")).unwrap();
    let calls = calls.lines().filter(|line| *line == "C_Sign").count();
    let told = |action: &str| t.json(&format!("firmseal audit --action {action}")).as_array().unwrap().len();
    let signed = until("all to be on record", || Some(told("artifact-signed")).filter(|told| *told >= 7));
    let unknown = until("all to be told of", || {
        let unknown = told("signing-attempted");
        (signed + unknown >= calls).then_some(unknown)
    });
    assert!(signed == 7 && unknown >= 1, "each is signed once: {signed}, {unknown}");
    // And it ends, whatever hangs in it.
    server.stop();
}
