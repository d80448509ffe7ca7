//! A confined server changes nothing outside its place.

#![allow(clippy::unwrap_used)]

use firmseal_e2e::{Server, Shell, server};

#[test]
fn a_server_changes_what_it_was_told_and_nothing_else() {
    let t = Shell::new();
    // The directory of temporary files may be written to, and must not be above
    // everything else here.
    t.ok("mkdir temporary");
    let temporary = t.path("temporary");
    let t = t.with("TMPDIR", temporary);
    let port = server::init(&t, "place");
    // As who ordered a larger disk would: the store is a link.
    t.ok("mv place/store elsewhere");
    t.ok("ln -s ../elsewhere place/store");
    let settings = String::from_utf8(t.read("place/server.toml")).unwrap();
    assert!(settings.contains("confine = true\nwritable = []\n"), "{settings}");
    let refused = t.run("firmseal serve place");
    assert_eq!(refused.code, Some(8), "{}", refused.stderr);
    refused.says("ermission denied");

    t.write("place/server.toml", settings.replace("writable = []", "writable = [\"../elsewhere\"]"));
    let mut server = Server::in_place(&t, "place", port);
    server.start();
    t.ok("firmseal product create gateway --vendor example.com --class gateway --component main=1MiB");
    t.write("firmware.bin", vec![7; 100_000]);
    t.ok("firmseal release create --product gateway --version 1.0.0 --epoch 0 --component main=firmware.bin");
    server.stop();

    t.write("place/server.toml", settings.replace("confine = true\nwritable = []", "confine = false"));
    server.start();
    assert_eq!(t.json("firmseal release list").as_array().unwrap().len(), 1);
}
