//! The property every parser keeps on every input. Shared, by `#[path]`,
//! between the mutation test on stable and fuzz targets.

#![allow(clippy::panic, unreachable_pub, dead_code)]

mod wishes;

use std::io;
use std::ops::BitOr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use firmseal_formats::{
    Beside, ControlKey, Covered, DecryptionKey, Embedding, FORMATS, Format, FormatError, Inspection, Source,
    Spliced, Unsigned, Wanted, control_tree,
};
use firmseal_manifest::{PublicKey, Signature};
use wishes::Wish;

/// A source that panics when it is read outside, and counts.
struct Guarded<'a> {
    bytes: &'a [u8],
    read: AtomicU64,
}

impl Source for Guarded<'_> {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64);
        assert!(end.is_some_and(|end| end <= self.bytes.len() as u64), "read outside: {offset}");
        self.read.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        self.bytes.read_at(offset, buffer)
    }
}

/// How far an input got in a format.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Reached {
    /// The format describes it.
    pub inspected: bool,
    /// A signature was laid out for it and attached.
    pub prepared: bool,
    /// It is a signature beside a file.
    pub read: bool,
}

impl BitOr for Reached {
    type Output = Reached;

    fn bitor(self, other: Reached) -> Reached {
        Reached {
            inspected: self.inspected | other.inspected,
            prepared: self.prepared | other.prepared,
            read: self.read | other.read,
        }
    }
}

/// Detects the format of `bytes`, and has every format do what it can.
///
/// # Panics
/// As [`one`] does, or if one file has two digests.
pub fn run(bytes: &[u8]) {
    let detected = firmseal_formats::inspect(&bytes.to_vec());
    if let (Ok(first), Ok(second)) = (&detected, firmseal_formats::inspect(&bytes.to_vec())) {
        assert_eq!(*first, second, "inspection is a function of the bytes");
        assert_eq!(first.digest(), second.digest());
    }
    for format in FORMATS {
        one(*format, bytes);
    }
}

/// Has a format detect, inspect, sign, read and open `bytes`, as far as it can.
///
/// # Panics
/// If the parser panics, reads outside the file, reads it more than a few
/// times, or contradicts itself.
pub fn one(format: &dyn Format, bytes: &[u8]) -> Reached {
    let source = Guarded { bytes, read: AtomicU64::new(0) };
    let _ = format.detect(&source);
    let inspected = format.inspect(&source).ok();
    if let Some(inspection) = &inspected {
        // What is packed in an artifact grows.
        let packed = matches!(format.name(), "mender" | "fwupd");
        assert!(packed || inspection.image_size <= (bytes.len() as u64).next_multiple_of(8));
    }
    let mut reached = Reached { inspected: inspected.is_some(), ..Reached::default() };
    for wish in wishes::of(format.name()) {
        let wanted = wanted(wish, inspected.as_ref());
        if let Some(embedding) = format.embedding() {
            // Agreeing on keys costs more than all the rest: for some of the files.
            let asked = wish.parameters.get("encrypt").is_none() || bytes.len().is_multiple_of(4);
            reached.prepared |= asked && embedded(format, embedding, &source, &wanted, inspected.as_ref());
        }
        if let Some(beside) = format.beside() {
            reached.prepared |= lay_beside(beside, &source, &wanted);
            reached.read |= read_beside(format, beside, &source, wish.over);
        }
    }
    open(format, &source);
    if format.name() == "fit" {
        control(bytes);
    }
    let read = source.read.load(Ordering::Relaxed);
    let bound = READS * bytes.len() as u64 + 16 * 1024;
    assert!(read <= bound, "{}: {read} bytes read of a file of {}", format.name(), bytes.len());
    reached
}

/// How often a file is read, at most: a format describes it, lays out two
/// signatures, reads what it laid out, and opens it with two keys.
const READS: u64 = 20;

/// A wish that is not refused for the version or epoch that the file has.
fn wanted<'a>(wish: &'a Wish, inspected: Option<&Inspection>) -> Wanted<'a> {
    Wanted {
        version: inspected.and_then(Inspection::semver).unwrap_or(semver::Version::new(1, 2, 3)),
        epoch: inspected.and_then(|inspection| inspection.epoch).unwrap_or(7),
        key: &wish.key,
        parameters: &wish.parameters,
    }
}

