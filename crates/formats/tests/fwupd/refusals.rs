//! What is refused, named for what is wrong with it.

use firmseal_formats::{detect, find, inspect};

use crate::fixture;
use crate::peer::{Files, METAINFO, cabinet, files};

fn refused(file: &[u8], why: &str) {
    let error = find("fwupd").unwrap().inspect(&file.to_vec()).expect_err(why).to_string();
    assert!(error.contains(why), "{why}: {error}");
}

fn good() -> Vec<u8> {
    cabinet(&[files(METAINFO, b"firmware")])
}

#[test]
fn headers_have_one_meaning() {
    let good = good();
    assert!(inspect(&good).is_ok());
    let edited = |at: usize, bytes: &[u8], why: &str| {
        let mut file = good.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        refused(&file, why);
    };
    for at in [4, 7, 12, 20, 24, 25] {
        edited(at, &[9], "no cabinet of version 1.3");
    }
    edited(8, &[0], "another length");
    edited(16, &[45], "do not follow its folders");
    edited(26, &[0], "no folders or files");
    edited(26, &[9], "no folders or files");
    edited(28, &[0], "no folders or files");
    edited(28, &[65], "no folders or files");
    for at in [30, 31, 34, 35] {
        edited(at, &[4], "a cabinet of several, or one with reserved fields");
    }
    edited(36, &[0], "does not follow what stands before it");
    edited(40, &[0, 0], "does not follow what stands before it");
    edited(40, &[2], "a block");
    for kind in [2, 3, 0x0f] {
        edited(42, &[kind], "something else than MSZIP");
    }
    edited(44, &[0xff, 0xff], "overlaps another file, or its folder's end");
    edited(48, &[1], "overlaps another file, or its folder's end");
    edited(52, &[1], "in no folder");
    edited(60, b"/", "no plain one");
    edited(60, b"\0", "no plain one");
    edited(60, b"\x80", "no plain one");
    let data = 36 + 8 + 16 + 19 + 16 + 7;
    edited(data, &[good[data] ^ 1], "another checksum");
    edited(data + 4, &[1], "another length than its place asks for");
    edited(data + 6, &[1], "another length than its place asks for");
    let last = good.len() - 1;
    edited(last, b"x", "another checksum");
    let mut unsummed = good.clone();
    unsummed[data..data + 4].fill(0);
    assert!(inspect(&unsummed).is_ok(), "no checksum is none to be wrong");
    unsummed[last] ^= 1;
    refused(&unsummed, "another SHA-256");
    for cut in [0, 30, 40, 50, 70, 90, last] {
        assert!(find("fwupd").unwrap().inspect(&good[..cut].to_vec()).is_err(), "{cut}");
    }
    // Other people's cabinets are files like any other.
    let other = cabinet(&[vec![("driver.inf".to_owned(), b"x".to_vec())]]);
    assert_eq!(detect(&other).unwrap().name(), "raw");
}

#[test]
fn blocks_are_packed_in_one_way() {
    let packed = fixture("fwupd/packed.bin");
    let start = packed.windows(2).position(|own| own == b"CK").unwrap();
    for at in start..packed.len() {
        let mut file = packed.clone();
        file[at] ^= 1;
        refused(&file, "another checksum");
        // Without one, what is unpacked is held against the rest.
        file[start - 8..start - 4].fill(0);
        let read = find("fwupd").unwrap().inspect(&file);
        assert!(read.is_err() || read.unwrap().digest() != inspect(&packed).unwrap().digest(), "{at}");
    }
}

#[test]
fn files_stand_once() {
    let with = |edit: &dyn Fn(&mut Files)| {
        let mut all = files(METAINFO, b"firmware");
        edit(&mut all);
        cabinet(&[all])
    };
    refused(&with(&|all| all[1].0 = "FW.bin".to_owned()), "which its metainfo names, is not in it");
    refused(&with(&|all| drop(all.remove(1))), "which its metainfo names, is not in it");
    refused(&with(&|all| all.push(("FW.BIN".to_owned(), vec![1]))), "stands in it twice");
    refused(&with(&|all| all.push(("b.metainfo.xml".to_owned(), vec![1]))), "more than one `*.metainfo.xml`");
    refused(&with(&|all| drop(all.remove(0))), "it has no metainfo");
    refused(
        &with(&|all| all.extend([("a.jcat".to_owned(), vec![1]), ("b.jcat".to_owned(), vec![1])])),
        "more than one `*.jcat`",
    );
    refused(&with(&|all| all.push(("a.jcat".to_owned(), b"{}".to_vec()))), "its gzip");
    refused(&with(&|all| all[1].1.push(b'x')), "another SHA-256 or size");
    let more = with(&|all| all.push(("README".to_owned(), b"x".to_vec())));
    let read = inspect(&more).unwrap();
    assert_eq!((read.notes[0].name.as_str(), read.notes[0].value.as_str()), ("not signed", "README"));
}

