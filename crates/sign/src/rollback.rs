//! Roll-backs that are signed ahead: an earlier release's payloads under a
//! higher number, for the day on which the one after it turns out bad.
//!
//! Devices take such a release only beside a revocation of the one that it
//! rolls back, so it can lie ready wherever releases lie. Its number must
//! stand between the bad release and the next: it is made as long as nothing
//! came after, and the next release takes the number above it.

use firmseal_core::crypto::RustCrypto;
use firmseal_core::limits::ENVELOPE_MAX;
use firmseal_core::{Digest, Envelope, Manifest, Refusal};
use firmseal_fleet::product::ComponentSpec;
use firmseal_fleet::{Product, Release, ReleaseComponent, ReleaseState};
use firmseal_manifest::{ArtifactId, ReleaseId};
use firmseal_store::Page;
use semver::{BuildMetadata, Version};

use crate::component::{Prepared, detected};
use crate::error::PipelineError;
use crate::gate::{self, GateRefusal, Said};
use crate::judging::artifact_facts;
use crate::order::{Order, OrderedComponent, Requester};
use crate::pipeline::Pipeline;
use crate::policy::ArtifactFacts;
use crate::spool;

/// What stands in a version's build metadata before the number of the
/// release that is rolled back. It has no precedence (semver 2.0.0 §10), so
/// the version is the earlier one's, and still the only one of its name.
const MARK: &str = "rollback";
/// Releases that are read at once.
const PAGE: u32 = 100;

/// Which release is rolled back, and to which one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rollback {
    /// The release that must have been revoked.
    pub of: ReleaseId,
    /// The release whose payloads come back.
    pub to: ReleaseId,
}

/// The two releases.
pub(crate) struct Between {
    pub(crate) of: Release,
    pub(crate) to: Release,
}

/// The manifest that must have been revoked before a device takes this
/// release, if it is a roll-back that was signed ahead.
pub fn rolls_back(envelope: &[u8]) -> Result<Option<Digest>, Refusal> {
    let envelope = Envelope::decode(envelope)?;
    let manifest = Manifest::decode(&envelope, &RustCrypto)?;
    Ok(manifest.facts().and_then(|facts| facts.rollback_of))
}

/// The version of a roll-back: the earlier one's, marked.
fn marked(version: &Version, of: u64) -> Version {
    let before = Some(version.build.as_str()).filter(|build| !build.is_empty());
    let mark = format!("{MARK}.{of}");
    let build = before.map_or(mark.clone(), |before| format!("{before}.{mark}"));
    // Digits, letters and dots between others of them are build metadata.
    Version { build: BuildMetadata::new(&build).unwrap_or_default(), ..version.clone() }
}

/// The version without the mark: what its payloads carry.
pub(crate) fn unmarked(version: &Version) -> Version {
    let build = version.build.as_str();
    let kept = match build.rfind(MARK) {
        Some(at) => build[..at].trim_end_matches('.'),
        None => build,
    };
    Version { build: BuildMetadata::new(kept).unwrap_or_default(), ..version.clone() }
}

impl Pipeline {
    /// The order of a roll-back: to the release that was named, or to the
    /// newest one before that may still be offered.
    pub async fn rollback_order(
        &self,
        requester: Requester,
        key: Option<String>,
        of: ReleaseId,
        to: Option<ReleaseId>,
    ) -> Result<Order, PipelineError> {
        let of = self.store().release(of).await?;
        let to = match to {
            Some(to) => self.store().release(to).await?,
            None => self.before(&of).await?,
        };
        let components = to.components.iter();
        Ok(Order {
            key,
            requester,
            product: of.product.clone(),
            channel: of.channel.clone(),
            version: marked(&to.version, of.sequence),
            sequence: None,
            // A device that confirmed it counts to its epoch, and takes
            // nothing below that.
            epoch: of.epoch,
            components: components
                .map(|part| OrderedComponent { name: part.name.clone(), artifact: part.artifact })
                .collect(),
            parameters: Default::default(),
            sbom: to.sbom.map(ArtifactId),
            evidence: to.evidence.clone(),
            build: to.build.clone(),
            commit: to.commit.clone(),
            rollback: Some(Rollback { of: of.id, to: to.id }),
        })
    }

