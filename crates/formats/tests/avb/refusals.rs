//! Images that are refused, each named for what is wrong with it.

use firmseal_formats::{FormatError, detect, find, inspect};

use crate::common::{TestKey, fixture};
use crate::mutations::resigned;
use crate::peer::make;

/// Where, which bytes, and what is said.
type Edit<'a> = (&'a str, usize, &'a [u8], &'a str);

fn edited(name: &str, at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = fixture(&format!("avb/{name}.bin"));
    assert_ne!(file[at..at + bytes.len()], *bytes, "{name} {at}");
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

fn refused(file: &[u8], why: &str, name: &str) {
    let error = find("avb").unwrap().inspect(&file.to_vec()).expect_err(name).to_string();
    assert!(error.contains(why), "{name}: {error}");
}

/// In vbmeta.bin: the authentication block at 256, the auxiliary one at 576: a
/// chained partition (92 bytes, `vendor`, its key), a command line, a property at
/// 1232, a hash at 1272 and a tree at 1448; the key at 1704.
#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    let vbmeta: [Edit<'_>; 21] = [
        ("a later major version", 7, &[2], "later libavb"),
        ("a later minor version", 11, &[4], "later libavb"),
        ("an odd block", 19, &[1], "no multiple of 64"),
        ("a huge block", 12, &[0x7f], "longer than 64 KiB"),
        ("blocks that overflow", 12, &[0xff; 8], "no multiple of 64"),
        ("an unknown algorithm", 31, &[7], "none that is known"),
        ("a signed image that says it is not", 31, &[0], "says that it is not signed"),
        ("a hash elsewhere", 39, &[1], "between the parts"),
        ("descriptors over the key", 111, &[0x70], "parts of a block overlap"),
        ("a signature outside", 62, &[2], "outside of its block"),
        ("offsets beyond all numbers", 48, &[0xff; 8], "beyond all numbers"),
        ("an unknown flag", 123, &[4], "flags that are not known"),
        ("a location that libavb 1.0 ignores", 127, &[1], "location of the rollback index"),
        ("a text behind a text", 170, b"x", "does not end with zeros"),
        ("a reserved byte", 200, &[1], "have to be zero"),
        ("something in the authentication block", 570, &[1], "behind the parts"),
        ("something behind the key", 2239, &[1], "behind the parts"),
        ("another descriptor", 1000, &[1], "own digest"),
        ("another rollback index", 119, &[9], "own digest"),
        ("another hash", 256, &[1], "own digest"),
        ("a magic that is none", 3, b"1", "neither begins with vbmeta"),
    ];
    for (name, at, bytes, why) in vbmeta {
        refused(&edited("vbmeta", at, bytes), why, name);
    }
    let whole = fixture("avb/vbmeta.bin");
    for len in [256, 300, 600, 2239] {
        assert!(find("avb").unwrap().inspect(&whole[..len].to_vec()).is_err(), "cut to {len}");
    }
    refused(&[&whole[..], &[0, 1]].concat(), "nothing covers", "bytes behind vbmeta");
    refused(&[&whole[..], &fixture("avb/boot.bin")].concat(), "tells of another one", "vbmeta and a footer");
    assert!(inspect(&[&whole[..], &[0; 64]].concat()).is_ok(), "padding");
}

/// The same, of what is signed: somebody with the key wrote it.
#[test]
fn what_is_signed_can_be_wrong_as_well() {
    let key = TestKey::load("rsa2048");
    let edits: [Edit<'_>; 17] = [
        ("an unknown descriptor", 576 + 7, &[9], "kind that is not known"),
        ("an odd descriptor", 576 + 15, &[1], "no multiple of 8"),
        ("no location for a chained partition", 576 + 19, &[0], "stores its rollback index"),
        ("a location that libavb does not have", 576 + 19, &[32], "stores its rollback index"),
        ("a flag of libavb 1.3", 576 + 31, &[1], "of a later libavb"),
        ("an unknown flag", 576 + 31, &[2], "flags that are not known"),
        ("a reserved byte", 576 + 50, &[1], "have to be zero"),
        ("a name with a zero", 576 + 93, &[0], "no printable ASCII"),
        ("a name with a slash", 576 + 93, b"/", "something else than letters"),
        ("a chained key of another length", 576 + 100, &[1], "another length than 2048"),
        ("a chained key's number", 576 + 103, &[0], "not this key's"),
        ("a chained key's square", 576 + 370, &[0xa5], "not this key's"),
        ("a hash that libavb does not have", 1272 + 24 + 3, b"1", "neither sha256 nor sha512"),
        ("a tree in its data", 1448 + 34, &[0x2f], "of a partition overlap"),
        ("a key's square", 1704 + 8 + 256 + 9, &[0xa5], "not this key's"),
        ("a key's number", 1704 + 5, &[0xa5], "not this key's"),
        ("an even modulus", 1704 + 8 + 255, &[0x10], "not this key's"),
    ];
    for (name, at, bytes, why) in edits {
        refused(&resigned(&edited("vbmeta", at, bytes), &key), why, name);
    }
}

