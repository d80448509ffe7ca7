//! The verdict on each case, what it costs, and what the cryptography inside
//! costs alone.

use core::cell::RefCell;
use core::hint::black_box;

use firmseal_core::crypto::{BadSignature, RustCrypto};
use firmseal_core::limits::COMPONENTS_MAX;
use firmseal_core::{
    Component, Crypto, Device, Digest, Envelope, Hasher, Image, Measured, Measurement, PublicKey, Refusal,
    Root, Trust, admit, boot,
};

use crate::pack::{Case, Content, Pack, Place, Purpose};
use crate::probe::{Cost, Probe, Report};

/// Runs every case of a pack. For each it writes the verdict of `admit`; for
/// each that is admitted also `root:NAME`, reading the device's root document,
/// which a device does once per start, and `bare:NAME`, the limit that
/// `admit` is measured against: the hash of the manifest and the signatures
/// that verify, and nothing else.
///
/// Returns whether the whole pack was read.
pub fn run(pack: &[u8], probe: &mut impl Probe, report: &mut impl Report) -> bool {
    each(pack, probe, report, |case, device, root_cost, probe, report| {
        report.result(format_args!("root:{}", case.name), 0, root_cost);
        bare(case, device, probe, report);
    })
}

/// Runs every case of a pack through `admit` and nothing else: the program
/// whose size is the size of the verifier.
pub fn verdicts(pack: &[u8], probe: &mut impl Probe, report: &mut impl Report) -> bool {
    each(pack, probe, report, |_, _, _, _, _| ())
}

fn each<P: Probe, R: Report>(
    pack: &[u8],
    probe: &mut P,
    report: &mut R,
    admitted: impl Fn(&Case<'_>, &Device<'_>, Cost, &mut P, &mut R),
) -> bool {
    let mut pack = Pack::new(pack);
    for case in pack.by_ref() {
        judge(&case, probe, report, &admitted);
    }
    pack.is_empty()
}

fn judge<P: Probe, R: Report>(
    case: &Case<'_>,
    probe: &mut P,
    report: &mut R,
    admitted: &impl Fn(&Case<'_>, &Device<'_>, Cost, &mut P, &mut R),
) {
    if case.purpose == Purpose::Root {
        // With a document that the device holds: whether the other follows.
        let (verdict, cost) = probe.measure(|| match black_box(case.envelope) {
            [] => Root::decode(black_box(case.root)).and_then(|root| root.verify(&RustCrypto)),
            held => Root::decode(held)?.successor(black_box(case.root), &RustCrypto).map(drop),
        });
        return report.result(case.name, code(verdict), cost);
    }
    let (root, root_cost) = probe.measure(|| Root::decode(black_box(case.root)));
    let root = match root {
        Ok(root) => root,
        Err(refusal) => return report.result(case.name, refusal.code(), root_cost),
    };
    let mut components = [Component { id: &[], slot: 0, capacity: 0, sequence: 0 }; COMPONENTS_MAX];
    for (component, place) in components.iter_mut().zip(case.places()) {
        let Place { ref id, slot, capacity, sequence } = *place;
        *component = Component { id, slot, capacity, sequence };
    }
    let [owner, revocation, freshness] = case.documents;
    let known = (|| {
        let revocation = given(revocation).map(|bytes| root.revocation(bytes, &RustCrypto)).transpose()?;
        let fresh = |bytes| root.freshness(bytes, case.product, |_| false, &RustCrypto);
        let freshness = given(freshness).map(fresh).transpose()?;
        Ok::<_, Refusal>((given(owner).map(Root::decode).transpose()?, revocation, freshness))
    })();
    let (owner, revocation, freshness) = match known {
        Ok(known) => known,
        Err(refusal) => return report.result(case.name, refusal.code(), root_cost),
    };
    let device = Device {
        trust: Trust {
            root: &root,
            owner: owner.as_ref(),
            revocation: revocation.as_ref(),
            freshness: freshness.as_ref(),
            max_age: case.max_age,
            time: case.time,
        },
        stranded: case.stranded,
        takes: case.takes,
        product: case.product,
        vendor: case.vendor,
        class: case.class,
        id: None,
        epoch: case.epoch,
        delegation: case.delegation,
        components: &components[..case.places().len()],
    };
    let (verdict, cost) = match case.purpose {
        Purpose::Boot | Purpose::Trial => {
            let image = if case.purpose == Purpose::Trial { Image::Trial } else { Image::Confirmed };
            let measured: [Measured; COMPONENTS_MAX] = core::array::from_fn(|index| {
                measured(&case.contents().get(index).copied().unwrap_or_default())
            });
            let measured = &measured[..case.contents().len()];
            probe.measure(|| boot(black_box(case.envelope), measured, &device, image, &RustCrypto).map(drop))
        }
        _ => probe.measure(|| admit(black_box(case.envelope), &device, &RustCrypto).map(drop)),
    };
    report.result(case.name, code(verdict), cost);
    if verdict.is_ok() && case.purpose == Purpose::Admit {
        admitted(case, &device, root_cost, probe, report);
    }
}