/// A signature of the length that the key's have.
fn signature(key: &PublicKey) -> Signature {
    Signature(vec![0x55; if key.rsa().is_some() { 256 } else { 64 }])
}

/// What must not fail once a signature is laid out.
fn well<T>(format: &dyn Format, result: Result<T, FormatError>) -> T {
    result.unwrap_or_else(|error| panic!("{}: {error}", format.name()))
}

fn embedded(
    format: &dyn Format,
    embedding: &dyn Embedding,
    source: &Guarded<'_>,
    wanted: &Wanted<'_>,
    inspected: Option<&Inspection>,
) -> bool {
    let Ok(unsigned) = embedding.prepare(source, wanted) else { return false };
    let plan = well(format, unsigned.attach(&signature(wanted.key)));
    let spliced = well(format, plan.over(source));
    if wanted.parameters.get("encrypt").is_some() {
        opens(format, &spliced, &unsigned);
        return true;
    }
    // What we would write is well formed by our own rules, and says what was
    // announced.
    let signed = well(format, format.inspect(&spliced));
    assert_eq!(signed.digest(), unsigned.inspection().digest());
    // A FIT has one for each configuration, a cabinet others' as well.
    assert!(signed.signatures.len() == 1 || matches!(format.name(), "fit" | "fwupd"));
    if let Some(inspected) = inspected {
        // What the file did not say is now what was asked for.
        let inspected = Inspection { epoch: inspected.epoch.or(signed.epoch), ..inspected.clone() };
        assert_eq!(inspected.digest(), signed.digest(), "re-signing changes nothing inside");
    }
    true
}

/// The device finds what was signed, and nothing else.
fn opens(format: &dyn Format, spliced: &Spliced<'_>, unsigned: &Unsigned) {
    let plan = well(format, format.decrypt(spliced, &DEVICE));
    let opened = well(format, plan.over(spliced).and_then(|opened| format.inspect(&opened)));
    assert_eq!(opened.digest(), unsigned.inspection().digest());
    assert!(opened.signatures.iter().all(|own| matches!(own.covered, Covered::Tbs(_))));
}

/// A signature beside the input.
fn lay_beside(beside: &dyn Beside, source: &Guarded<'_>, wanted: &Wanted<'_>) -> bool {
    let Ok(unsigned) = beside.prepare(source, wanted) else { return false };
    let plan = unsigned.attach(&signature(wanted.key)).unwrap_or_else(|error| panic!("{error}"));
    let spliced = plan.over(source).unwrap_or_else(|error| panic!("{error}"));
    let read = beside.read(&spliced, source).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(read.digest(), unsigned.inspection().digest());
    true
}

/// The input as a signature beside a good file, which is not judged by it.
fn read_beside(format: &dyn Format, beside: &dyn Beside, source: &Guarded<'_>, file: &[u8]) -> bool {
    let file = file.to_vec();
    let Ok(read) = beside.read(source, &file) else { return false };
    assert_eq!(read.image_size, well(format, format.inspect(&file)).image_size);
    assert!(!read.signatures.is_empty());
    true
}

static DEVICE: LazyLock<DecryptionKey> =
    LazyLock::new(|| decryption_key(include_str!("../../fixtures/keys/x25519.pem")));
static SHARED: LazyLock<DecryptionKey> = LazyLock::new(|| decryption_key("AAECAwQFBgcICQoLDA0ODw=="));
static CERTIFIED: LazyLock<PublicKey> = LazyLock::new(wishes::p256);

fn decryption_key(text: &str) -> DecryptionKey {
    DecryptionKey::from_pem(text).unwrap_or_else(|error| panic!("{error}"))
}

/// What an encrypted file opens to is read like any other.
fn open(format: &dyn Format, source: &Guarded<'_>) {
    for plan in [&*DEVICE, &*SHARED].into_iter().filter_map(|key| format.decrypt(source, key).ok()) {
        let _ = format.inspect(&well(format, plan.over(source)));
    }
}

/// A devicetree that is given a key to verify FIT images with.
fn control(bytes: &[u8]) {
    let key = ControlKey { key: &CERTIFIED, hint: "key", any: bytes.len().is_multiple_of(2) };
    if let Ok(with_key) = control_tree(bytes, &key) {
        let again = control_tree(&with_key, &key).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(with_key, again, "a key that is there is put there");
    }
}
