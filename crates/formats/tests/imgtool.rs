//! imgtool 2.5 as the judge: it accepts what we sign and refuses what was
//! changed; we read what it signs; where signing is deterministic, both
//! make the same file.
//!
//! It lives in a Python environment at `FIRMSEAL_VENV`, or target/venv.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::{Random, TestKey, accepted, fixture, fixture_path, mutate, sign};

struct Imgtool {
    bin: PathBuf,
    dir: tempfile::TempDir,
}

impl Imgtool {
    fn new() -> Imgtool {
        let venv = std::env::var_os("FIRMSEAL_VENV")
            .map(PathBuf::from)
            .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/venv"));
        let bin = venv.join("bin");
        assert!(bin.join("imgtool").exists(), "imgtool is not in {}: run `cargo xtask setup`", bin.display());
        let this = Imgtool { bin, dir: tempfile::tempdir().unwrap() };
        for name in common::ALGORITHMS.iter().flat_map(|name| [(*name).to_owned(), format!("other-{name}")]) {
            for (public, suffix) in [(false, "pem"), (true, "pub.pem")] {
                let mut openssl = Command::new("openssl");
                openssl.args(["pkey", "-inform", "DER", "-in"]).arg(fixture_path(&format!("keys/{name}.p8")));
                openssl.arg("-out").arg(this.path(&format!("{name}.{suffix}")));
                openssl.args(public.then_some("-pubout"));
                assert!(openssl.status().expect("openssl is installed").success());
            }
        }
        this
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(self.bin.join("imgtool")).args(args).output().unwrap()
    }

    fn verify(&self, key: &str, image: &[u8]) -> Result<String, String> {
        let image = self.write("verify.bin", image);
        let key = self.path(&format!("{key}.pub.pem"));
        let out = self.run(&["verify", "-k", key.to_str().unwrap(), image.to_str().unwrap()]);
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        if out.status.success() { Ok(text) } else { Err(text) }
    }

    fn sign(&self, key: &str, version: &str, counter: &str, args: &[&str], firmware: &Path) -> Vec<u8> {
        let (key, out) = (self.path(&format!("{key}.pem")), self.path("signed.bin"));
        let mut all = vec!["sign", "-k", key.to_str().unwrap(), "-v", version, "-s", counter];
        all.extend(args);
        all.extend([firmware.to_str().unwrap(), out.to_str().unwrap()]);
        let result = self.run(&all);
        assert!(result.status.success(), "{}", String::from_utf8_lossy(&result.stderr));
        std::fs::read(out).unwrap()
    }

    /// `Image.verify` on many files in one process: one verdict for each.
    /// A Python exception is a refusal.
    fn verify_all(&self, key: &str, images: &[Vec<u8>]) -> Vec<bool> {
        const SCRIPT: &str = "
import sys
from imgtool import image, keys
key = keys.load(sys.argv[1])
for line in sys.stdin:
    try:
        ok = image.Image.verify(line.strip(), key)[0] == image.VerifyResult.OK
    except Exception:
        ok = False
    print(int(ok))
";
        let names: String = images
            .iter()
            .enumerate()
            .map(|(index, image)| format!("{}\n", self.write(&format!("{index}.bin"), image).display()))
            .collect();
        let list = self.write("list", names.as_bytes());
        let out = Command::new(self.bin.join("python"))
            .args(["-c", SCRIPT])
            .arg(self.path(&format!("{key}.pub.pem")))
            .stdin(std::fs::File::open(list).unwrap())
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().lines().map(|line| line == "1").collect()
    }
}

const SLOT: &[(&str, &str)] = &[("header-size", "64"), ("slot-size", "0x1000")];

#[test]
fn imgtool_accepts_ours_and_refuses_tampered_and_foreign() {
    let imgtool = Imgtool::new();
    for name in common::ALGORITHMS {
        let good = sign(&fixture("firmware.bin"), &TestKey::load(name), "1.2.3+4", 7, SLOT).unwrap();
        let text = imgtool.verify(name, &good).unwrap_or_else(|text| panic!("{name}: {text}"));
        assert!(text.contains("Image version: 1.2.3+4"), "{text}");
        assert!(imgtool.verify(&format!("other-{name}"), &good).is_err(), "{name}: foreign key");
        let changed = |at: usize| {
            let mut bad = good.clone();
            bad[at] ^= 1;
            bad
        };
        assert!(imgtool.verify(name, &changed(100)).is_err(), "{name}: tampered");
        // Version, security counter, digest, signature.
        let bad: Vec<_> =
            [20, 64 + 200 + 8, 64 + 200 + 12 + 8, good.len() - 1].into_iter().map(changed).collect();
        assert_eq!(imgtool.verify_all(name, &bad), [false; 4], "{name}");
    }
}

#[test]
fn imgtool_reads_back_version_and_counter() {
    let imgtool = Imgtool::new();
    let good =
        sign(&fixture("firmware.bin"), &TestKey::load("p256"), "200.100.50000+3000000000", 0xfedc_ba98, SLOT)
            .unwrap();
    let image = imgtool.write("info.bin", &good);
    let out = imgtool.run(&["dumpinfo", "-f", "json", image.to_str().unwrap()]);
    let info: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let text = info.to_string();
    assert!(text.contains("200.100.50000+3000000000"), "{text}");
    let counter = info["tlv_area"]["tlvs_prot"][0].to_string();
    assert!(counter.contains("SEC_CNT"), "{counter}");
    assert!(counter.contains("98badcfe") || counter.contains("[152,186,220,254]"), "{counter}");
}

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
        ],
        &[
            ("header-size", "64"),
            ("slot-size", "0x1000"),
            ("vid", "12345678-1234-5678-1234-567812345678"),
            ("cid", "87654321-4321-8765-4321-876543218765"),
        ],
    ),
];

