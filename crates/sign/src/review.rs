//! The review: what somebody has to see before agreeing to a release.
//!
//! Pure. The pipeline makes it from what it is about to sign, and an
//! approver's own program from the bytes that it fetched: where both come to
//! the same digests, the server has shown what it will sign.

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_core::{Digest, Envelope, Environment, KeyId, Manifest, Refusal, Root, StatementPurpose};
use firmseal_evidence::{Materials, materials};
use firmseal_fleet::SigningRequest;
use firmseal_formats::{FormatError, Inspection, Source};
use firmseal_manifest::cbor::Writer;
use firmseal_manifest::{ArtifactId, Statement};

use crate::component::detected;

/// What a manifest says of a release.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Side {
    /// SHA-256 of the manifest.
    pub manifest: Digest,
    /// Test or production.
    pub environment: Environment,
    /// Product name.
    pub product: String,
    /// Channel name.
    pub channel: String,
    /// Version, for people.
    pub version: String,
    /// Sequence number.
    pub sequence: u64,
    /// Security epoch.
    pub epoch: u64,
    /// The payloads.
    pub components: Vec<Part>,
    /// Of a roll-back that is signed ahead: the manifest that must have been
    /// revoked before it installs.
    pub rollback_of: Option<Digest>,
}

/// What a manifest says of one payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// The component's name.
    pub name: String,
    /// Bytes as installed.
    pub size: u64,
    /// Root of the block tree over them.
    pub tree_root: Digest,
}

impl Side {
    /// Reads an envelope, signed or not. The digest of the manifest is
    /// computed, not believed.
    pub fn read(envelope: &[u8]) -> Result<Side, Refusal> {
        let envelope = Envelope::decode(envelope)?;
        let manifest = Manifest::decode(&envelope, &RustCrypto)?;
        let facts = manifest.facts().ok_or(Refusal::FactsMissing)?;
        let components = manifest
            .components()
            .zip(facts.components())
            .map(|(id, facts)| Part {
                name: id
                    .parts()
                    .iter()
                    .map(|part| String::from_utf8_lossy(part))
                    .collect::<Vec<_>>()
                    .join("/"),
                size: facts.tree.size(),
                tree_root: *facts.tree.root(),
            })
            .collect();
        Ok(Side {
            manifest: RustCrypto.digest(envelope.manifest().wrapped),
            environment: facts.environment,
            product: facts.product.to_owned(),
            channel: facts.channel.to_owned(),
            version: facts.version.to_owned(),
            sequence: manifest.sequence,
            epoch: facts.epoch,
            components,
            rollback_of: facts.rollback_of,
        })
    }

    fn write(&self, out: &mut Writer) {
        out.array(6).bytes(self.manifest.as_bytes()).text(&self.channel).text(&self.version);
        out.uint(self.sequence).uint(self.epoch).array(self.components.len());
        for part in &self.components {
            out.array(3).text(&part.name).uint(part.size).bytes(part.tree_root.as_bytes());
        }
    }
}

/// A release beside the one before it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// The release before, if there is one.
    pub before: Option<Side>,
    /// The release that is to be signed.
    pub after: Side,
    /// The bills of materials of both.
    pub sboms: [Option<Materials>; 2],
    /// Documents about the build of the release that is to be signed: its
    /// build evidence.
    pub evidence: Vec<ArtifactId>,
}

impl Difference {
    /// What a Statement names: SHA-256 over `[before or null, after, ? [SBOM
    /// before or null, SBOM after or null], ? [evidence]]` in deterministic
    /// CBOR, documents by their digests. Bills of materials stand there where
    /// there are any, and before evidence always.
    pub fn digest(&self) -> Digest {
        let mut out = Writer::new();
        let proven = !self.evidence.is_empty();
        let told = proven || self.sboms.iter().any(Option::is_some);
        out.array(2 + usize::from(told) + usize::from(proven));
        match &self.before {
            Some(before) => before.write(&mut out),
            None => {
                out.null();
            }
        }
        self.after.write(&mut out);
        if told {
            out.array(2);
            for sbom in &self.sboms {
                match sbom {
                    Some(sbom) => out.bytes(sbom.digest().as_bytes()),
                    None => out.null(),
                };
            }
        }
        if proven {
            out.array(self.evidence.len());
            for document in &self.evidence {
                out.bytes(document.0.as_bytes());
            }
        }
        RustCrypto.digest(&out.finish())
    }

    /// The same in words, a line for each thing that changes.
    pub fn lines(&self) -> Vec<String> {
        let after = &self.after;
        let [sbom_before, sbom] = &self.sboms;
        let mut list = materials::lines(sbom_before.as_ref(), sbom.as_ref());
        list.extend(self.evidence.iter().map(|document| format!("evidence of the build {document}")));
        let Some(before) = &self.before else {
            return [vec!["the first release of this product".to_owned()], list].concat();
        };
        let mut lines = Vec::new();
        let mut line = |what: &str, from: &dyn std::fmt::Display, to: &dyn std::fmt::Display| {
            let (from, to) = (from.to_string(), to.to_string());
            if from != to {
                lines.push(format!("{what} {from} -> {to}"));
            }
        };
        line("channel", &before.channel, &after.channel);
        line("version", &before.version, &after.version);
        line("sequence", &before.sequence, &after.sequence);
        line("security epoch", &before.epoch, &after.epoch);
        for part in &after.components {
            match before.components.iter().find(|old| old.name == part.name) {
                None => lines.push(format!("component {} is new: {} bytes", part.name, part.size)),
                Some(old) if old.tree_root == part.tree_root => {
                    lines.push(format!("component {} stays as it is", part.name));
                }
                Some(old) => lines
                    .push(format!("component {} changes: {} -> {} bytes", part.name, old.size, part.size)),
            }
        }
        if let Some(manifest) = &after.rollback_of {
            lines.push(format!("rolls back {manifest}, and installs only once that is revoked"));
        }
        for old in &before.components {
            if after.components.iter().all(|part| part.name != old.name) {
                lines.push(format!("component {} is gone", old.name));
            }
        }
        lines.extend(list);
        lines
    }
}

/// What a product's format reads of a payload.
pub fn inspect(format: &str, payload: &dyn Source) -> Result<Inspection, FormatError> {
    detected(firmseal_formats::find(format)?, payload)
}

/// Digest of the payloads' parsed headers: each component's name and the
/// digest of what its format's parser read.
pub fn header(parts: &[(String, Digest)]) -> Digest {
    let mut out = Writer::new();
    out.array(parts.len());
    for (name, digest) in parts {
        out.array(2).text(name).bytes(digest.as_bytes());
    }
    RustCrypto.digest(&out.finish())
}

/// What approvers of a request sign. All sign the same bytes.
pub fn statement(request: &SigningRequest, root: &Root<'_>) -> Statement {
    Statement {
        purpose: StatementPurpose::Approval,
        environment: root.environment(),
        lineage: *root.lineage(),
        request: request.id,
        manifest: request.manifest,
        signers: request.signers.iter().map(|id| KeyId(*id)).collect(),
        previous: request.previous,
        expiry: request.expiry,
        header: request.header,
        difference: request.difference,
        policy: request.policy,
        requester: request.requester_id,
    }
}
