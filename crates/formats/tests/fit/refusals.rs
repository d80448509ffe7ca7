//! What is not read, and what is not signed, each with its reason.

use crate::common::{TestKey, accepted, make};
use crate::peer::{SOURCE, Uboot};
use firmseal_formats::{Covered, FormatError, find, inspect};

/// The fixture's FIT, edited in its source and made by dtc, which checks
/// nothing of what mkimage does.
struct Edited<'a>(&'a Uboot);

impl Edited<'_> {
    /// A FIT that mkimage made, after fdtput.
    fn put(&self, fit: &[u8], lines: &[&str]) -> Vec<u8> {
        self.0.write("edited.itb", fit);
        for line in lines {
            let (options, rest) = line.split_once(" | ").unwrap_or(("", line));
            self.0.ok("fdtput", &format!("{options} edited.itb {rest}"));
        }
        self.0.openssl.read("edited.itb")
    }

    fn source(&self, from: &str, to: &str) -> Vec<u8> {
        let source = SOURCE.replace("SIGNATURE", "").replace("CONFIGURATIONS", "");
        assert!(source.contains(from));
        self.0.write("made.its", source.replacen(from, to, 1).as_bytes());
        self.0.ok("mkimage", "-f made.its made.itb");
        self.0.openssl.read("made.itb")
    }
}

