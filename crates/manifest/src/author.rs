//! Author of manifests and envelopes: what a release is, in; deterministic
//! bytes, out.
//!
//! A manifest is assembled before anybody signs, so an approval or a
//! signature can never be moved to other commands, classes or epochs.

use firmseal_core::cose::{Context, suit_digest};
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_core::envelope::{DELEGATION, ENVELOPE_TAG, EVIDENCE, INSTALL, TEXT};
use firmseal_core::facts::{FACTS, PROFILE};
use firmseal_core::limits;
use firmseal_core::{BlockSize, Digest, Environment};
use semver::Version;
use uuid::Uuid;

use crate::cbor::Writer;
use crate::delegation::Delegation;
use crate::evidence::Evidence;
use crate::ids::{ChannelName, ProductId};
use crate::key::{KeyError, PublicKey, Signature};
use crate::sign1;
use crate::tbs::Tbs;

/// Reporting policy of conditions: records and system information always.
const REPORT_CONDITION: u64 = 15;
/// Reporting policy of directives: a record on failure.
const REPORT_DIRECTIVE: u64 = 2;

/// Everything that a release's manifest says.
#[derive(Clone, Debug)]
pub struct ReleaseSpec {
    /// Test or production.
    pub environment: Environment,
    /// Vendor id (UUID version 5 of the vendor's domain, as SUIT advises).
    pub vendor: Uuid,
    /// Device class id.
    pub class: Uuid,
    /// Product name.
    pub product: ProductId,
    /// Channel name.
    pub channel: ChannelName,
    /// Version for people.
    pub version: Version,
    /// Orders manifests.
    pub sequence: u64,
    /// Security epoch.
    pub epoch: u64,
    /// Delegation index; 0 without delegation.
    pub delegation: u64,
    /// Of a rollback that is signed ahead: the manifest that must have been
    /// revoked before it installs.
    pub rollback_of: Option<Digest>,
    /// The components with their payloads, in order; the first is invoked.
    pub components: Vec<ComponentSpec>,
    /// A sentence for people, severable.
    pub description: Option<String>,
}

/// One component and its payload.
#[derive(Clone, Debug)]
pub struct ComponentSpec {
    /// The component's name: its SUIT identifier is this one byte string.
    pub name: String,
    /// Payload size in bytes.
    pub size: u64,
    /// SHA-256 of the payload.
    pub digest: Digest,
    /// The slot it is built for; `None` if any will do.
    pub slot: Option<u64>,
    /// Block size of the tree.
    pub block: BlockSize,
    /// Root hash of the tree.
    pub tree_root: Digest,
}

impl ComponentSpec {
    /// Where carriers keep the payload, relative to their base.
    pub fn uri(&self) -> String {
        payload_uri(&self.digest)
    }
}

/// Where carriers keep a payload, relative to their base; the hash blocks
/// of its tree stand beside it with `.tree` appended.
pub fn payload_uri(digest: &Digest) -> String {
    format!("payloads/{digest}")
}

/// Why a release cannot be written down.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorError {
    /// No components, or more than a device accepts.
    #[error("a release has 1 to {} components", limits::COMPONENTS_MAX)]
    ComponentCount,
    /// The same component twice.
    #[error("component `{0}` stands in the release twice")]
    ComponentTwice(String),
    /// A payload that is empty or too large.
    #[error("component `{name}`: a payload has 1 to {} bytes, not {size}", limits::PAYLOAD_MAX)]
    PayloadSize {
        /// The component.
        name: String,
        /// Its size.
        size: u64,
    },
    /// A text longer than devices accept.
    #[error("{what} is longer than {} bytes", limits::TEXT_MAX)]
    TextTooLong {
        /// Which text.
        what: &'static str,
    },
    /// The envelope would be larger than devices accept.
    #[error("the envelope has {0} bytes, devices accept {max}", max = limits::ENVELOPE_MAX)]
    EnvelopeTooLarge(usize),
    /// A key that devices cannot verify with.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// A manifest ready to be approved and signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnsignedManifest {
    /// The manifest as a byte string with its head.
    wrapped: Vec<u8>,
    /// Severed members as byte strings with their heads, by label.
    severed: Vec<(i64, Vec<u8>)>,
    digest: Digest,
}