/// In boot.bin: 264 bytes, vbmeta at 4096, the footer at 12224.
#[test]
fn a_footer_tells_what_is_signed() {
    let boot: [Edit<'_>; 12] = [
        ("another version", 12224 + 7, &[2], "another version than 1.0"),
        ("a reserved byte", 12224 + 40, &[1], "have to be zero"),
        ("another size", 12224 + 19, &[7], "none of its descriptors"),
        ("a size of nothing", 12224 + 12, &[0xff], "tells otherwise of vbmeta"),
        ("vbmeta elsewhere", 12224 + 26, &[0x11], "there is none"),
        ("vbmeta outside", 12224 + 20, &[0x7f], "needs"),
        ("vbmeta of another length", 12224 + 35, &[1], "tells otherwise of vbmeta"),
        ("changed data", 0, &[0xa5], "own digest"),
        ("something behind the data", 300, &[1], "nothing covers"),
        ("something behind vbmeta", 8000, &[1], "nothing covers"),
        ("something before the footer", 12223, &[1], "nothing covers"),
        ("another magic", 12224, b"a", "neither begins with vbmeta"),
    ];
    for (name, at, bytes, why) in boot {
        refused(&edited("boot", at, bytes), why, name);
    }
    for (name, at, why) in
        [("data", 8300, "own digest"), ("tree", 12_288, "own digest"), ("zeros", 20_000, "nothing covers")]
    {
        refused(&edited("system", at, &[0xa5]), why, name);
    }
    for len in [12287, 12224 + 63, 64, 63] {
        assert!(find("avb").unwrap().inspect(&fixture("avb/boot.bin")[..len].to_vec()).is_err());
    }
}

#[test]
fn what_a_device_would_not_take_is_not_signed() {
    let key = TestKey::load("rsa2048");
    let plain = fixture("firmware.bin");
    let (name, size) = (("partition-name", "boot"), ("partition-size", "0x4000"));
    let say = |result: Result<Vec<u8>, FormatError>| result.unwrap_err().to_string();
    for other in ["rsa3072", "p256", "ed25519"] {
        let error = say(make(&fixture("avb/vbmeta.bin"), &TestKey::load(other), 7, &[]));
        assert!(error.contains("RSA key of 2048 or 4096 bits"), "{error}");
    }
    for (parameters, why) in [
        (&[][..], "give its name"),
        (&[name], "give its size"),
        (&[name, ("partition-size", "0x4001")], "a multiple of 4096"),
        (&[name, ("partition-size", "0x2000")], "takes 12288 bytes, the slot has 8192"),
        (&[("partition-name", "../boot"), size], "use letters"),
        (&[name, size, ("salt", "0")], "in hexadecimal"),
        (&[name, size, ("salt", "+1")], "in hexadecimal"),
        (&[name, size, ("slat", "00")], "not known here"),
    ] {
        let error = say(make(&plain, &key, 7, parameters)).replace("take ", "takes ");
        assert!(error.contains(why), "{parameters:?}: {error}");
    }
    assert!(say(make(b"", &key, 7, &[name, size])).contains("it is empty"));
    let sparse = [&[0x3a, 0xff, 0x26, 0xed], &plain[..]].concat();
    assert!(say(make(&sparse, &key, 7, &[name, size])).contains("simg2img"));
    // Parameters do not change what is there.
    let boot = fixture("avb/boot.bin");
    assert!(make(&boot, &key, 7, &[name, ("partition-size", "12288"), ("salt", "00112233")]).is_ok());
    for other in [("partition-name", "dtbo"), size, ("salt", "00")] {
        assert!(matches!(make(&boot, &key, 7, &[other]), Err(FormatError::Disagrees { .. })), "{other:?}");
    }
    assert!(say(make(&fixture("avb/vbmeta.bin"), &key, 7, &[name])).contains("without a partition"));
    // A longer key where there is no room for it.
    let mut short = boot[..8192 - 2048].to_vec();
    short.extend(&boot[12224..]);
    assert!(make(&short, &key, 7, &[]).is_ok());
    let error = say(make(&short, &TestKey::load("rsa4096"), 7, &[]));
    assert!(error.contains("the slot has"), "{error}");
}

/// One file, one meaning: a partition that is a file of another format as well
/// is none.
#[test]
fn a_partition_with_another_format_in_it_is_refused() {
    let key = TestKey::load("rsa2048");
    let fit = fixture("fit/unsigned.bin");
    let parameters = [("partition-name", "boot"), ("partition-size", "0x4000")];
    assert!(matches!(make(&fit, &key, 7, &parameters), Err(FormatError::Ambiguous { .. })));
    for name in ["vbmeta", "boot", "system", "sha512", "unsigned"] {
        let format = detect(&fixture(&format!("avb/{name}.bin"))).unwrap();
        // What is signed could be a file: it is one of this format, beside which
        // nothing is signed.
        assert!(format.name() == "avb" && format.hashes_whole(), "{name}");
    }
}
