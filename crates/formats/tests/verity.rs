//! fs-verity and dm-verity: `fsverity` and `veritysetup` say what the kernel
//! computes, OpenSSL verifies the signatures over it.
//!
//! `FIRMSEAL_MUTATIONS` sets how many mutations are given to both (20 if not
//! set).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::process::Command;

use common::{OpenSsl, Random, TestKey, flip_each, make, mutate, verifies};
use firmseal_formats::{FormatError, Inspection, find};

const BLOCK: usize = 4096;

fn inspect(format: &str, file: &[u8]) -> Result<Inspection, FormatError> {
    find(format).unwrap().inspect(&file.to_vec())
}

fn read(format: &str, signature: &[u8], file: &[u8]) -> Result<Inspection, FormatError> {
    find(format).unwrap().beside().unwrap().read(&signature.to_vec(), &file.to_vec())
}

fn we_take(format: &str, signature: &[u8], file: &[u8], key: &TestKey) -> bool {
    read(format, signature, file)
        .is_ok_and(|read| read.signatures.iter().any(|own| verifies(own, &key.public)))
}

fn field(inspection: &Inspection, name: &str) -> String {
    inspection.fields.iter().find(|field| field.name == name).unwrap().value.clone()
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    (0..len).map(|_| random.next() as u8).collect()
}

/// Has OpenSSL verify a signature over a content.
fn openssl_takes(openssl: &OpenSsl, signature: &[u8], content: &[u8], authority: &str) -> bool {
    openssl.write("verify.p7s", signature);
    openssl.write("verify.bin", content);
    let line = format!(
        "cms -verify -binary -inform DER -in verify.p7s -content verify.bin -CAfile {authority}.crt -purpose any \
         -out /dev/null"
    );
    openssl.run(&line).status.success()
}

/// A tool's output, if it was content.
fn run(openssl: &OpenSsl, program: &str, line: &str) -> Option<String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new(program);
    command.args(line.split_whitespace()).current_dir(openssl.dir.path());
    let out = command.env("PATH", format!("{path}:/usr/sbin:/sbin")).output();
    let out = out.unwrap_or_else(|error| panic!("{program}: {error}: run `cargo xtask setup`"));
    out.status.success().then(|| String::from_utf8(out.stdout).unwrap())
}

/// The digest of a file that the kernel would compute.
fn fsverity(openssl: &OpenSsl, file: &[u8]) -> String {
    openssl.write("file.bin", file);
    run(openssl, "fsverity", "digest --compact file.bin").unwrap().trim().to_owned()
}

/// An image with its tree, and the root that veritysetup tells.
fn formatted(openssl: &OpenSsl, data: &[u8], more: &str) -> (Vec<u8>, String) {
    openssl.write("image", data);
    let line = format!("format {more} --hash-offset={} image image", data.len());
    let said = run(openssl, "veritysetup", &line).unwrap();
    let root = said.lines().find_map(|line| line.strip_prefix("Root hash:")).unwrap().trim().to_owned();
    (openssl.read("image"), root)
}

#[test]
fn digests_are_those_of_fsverity() {
    let openssl = OpenSsl::new(&[]);
    let full = 128 * BLOCK;
    for len in [1, BLOCK - 1, BLOCK, BLOCK + 1, full - 1, full, full + 1, 2 * full, 3 * full + 77] {
        let file = noise(len, len as u64);
        let digest = field(&inspect("fsverity", &file).unwrap(), "fs-verity digest");
        assert_eq!(digest, format!("sha256:{}", fsverity(&openssl, &file)), "{len}");
    }
    // Three levels, the last of which has one digest in its last block.
    let file = noise(128 * full + 1, 7);
    let digest = field(&inspect("fsverity", &file).unwrap(), "fs-verity digest");
    assert_eq!(digest, format!("sha256:{}", fsverity(&openssl, &file)));
    assert!(inspect("fsverity", &[]).is_err());
}

