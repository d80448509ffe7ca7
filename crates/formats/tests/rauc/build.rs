//! A bundle that is made of a squashfs and its manifest.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Rauc, VERSION, cms_at, sha256, sign};
use crate::common::{TestKey, accepted};
use firmseal_formats::{Covered, Parameters, Segment, Source, Wanted, find, inspect, lay_out};

/// The manifest of what is in the directory.
fn manifest(rauc: &Rauc) -> String {
    let image = rauc.openssl.read("content/root.img");
    let (digest, size) = (sha256(&image), image.len());
    format!(
        "# by hand\n[update]\ncompatible=Test Board\nversion={VERSION}\n\n[bundle]\nformat=verity\n\n\
         [image.rootfs]\nsha256={digest}\nsize={size}\nfilename=root.img\n"
    )
}

fn squashfs(rauc: &Rauc) -> Vec<u8> {
    let _ = std::fs::remove_file(rauc.path("made.squashfs"));
    rauc.ok("mksquashfs", "content made.squashfs -all-root -noappend -quiet -no-progress");
    rauc.openssl.read("made.squashfs")
}

#[test]
fn rauc_takes_what_is_built_of_a_squashfs() {
    let rauc = Rauc::new(&["p256", "rsa2048", "other-p256"]);
    let (small, manifest) = (squashfs(&rauc), manifest(&rauc));
    // A second level, and a third: what follows the squashfs is no matter.
    let mut large = small.clone();
    large.resize((128 * 128 + 1) * 4096, 0);
    for (payload, name) in [(&small, "p256"), (&small, "rsa2048"), (&large, "p256")] {
        let (key, certificate) = (TestKey::load(name), rauc.certificate(name));
        let wish = [("certificate", certificate.as_str()), ("manifest", manifest.as_str())];
        let made = sign(payload, &key, VERSION, &wish).unwrap();
        assert_eq!(made[..payload.len()], payload[..]);
        assert!(accepted(&made, &key.public));
        assert!(rauc.informs(&made, name) && rauc.extracts(&made, name), "{name}");
        assert_eq!(rauc.openssl.read("out/root.img"), rauc.openssl.read("content/root.img"));
        assert!(!rauc.extracts(&made, "other-p256"));
        for at in [5000, payload.len(), payload.len() + 4096, cms_at(&made) - 4096, cms_at(&made) - 1] {
            let mut bad = made.clone();
            bad[at] ^= 1;
            assert!(!accepted(&bad, &key.public) && !rauc.extracts(&bad, name), "{name} {at}");
        }
        // Signing again is possible, and changes nothing but the CMS.
        let again = sign(&made, &key, VERSION, &wish[..1]).unwrap();
        assert_eq!(again[..cms_at(&made)], made[..cms_at(&made)]);
    }
}

#[test]
fn what_makes_no_bundle_is_refused() {
    let rauc = Rauc::new(&["p256"]);
    let (payload, manifest) = (squashfs(&rauc), manifest(&rauc));
    let (key, certificate) = (TestKey::load("p256"), rauc.certificate("p256"));
    let refused = |payload: &[u8], manifest: &str| {
        let wish = [("certificate", certificate.as_str()), ("manifest", manifest)];
        sign(payload, &key, VERSION, &wish).unwrap_err().to_string()
    };
    let hash = "0".repeat(64);
    for (manifest, why) in [
        (String::new(), "compatible"),
        (manifest.replace("=verity", "=plain"), "format=verity"),
        (manifest.replace("=verity", "=crypt"), "format=verity"),
        (manifest.replace("=verity", &format!("=verity\nverity-hash={hash}")), "leave it out"),
        (manifest.replace("=verity", &format!("=verity\ncrypt-key={hash}")), "leave it out"),
        (manifest.replace(VERSION, "1.2.4"), "the file says version 1.2.4, the request says 1.2.3"),
        (manifest.replace(VERSION, "2026.11"), "the file says version 2026.11"),
        (format!("{manifest}{}", "# a comment\n".repeat(5200)), "60 KiB"),
        (format!("{manifest}{}", "# a comment\n".repeat(9000)), "64 KiB"),
    ] {
        let error = refused(&payload, &manifest);
        assert!(error.contains(why), "{why}: {error}");
    }
    let mut other = payload.clone();
    other[28] = 3;
    let mut long = payload.clone();
    long[47] = 1;
    for (payload, why) in [
        (&payload[..payload.len() - 1], "-nopad"),
        (&payload[..4096], "one block"),
        (&other[..], "another version"),
        (&long[..], "longer than the payload"),
        (&vec![7; 8192][..], "neither a bundle nor a squashfs"),
    ] {
        let error = refused(payload, &manifest);
        assert!(error.contains(why), "{why}: {error}");
    }
    let without = sign(&payload, &key, VERSION, &[("certificate", &certificate)]).unwrap_err().to_string();
    assert!(without.contains("--param manifest=@"), "{without}");
    let bundle = rauc.bundle("verity", "p256");
    assert!(refused(&bundle, &manifest).contains("has one already"));
}

