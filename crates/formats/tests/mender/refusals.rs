//! What is refused, named for what is wrong with it.

use base64ct::{Base64, Encoding};
use firmseal_formats::{find, inspect};

use crate::peer::{Artifact, Files, summed, tar};

fn refused(file: &[u8], why: &str) {
    let error = find("mender").unwrap().inspect(&file.to_vec()).expect_err(why).to_string();
    assert!(error.contains(why), "{why}: {error}");
}

/// An artifact with its members changed.
fn edited(edit: impl FnOnce(&mut Files)) -> Vec<u8> {
    let mut members = Artifact::new().members();
    edit(&mut members);
    tar(&members)
}

#[test]
fn members_stand_where_they_have_to() {
    assert!(inspect(&Artifact::new().build()).is_ok());
    let extra = |at: usize, name: &str| edited(|all| all.insert(at, (name.to_owned(), b"x".to_vec())));
    refused(&extra(0, "first"), "first members are not");
    refused(&extra(1, "manifest.sig"), "first members are not");
    refused(&extra(2, "more"), "it has `more` where `header.tar` belongs");
    refused(&extra(3, "more"), "it has `more` where `data/0000.tar` belongs");
    refused(&extra(4, "more"), "it has `more` where `data/0001.tar` belongs");
    refused(&extra(4, "data/0000.tar"), "it has `data/0000.tar` where `data/0001.tar` belongs");
    refused(&extra(4, "data/0001.tar"), "tells of 1 payloads, it has 2");
    refused(&extra(2, "manifest-augment"), "no signature covers what is added");
    refused(&extra(3, "header-augment.tar"), "no signature covers what is added");
    refused(&edited(|all| drop(all.remove(3))), "tells of 1 payloads, it has 0");
    refused(&edited(|all| drop(all.remove(2))), "it has `data/0000.tar` where `header.tar` belongs");
    refused(&edited(|all| all.truncate(2)), "it has no header");
    refused(&edited(|all| all.swap(2, 3)), "where `header.tar` belongs");
    refused(&edited(|all| all[2].0.push_str(".zst")), "--compression gzip");
    refused(&edited(|all| all[3].0.push_str(".gz")), "no gzip");
    let signatures = |all: &mut Files| {
        all.insert(2, ("manifest.sig".to_owned(), Base64::encode_string(&[7; 64]).into_bytes()));
        all.insert(2, all[2].clone());
    };
    refused(&edited(signatures), "it has `manifest.sig` where `header.tar` belongs");
    let many = edited(|all| (1..70).for_each(|index| all.push((format!("data/{index:04}.tar"), tar(&[])))));
    refused(&many, "more than 64 payloads");
}

#[test]
fn every_part_is_in_the_manifest_and_every_line_is_of_a_part() {
    let manifest = |edit: &dyn Fn(&str) -> String| {
        edited(|all| all[1].1 = edit(std::str::from_utf8(&all[1].1).unwrap()).into_bytes())
    };
    for name in ["version", "header.tar", "data/0000/app.cfg"] {
        let without = |text: &str| {
            text.lines().filter(|line| !line.ends_with(name)).map(|line| format!("{line}\n")).collect()
        };
        refused(&manifest(&without), "is not in its manifest, so that no signature covers it");
        // The hash of nothing does not stand for nothing (CVE-2025-67903).
        refused(&manifest(&|text| text.replace(name, &format!("{name}.x"))), "is not in its manifest");
        let other = |text: &str| {
            let line = text.lines().find(|line| line.ends_with(name)).unwrap();
            text.replace(line, &format!("{}  {name}", "0".repeat(64)))
        };
        refused(&manifest(&other), "has another SHA-256");
    }
    let more = format!("{}  data/0000/more\n", "0".repeat(64));
    refused(&manifest(&|text| text.to_owned() + &more), "is not in it");
    refused(&manifest(&|text| text.to_owned() + &text[..text.find('\n').unwrap() + 1]), "twice");
    refused(&manifest(&|text| text.trim_end().to_owned()), "does not end its last line");
    refused(&manifest(&|_| String::new()), "is no text");
    refused(&manifest(&|text| text.to_uppercase()), "a line of its manifest");
    refused(&manifest(&|text| text.repeat(1000)), "longer than 262144 bytes");
    // A file that was added to a payload.
    let mut more = Artifact::new();
    let plain = more.members();
    more.data[0].push(("more".to_owned(), b"x".to_vec()));
    let mut members = more.members();
    members[1] = plain[1].clone();
    refused(&tar(&members), "`data/0000/more` is not in its manifest");
}