#[test]
fn a_signature_over_a_file_is_what_the_kernel_is_given() {
    let openssl = OpenSsl::new(&["rsa3072", "p256", "ed25519", "other-p256"]);
    let file = noise(70_000, 1);
    for name in ["rsa3072", "p256"] {
        let (key, certificate) = (TestKey::load(name), openssl.text(&format!("{name}.crt")));
        let signature = make("fsverity", &file, &key, &[("certificate", &certificate)]).unwrap();
        let digest = openssl_digest(&fsverity(&openssl, &file));
        assert!(we_take("fsverity", &signature, &file, &key));
        assert!(openssl_takes(&openssl, &signature, &digest, name));
        assert!(!openssl_takes(&openssl, &signature, &digest, "other-p256"));
        assert!(!we_take("fsverity", &signature, &file, &TestKey::load("other-p256")));
        let mut tampered = file.clone();
        tampered[69_999] ^= 1;
        assert!(!we_take("fsverity", &signature, &tampered, &key));
        assert!(!we_take("fsverity", &signature, &file[..69_999], &key));
        // Of the kernel's limit for a signature, FS_VERITY_MAX_SIGNATURE_SIZE.
        assert!(signature.len() < 16_128);
    }
    // The kernel knows no others.
    let (key, certificate) = (TestKey::load("ed25519"), openssl.text("ed25519.crt"));
    let refused = make("fsverity", &file, &key, &[("certificate", &certificate)]);
    assert!(matches!(refused, Err(FormatError::KeyAlgorithm { .. })));
    // Another format's signature is none over what this one signs.
    let (key, certificate) = (TestKey::load("p256"), openssl.text("p256.crt"));
    let other = make("cms", &file, &key, &[("certificate", &certificate)]).unwrap();
    assert!(!we_take("fsverity", &other, &file, &key));
}

/// `struct fsverity_formatted_digest`.
fn openssl_digest(hex: &str) -> Vec<u8> {
    let digest = (0..64).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
    b"FSVerity\x01\0\x20\0".iter().copied().chain(digest).collect()
}

#[test]
fn what_is_signed_here_is_no_file_for_cms() {
    let openssl = OpenSsl::new(&["p256"]);
    let (key, certificate) = (TestKey::load("p256"), openssl.text("p256.crt"));
    let sha1 = "a".repeat(40);
    let root = "0123456789abcdefABCDEF0123456789abcdef0123456789abcdef0123456789";
    let contents = [openssl_digest(root), root.into(), sha1.into(), b"FSVerity\x02\0\x40\0etc".to_vec()];
    for content in contents {
        let refused = make("cms", &content, &key, &[("certificate", &certificate)]);
        assert!(matches!(refused, Err(FormatError::Inner { .. })), "{content:?}");
    }
    let sums = format!("{root}  image.bin\n").into_bytes();
    assert!(make("cms", &sums, &key, &[("certificate", &certificate)]).is_ok(), "a list of sums is a file");
}

#[test]
fn a_signature_over_an_image_is_over_its_root() {
    let openssl = OpenSsl::new(&["rsa3072", "p256", "other-p256"]);
    for blocks in [2, 128, 129, 700] {
        let (image, root) = formatted(&openssl, &noise(blocks * BLOCK, blocks as u64), "");
        assert_eq!(field(&inspect("dmverity", &image).unwrap(), "root hash"), root, "{blocks}");
        for name in ["rsa3072", "p256"] {
            let (key, certificate) = (TestKey::load(name), openssl.text(&format!("{name}.crt")));
            let signature = make("dmverity", &image, &key, &[("certificate", &certificate)]).unwrap();
            assert!(we_take("dmverity", &signature, &image, &key));
            assert!(openssl_takes(&openssl, &signature, root.as_bytes(), name));
            assert!(!openssl_takes(&openssl, &signature, root.as_bytes(), "other-p256"));
            assert!(!we_take("dmverity", &signature, &image, &TestKey::load("other-p256")));
            let (other, _) = formatted(&openssl, &noise(blocks * BLOCK, 99), "");
            assert!(!we_take("dmverity", &signature, &other, &key), "another image");
        }
    }
}

