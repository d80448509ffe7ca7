//! An order for a release while its HSM is away: it is kept, shown and told
//! of, and comes to one release when the HSM is back.
#![allow(clippy::unwrap_used, clippy::panic)]

use firmseal_e2e::server::free_ports;
use firmseal_e2e::{KeyHost, Server, Shell, until};
use serde_json::Value;

const SECRET: &str = "--secret file:pw";

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}"))
}

/// The root: one custodian, and a builder with a key in the HSM and one for
/// making the place with.
fn root(t: &Shell) {
    t.write(
        "root.toml",
        "environment = \"test\"\n\
         [[role]]\nrole = \"root\"\nthreshold = 1\nholder = [{ name = \"safe\", keys = [\"safe.pub\"] }]\n\
         [[role]]\nrole = \"release\"\nthreshold = 1\n\
         holder = [{ name = \"builder\", keys = [\"builder.pub\", \"release.pub\"] }]\n",
    );
    t.ok("firmseal ceremony start root --root root.toml");
    let status = t.json("firmseal ceremony status root");
    t.ok(&format!(
        "firmseal ceremony sign root/request.toml --key file:safe.pem {SECRET} --log log-safe --yes-words '{}' \
         -o root-signed.toml",
        text(&status, "words")
    ));
    t.ok("firmseal ceremony add root root-signed.toml");
    t.ok("firmseal ceremony finish root -o root.cbor");
}

#[test]
fn an_order_outlasts_its_hsm_and_comes_to_one_release() {
    let t = Shell::new();
    t.write("pw", "a passphrase\n");
    t.ok("chmod 600 pw");
    for name in ["safe", "builder"] {
        t.ok(&format!("firmseal keys generate file:{name}.pem {SECRET} --public {name}.pub"));
    }
    let mut hsm = KeyHost::new(&t);
    hsm.generate("release");
    root(&t);
    let ports = free_ports();
    t.ok(&format!(
        "firmseal init place --root root.cbor --release-key file:builder.pem {SECRET} --port {ports}"
    ));
    let log = t.json("firmseal log show place");
    hsm.init(text(&log, "key"), "release", "release");
    let signing = String::from_utf8(t.read("place/signing.toml")).unwrap();
    let release = signing.lines().find(|line| line.starts_with("release = ")).unwrap().to_owned();
    let signing = signing.replace(&release, "release = [\"keyhost:room/release\"]");
    t.write("place/signing.toml", signing + &hsm.table());
    hsm.start();
    let mut server = Server::in_place(&t, "place", ports);
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
    server.stop();
    hsm.dies();
    assert_eq!(t.json("firmseal keyhost show host")["used"], 2);
}