#[test]
fn what_a_signature_would_not_protect_is_not_signed() {
    let uboot = Uboot::new();
    let (edited, key) = (Edited(&uboot), TestKey::load("rsa3072"));
    let plain = uboot.make("", "", "");
    let hash = "hash-1 { algo = \"sha256\"; };";
    let cases = [
        ("no hash", edited.source(hash, ""), "/images/kernel-1: an image has no hash"),
        ("a weak hash", edited.source("sha256", "sha1"), "is not SHA-256"),
        ("a checksum", edited.source("sha256", "crc32"), "is not SHA-256"),
        (
            "a weak hash beside a good one",
            edited.source(hash, "hash-1 { algo = \"sha256\"; }; hash-2 { algo = \"md5\"; };"),
            "/images/kernel-1/hash-2: an image has a hash that is not SHA-256",
        ),
        (
            "a hash that is ignored",
            edited.put(&plain, &["-t u | /images/kernel-1/hash-1 uboot-ignore 1"]),
            "told to ignore",
        ),
        (
            "a configuration of nothing",
            edited.put(&plain, &["-d | /configurations/conf-1 kernel", "-d | /configurations/conf-1 fdt"]),
            "uses no image",
        ),
        (
            "a node in a configuration",
            edited.put(&plain, &["-c | /configurations/conf-1/more"]),
            "no signature covers",
        ),
        ("a node in an image", edited.put(&plain, &["-c | /images/kernel-1/more"]), "no signature covers"),
        (
            "a node in a hash",
            edited.put(&plain, &["-c | /images/kernel-1/hash-1/more"]),
            "no signature covers",
        ),
        (
            "a name that is left out",
            edited.put(&plain, &["-t u | /configurations/conf-1 data-size 7"]),
            "leave out",
        ),
        ("no description", edited.put(&plain, &["-d | / description"]), "no description"),
        (
            "no configuration",
            edited.put(&plain, &["-r | /configurations/conf-1", "-d | /configurations default"]),
            "no configuration",
        ),
        (
            "a tree over the kernel",
            edited.put(&plain, &["-t x | /images/fdt-1 load 40080010"]),
            "/images/fdt-1: it is loaded over another image",
        ),
        (
            "a loadable under the kernel",
            edited.put(
                &plain,
                &["-t x | /images/fdt-2 load 0 4007fff8", "-t s | /configurations/conf-1 loadables fdt-2"],
            ),
            "/images/kernel-1: it is loaded over another image",
        ),
        (
            "many images",
            {
                let list = vec!["kernel-1"; 60].join(" ");
                edited.put(&plain, &[&format!("-t s | /configurations/conf-1 loadables {list}")])
            },
            "more images than U-Boot verifies",
        ),
    ];
    for (name, file, why) in cases {
        let error = make("fit", &file, &key, &[]).expect_err(name).to_string();
        assert!(error.contains(why), "{name}: {error}");
        assert!(inspect(&file).is_ok(), "{name}: it can be looked at");
    }
    // Overlays are not loaded, nor is what has zero for a place, or is for the
    // FPGA; an image may be named twice.
    let (fdt, conf) = ("-t x | /images/fdt-2", "-t s | /configurations/conf-1");
    for lines in [
        [format!("{fdt} load 40080000"), format!("{conf} fdt fdt-1 fdt-2")],
        [format!("{fdt} load 0"), format!("{conf} loadables fdt-2")],
        [format!("{fdt} load 40080000"), format!("{conf} fpga fdt-2")],
        [format!("{fdt} load 40080000"), format!("{conf} script fdt-2")],
        [format!("{conf} firmware kernel-1"), format!("{conf} loadables kernel-1")],
        [
            "-t x | /images/fdt-1 load 40080000".to_owned(),
            "-t s | /images/kernel-1 type kernel_noload".to_owned(),
        ],
    ] {
        let lines = lines.each_ref().map(String::as_str);
        let file = edited.put(&plain, &lines);
        assert!(accepted(&make("fit", &file, &key, &[]).unwrap(), &key.public), "{lines:?}");
    }
    for name in ["p384", "ed25519"] {
        let error = make("fit", &plain, &TestKey::load(name), &[]).unwrap_err();
        assert!(matches!(error, FormatError::KeyAlgorithm { .. }), "{name}");
    }
    for (name, value, why) in [
        ("padding", "pkcs-1.5", "use pkcs1 or pss"),
        ("key-name-hint", "a/b", "it names a node"),
        ("signature", "hash-1", "begins with `signature`"),
        ("timestamp", "2026-11-22", "use a number"),
        ("add-hashes", "yes", "use true or false"),
        ("append", "true", "not known here"),
    ] {
        let error = make("fit", &plain, &key, &[(name, value)]).unwrap_err().to_string();
        assert!(error.contains(why), "{name}: {error}");
    }
    let p256 = make("fit", &plain, &TestKey::load("p256"), &[("padding", "pss")]).unwrap_err().to_string();
    assert!(p256.contains("RSA keys alone"), "{p256}");
    // No room before the images.
    let tight = uboot.make("", "", "-E -p 0x600");
    let error = make("fit", &tight, &key, &[]).unwrap_err().to_string();
    assert!(error.contains("mkimage -E -p 0x1000"), "{error}");
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    let uboot = Uboot::new();
    let (edited, plain) = (Edited(&uboot), uboot.make("", "", ""));
    let outside = uboot.make("", "", "-E");
    let cases = [
        ("a unit address", edited.put(&plain, &["-c | /images/kernel-1@1"]), "unit address"),
        ("a unit address far away", edited.put(&plain, &["-c | /more@1"]), "unit address"),
        (
            "data in two places",
            edited.put(&plain, &["-t u | /images/kernel-1 data-offset 0"]),
            "more than one place",
        ),
        (
            "a size of data that is there",
            edited.put(&plain, &["-t u | /images/kernel-1 data-size 5"]),
            "more than one place",
        ),
        ("no data", edited.put(&outside, &["-d | /images/kernel-1 data-size"]), "no data"),
        ("data behind the file", placed(&outside, 264, 5000), "an image needs"),
        ("data beyond numbers", placed(&outside, 264, 0x8000_0000), "below 2 GiB"),
        ("data behind 2 GiB", placed(&outside, 264, 0x7fff_ff00), "behind 2 GiB"),
        ("overlapping data", placed(&outside, 264, 4), "overlap"),
        ("data in the tree", placed(&uboot.make("", "", "-E -p 0x2000"), 0x2000, 64), "lies in the tree"),
        (
            "a default that is not there",
            edited.put(&plain, &["-t s | /configurations default conf-9"]),
            "default",
        ),
        (
            "a default of two names",
            edited.put(&plain, &["-t s | /configurations default conf-1 x"]),
            "is no name",
        ),
        (
            "an image that is not there",
            edited.put(&plain, &["-t s | /configurations/conf-1 fdt x"]),
            "not there",
        ),
        (
            "names that are none",
            edited.put(&plain, &["-t u | /configurations/conf-1 fdt 1"]),
            "no list of names",
        ),
        ("a hash without a value", edited.put(&plain, &["-d | /images/fdt-2/hash-1 value"]), "no value"),
        (
            "a hash without an algorithm",
            edited.put(&plain, &["-d | /images/fdt-2/hash-1 algo"]),
            "no algorithm",
        ),
        (
            "a damaged image",
            edited.put(&plain, &["-t bx | /images/fdt-2 data 1 2"]),
            "does not match its sha256",
        ),
        (
            "a load address of three words, which U-Boot takes",
            edited.put(&plain, &["-t x | /images/kernel-1 load 0 0 40080000"]),
            "image kernel-1: `load` has neither one word nor two",
        ),
    ];
    for (name, file, why) in cases {
        let error = find("fit").unwrap().inspect(&file).expect_err(name).to_string();
        assert!(error.contains(why), "{name}: {error}");
        assert_eq!(firmseal_formats::detect(&file).unwrap().name(), "fit", "{name}");
    }
}