#[test]
fn what_is_no_image_or_in_two_ways_is_refused() {
    let openssl = OpenSsl::new(&[]);
    let data = noise(130 * BLOCK, 3);
    let (image, _) = formatted(&openssl, &data, "");
    let at = data.len();
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut image = image.clone();
        change(&mut image);
        inspect("dmverity", &image).err().map(|error| error.to_string()).unwrap_or_default()
    };
    type Change<'a> = &'a dyn Fn(&mut Vec<u8>);
    let cases: [(&str, Change<'_>); 10] = [
        ("no superblock", &|image| image[at] ^= 1),
        ("no superblock", &|image| image[at + 72] ^= 1),
        ("version", &|image| image[at + 8] = 2),
        ("sha256", &|image| image[at + 37] = b'7'),
        ("4096", &|image| image[at + 69] = 8),
        ("salt", &|image| image[at + 80] = 31),
        ("end", &|image| image.extend([0; BLOCK])),
        ("end", &|image| image.truncate(at + 2 * BLOCK)),
        ("two superblocks", &|image| {
            let mut second = image[at..at + BLOCK].to_vec();
            second[72] = 5;
            image[5 * BLOCK..6 * BLOCK].copy_from_slice(&second);
        }),
        ("two superblocks", &|image| {
            let mut second = image[at..at + BLOCK].to_vec();
            second[72..80].copy_from_slice(&131u64.to_le_bytes());
            image[at + BLOCK..at + 2 * BLOCK].copy_from_slice(&second);
        }),
    ];
    for (word, change) in cases {
        let told = with(change);
        assert!(told.contains(word), "{word}: {told}");
    }
    for more in ["--hash=sha512", "--data-block-size=1024", "--salt=-", "--format=0"] {
        let (other, _) = formatted(&openssl, &data, more);
        assert!(inspect("dmverity", &other).is_err(), "{more}");
    }
    // An image within the data says of itself that it stands elsewhere.
    let (outer, root) = formatted(&openssl, &[&data[..BLOCK], &image].concat(), "");
    assert_eq!(field(&inspect("dmverity", &outer).unwrap(), "root hash"), root);
}

fn mutations() -> usize {
    std::env::var("FIRMSEAL_MUTATIONS").map_or(20, |text| text.parse().expect("a number"))
}

/// Mutations of a file and of its signature: of every file both compute the same
/// digest, and what we take OpenSSL takes over fsverity's.
#[test]
fn what_fsverity_and_openssl_refuse_we_do_not_accept() {
    let openssl = OpenSsl::new(&["p256"]);
    let (key, certificate) = (TestKey::load("p256"), openssl.text("p256.crt"));
    let file = noise(3 * BLOCK + 5, 8);
    let good = make("fsverity", &file, &key, &[("certificate", &certificate)]).unwrap();
    let judge = |signature: &[u8], file: &[u8], what: &str| {
        let digest = fsverity(&openssl, file);
        let own = inspect("fsverity", file).unwrap();
        assert_eq!(field(&own, "fs-verity digest"), format!("sha256:{digest}"), "{what}");
        let ours = we_take("fsverity", signature, file, &key);
        assert!(!ours || openssl_takes(&openssl, signature, &openssl_digest(&digest), "p256"), "{what}");
        ours
    };
    assert!(judge(&good, &file, "good"));
    // Lengths: what is behind the last byte is zeros to the tree.
    for len in [1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, file.len() - 1] {
        assert!(!judge(&good, &file[..len], &format!("cut at {len}")));
    }
    for more in [1, BLOCK - 5, BLOCK, 130 * BLOCK] {
        assert!(!judge(&good, &[&file[..], &vec![0; more]].concat(), &format!("{more} more")));
    }
    for seed in 0..mutations() as u64 {
        let mut bytes = file.clone();
        mutate(&mut bytes, &mut Random(seed));
        if !bytes.is_empty() {
            assert_eq!(judge(&good, &bytes, &format!("seed {seed}")), bytes == file, "seed {seed}");
        }
    }
    // The certificate says which key signed, and is not what is believed here.
    openssl.ok("x509 -in p256.crt -outform DER -out p256.der");
    let own = openssl.read("p256.der");
    let start = good.windows(own.len()).position(|window| window == own).unwrap();
    let behind = start + own.len();
    let digest = openssl_digest(&fsverity(&openssl, &file));
    let judge = |signature: &[u8], what: &str| {
        let ours = we_take("fsverity", signature, &file, &key);
        let same = signature.starts_with(&good[..start]) && signature[start..].ends_with(&good[behind..]);
        assert!(!ours || same || openssl_takes(&openssl, signature, &digest, "p256"), "{what}");
    };
    flip_each(&good, start..behind, judge);
    for seed in 0..mutations() as u64 {
        let mut signature = good.clone();
        mutate(&mut signature, &mut Random(seed));
        judge(&signature, &format!("signature, seed {seed}"));
    }
}

