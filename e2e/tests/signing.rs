//! A team's CI and the keys of a company: policy, two people, an HSM that
//! dies in between, and what the auditor and the monitor see of it.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::PathBuf;

use firmseal_e2e::server::free_ports;
use firmseal_e2e::{Child, Server, Shell, until};
use firmseal_testkit::identity::Provider;
use serde_json::Value;

const SECRET: &str = "--secret file:pw";
const PIN: &str = "123456";

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

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}"))
}

/// The records that tell of an action.
fn tells<'r>(story: &'r [Value], action: &'r str) -> impl Iterator<Item = &'r Value> {
    story.iter().filter(move |record| record["action"] == action)
}

/// Where Debian puts SoftHSM2.
fn softhsm() -> PathBuf {
    let places = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"];
    let found = places.iter().map(PathBuf::from).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("SoftHSM2 is not installed: run `cargo xtask setup`"))
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

/// A key host with its HSM.
struct Hsm {
    shell: Shell,
    running: Option<Child>,
}

impl Hsm {
    /// A token with one key, and a host that signs files with it for the
    /// server of this log.
    fn new(t: &Shell, log: &str, port: u16) -> Hsm {
        std::fs::create_dir(t.path("tokens")).unwrap();
        let tokens = t.path("tokens");
        let settings = format!("directories.tokendir = {}\nobjectstore.backend = file\n", tokens.display());
        let settings = t.write("softhsm2.conf", settings);
        let shell = Shell::at(&t.path("")).with("SOFTHSM2_CONF", settings);
        shell.ok(&format!("softhsm2-util --init-token --free --label hsm --pin {PIN} --so-pin 87654321"));
        shell.ok(&format!("firmseal keyhost init host --name keys.example/1 --log {log} --port {port}"));
        shell.write("host/pin", format!("{PIN}\n"));
        shell.ok("chmod 600 host/pin");
        let module = softhsm();
        let key = format!("pkcs11:token=hsm;object=boot?module-path={}", module.display());
        let pin = shell.path("host/pin");
        shell.ok(&format!(
            "firmseal keys generate '{key}&pin-source=file:{}' --algorithm p256",
            pin.display()
        ));
        let settings = String::from_utf8(shell.read("host/keyhost.toml")).unwrap();
        let settings = settings
            .replace("secret = \"prompt\"", "secret = \"file:pin\"")
            .replace("writable = []", "writable = [\"../tokens\"]");
        let table = format!("\n[[key]]\nname = \"boot\"\nuri = \"{key}\"\nuses = [\"artifact\"]\n");
        shell.write("host/keyhost.toml", settings + &table);
        Hsm { shell, running: None }
    }

    fn start(&mut self) {
        let child = Child::start(&mut self.shell.command("firmseal serve host --serve signing"));
        until("the key host to listen", || child.stderr.text().contains("https://").then_some(()));
        self.running = Some(child);
    }

    /// SIGKILL, and nobody at the port.
    fn dies(&mut self) {
        self.running.take().unwrap().kill();
    }
}