impl ReleaseSpec {
    /// Assembles the manifest.
    pub fn assemble(&self) -> Result<UnsignedManifest, AuthorError> {
        self.check()?;
        let install = wrap(&self.install());
        let text = self.description.as_ref().map(|description| wrap(&text(description)));

        let mut manifest = Writer::new();
        manifest.map(if text.is_some() { 8 } else { 7 });
        manifest.uint(1).uint(1);
        manifest.uint(2).uint(self.sequence);
        manifest.uint(3).bytes(&self.common());
        manifest.uint(7).bytes(&self.validate());
        manifest.uint(9).bytes(&self.invoke());
        manifest.int(INSTALL).raw(&severed_digest(&install));
        if let Some(text) = &text {
            manifest.int(TEXT).raw(&severed_digest(text));
        }
        manifest.int(FACTS).bytes(&self.facts());

        let wrapped = wrap(&manifest.finish());
        let digest = RustCrypto.digest(&wrapped);
        let severed = [(INSTALL, Some(install)), (TEXT, text)];
        let severed = severed.into_iter().filter_map(|(label, bytes)| Some((label, bytes?))).collect();
        Ok(UnsignedManifest { wrapped, severed, digest })
    }

    fn check(&self) -> Result<(), AuthorError> {
        if self.components.is_empty() || self.components.len() > limits::COMPONENTS_MAX {
            return Err(AuthorError::ComponentCount);
        }
        for (index, component) in self.components.iter().enumerate() {
            let ComponentSpec { name, size, .. } = component;
            if self.components[..index].iter().any(|other| other.name == *name) {
                return Err(AuthorError::ComponentTwice(name.clone()));
            }
            if *size == 0 || *size > limits::PAYLOAD_MAX {
                return Err(AuthorError::PayloadSize { name: name.clone(), size: *size });
            }
            if name.len() > limits::TEXT_MAX {
                return Err(AuthorError::TextTooLong { what: "a component name" });
            }
        }
        if self.version.to_string().len() > limits::TEXT_MAX {
            return Err(AuthorError::TextTooLong { what: "the version" });
        }
        Ok(())
    }

    fn common(&self) -> Vec<u8> {
        let mut common = Writer::new();
        common.map(2).uint(2).array(self.components.len());
        for component in &self.components {
            common.array(1).bytes(component.name.as_bytes());
        }
        common.uint(4).bytes(&self.shared());
        common.finish()
    }

    /// Vendor and class first, for all components, then what each image is.
    fn shared(&self) -> Vec<u8> {
        let mut sequence = Commands::default();
        if self.components.len() > 1 {
            sequence.add(12, |w| w.bool(true));
        }
        sequence
            .add(20, |w| w.map(2).uint(1).bytes(self.vendor.as_bytes()).uint(2).bytes(self.class.as_bytes()));
        sequence.add(1, |w| w.uint(REPORT_CONDITION));
        sequence.add(2, |w| w.uint(REPORT_CONDITION));
        self.each(&mut sequence, |sequence, component| {
            sequence.add(20, |w| {
                w.map(if component.slot.is_some() { 3 } else { 2 });
                w.uint(3).bytes(&suit_digest(&component.digest));
                if let Some(slot) = component.slot {
                    w.uint(5).uint(slot);
                }
                w.uint(14).uint(component.size)
            });
        });
        sequence.finish()
    }

    fn install(&self) -> Vec<u8> {
        let mut sequence = Commands::default();
        self.each(&mut sequence, |sequence, component| {
            if component.slot.is_some() {
                sequence.add(5, |w| w.uint(REPORT_CONDITION));
            }
            sequence.add(20, |w| w.map(1).uint(21).text(&component.uri()));
            sequence.add(21, |w| w.uint(REPORT_DIRECTIVE));
            sequence.add(3, |w| w.uint(REPORT_CONDITION));
        });
        sequence.finish()
    }

    fn validate(&self) -> Vec<u8> {
        let mut sequence = Commands::default();
        self.each(&mut sequence, |sequence, _| sequence.add(3, |w| w.uint(REPORT_CONDITION)));
        sequence.finish()
    }

    fn invoke(&self) -> Vec<u8> {
        let mut sequence = Commands::default();
        sequence.add(23, |w| w.uint(REPORT_DIRECTIVE));
        sequence.finish()
    }

    /// Adds commands for each component, with its index set where there is
    /// more than one.
    fn each(&self, sequence: &mut Commands, mut add: impl FnMut(&mut Commands, &ComponentSpec)) {
        for (index, component) in self.components.iter().enumerate() {
            if self.components.len() > 1 {
                sequence.add(12, |w| w.uint(index as u64));
            }
            add(sequence, component);
        }
    }

