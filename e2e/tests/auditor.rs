//! An auditor: an export of the audit trail, judged without the server.
#![allow(clippy::unwrap_used)]

use firmseal_e2e::{Server, Shell, until};

#[test]
fn an_auditor_needs_no_server() {
    let t = Shell::new();
    let mut server = Server::new(&t);
    let product = "--vendor example.com --class gateway --component main=1MiB";
    t.ok(&format!("firmseal product create gateway {product}"));
    for version in ["1.0.0", "1.1.0"] {
        t.write("firmware.bin", version.repeat(900));
        let build = format!("--build job-{version} --commit c0ffee");
        let order = format!("--product gateway --channel stable --version {version} --epoch 1 {build}");
        t.ok(&format!("firmseal release create {order} --component main=firmware.bin"));
    }
    // Put on record within a second or two.
    let records = until("both releases to be on record", || {
        let records = t.json("firmseal audit --action release-signed");
        (records.as_array().unwrap().len() == 2).then_some(records)
    });
    assert_eq!(records[0]["version"], "1.1.0");
    // By a file that devices have, by a manifest, by a build.
    let digest = t.ok("sha256sum firmware.bin").stdout[..64].to_owned();
    let manifest = records[0]["digest"].as_str().unwrap();
    for one in [
        "--artifact firmware.bin",
        &format!("--artifact {digest}"),
        &format!("--artifact {manifest}"),
        "--build job-1.1.0",
    ] {
        let found = t.json(&format!("firmseal audit --action release-signed {one}"));
        assert_eq!(
            (found.as_array().unwrap().len(), &found[0]["number"]),
            (1, &records[0]["number"]),
            "{one}"
        );
    }
    assert_eq!(t.json("firmseal audit --action release-signed --commit c0ffee"), records);
    let wrote = until("a checkpoint over all of it", || {
        let ran = t.run("firmseal audit export trail --json");
        (ran.code == Some(0)).then(|| serde_json::from_str::<serde_json::Value>(&ran.stdout).unwrap())
    });
    assert!(wrote["records"].as_u64() >= Some(2), "{wrote}");
    t.run("firmseal audit export trail").fails(6, "trail exists already").hints();

    let shown = t.json("firmseal log show place");
    let keys = std::iter::once(&shown["key"]).chain(shown["beside"].as_array().unwrap());
    let keys: String = keys.map(|key| format!(" --vkey {}", key.as_str().unwrap())).collect();
    server.stop();
    let judged = t.json(&format!("firmseal audit verify trail{keys}"));
    assert_eq!((judged["findings"].as_array().unwrap().len(), &judged["records"]), (0, &wrote["records"]));
    t.ok(&format!("firmseal audit verify trail{keys}")).says("release-signed");

    // What somebody changed afterwards shows.
    let text = String::from_utf8(t.read("trail/records.jsonl")).unwrap();
    let digest = records[0]["digest"].as_str().unwrap();
    t.write("trail/records.jsonl", text.replace(digest, &"0".repeat(64)));
    let line = format!("firmseal audit verify trail{keys}");
    t.run(&line).exits(3).says("contradicted: record");
    t.write("trail/records.jsonl", text.lines().next().unwrap());
    t.run(&line).exits(3).says("unrecorded");
    t.write("trail/records.jsonl", "{}\n");
    t.run(&line).fails(3, "records.jsonl is not what an export has");
    t.ok("rm trail/export.json");
    t.run(&line).fails(8, "export.json");
}