/// The server's settings: where its key is, whom it lets in, by which rules.
fn settings(t: &Shell, port: u16, provider: &Provider) {
    let signing = String::from_utf8(t.read("place/signing.toml")).unwrap();
    let artifact = signing.lines().find(|line| line.starts_with("artifact = ")).unwrap().to_owned();
    let signing = signing.replace(&artifact, "artifact = \"boot-2026\"");
    let first = signing.find("[keys]").unwrap();
    let (head, tables) = signing.split_at(first);
    let host = format!(
        "\n[[keyhost]]\nname = \"room\"\nurl = \"https://localhost:{port}\"\nauthority = \"keyhost/server.pem\"\n\
         certificate = \"keyhost/client.pem\"\nkey = \"keyhost/client.key\"\n\
         \n[[key]]\nname = \"boot-2026\"\nuri = \"keyhost:room/boot\"\npurpose = \"artifact\"\n\
         environment = \"test\"\nproducts = [\"gateway\"]\nowner = \"boot team\"\n"
    );
    t.write("place/signing.toml", format!("{head}policy = \"policies\"\n{tables}{host}"));
    t.write("place/policies/gateway.cedar", POLICY);
    t.write("provider.pem", provider.authority());
    let server = String::from_utf8(t.read("place/server.toml")).unwrap();
    let identity = format!(
        "[[identity]]\nissuer = \"{}\"\nkind = \"workload\"\naudience = [\"firmseal\"]\n\
         authority = \"../provider.pem\"\nclaims = {{ repository = \"repository\", ref = \"ref\" }}\n\
         [[identity.grant]]\nmatch = {{ repository = \"acme/gateway\" }}\nname = \"ci:{{repository}}:{{ref}}\"\n\
         roles = [\"signer\"]\nteam = \"gateways\"\nscope = {{ products = [\"gateway\"] }}\n\n[device_ca]",
        provider.url()
    );
    t.write("place/server.toml", server.replace("[device_ca]", &identity));
    std::fs::rename(t.path("host/client"), t.path("place/keyhost")).unwrap();
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
    let ports = free_ports();
    t.ok(&format!(
        "firmseal init place --root root.cbor --release-key file:builder.pem {SECRET} --port {ports}"
    ));
    let log = t.json("firmseal log show place");
    let host = free_ports();
    let mut hsm = Hsm::new(&t, text(&log, "key"), host);
    settings(&t, host, &provider);
    hsm.start();
    let mut server = Server::in_place(&t, "place", ports);
    server.start();
    t.ok("firmseal product create gateway --vendor example.com --class gateway --component main=1MiB");
    t.write("firmware.bin", vec![7; 70_000]);
    t.write(
        "sbom.json",
        r#"{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,
            "components":[{"type":"library","name":"zlib","version":"1.3.1"}]}"#,
    );

    // Three bad variants, each refused by the rule that it breaks.
    let order = |epoch: u32| format!("sign firmware.bin --product gateway --version 1.0.0 --epoch {epoch}");
    let sbom = "--evidence sbom.json";
    let main = |id: &str| job(&t, &server, &provider, id, "acme/gateway", "main");
    let branch = job(&t, &server, &provider, "job-1", "acme/gateway", "feature");
    let bad = "--signature bad.sig";
    t.run(&format!("{branch} {} {sbom} {bad}", order(3))).exits(3).says("no-permit");
    t.run(&format!("{} {} {bad}", main("job-2"), order(3))).exits(3).says("sbom");
    t.run(&format!("{} {} {sbom} {bad}", main("job-3"), order(2))).exits(3).says("epoch-floor");
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
    let agree = |name: &str| {
        let key = format!("--key file:{name}.pem {SECRET} --log log-{name} --yes --anchor root.cbor");
        t.ok(&format!("firmseal approve {id} {key}"))
    };
    agree("ann");
    hsm.dies();
    agree("ben");
    t.run(&format!("{good} --signature firmware.sig --wait=3s")).exits(9);
    assert!(!t.path("firmware.sig").exists());
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
    assert!(told("signing-decided") >= 1, "{story:#?}");
    let signed = tells(&story, "artifact-signed").next().unwrap();
    assert_eq!((text(signed, "by"), text(signed, "key")), ("ci:acme/gateway:refs/heads/main", "boot-2026"));
    let refused = t.json("firmseal audit --action signing-decided --product gateway").to_string();
    for rule in ["no-permit", "sbom", "epoch-floor", "two-on-stable"] {
        assert!(refused.contains(rule), "{rule} is not in {refused}");
    }

    // The monitor agrees, and the host has used its key once.
    t.ok(&format!(
        "firmseal monitor --log {}/log --authority place/tls/server.pem --vkey {} --state monitor --registry \
         --root root.cbor",
        server.public(),
        text(&log, "key")
    ))
    .says("nothing wrong");
    server.stop();
    hsm.dies();
    assert_eq!(t.json("firmseal keyhost show host")["used"], 1);
}
