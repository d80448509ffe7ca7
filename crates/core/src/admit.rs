//! Admission and boot: the two verdicts.
//!
//! [`Admitted`] and [`Bootable`] cannot be made anywhere else. The order of
//! checks matters: nothing of the manifest is parsed before its signatures
//! have been verified, and nothing is hashed whose size was not bounded.

use crate::action::{Action, Outcome};
use crate::command::condition;
use crate::crypto::Crypto;
use crate::device::Device;
use crate::digest::Digest;
use crate::facts::{ComponentFacts, Facts};
use crate::judge::{Judged, Purpose, judge};
use crate::machine::Machine;
use crate::manifest::{Authenticated, ComponentId};
use crate::measure::Measured;
use crate::refusal::Refusal;

/// A release that this device may install.
#[derive(Clone, Debug)]
pub struct Admitted<'a> {
    judged: Judged<'a>,
}

/// An image that this device may boot: the release was admitted again, and
/// what its slots hold was measured and matches.
#[derive(Clone, Debug)]
pub struct Bootable<'a> {
    judged: Judged<'a>,
}

/// Decides whether a device may install what an envelope describes.
///
/// Verifies the signatures against the device's root, then the target, the
/// floors and every command. It downloads and hashes no payload: an
/// envelope is admitted before a byte of payload is fetched.
pub fn admit<'a>(
    envelope: &'a [u8],
    device: &Device<'_>,
    crypto: &impl Crypto,
) -> Result<Admitted<'a>, Refusal> {
    judge(envelope, device, crypto, Purpose::Install).map(|judged| Admitted { judged })
}

/// Decides whether a device may run what its slots hold.
///
/// `measured` gives, for each component of the manifest in order, what the
/// slot to be run was measured to hold. The checks of [`admit`] are
/// repeated, with these differences: the confirmed image itself stands at
/// the floors, so an equal sequence number is allowed; the root's minimum
/// epoch and freshness govern installs, never a boot; and revocation stops a
/// trial, never the boot of an image that was confirmed.
pub fn boot<'a>(
    envelope: &'a [u8],
    measured: &[Measured],
    device: &Device<'_>,
    image: Image,
    crypto: &impl Crypto,
) -> Result<Bootable<'a>, Refusal> {
    consider(envelope, device, image, crypto)?.boot(measured, device)
}

/// A release that may boot on this device, once its slots were measured: it
/// says how much there is to measure before a byte is hashed.
#[derive(Clone, Debug)]
pub struct Candidate<'a> {
    judged: Judged<'a>,
}

/// The first half of [`boot`]: everything but the image itself.
pub fn consider<'a>(
    envelope: &'a [u8],
    device: &Device<'_>,
    image: Image,
    crypto: &impl Crypto,
) -> Result<Candidate<'a>, Refusal> {
    let purpose = match image {
        Image::Trial => Purpose::Trial,
        Image::Confirmed => Purpose::Boot,
    };
    judge(envelope, device, crypto, purpose).map(|judged| Candidate { judged })
}

impl<'a> Candidate<'a> {
    /// The second half of [`boot`].
    pub fn boot(self, measured: &[Measured], device: &Device<'_>) -> Result<Bootable<'a>, Refusal> {
        let judged = self.judged;
        // Every component must match its facts, whatever the commands say: a
        // manifest that validates nothing must not boot anything.
        for (index, facts) in judged.facts.components().enumerate() {
            let measured = measured.get(index).ok_or(Refusal::ImageMismatch)?;
            if measured.size() != facts.tree.size() {
                return Err(Refusal::ImageMismatch);
            }
        }
        let mut machine = Machine::validation(&judged.authenticated, device.identity(), &judged.slots);
        loop {
            match machine.next()? {
                Action::Finished => break,
                Action::Measure { component, .. } => {
                    machine.done(measured.get(component).map_or(Outcome::Failed, |m| Outcome::Measured(*m)));
                }
                // A content check would need the slot itself.
                _ => return Err(Refusal::CommandNotAllowed(condition::CHECK_CONTENT)),
            }
        }
        if machine.all_matched() { Ok(Bootable { judged }) } else { Err(Refusal::ImageMismatch) }
    }
}

/// What a boot knows of the image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Image {
    /// It runs on trial.
    Trial,
    /// It was confirmed.
    Confirmed,
}

macro_rules! judged {
    ($name:ident) => {
        impl<'a> $name<'a> {
            /// The digest that names this release everywhere.
            pub fn manifest_digest(&self) -> Digest {
                *self.judged.authenticated.envelope().manifest_digest()
            }

            /// The facts.
            pub fn facts(&self) -> &Facts<'a> {
                &self.judged.facts
            }

            /// Whether it was admitted as a recovery image: it moves no floor.
            pub fn is_recovery(&self) -> bool {
                self.judged.recovery
            }

            /// The time to which the device's time floor may rise: the
            /// earliest that the witnesses of the release's birth state.
            pub fn vouched_time(&self) -> Option<u64> {
                self.judged.vouched
            }

            /// The sequence number.
            pub fn sequence(&self) -> u64 {
                self.judged.authenticated.manifest().sequence
            }

            /// The envelope and manifest.
            pub fn authenticated(&self) -> &Authenticated<'a> {
                &self.judged.authenticated
            }

            /// The components, each with its facts and its place in
            /// [`Device::components`], in the manifest's order.
            pub fn components(&self) -> impl Iterator<Item = (&ComponentId<'a>, ComponentFacts, usize)> {
                let judged = &self.judged;
                judged
                    .authenticated
                    .manifest()
                    .components()
                    .zip(judged.facts.components())
                    .zip(judged.places)
                    .map(|((id, facts), place)| (id, facts, place as usize))
            }
        }
    };
}

judged!(Admitted);
judged!(Candidate);
judged!(Bootable);

impl<'a> Admitted<'a> {
    /// The steps of the update procedure.
    pub fn update<'d>(&self, device: &Device<'d>) -> Machine<'a, 'd> {
        Machine::update(&self.judged.authenticated, device.identity(), &self.judged.slots)
    }
}

impl<'a> Bootable<'a> {
    /// The steps of the invocation procedure.
    pub fn invocation<'d>(&self, device: &Device<'d>) -> Machine<'a, 'd> {
        Machine::invocation(&self.judged.authenticated, device.identity(), &self.judged.slots)
    }
}