/// U-Boot would verify it, load both and start what is left.
#[test]
fn what_somebody_signed_over_itself_is_not_believed() {
    let uboot = Uboot::new();
    uboot.signed("rsa3072", "", "");
    let over = SOURCE.replace("type = \"flat_dt\"; arch", "load = <0x40080000>; type = \"flat_dt\"; arch");
    let signature = "signature-1 { algo = \"sha256,rsa3072\"; key-name-hint = \"rsa3072\"; \
                     sign-images = \"kernel\", \"fdt\"; };";
    let over = over.replace("SIGNATURE", signature).replace("CONFIGURATIONS", "");
    uboot.write("over.its", over.as_bytes());
    uboot.ok("mkimage", "-f over.its -k . over.itb");
    let file = uboot.openssl.read("over.itb");
    assert!(uboot.accepts(&file, "rsa3072.dtb"));
    let read = inspect(&file).unwrap();
    assert_eq!(
        read.signatures[0].covered,
        Covered::Unknown("it is loaded over another image of its configuration")
    );
    let note = read.notes.iter().find(|note| note.name == "loaded over each other in conf-1").unwrap();
    assert!(note.value.starts_with("kernel-1 and fdt-1: "), "{}", note.value);
}

/// A FIT with images outside of its tree, one of them at another place:
/// fdtput would leave out what lies behind the tree.
fn placed(fit: &[u8], from: u32, to: u32) -> Vec<u8> {
    let from = from.to_be_bytes();
    // A size may be the same number; the place stands behind it.
    let at = (56..fit.len() - 4).step_by(4).rfind(|at| fit[*at..*at + 4] == from).unwrap();
    let mut file = fit.to_vec();
    file[at..at + 4].copy_from_slice(&to.to_be_bytes());
    file
}