    /// The newest release of the channel before this one that is no
    /// roll-back itself and may be offered.
    async fn before(&self, of: &Release) -> Result<Release, PipelineError> {
        let mut page = Page::first(PAGE);
        loop {
            let some = self.store().releases(Some(&of.product), page).await?;
            let Some(last) = some.last().map(|release| release.id) else {
                return Err(GateRefusal::NothingBefore(of.version.to_string()).into());
            };
            for release in some {
                let fits = release.sequence < of.sequence
                    && release.channel == of.channel
                    && release.state == ReleaseState::Verified;
                if fits && self.waits_for(&release).await?.is_none() {
                    return Ok(release);
                }
            }
            page = Page::after(last, PAGE);
        }
    }

    /// The manifest that must have been revoked before a release installs.
    pub async fn waits_for(&self, release: &Release) -> Result<Option<Digest>, PipelineError> {
        let envelope = self.store().read_all(&release.envelope, ENVELOPE_MAX as u64).await?;
        Ok(rolls_back(&envelope)?)
    }

    /// The releases of an order that rolls one back, if it may. Whoever
    /// calls has the product's turn.
    pub(crate) async fn between(
        &self,
        order: &Order,
        latest: Option<&Release>,
    ) -> Result<Option<Between>, PipelineError> {
        let Some(Rollback { of, to }) = order.rollback else { return Ok(None) };
        let (of, to) = (self.store().release(of).await?, self.store().release(to).await?);
        let late = |later: String| {
            PipelineError::from(GateRefusal::RollbackLate { release: of.version.to_string(), later })
        };
        if let Some(later) = latest.filter(|latest| latest.id != of.id) {
            return Err(late(format!("release {}", later.version)));
        }
        // A request that waits holds a number, too.
        if self.last_waiting(&of.product).await? > of.sequence {
            return Err(late("a signing request that waits".to_owned()));
        }
        let fits =
            to.product == of.product && to.sequence < of.sequence && to.state == ReleaseState::Verified;
        match fits {
            true => Ok(Some(Between { of, to })),
            false => Err(GateRefusal::RollbackTo(to.version.to_string()).into()),
        }
    }

    /// Takes one payload of the earlier release as it is, through the gate
    /// once more. No key is used: what its format signs is signed already.
    pub(crate) async fn again(
        &self,
        order: &Order,
        product: &Product,
        component: &ComponentSpec,
        record: &ReleaseComponent,
    ) -> Result<(Prepared, ArtifactFacts), PipelineError> {
        let file = spool::fetch(self.store(), &record.payload).await?;
        let format = firmseal_formats::find(&product.format)
            .map_err(|error| PipelineError::Format { component: record.name.clone(), error })?;
        let name = record.name.clone();
        let inspection = spool::blocking(move || {
            detected(format, &file).map_err(|error| PipelineError::Format { component: name, error })
        })
        .await?;
        let version = unmarked(&order.version);
        let said = Said { version: &version, epoch: order.epoch };
        gate::check_payload(said, product, component, &inspection, record.size)?;
        let facts = artifact_facts(&record.name, record.artifact, &inspection, record.size);
        Ok((Prepared { record: record.clone(), header: inspection.digest(), leaf: None }, facts))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_put_on_and_taken_off() {
        for (version, with) in
            [("1.0.0", "1.0.0+rollback.7"), ("1.0.0-rc.1+5.a", "1.0.0-rc.1+5.a.rollback.7")]
        {
            let version: Version = version.parse().unwrap();
            assert_eq!(marked(&version, 7).to_string(), with);
            assert_eq!(unmarked(&marked(&version, 7)), version);
            assert_eq!(unmarked(&version), version);
        }
    }
}