/// An image whose fields and lengths are others, each by itself: `struct
/// verity_sb`, and the ends of data, superblock and levels.
fn others(image: &[u8], data: usize) -> Vec<(String, Vec<u8>)> {
    const FIELDS: [(&str, usize, usize); 12] = [
        ("signature", 0, 8),
        ("version", 8, 4),
        ("hash_type", 12, 4),
        ("uuid", 16, 16),
        ("algorithm", 32, 32),
        ("data_block_size", 64, 4),
        ("hash_block_size", 68, 4),
        ("data_blocks", 72, 8),
        ("salt_size", 80, 2),
        ("_pad1", 82, 6),
        ("salt", 88, 256),
        ("_pad2", 344, 168),
    ];
    let mut all = Vec::new();
    for (name, at, len) in FIELDS {
        let field = data + at..data + at + len;
        let now = image[field.clone()].to_vec();
        let changed = |place: usize, by: u8| {
            let mut bytes = now.clone();
            bytes[place] = bytes[place].wrapping_add(by);
            bytes
        };
        let mut doubled = now.clone();
        doubled.rotate_right(1);
        let values = [
            changed(0, 1),
            changed(0, 0xff),
            changed(len - 1, 1),
            changed(len / 2, 0x80),
            vec![0; len],
            vec![0xff; len],
            doubled,
        ];
        for (number, value) in values.into_iter().enumerate().filter(|(_, value)| *value != now) {
            let mut bytes = image.to_vec();
            bytes[field.clone()].copy_from_slice(&value);
            all.push((format!("{name} {number}"), bytes));
        }
    }
    for end in [BLOCK, data, data + 512, data + BLOCK, data + 2 * BLOCK, image.len()] {
        for (name, len) in [("a byte less", end - 1), ("up to it", end), ("a byte more", end + 1)] {
            let mut bytes = image.to_vec();
            bytes.resize(len, 0);
            all.push((format!("cut at {end}, {name}"), bytes));
        }
        let mut longer = image.to_vec();
        longer.splice(end..end, vec![0; BLOCK]);
        all.push((format!("a block more at {end}"), longer));
        let mut shorter = image.to_vec();
        shorter.drain(end - BLOCK..end);
        all.push((format!("a block less at {end}"), shorter));
    }
    all.retain(|(_, bytes)| bytes != image);
    all
}

/// Mutations of an image: whatever we take, veritysetup does under the root
/// that we read.
#[test]
fn what_veritysetup_refuses_we_do_not_accept() {
    let openssl = OpenSsl::new(&[]);
    let data = noise(130 * BLOCK, 4);
    let (image, root) = formatted(&openssl, &data, "");
    let (mut random, mut taken) = (Random(5), 0);
    let mut judge = |bytes: &[u8], what: &str| {
        let Ok(read) = inspect("dmverity", bytes) else { return };
        taken += 1;
        openssl.write("mutant", bytes);
        let own = field(&read, "root hash");
        let line = format!("verify --hash-offset={} mutant mutant {own}", data.len());
        assert!(run(&openssl, "veritysetup", &line).is_some(), "{what}");
        assert_eq!(own, root, "{what}: what changes the root changes the tree");
    };
    for (what, bytes) in others(&image, data.len()) {
        judge(&bytes, &what);
    }
    for round in 0..mutations() {
        let mut bytes = image.clone();
        // The superblock, the zeros behind it and in the tree, and the rest.
        let at = match round % 3 {
            0 => data.len() + random.below(512),
            1 => data.len() + random.below(bytes.len() - data.len()),
            _ => random.below(bytes.len()),
        };
        bytes[at] ^= 1 << random.below(8);
        judge(&bytes, &format!("byte {at}"));
    }
    assert!(taken >= 10, "uuid, padding and what is behind the salt are not signed: {taken}");
}
