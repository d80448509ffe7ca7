//! Images that are refused, each named for what is wrong with it.

use firmseal_formats::{FormatError, detect, find, inspect};

use crate::common::{TestKey, accepted, fixture};
use crate::peer::{app, make, mended};

/// Where, and which bytes.
type Edit<'a> = (&'a str, usize, &'a [u8], &'a str);

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    // In the fixture: segments at 24, 288 and 496, the checksum at 527, the hash
    // at 528, the end at 560. Signed: the block at 4096.
    let plain = fixture("esp32/esp32c6.bin");
    let inside: [Edit<'_>; 8] = [
        ("a hash that is and is not", 23, &[2], "whether its hash is appended"),
        ("a segment beyond the file", 28, &[0, 0x10], "a segment needs"),
        ("a segment of 16 MiB", 31, &[1], "16 MiB"),
        ("a segment of odd length", 28, &[1], "multiple of 4"),
        ("more segments", 1, &[4], "own digest"),
        ("a changed segment", 300, &[0xaa], "its checksum is"),
        ("a changed checksum", 527, &[0], "its checksum is"),
        ("a changed header", 4, &[8], "own digest"),
    ];
    for (name, at, bytes, why) in inside {
        let mut file = plain.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        let error = find("esp32").unwrap().inspect(&file).expect_err(name).to_string();
        assert!(error.contains(why), "{name}: {error}");
    }
    for len in 24..plain.len() {
        let cut = inspect(&plain[..len].to_vec());
        assert!(cut.is_err(), "cut to {len}");
    }
    // The app's description in another segment, or broken.
    let edited = |at: usize, bytes: &[u8]| {
        let mut file = plain.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        inspect(&mended(file)).unwrap_err().to_string()
    };
    assert!(edited(296, &0xabcd_5432u32.to_le_bytes()).contains("a segment but the first"));
    // Where segments are loaded: 256 bytes at 0x42000020, 200 at 0x40080000, and
    // padding at zero, which is loaded nowhere.
    for (address, why) in [
        (0x4200_0020u32, "over each other"),
        (0x4200_011c, "over each other"),
        (0x41ff_ff5c, "over each other"),
        (0xffff_ff3c, "beyond 32 bits"),
    ] {
        assert!(edited(288, &address.to_le_bytes()).contains(why), "{address:#x}");
    }
    for address in [0x4200_0120u32, 0x41ff_ff58, 0xffff_ff38, 0] {
        let mut file = plain.clone();
        file[288..292].copy_from_slice(&address.to_le_bytes());
        assert!(inspect(&mended(file)).is_ok(), "{address:#x}");
    }
    assert!(edited(48 + 10, b"x").contains("no ASCII"), "text behind a zero");
    assert!(edited(48, &[0xff]).contains("no ASCII"));
    let mut short = plain[..24].to_vec();
    short[1] = 1;
    short.extend([0x20, 0, 0, 0x42, 8, 0, 0, 0]);
    short.extend(&plain[32..40]);
    short.resize(48, 0);
    assert!(inspect(&mended(short)).unwrap_err().to_string().contains("the app's description needs"));
}

#[test]
fn a_signature_sector_is_where_the_image_ends_and_means_every_byte() {
    let with = |name: &str, edit: &dyn Fn(&mut Vec<u8>)| {
        let mut file = fixture(&format!("esp32/{name}.bin"));
        edit(&mut file);
        inspect(&file).map_err(|error| error.to_string())
    };
    for (what, edit, why) in [
        ("longer", (|file| file.push(0xff)) as fn(&mut Vec<u8>), "it ends neither"),
        ("a sector more", |file| file.extend([0xff; 4096]), "it ends neither"),
        ("padding", |file| file[4095] = 0, "not erased flash"),
        ("behind the blocks", |file| file[8191] = 0, "behind its signature blocks"),
        ("in the second place", |file| file[4096 + 1216] = 0xe7, "wrong CRC"),
        ("in the first place", |file| file[4096] = 0xff, "wrong CRC"),
        ("in its end", |file| file[4096 + 1215] = 1, "end with zeros"),
    ] {
        assert!(with("p256", &edit).unwrap_err().contains(why), "{what}");
    }
    let behind = with("p256", &|file| {
        file.copy_within(4096..4096 + 1216, 4096 + 1216);
        file[4096..4096 + 1216].fill(0xff);
    });
    assert!(behind.unwrap_err().contains("behind an empty place"));
    assert!(with("p256", &|file| file[4096..4096 + 1216].fill(0xff)).unwrap().signatures.is_empty());
    // Fields of a block, with the CRC made right.
    type Field<'a> = (&'a str, usize, u8, &'a str);
    let fields: [Field<'_>; 16] = [
        ("p256", 1, 4, "no kind"),
        ("p256", 2, 1, "does not go with its hash"),
        ("p256", 3, 1, "no kind"),
        ("p256", 4, 0, "own digest"),
        ("p256", 36, 3, "does not go with its hash"),
        ("p256", 36, 1, "something beside key"),
        ("p256", 1195, 1, "something beside key"),
        ("p384", 2, 0, "does not go with its hash"),
        ("p384", 4, 0, "own digest"),
        ("rsa3072", 2, 1, "no kind"),
        ("rsa3072", 36, 0, "not this key's"),
        ("rsa3072", 419, 0, "another length than 3072"),
        ("rsa3072", 420, 0, "unusual exponent"),
        ("rsa3072", 424, 0, "not this key's"),
        ("rsa3072", 807, 0, "not this key's"),
        ("rsa3072", 808, 0, "not this key's"),
    ];
    for (name, at, value, why) in fields {
        let error = with(name, &|file| {
            assert_ne!(file[4096 + at], value, "{name} {at}");
            file[4096 + at] = value;
            let crc = crc32(&file[4096..4096 + 1196]).to_le_bytes();
            file[4096 + 1196..4096 + 1200].copy_from_slice(&crc);
        });
        let error = error.expect_err(why);
        assert!(error.contains(why), "{name} {at}: {error}");
    }
}

pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    !crc
}

/// What a ROM takes for an image is signed as nothing else: a signature beside
/// the padded file would be the image's.
#[test]
fn an_image_is_one_however_odd_its_header() {
    let key = TestKey::load("p256");
    let plain = fixture("esp32/esp32c6.bin");
    for (at, value) in
        [(2, 0xff), (3, 0xff), (8, 0), (14, 0xff), (19, 1), (22, 0xff), (12, 63), (1, 16), (23, 0xff)]
    {
        let mut odd = plain.clone();
        odd[at] = value;
        assert_eq!(detect(&odd).unwrap().name(), "esp32", "{at}");
    }
    let format = find("esp32").unwrap();
    assert!(format.hashes_whole());
    for (at, value) in [(0, 0xe8), (0, 0xea), (1, 0), (1, 17), (12, 64), (13, 1)] {
        let mut other = plain.clone();
        other[at] = value;
        assert_eq!(detect(&other).unwrap().name(), "raw", "{at}");
        assert!(format.inspect(&other).is_err());
        assert!(matches!(make(&other, &key, "1.2.3", 7, &[]), Err(FormatError::Malformed { .. })));
    }
    // Without a hash of its own it is signed like the others.
    let mut bare = app(13, "1.2.3", 7);
    bare[23] = 0;
    let signed = make(&mended(bare), &key, "1.2.3", 7, &[]).unwrap();
    assert!(accepted(&signed, &key.public));
}
