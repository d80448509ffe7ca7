//! Payloads of gigabytes: read in pieces, and only where there is something to
//! compare.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use firmseal_formats::{Parameters, Source, Wanted, find, inspect, lay_out};

use crate::common::TestKey;
use crate::payloads::{command, envelope, section, set};
use firmseal_testkit::item;

/// A payload of zeros at the end of an envelope, which nobody holds in memory.
struct Zeros {
    head: Vec<u8>,
    zeros: u64,
    read: AtomicU64,
    longest: AtomicU64,
}

impl Source for Zeros {
    fn len(&self) -> io::Result<u64> {
        Ok(self.head.len() as u64 + self.zeros)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        if offset + buffer.len() as u64 > self.len()? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.read.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        self.longest.fetch_max(buffer.len() as u64, Ordering::Relaxed);
        for (byte, at) in buffer.iter_mut().zip(offset..) {
            *byte = self.head.get(at as usize).copied().unwrap_or(0);
        }
        Ok(())
    }
}

fn zeros(len: u64, digest: Option<&[u8]>) -> Zeros {
    let fetch = [set(&[(21, item::text("#z"))]), command(21), command(3)];
    let digest = digest.map(|value| item::bytes(&item::array(&[item::int(-16), item::bytes(value)])));
    let shared: Vec<_> = digest.map(|digest| set(&[(3, digest)])).into_iter().collect();
    let sealed = envelope(1, &shared, &[(20, section(&fetch))], &[("#z", b"")]).seal(&[]);
    let mut head = sealed[..sealed.len() - 1].to_vec();
    match u32::try_from(len) {
        Ok(len) => head.extend([&[0x5a][..], &len.to_be_bytes()].concat()),
        Err(_) => head.extend([&[0x5b][..], &len.to_be_bytes()].concat()),
    }
    Zeros { head, zeros: len, read: AtomicU64::new(0), longest: AtomicU64::new(0) }
}

#[test]
fn gigabytes_are_passed_over_and_megabytes_are_hashed_in_pieces() {
    let key = TestKey::load("p256");
    let parameters = Parameters::default();
    let wanted =
        Wanted { version: "1.0.0".parse().unwrap(), epoch: 7, key: &key.public, parameters: &parameters };
    let huge = zeros(6 << 30, None);
    let laid_out = lay_out(find("suit").unwrap(), &huge, &wanted).unwrap();
    assert_eq!(laid_out.inspection.image_size, 6 << 30);
    assert!(huge.read.load(Ordering::Relaxed) < 4096);
    let plan = laid_out.unsigned.unwrap().attach(&key.sign(&laid_out.tbs)).unwrap();
    assert!(plan.output_len() > 6 << 30);
    assert_eq!(inspect(&plan.over(&huge).unwrap()).unwrap().signatures.len(), 1);
    // SHA-256 of 8 MiB of zeros.
    let value = "2daeb1f36095b44b318410b3f4e8b5d989dcc7bb023d1426c492dab0a3053e74";
    let value: Vec<u8> =
        (0..32).map(|at| u8::from_str_radix(&value[2 * at..2 * at + 2], 16).unwrap()).collect();
    let hashed = zeros(8 << 20, Some(&value));
    assert!(inspect(&hashed).unwrap().notes[0].value.ends_with("as the manifest's image digest says"));
    assert!(hashed.longest.load(Ordering::Relaxed) <= 128 * 1024);
    assert!(inspect(&zeros((8 << 20) + 1, Some(&value))).is_err());
}