#[test]
fn signatures_have_the_length_of_their_kind() {
    let with =
        |text: &str| edited(|all| all.insert(2, ("manifest.sig".to_owned(), text.as_bytes().to_vec())));
    for len in 0..=600 {
        let file = with(&Base64::encode_string(&vec![7; len]));
        match len {
            64 | 256 | 384 | 512 => assert_eq!(inspect(&file).unwrap().signatures.len(), 1, "{len}"),
            _ => refused(&file, &format!("its signature has {len} bytes")),
        }
    }
    let good = Base64::encode_string(&[7; 64]);
    for text in [
        format!("{good}\n"),
        format!(" {good}"),
        good.replace("Bw==", "Bx=="),
        good.replace("==", ""),
        good.replace("Bw", "B\n"),
    ] {
        refused(&with(&text), "no base64 on one line");
    }
    refused(&with(&"A".repeat(1100)), "longer than 1024 bytes");
}

#[test]
fn the_header_is_read_strictly() {
    let info = |text: &str, why: &str| refused(&Artifact::new().with("header-info", text).build(), why);
    let (depends, provides) =
        ("\"artifact_depends\":{}", "\"artifact_provides\":{\"artifact_name\":\"one\"}");
    let payloads = "\"payloads\":[{\"type\":\"app\"}]";
    assert!(
        inspect(
            &Artifact::new().with("header-info", &format!("{{{payloads},{provides},{depends}}}")).build()
        )
        .is_ok()
    );
    info("", "header-info");
    info("[]", "header-info");
    info(&format!("{{{payloads},{provides}}} x"), "header-info");
    info(&format!("{{{payloads},{provides},\"updates\":[]}}"), "`updates` is not known");
    info(&format!("{{{payloads},{provides},\"Payloads\":[]}}"), "`Payloads` is not known");
    info(&format!("{{{payloads},{payloads},{provides}}}"), "twice");
    info(&format!("{{{payloads},\"artifact_provides\":{{}}}}"), "it has no name");
    info(&format!("{{{payloads},\"artifact_provides\":{{\"artifact_name\":\"\"}}}}"), "it has no name");
    info(&format!("{{{payloads},\"artifact_provides\":[]}}"), "no group of settings");
    info(
        &format!("{{{payloads},\"artifact_provides\":{{\"artifact_name\":1}}}}"),
        "something else than a text",
    );
    info(&format!("{{\"payloads\":[],{provides}}}"), "it has no payload");
    info(&format!("{{\"payloads\":{{}},{provides}}}"), "no list of payloads");
    info(&format!("{{\"payloads\":[{{}}],{provides}}}"), "has no type");
    info(&format!("{{\"payloads\":[{{\"type\":\"../app\"}}],{provides}}}"), "no plain name");
    info(&format!("{{\"payloads\":[{{\"type\":\"..\"}}],{provides}}}"), "no plain name");
    let kind =
        |text: &str, why: &str| refused(&Artifact::new().with("headers/0000/type-info", text).build(), why);
    kind("{\"type\":\"rootfs-image\"}", "payload 0 has two types");
    kind("{\"type\":\"app\",\"files\":[]}", "`files` is not known");
    kind("{\"type\":\"app\",\"artifact_provides\":{\"a\":{}}}", "something else than a text");
    let version = |text: &str, why: &str| {
        let artifact = Artifact { version: text.to_owned(), ..Artifact::new() };
        refused(&artifact.build(), why);
    };
    version("{\"format\":\"mender\",\"version\":2}", "another version than 3");
    version("{\"format\":\"other\",\"version\":3}", "another version than 3");
    version("{\"format\":\"mender\",\"version\":3,\"x\":1}", "`x` is not known");
    version("{\"format\":\"mender\",\"version\":3,\"version\":3}", "twice");
}

