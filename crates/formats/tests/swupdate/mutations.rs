//! Mutations: we never accept what swupdate refuses (THREATS 16: two parsers
//! disagree).

use crate::HERE;
use crate::common::{OpenSsl, Random, TestKey, accepted, make, mutate};
use crate::peer::{Device, IMAGE, SCRIPT, TAKEN, archive, json, libconfig, package};

fn count() -> usize {
    std::env::var("FIRMSEAL_MUTATIONS").map_or(20, |text| text.parse().expect("a number"))
}

/// Some of many, in equal steps.
fn some<T>(all: Vec<T>, count: usize) -> Vec<T> {
    let step = (all.len() / count.max(1)).max(1);
    all.into_iter().step_by(step).collect()
}

/// Each number of each header, each boundary of header, name and file.
fn boundaries(good: &[u8]) -> Vec<Vec<u8>> {
    let starts: Vec<usize> = (0..good.len()).filter(|at| good[*at..].starts_with(b"070702")).collect();
    let mut out = Vec::new();
    let mut edited = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.to_vec();
        edit(&mut bytes);
        if bytes != good {
            out.push(bytes);
        }
    };
    for (index, start) in starts.iter().copied().enumerate() {
        for at in (start + 6..start + 110).step_by(8) {
            let now = u32::from_str_radix(std::str::from_utf8(&good[at..at + 8]).unwrap(), 16).unwrap();
            for value in [0, 1, now ^ 1, now.wrapping_add(1), now.wrapping_sub(1), now << 1, u32::MAX] {
                edited(&|bytes| bytes[at..at + 8].copy_from_slice(format!("{value:08X}").as_bytes()));
            }
            edited(&|bytes| bytes[at] = b' ');
        }
        edited(&|bytes| bytes[start + 5] = b'1');
        for at in [start, start + 6, start + 110] {
            edited(&|bytes| bytes.truncate(at));
            edited(&|bytes| bytes.insert(at, 0));
            edited(&|bytes| drop(bytes.splice(at..at, [0; 4])));
            edited(&|bytes| drop(bytes.splice(at..at, *b"xxxx")));
        }
        let Some(end) = starts.get(index + 1).copied() else { continue };
        // Gone, doubled, and in the place of the next one.
        edited(&|bytes| drop(bytes.drain(start..end)));
        edited(&|bytes| drop(bytes.splice(end..end, good[start..end].to_vec())));
        edited(&|bytes| bytes[end - 1] ^= 1);
        if let Some(after) = starts.get(index + 2).copied() {
            edited(&|bytes| bytes[start..after].rotate_left(end - start));
        }
    }
    out
}

/// One or two changes of a text: pieces that are gone, doubled or replaced.
fn altered(text: &str, random: &mut Random) -> String {
    const WORDS: [&str; 26] = [
        "",
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        ";",
        ",",
        ":",
        "=",
        "\"",
        "\\",
        "\n",
        "#",
        "//",
        "/*",
        "*/",
        "@include \"x\"\n",
        "0x1F",
        "1L",
        "true",
        "null",
        "\\u0031",
        "version",
        "filename",
    ];
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=random.below(2) {
        let at = random.below(bytes.len());
        let end = (at + random.below(12)).min(bytes.len());
        let piece = bytes[at..end].to_vec();
        match random.below(4) {
            0 => drop(bytes.drain(at..end)),
            1 => drop(bytes.splice(at..at, piece)),
            _ => drop(bytes.splice(at..end.min(at + 1), WORDS[random.below(WORDS.len())].bytes())),
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// Why a device passes over what is well formed and signed: it is another
/// device, built without the handler that a package wants, or with one that
/// wants a file where the entry names none.
const NOT_THIS_DEVICE: [&str; 6] = [
    "SW not compatible with hardware",
    "HW compatibility not found",
    "is absent!",
    "bootloader support absent",
    "Found nothing to install",
    "Hash not set for  Type",
];

/// Has swupdate judge what we accept; how many it takes.
fn judge(packages: &[Vec<u8>], openssl: &OpenSsl, key: &TestKey) -> usize {
    let device = Device::new(openssl);
    let taken = packages.iter().filter(|file| {
        let log = device.log(file, &key.name, HERE);
        let taken = log.contains(TAKEN);
        let known = NOT_THIS_DEVICE.iter().any(|why| log.contains(why));
        assert!(taken || known, "swupdate refuses {}\n{log}", file.escape_ascii());
        taken
    });
    taken.count()
}

#[test]
fn an_archive_that_we_accept_swupdate_accepts() {
    let openssl = OpenSsl::new(&["p256"]);
    let (key, certificate) = (TestKey::load("p256"), openssl.text("p256.crt"));
    let plain = package("070702", &libconfig("1.0.0"));
    let good = make("swupdate", &plain, &key, &[("certificate", &certificate)]).unwrap();
    let mut packages = boundaries(&good);
    packages.extend((0..1000).map(|seed| {
        let mut bytes = good.clone();
        mutate(&mut bytes, &mut Random(seed));
        bytes
    }));
    packages.retain(|file| *file != good);
    assert!(packages.len() > 1000);
    // What we refuse is nobody's concern.
    packages.retain(|file| accepted(file, &key.public));
    let packages = some(packages, count());
    assert_eq!(judge(&packages, &openssl, &key), packages.len());
}

#[test]
fn a_description_that_we_accept_swupdate_accepts() {
    let openssl = OpenSsl::new(&["p256"]);
    let key = TestKey::load("p256");
    let signed = |text: &str| {
        openssl.write("sw-description", text.as_bytes());
        openssl.ok("cms -sign -binary -nosmimecap -in sw-description -signer p256.crt -inkey p256.pem -outform DER -out s");
        let signature = openssl.read("s");
        archive(
            "070702",
            &[
                ("sw-description", text.as_bytes()),
                ("sw-description.sig", &signature),
                ("rootfs.img", IMAGE),
                ("after.sh", SCRIPT),
            ],
        )
    };
    let mut packages = vec![signed(&libconfig("1.0.0")), signed(&json("1.0.0"))];
    // What libconfig has besides.
    for (from, to) in [
        (";", ""),
        (";", ","),
        ("\"1.0.0\"", "\"1.\" /* and */ \"0\"\n\".0\""),
        ("\"one\"", "\"o\\x6ee\\t\\\"\""),
        ("version", "a = [ 1, -2 ]; b = 0xFFFFFFFF; c = 0xFFFFFFFFFFL; d = 1.5; e = FALSE; f = (); version"),
        ("software = {", "# one\n// two\nsoftware: {"),
    ] {
        packages.push(signed(&libconfig("1.0.0").replace(from, to)));
    }
    assert_eq!(judge(&packages, &openssl, &key), packages.len());
    let packages: Vec<_> = (0..4 * count() as u64)
        .map(|seed| {
            let mut random = Random(seed);
            let text = [libconfig("1.0.0"), json("1.0.0")][random.below(2)].clone();
            signed(&altered(&text, &mut random))
        })
        .filter(|file| accepted(file, &key.public))
        .collect();
    judge(&packages, &openssl, &key);
}