/// A squashfs of 4 GiB that is never in memory, with one byte set.
struct Huge {
    superblock: Vec<u8>,
    len: u64,
    one_at: u64,
    read: AtomicU64,
}

impl Source for Huge {
    fn len(&self) -> io::Result<u64> {
        Ok(self.len)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        assert!(buffer.len() <= 1 << 20 && offset + buffer.len() as u64 <= self.len);
        self.read.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        buffer.fill(0);
        if offset < self.superblock.len() as u64 {
            let rest = &self.superblock[offset as usize..];
            buffer.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        }
        if let Some(byte) = self.one_at.checked_sub(offset).and_then(|at| buffer.get_mut(at as usize)) {
            *byte = 1;
        }
        Ok(())
    }
}

/// THREATS 2: RAUC signed only the first bytes of a bundle above 2 GiB.
#[test]
fn the_last_byte_of_4_gib_counts_and_nothing_large_is_held() {
    let rauc = Rauc::new(&["p256"]);
    let superblock = squashfs(&rauc)[..96].to_vec();
    let (certificate, manifest) = (rauc.certificate("p256"), manifest(&rauc));
    let parameters: Parameters =
        [("certificate", certificate.as_str()), ("manifest", manifest.as_str())].into_iter().collect();
    let key = TestKey::load("p256");
    let wanted =
        Wanted { version: VERSION.parse().unwrap(), epoch: 0, key: &key.public, parameters: &parameters };
    let tbs = |one_at| {
        let len = 1 << 32;
        let source = Huge { superblock: superblock.clone(), len, one_at, read: AtomicU64::new(0) };
        let laid_out = lay_out(find("rauc").unwrap(), &source, &wanted).unwrap();
        assert!(source.read.load(Ordering::Relaxed) < len + (1 << 20), "each byte is read once");
        let plan = laid_out.unsigned.unwrap().attach(&key.sign(&laid_out.tbs)).unwrap();
        let held = plan.segments().iter().map(|own| match own {
            Segment::Bytes(bytes) => bytes.len(),
            _ => 0,
        });
        assert!(held.sum::<usize>() < 300 << 10, "a tree of 32 MiB is not held");
        assert_eq!(plan.output_len() & 0xfff, plan.output_len() - (len + (8192 + 64 + 1) * 4096));
        laid_out.tbs
    };
    let (last, last_but_one) = std::thread::scope(|scope| {
        let other = scope.spawn(|| tbs((1 << 32) - 2));
        (tbs((1 << 32) - 1), other.join().unwrap())
    });
    assert_ne!(last, last_but_one);
}

/// Plain bundles end at 2 GiB, for us as for rauc.
#[test]
fn plain_bundles_beyond_2_gib_are_refused_unread() {
    let rauc = Rauc::new(&["p256"]);
    let bundle = rauc.bundle("plain", "p256");
    let cms = bundle[cms_at(&bundle)..].to_vec();
    struct Padded(Huge, Vec<u8>);
    impl Source for Padded {
        fn len(&self) -> io::Result<u64> {
            Ok(self.0.len + self.1.len() as u64)
        }
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
            match offset.checked_sub(self.0.len) {
                Some(at) => self.1.read_at(at, buffer),
                None => self.0.read_at(offset, buffer),
            }
        }
    }
    let of = |len| {
        let superblock = bundle[..96].to_vec();
        Padded(Huge { superblock, len, one_at: len, read: AtomicU64::new(0) }, cms.clone())
    };
    for len in [1 << 31, (1 << 31) + 4096, 1 << 32, (1 << 32) + 4096] {
        let source = of(len);
        assert!(inspect(&source).unwrap_err().to_string().contains("2 GiB"), "{len}");
        // Other formats look at its first bytes.
        assert!(source.0.read.load(Ordering::Relaxed) < 256 << 10);
    }
    let read = inspect(&of((1 << 31) - 4096)).unwrap();
    assert_eq!(read.signatures[0].covered, Covered::Unknown("it is over something else"));
}
