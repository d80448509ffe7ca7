//! `firmseal verify` gives every vector of `spec/vectors` its verdict.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use firmseal_testkit::vectors::{Purpose, Vector};
use uuid::Uuid;

fn device(vector: &Vector) -> String {
    let mut out = format!(
        "product = {:?}\nvendor = \"{}\"\nclass = \"{}\"\nepoch = {}\ndelegation = {}\n",
        vector.product,
        Uuid::from_bytes(vector.vendor),
        Uuid::from_bytes(vector.class),
        vector.epoch,
        vector.delegation
    );
    let knows = &vector.knows;
    for (key, number) in [("max_age", knows.max_age), ("clock", knows.clock)] {
        number.iter().for_each(|number| writeln!(out, "{key} = {number}").unwrap());
    }
    writeln!(out, "time_floor = {}\nleeway = {}\nstranded = {}", knows.floor, knows.leeway, knows.stranded)
        .unwrap();
    knows.channel.iter().for_each(|channel| writeln!(out, "channel = {channel:?}").unwrap());
    for component in &vector.components {
        writeln!(
            out,
            "[[component]]\nname = {:?}\nslot = {}\ncapacity = {}\nsequence = {}",
            component.name, component.slot, component.capacity, component.sequence
        )
        .unwrap();
    }
    out
}

/// The exit code, and the refusal's number where there is one.
fn verify(directory: &Path, vector: &Vector) -> (Option<i32>, String) {
    let path = |name: &str| directory.join(name);
    std::fs::write(path("root.cbor"), &vector.root).unwrap();
    std::fs::write(path("envelope.suit"), &vector.envelope).unwrap();
    std::fs::write(path("device.toml"), device(vector)).unwrap();
    let mut verify = Command::new(env!("CARGO_BIN_EXE_firmseal"));
    verify.arg("verify");
    let knows = &vector.knows;
    for (option, document) in
        [("owner", &knows.owner), ("revocation", &knows.revocation), ("freshness", &knows.freshness)]
    {
        if let Some(document) = document {
            std::fs::write(path(option), document).unwrap();
            verify.arg(format!("--{option}")).arg(path(option));
        }
    }
    let done = verify
        .arg("--root")
        .arg(path("root.cbor"))
        .arg("--device")
        .arg(path("device.toml"))
        .arg(path("envelope.suit"))
        .output()
        .unwrap();
    (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
}

#[test]
fn every_vector_gets_its_verdict() {
    let directory = tempfile::tempdir().unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/vectors");
    let (mut count, mut wrong) = (0, Vec::new());
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.extension().is_none_or(|ending| ending != "txt") {
            continue;
        }
        let vector = Vector::parse(&name, &std::fs::read_to_string(&path).unwrap()).unwrap();
        // A boot is decided on a device; there is no command for it.
        if !matches!(vector.purpose, Purpose::Admit) {
            continue;
        }
        count += 1;
        let (exit, stderr) = verify(directory.path(), &vector);
        let right = match vector.expect {
            Ok(()) => exit == Some(0),
            // What is no envelope at all is told apart before core is asked.
            Err(code) => {
                let said = stderr.contains(&format!("(refusal {code})"));
                exit == Some(3) && (said || stderr.contains("neither an envelope nor a bundle"))
            }
        };
        if !right {
            wrong.push(format!("{name}: expected {:?}, exit {exit:?}: {stderr}", vector.expect));
        }
    }
    assert!(count > 100, "only {count} vectors were found");
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
}