fn given(bytes: &[u8]) -> Option<&[u8]> {
    (!bytes.is_empty()).then_some(bytes)
}

fn code(verdict: Result<(), Refusal>) -> u16 {
    verdict.map_or_else(Refusal::code, |()| 0)
}

/// A measurement with a given outcome. Core hands none out that it did not
/// compute, so a hasher that was told the digest computes it.
fn measured(content: &Content) -> Measured {
    let mut measurement = Measurement::start(&Told(Digest(content.digest)));
    let mut left = content.size;
    while left > 0 {
        let some = left.min(4096);
        measurement.update(&[0; 4096][..some as usize]);
        left -= some;
    }
    measurement.finish()
}

#[derive(Clone, Copy)]
struct Told(Digest);

impl Hasher for Told {
    fn update(&mut self, _: &[u8]) {}

    fn finish(self) -> Digest {
        self.0
    }
}

impl Crypto for Told {
    type Hasher = Told;

    fn sha256(&self) -> Told {
        *self
    }

    fn verify(&self, _: &PublicKey<'_>, _: &[u8], _: &[u8]) -> Result<(), BadSignature> {
        Err(BadSignature)
    }
}

/// Measures the cryptography of one admission without anything around it.
fn bare(case: &Case<'_>, device: &Device<'_>, probe: &mut impl Probe, report: &mut impl Report) {
    let recorder = Recorder::default();
    let Ok(envelope) = Envelope::decode(case.envelope) else { return };
    if admit(case.envelope, device, &recorder).is_err() {
        return;
    }
    let calls = recorder.calls.into_inner();
    let manifest = envelope.manifest().wrapped;
    let (valid, cost) = probe.measure(|| {
        let digest = RustCrypto.digest(black_box(manifest));
        let verified = calls.iter().flatten().all(|call| call.repeat().is_ok());
        verified && digest == *envelope.manifest_digest()
    });
    report.result(format_args!("bare:{}", case.name), u16::from(!valid), cost);
}

/// Verifications that one admission may take, and bytes that one may cover:
/// a delegation, a log, its witnesses, approvers and a signer fit with room
/// to spare.
const CALLS: usize = 16;
const MESSAGE: usize = 768;

/// A signature verification that `admit` asked for.
#[derive(Clone, Copy)]
struct Call {
    key: [u8; 64],
    p256: bool,
    message: [u8; MESSAGE],
    length: usize,
    signature: [u8; 64],
}

impl Call {
    fn repeat(&self) -> Result<(), BadSignature> {
        let (x, y) = self.key.split_first_chunk::<32>().ok_or(BadSignature)?;
        let key = match self.p256 {
            true => PublicKey::P256 { x, y: y.try_into().map_err(|_| BadSignature)? },
            false => PublicKey::Ed25519(x),
        };
        RustCrypto.verify(black_box(&key), &self.message[..self.length], &self.signature)
    }
}

/// [`RustCrypto`] that remembers the verifications that succeeded: those were
/// needed. One that fails on the way, because an envelope does not name its
/// key, is a cost of `admit`.
#[derive(Default)]
struct Recorder {
    calls: RefCell<[Option<Call>; CALLS]>,
}

impl Crypto for Recorder {
    type Hasher = <RustCrypto as Crypto>::Hasher;

    fn sha256(&self) -> Self::Hasher {
        RustCrypto.sha256()
    }

    fn verify(&self, key: &PublicKey<'_>, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        let mut call = Call {
            key: [0; 64],
            p256: false,
            message: [0; MESSAGE],
            length: message.len(),
            signature: signature.try_into().map_err(|_| BadSignature)?,
        };
        call.message.get_mut(..message.len()).ok_or(BadSignature)?.copy_from_slice(message);
        match key {
            PublicKey::P256 { x, y } => {
                call.p256 = true;
                call.key[..32].copy_from_slice(*x);
                call.key[32..].copy_from_slice(*y);
            }
            PublicKey::Ed25519(x) => call.key[..32].copy_from_slice(*x),
            // Too long to remember: `smoke` measures them.
            PublicKey::Lms(_) | PublicKey::MlDsa(_) | PublicKey::Rsa(_) => return Err(BadSignature),
        }
        RustCrypto.verify(key, message, signature)?;
        // An admission with more signatures than are remembered would look
        // better than it is: fail instead.
        let mut calls = self.calls.borrow_mut();
        *calls.iter_mut().find(|slot| slot.is_none()).ok_or(BadSignature)? = Some(call);
        Ok(())
    }
}