/// The image without the value of its last TLV (the signature) and without
/// the two lengths that depend on it.
fn without_signature(image: &[u8]) -> Vec<u8> {
    let u16_at = |at: usize| usize::from(u16::from_le_bytes([image[at], image[at + 1]]));
    let image_size = u32::from_le_bytes([image[12], image[13], image[14], image[15]]) as usize;
    let area = u16_at(8) + image_size + u16_at(10);
    let key_hash = area + 4 + 4 + u16_at(area + 6);
    let signature = key_hash + 4 + u16_at(key_hash + 2);
    assert_eq!(signature + 4 + u16_at(signature + 2), image.len());
    let mut out = image[..signature + 2].to_vec();
    out[area + 2..area + 4].fill(0);
    out
}

#[test]
fn both_make_the_same_file() {
    let imgtool = Imgtool::new();
    let firmware = fixture_path("firmware.bin");
    for name in common::ALGORITHMS {
        let key = TestKey::load(name);
        for (args, parameters) in SHAPES {
            let theirs = imgtool.sign(name, "1.2.3+4", "7", args, &firmware);
            let ours = sign(&fixture("firmware.bin"), &key, "1.2.3+4", 7, parameters).unwrap();
            if name == "ed25519" {
                assert_eq!(ours, theirs, "{args:?}");
            }
            assert_eq!(without_signature(&ours), without_signature(&theirs), "{name} {args:?}");
            let (ours, theirs) =
                (firmseal_formats::inspect(&ours).unwrap(), firmseal_formats::inspect(&theirs).unwrap());
            assert_eq!(ours.digest(), theirs.digest());
            assert_eq!(ours.notes, theirs.notes);
            assert_eq!(ours.signatures[0].covered, theirs.signatures[0].covered);
            assert_eq!(ours.signatures[0].claim, theirs.signatures[0].claim);
        }
    }
}

#[test]
fn slots_are_too_small_for_both_at_the_same_size() {
    let imgtool = Imgtool::new();
    let firmware = fixture_path("firmware.bin");
    for extra in [&[][..], &["--align", "8"], &["--align", "16"], &["--overwrite-only"], &["-M", "5"]] {
        let parameters = |slot: &str| {
            let mut all =
                vec![("header-size".to_owned(), "64".to_owned()), ("slot-size".to_owned(), slot.to_owned())];
            match extra {
                ["--align", align] => all.push(("align".to_owned(), (*align).to_owned())),
                ["--overwrite-only"] => all.push(("overwrite-only".to_owned(), "true".to_owned())),
                ["-M", sectors] => all.push(("max-sectors".to_owned(), (*sectors).to_owned())),
                _ => {}
            }
            all
        };
        let fits = |slot: u64| {
            let slot = slot.to_string();
            let all = parameters(&slot);
            let all: Vec<_> = all.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            sign(&fixture("firmware.bin"), &TestKey::load("ed25519"), "1.0.0", 7, &all).is_ok()
        };
        let smallest = (420..20_000).find(|slot| fits(*slot)).unwrap();
        let (key, out) = (imgtool.path("ed25519.pem"), imgtool.path("slot.bin"));
        for (slot, expected) in [(smallest - 1, false), (smallest, true)] {
            let slot = slot.to_string();
            let mut args =
                vec!["sign", "-k", key.to_str().unwrap(), "-v", "1.0.0", "-s", "7", "-H", "64", "-S", &slot];
            args.extend(extra);
            args.extend([firmware.to_str().unwrap(), out.to_str().unwrap()]);
            assert_eq!(imgtool.run(&args).status.success(), expected, "{extra:?} {slot}");
        }
    }
}

/// THREATS 16: two parsers disagree. We never accept what imgtool refuses.
#[test]
fn we_never_accept_what_imgtool_refuses() {
    let rounds =
        std::env::var("FIRMSEAL_FUZZ_ITERATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(20_000);
    let imgtool = Imgtool::new();
    for name in common::ALGORITHMS {
        let key = TestKey::load(name);
        let good = fixture(&format!("mcuboot/{name}.bin"));
        let mut images = vec![good.clone()];
        for seed in 0..rounds / 100 {
            let mut bytes = good.clone();
            mutate(&mut bytes, &mut Random(seed));
            // Mutants that keep their digest get further than the rest.
            if seed % 2 == 0 && bytes.len() == good.len() {
                bytes[..276].copy_from_slice(&good[..276]);
            }
            images.push(bytes);
        }
        let verdicts = imgtool.verify_all(name, &images);
        assert_eq!(verdicts.len(), images.len());
        assert!(verdicts[0] && accepted(&images[0], &key.public));
        for (image, theirs) in images.iter().zip(verdicts) {
            assert!(theirs || !accepted(image, &key.public), "{name}: imgtool refuses {image:02x?}");
        }
    }
}