#[test]
fn the_headers_files_stand_in_their_order() {
    let order = |edit: &dyn Fn(&mut Files), why: &str| {
        let mut artifact = Artifact::new();
        edit(&mut artifact.header);
        refused(&artifact.build(), why);
    };
    let file = |name: &str| (name.to_owned(), Vec::new());
    order(&|all| drop(all.remove(0)), "does not begin with `header-info`");
    order(&|all| all.swap(0, 1), "does not begin with `header-info`");
    order(&|all| drop(all.remove(2)), "lacks `headers/0000/type-info`");
    order(&|all| all.swap(2, 3), "lacks `headers/0000/type-info`");
    order(&|all| all.swap(1, 2), "has `scripts/ArtifactInstall_Enter_10` where it should end");
    order(&|all| all.push(file("headers/0000/meta-data")), "where it should end");
    order(&|all| all.push(file("headers/0001/type-info")), "where it should end");
    order(&|all| all.insert(1, file("scripts/../x")), "no plain name of a script");
    order(&|all| all.insert(1, file("scripts/a/b")), "no plain name of a script");
    order(&|all| all.insert(1, file("scripts/..")), "no plain name of a script");
    order(&|all| all.insert(1, file("scripts/")), "no plain name of a script");
    let many = |all: &mut Files| (0..256).for_each(|index| all.insert(1, file(&format!("scripts/{index}"))));
    order(&many, "more than 256 scripts");
    for name in ["../app.bin", "a/b", "..", "a b", "ä"] {
        let mut artifact = Artifact::new();
        artifact.data[0].push(file(name));
        refused(&artifact.build(), "");
    }
}

#[test]
fn tar_is_read_as_everybody_reads_it() {
    let good = Artifact::new().build();
    let header = |at: usize, bytes: &[u8], why: &str| {
        let mut file = good.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        summed(&mut file[1024..1536]);
        refused(&file, why);
    };
    for kind in [0, b'1', b'2', b'5', b'7', b'x', b'g', b'L', b'S'] {
        header(1024 + 156, &[kind], "something else than plain files");
    }
    header(1024 + 257, b"ustar  \0", "something else than plain files");
    header(1024 + 157, b"link", "has a link");
    header(1024 + 345, b"prefix", "has a link");
    header(1024 + 510, b"x", "has a link");
    header(1024 + 20, b"x", "no text");
    header(1024, b"\0", "no text");
    header(1024 + 124, b"\x80", "a wrong number");
    header(1024 + 124, b" ", "a wrong number");
    header(1024 + 100, b"-", "a wrong number");
    header(1024 + 124, b"77777777777", "its archive");
    let mut sum = good.clone();
    sum[1024 + 148] ^= 1;
    refused(&sum, "a wrong number or checksum");
    let mut padding = good.clone();
    padding[512 + 40] = 1;
    refused(&padding, "something stands between its members");
    for cut in [good.len() - 512, good.len() - 1] {
        refused(&good[..cut], "two blocks of zeros");
    }
    refused(&good[..good.len() - 1024], "needs");
    refused(&[&good[..], &[1]].concat(), "something stands between its members, or behind");
    refused(&[&good[..], &vec![0; 10_240]].concat(), "two blocks of zeros");
    // The same inside.
    let inside = |edit: &dyn Fn(&mut Vec<u8>), why: &str| refused(&edited(|all| edit(&mut all[3].1)), why);
    inside(&|data| data.truncate(data.len() - 512), "two blocks of zeros");
    inside(&|data| data.truncate(data.len() - 1024), "a tar in it ends too early");
    inside(&|data| data.push(0), "two blocks of zeros");
    inside(&|data| data.extend([1; 512]), "behind the end of a tar in it");
    inside(&|data| data.extend(vec![0; 10_240]), "behind the end of a tar in it");
    inside(&|data| data[512 + 20] = 1, "something stands between the files");
}
