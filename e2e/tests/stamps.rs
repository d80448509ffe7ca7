//! Timestamps from more than one authority: one that is away, one that is
//! somebody else, and one that comes and goes.

#![allow(clippy::unwrap_used)]

use firmseal_e2e::{Child, Server, Shell, server, until};
use firmseal_testkit::ports;

const OWN: &str = "--key file:tsa.key --secret file:place/keys/passphrase --log tsa-log";

/// An authority with a certificate of its own, at a port.
fn authority(t: &Shell, certificate: &str, log: &str, port: u16) -> Child {
    let own = OWN.replace("tsa-log", log);
    let line =
        format!("firmseal timestamp serve {own} --certificate {certificate} --listen 127.0.0.1:{port}");
    let child = Child::start(&mut t.command(&line));
    until("the authority to listen", || child.stderr.text().contains("http://").then_some(()));
    child
}

#[test]
fn a_signature_waits_for_an_authority_and_takes_any_that_is_believed() {
    let t = Shell::new();
    let port = server::init(&t, "place");
    t.ok("firmseal keys generate --algorithm p256 file:tsa.key --secret file:place/keys/passphrase");
    for name in ["believed", "stranger"] {
        t.ok(&format!("firmseal timestamp init --name {name} {OWN} -o {name}.pem"));
    }
    let first = ports::free();
    let (away, other, last) = (first, first + 1, first + 2);
    let settings = String::from_utf8(t.read("place/signing.toml")).unwrap();
    let table = |port: u16| {
        format!("\n[[timestamp]]\nurl = \"http://127.0.0.1:{port}/\"\nauthority = \"../believed.pem\"\n")
    };
    let tables: String = [away, other, last].map(table).concat();
    let settings = settings.replace("timestamps = \"best-effort\"", "timestamps = \"required\"");
    assert!(settings.contains("required"), "{settings}");
    t.write("place/signing.toml", settings + &tables);
    let mut server = Server::in_place(&t, "place", port);
    server.start();
    t.ok("firmseal product create gateway --vendor example.com --class gateway --component main=16MiB");

    // Nobody is at the first; at the second is somebody else.
    let _stranger = authority(&t, "stranger.pem", "stranger-log", other);
    let mut believed = authority(&t, "believed.pem", "tsa-log", last);
    let sign = |name: &str, wait: &str| {
        t.write(&format!("{name}.bin"), name.repeat(1000));
        let order = "--product gateway --version 1.0.0 --epoch 0";
        format!("firmseal sign {name}.bin {order} --signature {name}.sig --wait={wait}")
    };
    let signed = t.json(&sign("one", "1m"));
    assert_eq!(signed["signature"]["timestamps"].as_array().unwrap().len(), 1, "{signed}");

    // All are away: the signature leaves when one is back.
    believed.kill();
    let waits = sign("two", "1s");
    until("a timestamp to be missed", || {
        let waits = t.run(&waits).exits(9);
        [waits.stdout, waits.stderr].iter().any(|told| told.contains("timestamp")).then_some(())
    });
    assert!(!t.path("two.sig").exists());
    let _believed = authority(&t, "believed.pem", "tsa-log", last);
    let signed = t.json(&waits.replace("--wait=1s", "--wait=2m"));
    assert_eq!(signed["signature"]["timestamps"].as_array().unwrap().len(), 1, "{signed}");
}
