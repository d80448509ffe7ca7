//! Orders: what a release should become.

use std::ops::Deref;

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_fleet::Caller;
use firmseal_formats::Parameters;
use firmseal_manifest::cbor::Writer;
use firmseal_manifest::{ArtifactId, ChannelName, Digest, ProductId};
use semver::Version;

use crate::gate::Said;
use crate::rollback::Rollback;

/// Who asks for a signature: a caller, with the name on record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Requester(pub Caller);

impl Deref for Requester {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.0
    }
}

impl Requester {
    /// What stands for the requester in Intents and Statements. A holder of
    /// this name does not approve the own request: devices see to it.
    pub fn id(&self) -> Digest {
        self.0.id()
    }
}

/// A request for a release.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Order {
    /// The requester's idempotency key. Without one the order is its own
    /// key: the same order again gets the same release.
    pub key: Option<String>,
    /// Who asks.
    pub requester: Requester,
    /// The product.
    pub product: ProductId,
    /// The channel.
    pub channel: ChannelName,
    /// The version.
    pub version: Version,
    /// The sequence number; the next free one if absent.
    pub sequence: Option<u64>,
    /// The security epoch.
    pub epoch: u64,
    /// One artifact for each component.
    pub components: Vec<OrderedComponent>,
    /// The artifact that is its software bill of materials.
    pub sbom: Option<ArtifactId>,
    /// Documents about the build, in whatever order: provenance, test
    /// results, reproductions.
    pub evidence: Vec<ArtifactId>,
    /// Parameters of the format.
    pub parameters: Parameters,
    /// The build that made the artifacts.
    pub build: String,
    /// The commit it was built from.
    pub commit: String,
    /// Of a roll-back that is signed ahead: from which release to which.
    pub rollback: Option<Rollback>,
}

/// One artifact of an order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OrderedComponent {
    /// The component's name.
    pub name: String,
    /// The artifact.
    pub artifact: ArtifactId,
}

impl Order {
    /// What the release will say of itself.
    pub fn said(&self) -> Said<'_> {
        Said { version: &self.version, epoch: self.epoch }
    }

    /// Digest of everything that was asked for: two orders with the same
    /// fingerprint get the same release.
    pub fn fingerprint(&self) -> Digest {
        let mut out = Writer::new();
        let more = [self.rollback.is_some(), self.sbom.is_some(), !self.evidence.is_empty()];
        out.array(8 + more.into_iter().filter(|there| *there).count());
        out.text(self.product.as_str()).text(self.channel.as_str()).text(&self.version.to_string());
        match self.sequence {
            Some(sequence) => out.uint(sequence),
            None => out.null(),
        };
        out.uint(self.epoch);
        out.array(self.components.len());
        for component in &self.components {
            out.array(2).text(&component.name).bytes(component.artifact.0.as_bytes());
        }
        // Parameters are an ordered map of text: its JSON is one spelling.
        out.text(&serde_json::to_string(&self.parameters).unwrap_or_default());
        out.array(2).text(&self.build).text(&self.commit);
        if let Some(sbom) = &self.sbom {
            out.bytes(sbom.0.as_bytes());
        }
        if !self.evidence.is_empty() {
            out.array(self.evidence.len());
            self.evidence.iter().for_each(|document| {
                out.bytes(document.0.as_bytes());
            });
        }
        if let Some(Rollback { of, to }) = &self.rollback {
            out.array(2).text(&of.to_string()).text(&to.to_string());
        }
        RustCrypto.digest(&out.finish())
    }
}
