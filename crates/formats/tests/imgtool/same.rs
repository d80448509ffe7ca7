//! The same wish to both: the same file, but for what is random in it.

use crate::common::{self, TestKey, fixture, fixture_path, sign};
use crate::peer::Imgtool;

type Shape = (&'static [&'static str], &'static [(&'static str, &'static str)]);

/// imgtool's arguments and our parameters that mean the same.
const SHAPES: &[Shape] = &[
    (&["-H", "64", "-S", "0x1000"], &[("header-size", "64"), ("slot-size", "0x1000")]),
    (
        &["-H", "0x200", "-S", "0x2000", "--pad-header", "--align", "8"],
        &[("header-size", "0x200"), ("slot-size", "0x2000"), ("pad-header", "true"), ("align", "8")],
    ),
    (
        &["-H", "32", "-S", "0x1000", "--pad-header", "-L", "0x20000400", "-R", "0"],
        &[
            ("header-size", "32"),
            ("slot-size", "0x1000"),
            ("pad-header", "true"),
            ("load-addr", "0x20000400"),
            ("erased-val", "0"),
        ],
    ),
    (
        &["-H", "64", "-S", "0x1000", "-F", "0x08010000", "--non-bootable", "--overwrite-only"],
        &[
            ("header-size", "64"),
            ("slot-size", "0x1000"),
            ("rom-fixed", "0x08010000"),
            ("non-bootable", "true"),
            ("overwrite-only", "true"),
        ],
    ),
    (
        &[
            "-H",
            "64",
            "-S",
            "0x1000",
            "--vid",
            "12345678-1234-5678-1234-567812345678",
            "--cid",
            "87654321-4321-8765-4321-876543218765",
            "--public-key-format",
            "full",
        ],
        &[
            ("header-size", "64"),
            ("slot-size", "0x1000"),
            ("vid", "12345678-1234-5678-1234-567812345678"),
            ("cid", "87654321-4321-8765-4321-876543218765"),
            ("public-key-format", "full"),
        ],
    ),
    (
        &[
            "-H",
            "64",
            "-S",
            "0x1000",
            "-d",
            "(1, 2.3.4+5), (2, 0.0.1),(255,7)",
            "--boot-record",
            "CoFM",
            "--vid",
            "example.com",
            "--cid",
            "board-7",
            "--custom-tlv",
            "0x00a1",
            "0x0102030405",
            "--custom-tlv",
            "0x0100",
            "text",
        ],
        &[
            ("header-size", "64"),
            ("slot-size", "0x1000"),
            ("dependencies", "(1, 2.3.4+5), (2, 0.0.1),(255,7)"),
            ("boot-record", "CoFM"),
            ("vid", "example.com"),
            ("cid", "board-7"),
            ("custom-tlv", "0x00a1:0x0102030405,0x0100:text"),
        ],
    ),
];

/// Shapes of slots that are padded, and of big-endian machines.
const OF_SLOTS: &[Shape] = &[
    (
        &["-H", "64", "-S", "0x1000", "--pad"],
        &[("header-size", "64"), ("slot-size", "0x1000"), ("pad", "true")],
    ),
    (
        &["-H", "64", "-S", "0x1000", "--confirm", "--align", "32", "-M", "4"],
        &[
            ("header-size", "64"),
            ("slot-size", "0x1000"),
            ("confirm", "true"),
            ("align", "32"),
            ("max-sectors", "4"),
        ],
    ),
    (
        &[
            "-H",
            "64",
            "-S",
            "0x1000",
            "--pad",
            "--overwrite-only",
            "-R",
            "0",
            "--align",
            "16",
            "--max-align",
            "8",
        ],
        &[
            ("header-size", "64"),
            ("slot-size", "0x1000"),
            ("pad", "true"),
            ("overwrite-only", "true"),
            ("erased-val", "0"),
            ("align", "16"),
            ("max-align", "8"),
        ],
    ),
    (
        &["-H", "64", "-S", "0x1000", "--confirm", "--max-align", "16", "-e", "big", "-R", "0"],
        &[
            ("header-size", "64"),
            ("slot-size", "0x1000"),
            ("confirm", "true"),
            ("max-align", "16"),
            ("endian", "big"),
            ("erased-val", "0"),
        ],
    ),
    (
        &[
            "-H",
            "64",
            "-S",
            "0x1000",
            "-e",
            "big",
            "-L",
            "0x20000400",
            "-d",
            "(1, 2.3.4+5)",
            "--boot-record",
            "CoFM",
            "--vid",
            "example.com",
            "--custom-tlv",
            "0x00a1",
            "0x0102",
        ],
        &[
            ("header-size", "64"),
            ("slot-size", "0x1000"),
            ("endian", "big"),
            ("load-addr", "0x20000400"),
            ("dependencies", "(1, 2.3.4+5)"),
            ("boot-record", "CoFM"),
            ("vid", "example.com"),
            ("custom-tlv", "0x00a1:0x0102"),
        ],
    ),
];