#[test]
fn metainfo_is_read_strictly() {
    let with = |from: &str, to: &str| {
        assert!(METAINFO.contains(from), "{from}");
        cabinet(&[files(&METAINFO.replacen(from, to, 1), b"firmware")])
    };
    let cases = [
        ("<?xml version=\"1.0\" encoding=\"UTF-8\"?>", "<!DOCTYPE x>", "a name is none"),
        ("encoding=\"UTF-8\"", "encoding=\"latin1\"", "another encoding"),
        ("type=\"firmware\"", "type=\"desktop\"", "no component of type"),
        ("type=\"firmware\"", "type=\"firmware\" type=\"firmware\"", "stands twice"),
        ("type=\"firmware\"", "type=firmware", "no quotes"),
        ("type=\"firmware\"", "type=\"firmware", "does not end on its line"),
        ("<id>", "<id>x</id><id>", "stands twice"),
        ("<id>", "<id> ", "blanks around it"),
        ("<id>", "<id><b/>", "elements in it"),
        ("<id>com.example.board.firmware</id>", "", "no id"),
        ("com.example", "com.&example;", "an entity that XML itself has not"),
        ("com.example", "com.&#101;", "an entity that XML itself has not"),
        ("com.example", "com.&", "begins no entity"),
        ("com.example", "<![CDATA[com]]>", "something else than elements"),
        ("com.example", "<?x?>", "something else than elements"),
        ("com.example", "]]>", "the end of a section"),
        ("<name>", "<!-- -- --><name>", "two hyphens"),
        ("</id>", "</name>", "another's name"),
        ("</component>", "</component><component/>", "behind its last element"),
        ("</component>", "", "ends too early"),
        ("type=\"flashed\"", "type=\"runtime\"", "for no device"),
        ("</release>", "</release><release version=\"1.2.2\"/>", "stands twice"),
        ("version=\"1.2.3\"", "", "no version"),
        ("type=\"sha256\"", "type=\"sha1\"", "no SHA-256"),
        ("SHA256", "da39a3ee5e6b4b0d3255bfef95601890afd80709", "no SHA-256"),
        ("SHA256", &"AB".repeat(32), "no SHA-256"),
        ("SHA256", &"ab".repeat(32), "another SHA-256 or size"),
        ("<description>", "<size type=\"installed\">9</size><description>", "another SHA-256 or size"),
        ("<description>", "<size type=\"installed\">x</size><description>", "no number"),
        (
            "<description>",
            "<checksum target=\"content\">SHA256</checksum><description>",
            "more than one payload",
        ),
        (
            "<description>",
            "<artifacts><artifact type=\"binary\"/></artifacts><description>",
            "more than one payload",
        ),
        ("filename=\"fw.bin\"", "filename=\"../fw.bin\"", "no plain one"),
        ("filename=\"fw.bin\"", "", "`firmware.bin`, which its metainfo names"),
        ("filename=\"fw.bin\"", "filename=\"board.metainfo.xml\"", "which its metainfo names"),
    ];
    for (from, to, why) in cases {
        refused(&with(from, to), why);
    }
    let deep = format!("{}{}", "<a>".repeat(20), "</a>".repeat(20));
    refused(&with("<name>", &format!("{deep}<name>")), "nested more than 16 deep");
    refused(&with("<name>", &format!("{}<name>", "<a/>".repeat(9000))), "more than 8192 elements");
    refused(&with("<name>", &format!("{}<name>", " ".repeat(300_000))), "longer than 262144 bytes");
    let artifact = "<artifacts><artifact type=\"binary\"><filename>fw.bin</filename>\
                    <checksum type=\"sha256\">SHA256</checksum></artifact></artifacts>";
    let line = METAINFO.lines().find(|line| line.contains("<checksum")).unwrap();
    assert!(inspect(&with(line, artifact)).is_ok());
}