/// The layout of dtc: header, reserved memory at 40, structures at 56.
#[test]
fn trees_that_are_none_are_refused() {
    let uboot = Uboot::new();
    let plain = uboot.make("", "", "");
    let word = |at: usize| u32::from_be_bytes(plain[at..at + 4].try_into().unwrap());
    let set = |at: usize, value: u32| {
        let mut file = plain.clone();
        file[at..at + 4].copy_from_slice(&value.to_be_bytes());
        file
    };
    let (structure, strings) = (word(8), word(12));
    let end = (structure + word(36)) as usize;
    let cases = [
        ("an old version", set(20, 16), "version 17"),
        ("a newer one", set(24, 17), "version 17"),
        ("longer than the file", set(4, plain.len() as u32 + 1), "the tree needs"),
        ("longer than 256 MiB", set(4, 0x1000_0001), "longer than 256 MiB"),
        ("structures outside", set(8, plain.len() as u32 & !3), "do not lie in it"),
        ("structures in the header", set(8, 36), "do not lie in it"),
        ("structures on no word", set(8, structure + 2), "do not lie in it"),
        ("strings in structures", set(12, strings - 4), "overlap"),
        ("reserved memory in structures", set(16, structure), "overlap"),
        ("reserved memory", set(40, 7), "overlap"),
        ("strings without an end", set(32, word(32) - 1), "end with a zero"),
        ("structures that end early", set(36, word(36) - 4), "ends in the middle"),
        ("a second root", set(end - 4, 1), "second root"),
        ("an unknown token", set(end - 4, 7), "no sense"),
        ("a token that says nothing", set(end - 4, 4), "edited in place"),
        ("a property with no name", set(structure as usize + 16, 0xffff), "no name"),
        ("a root with a name", set(structure as usize + 4, 0x6100_0000), "root has a name"),
    ];
    for (name, file, why) in cases {
        let error = find("fit").unwrap().inspect(&file).expect_err(name).to_string();
        assert!(error.contains(why), "{name}: {error}");
    }
}

/// CVE-2026-46728: `hashed-nodes` names clones of the images, and the images
/// themselves are others. mkimage and U-Boot before 2026 believe it.
#[test]
fn nodes_that_a_list_leaves_out_are_not_covered() {
    let uboot = Uboot::new();
    let (edited, key) = (Edited(&uboot), TestKey::load("rsa3072"));
    let signed = make("fit", &uboot.make("", "", ""), &key, &[]).unwrap();
    assert!(accepted(&signed, &key.public));
    let node = "/configurations/conf-1/signature-1";
    for (name, lines) in [
        (
            "a list without the tree",
            vec![format!(
                "-t s | {node} hashed-nodes / /configurations/conf-1 /images/kernel-1 /images/kernel-1/hash-1"
            )],
        ),
        ("no list", vec![format!("-d | {node} hashed-nodes")]),
        ("no strings", vec![format!("-d | {node} hashed-strings")]),
        ("a short list of strings", vec![format!("-t u | {node} hashed-strings 0 8")]),
        ("another place of strings", vec![format!("-t u | {node} hashed-strings 4 8")]),
        ("a padding of no kind", vec![format!("-t s | {node} padding none")]),
        ("another algorithm", vec![format!("-t s | {node} algo sha1,rsa3072")]),
        ("a property more", vec!["-t s | /configurations/conf-1 os x".to_owned()]),
    ] {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let file = edited.put(&signed, &lines);
        assert!(!accepted(&file, &key.public), "{name}");
        let read = inspect(&file).unwrap();
        let unknown = matches!(read.signatures[0].covered, Covered::Unknown(_));
        assert_eq!(unknown, name != "a property more", "{name}");
    }
    // mkimage signs what it is told to; what the configuration uses besides
    // is covered by nothing.
    uboot.signed("rsa3072", "", "");
    let half =
        "signature-1 { algo = \"sha256,rsa3072\"; key-name-hint = \"rsa3072\"; sign-images = \"kernel\"; };";
    let half = uboot.make(half, "", "-k .");
    assert!(!accepted(&half, &key.public));
    assert!(!uboot.accepts(&half, "rsa3072.dtb"));
    let whole = make("fit", &half, &key, &[]).unwrap();
    assert!(accepted(&whole, &key.public) && uboot.accepts(&whole, "rsa3072.dtb"));
}

/// A file of just what U-Boot hashes, signed for a product of another
/// format, would be a FIT's signature.
#[test]
fn what_uboot_hashes_is_signed_by_nobody() {
    let uboot = Uboot::new();
    let key = TestKey::load("rsa3072");
    let signed = make("fit", &uboot.make("", "", ""), &key, &[]).unwrap();
    let file = crate::regions::hashed(&uboot, &signed, "conf-1", "signature-1");
    let refused = make("raw", &file, &key, &[]);
    assert!(matches!(refused, Err(FormatError::Inner { .. })));
    assert!(matches!(firmseal_formats::detect(&file), Err(FormatError::Inner { .. })));
}