/// Shapes that only some keys have.
const OF_SOME: &[(&[&str], Shape)] = &[
    (
        &["ed25519"],
        (
            &["-H", "64", "-S", "0x1000", "--pure"],
            &[("header-size", "64"), ("slot-size", "0x1000"), ("pure", "true")],
        ),
    ),
    (
        &["ed25519"],
        (
            &["-H", "64", "-S", "0x1000", "--sha", "512", "--boot-record", "SPE"],
            &[("header-size", "64"), ("slot-size", "0x1000"), ("sha", "512"), ("boot-record", "SPE")],
        ),
    ),
    (
        &["p384"],
        (
            &["-H", "64", "-S", "0x1000", "--sha", "384", "--public-key-format", "full"],
            &[("header-size", "64"), ("slot-size", "0x1000"), ("sha", "384"), ("public-key-format", "full")],
        ),
    ),
    (
        &["p256", "p384"],
        (
            &["-H", "64", "-S", "0x1000", "--pad-sig"],
            &[("header-size", "64"), ("slot-size", "0x1000"), ("pad-sig", "true")],
        ),
    ),
];

/// The image without the value of its last TLV (the signature), without the
/// two lengths that depend on it, and of what follows only the end.
fn without_signature(image: &[u8]) -> Vec<u8> {
    let number = |bytes: &[u8]| {
        let big = bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        let little = bytes.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        if image[0] == 0x96 { big } else { little }
    };
    let u16_at = |at: usize| number(&image[at..at + 2]);
    let area = u16_at(8) + number(&image[12..16]) + u16_at(10);
    let end = area + u16_at(area + 2);
    let mut last = area + 4;
    while last + 4 + u16_at(last + 2) < end {
        last += 4 + u16_at(last + 2);
    }
    assert_eq!(last + 4 + u16_at(last + 2), end);
    assert!((0x20..=0x24).contains(&image[last]));
    let mut out = image[..last + 2].to_vec();
    out[area + 2..area + 4].fill(0);
    if end < image.len() {
        assert_eq!(image.len(), 0x1000);
        assert!(image[end..0x1000 - 128].iter().all(|byte| *byte == image[end]));
        out.extend(&image[0x1000 - 128..]);
    }
    out
}

#[test]
fn both_make_the_same_file() {
    let imgtool = Imgtool::new();
    for name in common::ALGORITHMS {
        let key = TestKey::load(name);
        let of_some = OF_SOME.iter().filter(|(keys, _)| keys.contains(&name)).map(|(_, shape)| shape);
        let shapes: Vec<Shape> = SHAPES.iter().chain(OF_SLOTS).chain(of_some).copied().collect();
        let wishes: Vec<_> = shapes.iter().map(|(args, _)| *args).collect();
        let mut made = Vec::new();
        for ((args, parameters), theirs) in
            shapes.iter().zip(imgtool.sign_all(name, &wishes, &fixture_path("firmware.bin")))
        {
            let ours = sign(&fixture("firmware.bin"), &key, "1.2.3+4", 7, parameters).unwrap();
            if name == "ed25519" {
                assert_eq!(ours, theirs, "{args:?}");
            }
            assert_eq!(without_signature(&ours), without_signature(&theirs), "{name} {args:?}");
            made.push(ours.clone());
            // What imgtool made is signed again, if that is what it says.
            let again: Vec<_> =
                parameters.iter().filter(|(name, _)| *name != "pad-header").copied().collect();
            let again = sign(&theirs, &key, "1.2.3+4", 7, &again).unwrap();
            assert_eq!(without_signature(&again), without_signature(&theirs), "{name} {args:?}");
            let (ours, theirs) =
                (firmseal_formats::inspect(&ours).unwrap(), firmseal_formats::inspect(&theirs).unwrap());
            assert_eq!(ours.digest(), theirs.digest());
            assert_eq!(ours.notes, theirs.notes);
            assert_eq!(ours.signatures[0].covered, theirs.signatures[0].covered);
            assert_eq!(ours.signatures[0].claim, theirs.signatures[0].claim);
        }
        assert_eq!(imgtool.verify_as_built(name, &made), vec![true; made.len()], "{name}");
    }
}