    fn facts(&self) -> Vec<u8> {
        let mut facts = Writer::new();
        facts.map(if self.rollback_of.is_some() { 11 } else { 10 });
        facts.uint(1).uint(PROFILE);
        facts.uint(2).uint(self.environment as u64);
        facts.uint(3).bytes(self.vendor.as_bytes());
        facts.uint(4).bytes(self.class.as_bytes());
        facts.uint(5).text(self.product.as_str());
        facts.uint(6).text(self.channel.as_str());
        facts.uint(7).text(&self.version.to_string());
        facts.uint(8).uint(self.epoch);
        facts.uint(9).uint(self.delegation);
        facts.uint(10).array(self.components.len());
        for component in &self.components {
            facts.map(if component.slot.is_some() { 3 } else { 2 });
            facts.uint(1).uint(component.size);
            if let Some(slot) = component.slot {
                facts.uint(2).uint(slot);
            }
            facts.uint(3).array(3).int(-16).uint(component.block.bytes() as u64);
            facts.bytes(component.tree_root.as_bytes());
        }
        if let Some(manifest) = &self.rollback_of {
            facts.uint(11).bytes(manifest.as_bytes());
        }
        facts.finish()
    }
}

impl UnsignedManifest {
    /// The digest that names the release: SHA-256 of the byte string with
    /// its head.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What `key` signs.
    pub fn to_be_signed(&self, key: &PublicKey) -> Result<Tbs, KeyError> {
        sign1::to_be_signed(key, Context::Manifest, &self.digest)
    }

    /// Puts an envelope together that carries signatures alone.
    pub fn seal(&self, signatures: &[(&PublicKey, Signature)]) -> Result<Vec<u8>, AuthorError> {
        self.seal_with(signatures, None, None)
    }

    /// Puts the envelope together, with what lets a device decide alone: the
    /// delegation chains and the evidence.
    pub fn seal_with(
        &self,
        signatures: &[(&PublicKey, Signature)],
        delegation: Option<&Delegation>,
        evidence: Option<&Evidence>,
    ) -> Result<Vec<u8>, AuthorError> {
        let mut wrapper = Writer::new();
        wrapper.array(1 + signatures.len()).bytes(&suit_digest(&self.digest));
        for (key, signature) in signatures {
            wrapper.bytes(&sign1::encode(key, signature)?);
        }
        let mut envelope = Writer::new();
        let more = usize::from(delegation.is_some()) + usize::from(evidence.is_some());
        envelope.tag(ENVELOPE_TAG).map(2 + self.severed.len() + more);
        if let Some(delegation) = delegation {
            envelope.int(DELEGATION).bytes(&delegation.encode());
        }
        envelope.uint(2).bytes(&wrapper.finish());
        envelope.uint(3).raw(&self.wrapped);
        for (label, member) in &self.severed {
            envelope.int(*label).raw(member);
        }
        if let Some(evidence) = evidence {
            envelope.int(EVIDENCE).bytes(&evidence.encode()?);
        }
        let envelope = envelope.finish();
        if envelope.len() > limits::ENVELOPE_MAX {
            return Err(AuthorError::EnvelopeTooLarge(envelope.len()));
        }
        Ok(envelope)
    }
}

/// A flat list of commands and arguments under construction.
#[derive(Default)]
struct Commands {
    items: usize,
    body: Writer,
}

impl Commands {
    fn add(&mut self, label: i64, argument: impl FnOnce(&mut Writer) -> &mut Writer) {
        argument(self.body.int(label));
        self.items += 2;
    }

    fn finish(self) -> Vec<u8> {
        let mut out = Writer::new();
        out.array(self.items).raw(&self.body.finish());
        out.finish()
    }
}

/// A byte string with its head.
fn wrap(content: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.bytes(content);
    writer.finish()
}

/// "The SUIT_Digest is computed over the entire bstr enclosing the Manifest
/// element that has been moved to the Envelope" (draft §8.4.11).
fn severed_digest(wrapped: &[u8]) -> [u8; 36] {
    suit_digest(&RustCrypto.digest(wrapped))
}

/// suit-text: one language, the manifest's description (label 1).
fn text(description: &str) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.map(1).text("en").map(1).uint(1).text(description);
    writer.finish()
}
