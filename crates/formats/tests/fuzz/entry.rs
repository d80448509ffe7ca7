//! The property every parser keeps on every input. Shared, by `#[path]`,
//! between the mutation test on stable and fuzz targets.

#![allow(clippy::panic, unreachable_pub)]

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use firmseal_formats::{
    ControlKey, Covered, DecryptionKey, FORMATS, Parameters, Source, Wanted, control_tree,
};
use firmseal_manifest::PublicKey;

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

/// Inspects `bytes` and prepares them for signing, in every format.
///
/// # Panics
/// If a parser panics, reads outside the file, reads it more than a few
/// times, contradicts itself, or gives one file two digests.
pub fn run(bytes: &[u8]) {
    let source = Guarded { bytes, read: AtomicU64::new(0) };
    let Ok(key) = PublicKey::from_ed25519([7; 32]) else { return };
    let parameters: Parameters = [("header-size", "64"), ("slot-size", "0x100000")].into_iter().collect();
    let version = semver::Version::new(1, 2, 3);
    let plain = Wanted { version, epoch: 7, key: &key, parameters: &parameters };
    let Ok(certified) = PublicKey::from_pem(include_str!("../../fixtures/keys/p256.pub.pem")) else { return };
    let certificate = [("certificate", include_str!("../../fixtures/keys/p256.crt"))];
    let named: Parameters = certificate.into_iter().collect();
    let signer = Wanted { key: &certified, parameters: &named, ..plain.clone() };
    let none = Parameters::default();
    let Ok(rsa) = PublicKey::from_pem(include_str!("../../fixtures/keys/rsa2048.pub.pem")) else { return };
    let partition: Parameters =
        [("partition-name", "boot"), ("partition-size", "12288")].into_iter().collect();
    // What begins with vbmeta takes no parameters.
    let parameters_of_avb = if bytes.starts_with(b"AVB0") { &none } else { &partition };
    let avb = Wanted { key: &rsa, parameters: parameters_of_avb, ..plain.clone() };
    let unnamed = Wanted { parameters: &none, ..signer.clone() };
    let jcat: Parameters = certificate.into_iter().chain([("name", "file")]).collect();
    let jcat = Wanted { parameters: &jcat, ..signer.clone() };
    let wrapping = certificate.into_iter().chain([("guid", "09d7cf52-0720-4710-91d1-08469b7fe9c8")]);
    let wrapping: Parameters = wrapping.collect();
    let wrapper = Wanted { parameters: &wrapping, ..signer.clone() };
    let replacing: Parameters = [("existing", "replace")].into_iter().collect();
    let anew = Wanted { parameters: &replacing, ..signer.clone() };
    let recipient = ("encrypt", include_str!("../../fixtures/keys/x25519.pub.pem"));
    let sealed: Parameters =
        [("header-size", "64"), ("slot-size", "0x100000"), recipient].into_iter().collect();
    let sealed = Wanted { parameters: &sealed, ..plain.clone() };
    let device = DecryptionKey::from_pem(include_str!("../../fixtures/keys/x25519.pem"));
    let device = device.unwrap_or_else(|error| panic!("{error}"));
    let shared =
        DecryptionKey::from_pem("AAECAwQFBgcICQoLDA0ODw==").unwrap_or_else(|error| panic!("{error}"));
    let detected = firmseal_formats::inspect(&source);
    if let (Ok(first), Ok(second)) = (&detected, firmseal_formats::inspect(&source)) {
        assert_eq!(*first, second, "inspection is a function of the bytes");
        // What is packed in an artifact grows.
        let packed = matches!(first.format.as_str(), "mender" | "fwupd");
        assert!(packed || first.image_size <= (bytes.len() as u64).next_multiple_of(8));
        assert_eq!(first.digest(), second.digest());
    }
    for format in FORMATS {
        let inspected = format.inspect(&source);
        let wanted = match format.name() {
            "pe" | "rauc" | "swupdate" | "kmod" | "fwupd" => &signer,
            "fit" | "esp32" | "mender" | "tfa" => &unnamed,
            "capsule" => &wrapper,
            "suit" => &anew,
            "avb" => &avb,
            _ => &plain,
        };
        let prepared = format.embedding().map(|embedding| embedding.prepare(&source, wanted));
        if let Some(Ok(unsigned)) = prepared {
            let len = if wanted.key.rsa().is_some() { 256 } else { 64 };
            let plan = unsigned.attach(&firmseal_manifest::Signature(vec![0x55; len]));
            let plan = plan.unwrap_or_else(|error| panic!("{}: {error}", format.name()));
            let spliced = plan.over(&source).unwrap_or_else(|error| panic!("{}: {error}", format.name()));
            // What we would write is well formed by our own rules, and says
            // what was announced.
            let signed =
                format.inspect(&spliced).unwrap_or_else(|error| panic!("{}: {error}", format.name()));
            assert_eq!(signed.digest(), unsigned.inspection().digest());
            // A FIT has one for each configuration, a cabinet others' as well.
            assert!(signed.signatures.len() == 1 || matches!(format.name(), "fit" | "fwupd"));
            if let Ok(mut inspected) = inspected {
                // What the file did not say is now what was asked for.
                inspected.epoch = inspected.epoch.or(signed.epoch);
                assert_eq!(inspected.digest(), signed.digest(), "re-signing changes nothing inside");
            }
        }
    }
    for format in FORMATS {
        // What an encrypted file opens to is read like any other.
        for plan in [&device, &shared].into_iter().filter_map(|key| format.decrypt(&source, key).ok()) {
            let spliced = plan.over(&source).unwrap_or_else(|error| panic!("{}: {error}", format.name()));
            let _ = format.inspect(&spliced);
        }
        // Agreeing on keys costs more than all the rest: for some of the files.
        let embedding = format.embedding().filter(|_| bytes.len().is_multiple_of(4));
        let sealed = embedding.map(|embedding| embedding.prepare(&source, &sealed));
        if let Some(Ok(unsigned)) = sealed {
            let opened = unsigned.attach(&firmseal_manifest::Signature(vec![0x55; 64])).and_then(|plan| {
                let spliced = plan.over(&source)?;
                let opened = format.decrypt(&spliced, &device)?;
                format.inspect(&opened.over(&spliced)?)
            });
            // The device finds what was signed, and nothing else.
            let opened = opened.unwrap_or_else(|error| panic!("{}: {error}", format.name()));
            assert_eq!(opened.digest(), unsigned.inspection().digest());
            assert!(opened.signatures.iter().all(|own| matches!(own.covered, Covered::Tbs(_))));
        }
    }
    for (name, beside) in FORMATS.iter().filter_map(|format| Some((format.name(), format.beside()?))) {
        // Whatever the signature's file is, the other one is not judged by it.
        let file = b"firmware".to_vec();
        let wanted = match name {
            "oci" | "sigstore" => &unnamed,
            "jcat" => &jcat,
            _ => &signer,
        };
        if let Ok(unsigned) = beside.prepare(&source, wanted) {
            let plan = unsigned.attach(&firmseal_manifest::Signature(vec![0x55; 64]));
            let plan = plan.unwrap_or_else(|error| panic!("{error}"));
            let spliced = plan.over(&source).unwrap_or_else(|error| panic!("{error}"));
            let read = beside.read(&spliced, &source).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(read.digest(), unsigned.inspection().digest());
        }
        if let Ok(read) = beside.read(&source, &file) {
            assert_eq!(read.image_size, 8);
            assert!(!read.signatures.is_empty());
        }
    }
    let key = ControlKey { key: &certified, hint: "key", any: bytes.len().is_multiple_of(2) };
    if let Ok(with_key) = control_tree(bytes, &key) {
        let again = control_tree(&with_key, &key).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(with_key, again, "a key that is there is put there");
    }
    // Each format describes it, lays out two signatures and opens it.
    let bound = FORMATS.len() as u64 * (4 * bytes.len() as u64 + 640);
    let read = source.read.load(Ordering::Relaxed);
    assert!(read <= bound, "{read} bytes read of a file of {}", bytes.len());
}
