//! A team's CI and the keys of a company: a policy that people agreed to, two
//! approvers, an HSM that dies in between, and what the auditor, who believes
//! nobody, and the monitor see of it.
#![allow(clippy::unwrap_used, clippy::panic)]

use firmseal_e2e::{KeyHost, Server, Shell, until};
use firmseal_testkit::identity::Provider;
use firmseal_testkit::ports;
use serde_json::Value;

const SECRET: &str = "--secret file:pw";

/// Who may sign what: the company's rules.
const POLICY: &str = r#"
@id("gateway-main")
@reason("the release workflow on main signs the gateway")
permit (principal in Team::"gateways", action == Action::"sign-artifact", resource == Product::"gateway")
when {
  principal.kind == Kind::"workload" &&
  principal.hasTag("repository") && principal.getTag("repository") == "acme/gateway" &&
  principal.hasTag("ref") && principal.getTag("ref") == "refs/heads/main"
};

@id("sbom")
@reason("a bill of materials that names components")
forbid (principal, action in Action::"sign", resource)
unless { context.evidence has sbom && context.evidence.sbom.components > 0 };

@id("epoch-floor")
@reason("security epoch 3 is the lowest that is still signed for the gateway")
forbid (principal, action in Action::"sign", resource == Product::"gateway")
when { context.epoch < 3 };

@id("two-on-stable")
@reason("two people agree to what goes to every customer")
@approvals("2")
forbid (principal, action in Action::"sign", resource)
when { context.channel == "stable" };
"#;

/// What its writers expect of it.
const EXAMPLES: &str = r#"
[[case]]
name = "nobody in particular"
expect = "refuse"
question = { channel = "stable" }
"#;

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}"))
}

/// The records that tell of an action.
fn tells<'r>(story: &'r [Value], action: &'r str) -> impl Iterator<Item = &'r Value> {
    story.iter().filter(move |record| record["action"] == action)
}

