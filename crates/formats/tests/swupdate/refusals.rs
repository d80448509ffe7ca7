//! What is refused, and why.

use firmseal_formats::{FormatError, find, inspect};

use crate::common::{OpenSsl, TestKey, accepted, make};
use crate::peer::{Device, IMAGE, SCRIPT, archive, libconfig, package, sha256};

fn refusal(file: &[u8]) -> String {
    find("swupdate").unwrap().inspect(&file.to_vec()).expect_err("refused").to_string()
}

#[test]
fn an_archive_that_two_would_read_in_two_ways_is_refused() {
    let good = package("070702", &libconfig("1.0.0"));
    assert!(inspect(&good).is_ok());
    let at = |name: &[u8]| good.windows(name.len()).position(|window| window == name).unwrap() - 110;
    let (image, end) = (at(b"rootfs.img\0"), at(b"TRAILER!!!\0"));
    let data = (image + 110 + 11).next_multiple_of(4);
    // What, where, which bytes, why.
    let edits: [(&str, usize, &[u8], &str); 17] = [
        ("another magic", image, b"070707", "neither newc nor crc"),
        ("the other format", image, b"070701", "of two formats"),
        ("a blank in a number", image + 6 + 48, b" ", "eight hexadecimal digits"),
        ("a sign in a number", image + 6 + 48, b"+", "eight hexadecimal digits"),
        ("a link", image + 14, b"0000a1ff", "something else than a file"),
        ("a directory", image + 14, b"000041ed", "something else than a file"),
        ("a size beyond the file", image + 54, b"ffffffff", "needs"),
        ("a name of nothing", image + 94, b"00000001", "a name in its archive"),
        ("a long name", image + 94, b"00000100", "a name in its archive"),
        ("a name that goes on", image + 94, b"0000000c", "is a path, or no text"),
        ("a path", image + 110, b"../etc/img", "is a path, or no text"),
        ("a NUL in a name", image + 114, b"\0", "is a path, or no text"),
        ("the name of another", image + 110, b"after.sh\0\0", "is a path, or no text"),
        ("a wrong checksum", image + 102, b"00000001", "checksum of `rootfs.img` is wrong"),
        ("bytes between files", data + IMAGE.len(), b"\x01", "between the files"),
        ("a content of the end", end + 54, b"00000004", "the end of its archive has a content"),
        ("bytes behind the end", end + 128, b"\x01", "behind the end"),
    ];
    for (what, at, bytes, why) in edits {
        let mut file = good.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        let error = refusal(&file);
        assert!(error.contains(why), "{what}: {error}");
    }
    assert!(refusal(&[&good[..], &[0; 512]].concat()).contains("behind the end"));
    for cut in [120, 130, image, image + 50, data + 4, end, end + 115] {
        assert!(find("swupdate").unwrap().inspect(&good[..cut].to_vec()).is_err(), "{cut}");
    }
    let text = libconfig("1.0.0");
    let files = |names: &[&str]| {
        let content = |name: &str| match name {
            "rootfs.img" => IMAGE,
            "after.sh" => SCRIPT,
            _ => text.as_bytes(),
        };
        let all: Vec<_> = names.iter().map(|name| (*name, content(name))).collect();
        refusal(&archive("070702", &all))
    };
    let twice = ["sw-description", "rootfs.img", "after.sh", "rootfs.img"];
    assert!(files(&twice).contains("`rootfs.img` stands in it twice"));
    let late = ["sw-description", "rootfs.img", "after.sh", "sw-description.sig"];
    assert!(files(&late).contains("signature not the second"));
    assert!(files(&["rootfs.img", "sw-description", "after.sh"]).contains("not the first file"));
    assert!(
        files(&["sw-description", "rootfs.img"])
            .contains("`after.sh`, which sw-description names, is not in")
    );
    assert!(
        files(&["sw-description", "sw-description.sig", "rootfs.img", "after.sh"]).contains("its signature")
    );
    let mut sum = archive("070701", &[("sw-description", text.as_bytes())]);
    sum[109] = b'1';
    assert!(refusal(&sum).contains("a checksum where its format has none"));
}

#[test]
fn what_no_signature_would_cover_is_not_signed() {
    let openssl = OpenSsl::new(&["p256"]);
    let device = Device::new(&openssl);
    let (key, certificate) = (TestKey::load("p256"), openssl.text("p256.crt"));
    let sign = |file: &[u8]| make("swupdate", &file.to_vec(), &key, &[("certificate", &certificate)]);
    let text = libconfig("1.0.0");
    let without = text.replace(&format!(" sha256 = \"{}\";", sha256(IMAGE)), "");
    assert_ne!(text, without);
    // A script of the boot loader, in a set that this device never takes.
    let boot =
        text.replace("scripts: (", "set: { bootenv: ( { filename = \"after.sh\"; } ); };\n  scripts: (");
    for (text, name) in [(&without, "rootfs.img"), (&boot, "after.sh")] {
        let file = package("070702", text);
        let read = inspect(&file).unwrap();
        assert_eq!((read.notes[0].name.as_str(), read.notes[0].value.as_str()), ("without sha256", name));
        let error = sign(&file).unwrap_err().to_string();
        assert!(error.contains(&format!("`{name}` has no sha256")), "{error}");
        // Whoever signed it all the same has signed something else.
        openssl.write("sw-description", text.as_bytes());
        openssl
            .ok("cms -sign -binary -in sw-description -signer p256.crt -inkey p256.pem -outform DER -out s");
        let signature = openssl.read("s");
        let all = [
            ("sw-description", text.as_bytes()),
            ("sw-description.sig", &signature),
            ("rootfs.img", IMAGE),
            ("after.sh", SCRIPT),
        ];
        let theirs = archive("070702", &all);
        assert!(!accepted(&theirs, &key.public));
        assert_eq!(device.takes(&theirs, "p256", crate::HERE), name == "after.sh");
    }
    // SWUpdate passes over what no entry names; so does nobody who unpacks it.
    let files =
        [("sw-description", text.as_bytes()), ("rootfs.img", IMAGE), ("after.sh", SCRIPT), ("more", b"more")];
    let file = archive("070702", &files);
    assert_eq!(inspect(&file).unwrap().notes[0].value, "more");
    let error = sign(&file).unwrap_err().to_string();
    assert!(error.contains("`more` is named by no entry"), "{error}");
    // A digest of something else.
    let other = text.replace(&sha256(SCRIPT), &sha256(IMAGE));
    assert!(
        refusal(&package("070702", &other))
            .contains("`after.sh`, which sw-description names, has another sha256")
    );
    // Encrypted, as a device decrypts it only after it was verified.
    let encrypted = text.replace("type = \"raw\";", "type = \"raw\"; encrypted = true; ivt = \"00\";");
    assert!(inspect(&package("070702", &encrypted)).unwrap().encrypted);
    assert!(matches!(refused_description(b"Salted__\xff\xfe\x00"), FormatError::Malformed { .. }));
}

fn refused_description(bytes: &[u8]) -> FormatError {
    find("swupdate").unwrap().inspect(&archive("070702", &[("sw-description", bytes)])).expect_err("refused")
}
