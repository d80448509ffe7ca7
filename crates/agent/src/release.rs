//! Releases as a device keeps them: the envelope, and the ids that lead
//! from it back to the build.

use std::path::Path;
use std::sync::Arc;

use firmseal_api::updates::{Offer, TEXT_MAX};
use firmseal_core::Takes;
use firmseal_manifest::{ReleaseId, RequestId, RolloutId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::boot_control::Slot;
use crate::error::Error;
use crate::files::Files;
use crate::record::Record;
use crate::trust::AdmittedUnder;

/// Where a release came from: carried into every report and log line.
/// Nothing is decided by it.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Origin {
    /// The release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<ReleaseId>,
    /// The rollout that offered it; absent for a bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutId>,
    /// The CI's build id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    /// The commit it came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The signing request that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
}

impl Origin {
    /// Where log lines about this release are written: the ids join them,
    /// also long after the offer, with everything else that is known of it.
    pub(crate) fn span(&self) -> tracing::Span {
        tracing::info_span!(
            "release",
            release = self.release.map(tracing::field::display),
            rollout = self.rollout.map(tracing::field::display),
            build = self.build,
            commit = self.commit,
            request = self.request.map(tracing::field::display),
        )
    }
}

impl From<&Offer> for Origin {
    fn from(offer: &Offer) -> Origin {
        Origin {
            release: Some(offer.release),
            rollout: Some(offer.rollout),
            build: Some(clip(&offer.build, TEXT_MAX)),
            commit: Some(clip(&offer.commit, TEXT_MAX)),
            request: Some(offer.request),
        }
    }
}

/// At most `max` bytes of a text: the wire has bounds.
pub(crate) fn clip(text: &str, max: usize) -> String {
    let end = text.floor_char_boundary(max.min(text.len()));
    text[..end].to_owned()
}

/// A release that is being installed or was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Kept {
    pub(crate) head: Head,
    /// The root document under which it was admitted.
    pub(crate) root: Vec<u8>,
    /// The owner's root document then; empty without an owner.
    pub(crate) owner: Vec<u8>,
    pub(crate) envelope: Vec<u8>,
}

impl Kept {
    /// The root documents that admitted it.
    pub(crate) fn under(&self) -> AdmittedUnder<'_> {
        let owner = (!self.owner.is_empty()).then_some(&self.owner[..]);
        AdmittedUnder { root: &self.root, owner }
    }
}

/// What is known about it besides the envelope.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Head {
    /// Names this one install: report ids are derived from it, so that an
    /// event that is reported again after a cut is the same report.
    pub(crate) install: Uuid,
    pub(crate) slot: Slot,
    pub(crate) version: String,
    pub(crate) sequence: u64,
    /// Digest of the manifest, in hexadecimal.
    pub(crate) manifest: String,
    pub(crate) origin: Origin,
    /// It came in by the recovery role: it moves no floor.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) recovery: bool,
    /// It was admitted for the channel that the device took then: who had to
    /// approve it stays so, whatever channel is set later.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) channel: bool,
}

impl Head {
    /// The channels that count at a boot.
    pub(crate) fn takes(&self) -> Takes<'static> {
        if self.channel { Takes::Any } else { Takes::General }
    }
}

/// A record that holds a release.
#[derive(Clone)]
pub(crate) struct Shelf {
    record: Record,
}

impl Shelf {
    /// The install under way.
    pub(crate) fn install(files: Arc<dyn Files>, dir: &Path) -> Shelf {
        Shelf { record: Record::new(files, dir, "install") }
    }

    /// What was installed into a slot last.
    pub(crate) fn slot(files: Arc<dyn Files>, dir: &Path, slot: Slot) -> Shelf {
        Shelf { record: Record::new(files, dir, &format!("slot-{slot}")) }
    }

    pub(crate) fn read(&self) -> Result<Option<Kept>, Error> {
        let corrupt = |why: String| Error::Corrupt { what: "a kept release", why };
        let Some(bytes) = self.record.read()? else { return Ok(None) };
        let short = || corrupt("it is cut short".to_owned());
        let (head, rest) = split(&bytes).ok_or_else(short)?;
        let (root, rest) = split(rest).ok_or_else(short)?;
        let (owner, envelope) = split(rest).ok_or_else(short)?;
        let head = serde_json::from_slice(head).map_err(|err| corrupt(err.to_string()))?;
        let (root, owner, envelope) = (root.to_vec(), owner.to_vec(), envelope.to_vec());
        Ok(Some(Kept { head, root, owner, envelope }))
    }

    pub(crate) fn write(&self, kept: &Kept) -> Result<(), Error> {
        let head = serde_json::to_vec(&kept.head)
            .map_err(|err| Error::Corrupt { what: "a kept release", why: err.to_string() })?;
        let mut bytes = Vec::new();
        for part in [&head, &kept.root, &kept.owner] {
            bytes.extend((part.len() as u32).to_le_bytes());
            bytes.extend(part);
        }
        bytes.extend(&kept.envelope);
        self.record.write(&bytes)
    }

    pub(crate) fn clear(&self) -> Result<(), Error> {
        self.record.clear()
    }
}

/// A part with its length before it, and what follows.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_le_bytes(*len) as usize)
}