/// The root: one custodian, one builder, two approvers.
fn root(t: &Shell) {
    let role = |name: &str, threshold: usize, keys: &[&str]| {
        let holders = keys.iter().map(|key| format!("{{ name = \"{key}\", keys = [\"{key}.pub\"] }}"));
        let holders: Vec<String> = holders.collect();
        format!("[[role]]\nrole = \"{name}\"\nthreshold = {threshold}\nholder = [{}]\n", holders.join(", "))
    };
    let spec = role("root", 1, &["safe"]) + &role("release", 1, &["builder"]);
    let spec = spec + &role("approver", 2, &["ann", "ben"]);
    t.write("root.toml", format!("environment = \"test\"\n{spec}"));
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

/// The server's settings: where its key is, and whom it lets in.
fn settings(t: &Shell, host: &str, provider: &Provider) {
    let signing = String::from_utf8(t.read("place/signing.toml")).unwrap();
    let artifact = signing.lines().find(|line| line.starts_with("artifact = ")).unwrap().to_owned();
    let signing = signing.replace(&artifact, "artifact = \"boot-2026\"");
    let first = signing.find("[keys]").unwrap();
    let (head, tables) = signing.split_at(first);
    let key = "\n[[key]]\nname = \"boot-2026\"\nuri = \"keyhost:room/boot\"\npurpose = \"artifact\"\n\
               environment = \"test\"\nproducts = [\"gateway\"]\nowner = \"boot team\"\n";
    t.write("place/signing.toml", format!("{head}{tables}{host}{key}"));
    t.write("provider.pem", provider.authority());
    let server = String::from_utf8(t.read("place/server.toml")).unwrap();
    let identity = format!(
        "[[identity]]\nissuer = \"{}\"\nkind = \"workload\"\naudience = [\"firmseal\"]\n\
         authority = \"../provider.pem\"\nleeway_seconds = 0\nclaims = {{ repository = \"repository\", ref = \"ref\" }}\n\
         [[identity.grant]]\nmatch = {{ repository = \"acme/gateway\" }}\nname = \"ci:{{repository}}:{{ref}}\"\n\
         roles = [\"signer\"]\nteam = \"gateways\"\nscope = {{ products = [\"gateway\"] }}\n\n[device_ca]",
        provider.url()
    );
    t.write("place/server.toml", server.replace("[device_ca]", &identity));
}

/// The key with which somebody agrees to something.
fn with(name: &str) -> String {
    format!("--key file:{name}.pem {SECRET} --log log-{name} --yes --anchor root.cbor")
}

/// Has the company's rules proposed, agreed to by two people, and put in
/// force. Returns the policy.
fn govern(t: &Shell) -> String {
    t.write("policies/gateway.cedar", POLICY);
    t.write("policies/gateway.test.toml", EXAMPLES);
    assert_eq!(text(&t.json("firmseal policy list"), "source"), "none");
    let proposal = t.json("firmseal policy propose policies --why 'who signs the gateway'");
    let policy = text(&proposal, "policy").to_owned();
    let activate = format!("firmseal policy activate {policy}");
    t.run(&activate).fails(6, "0 of 2 people have agreed");
    t.ok(&format!("firmseal policy approve {policy} {}", with("ann")));
    t.run(&activate).fails(6, "1 of 2 people have agreed");
    t.ok(&format!("firmseal policy approve {policy} {}", with("ben")));
    t.ok(&activate);
    let list = t.json("firmseal policy list");
    assert_eq!((text(&list, "source"), text(&list, "in_force")), ("approved", policy.as_str()));
    policy
}

/// The auditor's part: everything on record is exported, and judged with
/// files alone once the server is gone. `log` is the log's keys.
fn audited(t: &Shell, server: &mut Server, log: &Value, signed: &Value, decided: &[String]) {
    let wrote = until("a checkpoint over all of it", || {
        let ran = t.run("firmseal audit export trail --json");
        (ran.code == Some(0)).then(|| serde_json::from_str::<Value>(&ran.stdout).unwrap())
    });
    server.stop();
    let keys = std::iter::once(&log["key"]).chain(log["beside"].as_array().unwrap());
    let keys: String = keys.map(|key| format!(" --vkey {}", key.as_str().unwrap())).collect();
    let verify = format!("firmseal audit verify trail{keys}");
    let judged = t.json(&verify);
    assert_eq!(judged["findings"].as_array().unwrap().len(), 0, "{judged:#}");
    assert_eq!(judged["records"], wrote["records"]);
    let said = t.ok(&verify);
    for action in ["policy-proposed", "policy-activated", "signing-decided", "approved", "signing-attempted"]
    {
        assert!(said.stdout.contains(action), "{action}: {}", said.stdout);
    }
    // The entry of the signature, with the way to the root of the tree; and
    // what the policy was asked and answered.
    let entries = String::from_utf8(t.read("trail/entries.jsonl")).unwrap();
    let entry = entries.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let own = entry.into_iter().find(|entry| entry["index"] == signed["log_index"]);
    let own = own.unwrap_or_else(|| panic!("{signed} is not in {entries}"));
    assert!(!own["path"].as_array().unwrap().is_empty(), "{own}");
    for decision in decided {
        let record = String::from_utf8(t.read(&format!("trail/decisions/{decision}.json"))).unwrap();
        assert!(record.contains("gateway"), "{record}");
    }
    // The policy says the same of each again, and is not asked about what was
    // refused without it.
    t.ok("firmseal policy test policies --past trail/decisions").says("all as they were meant");
    // One letter of one decision, and the trail does not stand any more.
    let changed = format!("trail/decisions/{}.json", decided[0]);
    let record = String::from_utf8(t.read(&changed)).unwrap();
    t.write(&changed, record.replacen("gateway", "gatewax", 1));
    t.run(&verify).exits(3);
}

/// Signs in as a job on a branch of a repository.
fn job(t: &Shell, server: &Server, provider: &Provider, id: &str, repository: &str, branch: &str) -> String {
    let claims = provider.job(id, repository, &format!("refs/heads/{branch}"));
    t.write(&format!("{id}.token"), provider.token(&claims));
    t.ok(&format!("chmod 600 {id}.token"));
    let profile = format!(
        "server = \"{}\"\nauthority = \"place/tls/server.pem\"\ntoken = \"{id}.token\"\n",
        server.operators()
    );
    t.write(&format!("{id}.toml"), profile);
    format!("firmseal --profile {id}.toml")
}

#[test]
fn ci_submits_people_agree_the_hsm_dies_and_one_signature_appears() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let provider = runtime.block_on(Provider::start());
    let t = Shell::new();
    t.write("pw", "a passphrase\n");
    t.ok("chmod 600 pw");
    for name in ["safe", "builder", "ann", "ben"] {
        t.ok(&format!("firmseal keys generate file:{name}.pem {SECRET} --public {name}.pub"));
    }
    root(&t);
    let ports = ports::free();
    t.ok(&format!(
        "firmseal init place --root root.cbor --release-key file:builder.pem {SECRET} --port {ports}"
    ));
    let log = t.json("firmseal log show place");
    let mut hsm = KeyHost::new(&t);
    hsm.generate("boot");
    hsm.init(text(&log, "key"), &[("boot", "artifact")]);
    settings(&t, &hsm.table(), &provider);
    hsm.start();
    let mut server = Server::in_place(&t, "place", ports);
    server.start();
    let policy = govern(&t);
    t.ok("firmseal product create gateway --vendor example.com --class gateway --component main=1MiB");
    t.write("firmware.bin", vec![7; 70_000]);
    t.write(
        "sbom.json",
        r#"{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,
            "components":[{"type":"library","name":"zlib","version":"1.3.1"}]}"#,
    );

    // Of tokens of the second in which the server started nobody knows
    // whether they were used before.
    std::thread::sleep(std::time::Duration::from_secs(1));
    // Three bad variants, each refused by the rule that it breaks.
    let order = |epoch: u32| format!("sign firmware.bin --product gateway --version 1.0.0 --epoch {epoch}");
    let sbom = "--evidence sbom.json";
    let main = |id: &str| job(&t, &server, &provider, id, "acme/gateway", "main");
    let branch = job(&t, &server, &provider, "job-1", "acme/gateway", "feature");
    let bad = "--signature bad.sig";
    t.run(&format!("{branch} {} {sbom} {bad}", order(3))).exits(3).says("no-permit");
    t.run(&format!("{} {} {bad}", main("job-2"), order(3))).exits(3).says("sbom");
    t.run(&format!("{} {} {sbom} {bad}", main("job-3"), order(2))).exits(3).says("epoch-floor");
    // What cannot be read the policy is not asked about.
    t.run(&format!("{} {} --evidence firmware.bin {bad}", main("job-6"), order(3)))
        .exits(3)
        .says("handed in as evidence");
    // Somebody else's repository is nobody here.
    let stranger = job(&t, &server, &provider, "job-4", "evil/gateway", "main");
    t.run(&format!("{stranger} {} {sbom} {bad}", order(3))).fails(5, "no grant");
    assert!(!t.path("bad.sig").exists());

    // A good one waits for two people. The HSM dies before the second.
    let good = format!("{} {} {sbom}", main("job-5"), order(3));
    let request = t.json(&format!("{good} --no-wait"));
    let id = text(&request, "id").to_owned();
    until("the request to wait for people", || {
        let request = t.json(&format!("{good} --no-wait"));
        assert_eq!(text(&request, "id"), id, "the same request is the same request");
        (text(&request, "state") == "waiting").then_some(())
    });
    let agree = |name: &str| t.ok(&format!("firmseal approve {id} {}", with(name)));
    agree("ann");
    hsm.dies();
    agree("ben");
    t.run(&format!("{good} --signature firmware.sig --wait=3s")).exits(9);
    assert!(!t.path("firmware.sig").exists());
    t.recorded(&format!("--action signing-attempted --request {id}"), 1..);
    hsm.start();
    t.ok(&format!("{good} --signature firmware.sig --wait=2m"));

    // Once: whoever asks again, in whatever way, is given that one.
    let first = t.json(&format!("{good} --signature again.sig"));
    assert_eq!(t.read("again.sig"), t.read("firmware.sig"));
    assert_eq!(text(&first, "id"), id);
    let key = t.json("firmseal keys show boot-2026");
    t.write("boot.pub", text(&key["key"], "public"));
    t.ok("openssl dgst -sha256 -verify boot.pub -signature firmware.sig firmware.bin").says("Verified OK");

    // The auditor's story.
    let story = t.json(&format!("firmseal audit --request {id}")).as_array().unwrap().clone();
    let told = |action| tells(&story, action).count();
    assert_eq!((told("artifact-signed"), told("approved")), (1, 2), "{story:#?}");
    // The HSM was asked while it was away, and that is told as well.
    assert!(told("signing-decided") >= 1 && told("signing-attempted") >= 1, "{story:#?}");
    let signed = tells(&story, "artifact-signed").next().unwrap();
    assert_eq!((text(signed, "by"), text(signed, "key")), ("ci:acme/gateway:refs/heads/main", "boot-2026"));
    // Under the very policy that two people agreed to.
    let rules = t.json(&format!("firmseal policy show {}", text(signed, "policy")));
    assert_eq!(text(&rules, "policy"), policy);
    let refused = t.json("firmseal audit --action signing-decided --product gateway");
    let text_of = refused.to_string();
    for rule in ["no-permit", "sbom", "epoch-floor", "two-on-stable", "evidence"] {
        assert!(text_of.contains(rule), "{rule} is not in {refused}");
    }
    let decided = refused.as_array().unwrap().iter().map(|record| text(record, "decision").to_owned());
    let decided: Vec<String> = decided.collect();

    // The monitor agrees, and the host has used its key once.
    t.ok(&format!(
        "firmseal monitor --log {}/log --authority place/tls/server.pem --vkey {} --state monitor --registry \
         --root root.cbor",
        server.public(),
        text(&log, "key")
    ))
    .says("nothing wrong");
    hsm.dies();
    let host = t.json("firmseal keyhost show host");
    assert_eq!(host["used"], 1);
    // And what the host wrote down is what the log announced.
    t.write(
        "uses.toml",
        format!(
            "[[keyhost]]\nname = \"room\"\nrecord = \"host/uses/log.tiles\"\nvkeys = {}\nkeys = [\"boot.pub\"]\n",
            host["record"]
        ),
    );
    t.ok(&format!(
        "firmseal monitor --log {}/log --authority place/tls/server.pem --vkey {} --state monitor --uses uses.toml \
         --grace 1s",
        server.public(),
        text(&log, "key")
    ))
    .says("1 uses of keys: nothing wrong");
    audited(&t, &mut server, &log, signed, &decided);
}
