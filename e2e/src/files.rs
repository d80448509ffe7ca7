//! Files that are not what they should be.

use crate::chance::Chance;

/// Names and contents that no parser of ours should fall over.
pub fn nonsense() -> Vec<(&'static str, Vec<u8>)> {
    let mut chance = Chance::of(7);
    let nested = |open: &[u8], times: usize| open.repeat(times);
    vec![
        ("empty", Vec::new()),
        ("random", chance.bytes(5000)),
        ("not-utf-8", b"name = \"\xff\xfe\"\n".to_vec()),
        ("zeros", vec![0; 70_000]),
        // A million arrays, each in the one before.
        ("deep-cbor", nested(&[0x81], 1_000_000)),
        ("deep-tags", nested(&[0xd8, 0x6b], 20_000)),
        ("deep-json", nested(b"[", 200_000)),
        ("deep-toml", [b"a = ".to_vec(), nested(b"[", 100_000)].concat()),
        // A byte string and a map of 2^64 - 1.
        ("huge-bytes", [&[0xd8, 0x6b, 0x5b][..], &[0xff; 8]].concat()),
        ("huge-map", [&[0xd8, 0x6b, 0xbb][..], &[0xff; 8]].concat()),
        ("huge-bundle", [&b"\x71firmseal-bundle-1\x9b"[..], &[0xff; 8]].concat()),
        ("indefinite", [&[0xd8, 0x6b, 0xbf][..], &[0x9f; 2000]].concat()),
        ("long-line", vec![b'a'; 300_000]),
        ("pem-of-nothing", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec()),
        ("mcuboot-magic", [&0x96f3_b83du32.to_le_bytes()[..], &[0xff; 60]].concat()),
    ]
}
