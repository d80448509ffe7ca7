//! Custody: a place without keys, whose server has them used by a key host
//! with an HSM.

use firmseal_testkit::ports;
use serde_json::Value;

use crate::key_host::KeyHost;
use crate::server::Server;
use crate::shell::Shell;

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

/// Makes the place `place` and a key host with its keys, `release` and
/// `artifact`. Neither runs yet; the host is to be started first.
pub fn in_custody(t: &Shell) -> (KeyHost, Server) {
    t.write("pw", "a passphrase\n");
    t.ok("chmod 600 pw");
    for name in ["safe", "builder"] {
        t.ok(&format!("firmseal keys generate file:{name}.pem {SECRET} --public {name}.pub"));
    }
    let hsm = KeyHost::new(t);
    hsm.generate("release");
    hsm.generate("artifact");
    root(t);
    let port = ports::free();
    t.ok(&format!(
        "firmseal init place --root root.cbor --release-key file:builder.pem {SECRET} --port {port}"
    ));
    let log = t.json("firmseal log show place");
    hsm.init(text(&log, "key"), &[("release", "release"), ("artifact", "artifact")]);
    let signing = String::from_utf8(t.read("place/signing.toml")).unwrap();
    let named = |line: &str| match line.split_once(" = ") {
        Some(("release", _)) => "release = [\"release\"]\n".to_owned(),
        Some(("artifact", _)) => "artifact = \"artifact\"\n".to_owned(),
        _ => format!("{line}\n"),
    };
    let signing: String = signing.lines().map(named).collect();
    let key = |name: &str| {
        format!(
            "\n[[key]]\nname = \"{name}\"\nuri = \"keyhost:room/{name}\"\npurpose = \"{name}\"\n\
             environment = \"test\"\n"
        )
    };
    t.write("place/signing.toml", signing + &hsm.table() + &key("release") + &key("artifact"));
    (hsm, Server::in_place(t, "place", port))
}
