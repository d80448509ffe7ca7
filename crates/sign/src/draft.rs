//! Drafts: a release that is made but for its signatures.

use std::sync::Arc;

use firmseal_fleet::product;
use firmseal_fleet::{Product, ReleaseComponent, SigningRequest, Time};
use firmseal_manifest::{ArtifactId, ChannelName, Digest, Environment, ProductId, ReleaseSpec, author};
use firmseal_store::Reservation;
use semver::Version;

use crate::attempts::Attempts;
use crate::component::{Prepared, block};
use crate::gate;
use crate::keys::Keys;
use crate::order::Order;

/// For whom a key is used, and under which rules.
#[derive(Clone, Copy)]
pub(crate) struct Under<'a> {
    pub(crate) attempts: &'a Attempts,
    /// Who asks, as intents say it.
    pub(crate) requester: Digest,
    pub(crate) policy: Digest,
    /// Blob of the policy's decision.
    pub(crate) decision: Option<Digest>,
    pub(crate) now: Time,
}

/// A release without signatures.
#[derive(Clone)]
pub(crate) struct Draft {
    /// The uses of keys for it.
    pub(crate) attempts: Arc<Attempts>,
    /// What makes its order the same order.
    pub(crate) key: String,
    pub(crate) product: ProductId,
    pub(crate) channel: ChannelName,
    pub(crate) version: Version,
    pub(crate) sequence: u64,
    pub(crate) epoch: u64,
    pub(crate) components: Vec<ReleaseComponent>,
    /// Name and parsed header of each component.
    pub(crate) headers: Vec<(String, Digest)>,
    /// The leaves of the images' own signings.
    pub(crate) leaves: Vec<Digest>,
    pub(crate) policy: Digest,
    /// Blob of the policy's decision, where one was asked.
    pub(crate) decision: Option<Digest>,
    pub(crate) requester: String,
    /// Who asks, as Intent and Statements say it.
    pub(crate) requester_id: Digest,
    pub(crate) build: String,
    pub(crate) commit: String,
    /// Blob of its software bill of materials.
    pub(crate) sbom: Option<Digest>,
    /// Documents about its build.
    pub(crate) evidence: Vec<ArtifactId>,
    /// Of a roll-back that is signed ahead: the manifest that must have been
    /// revoked.
    pub(crate) rollback_of: Option<Digest>,
}

impl Draft {
    /// A draft without components.
    pub(crate) fn of(order: &Order, key: String, sequence: u64, attempts: Arc<Attempts>) -> Draft {
        Draft {
            attempts,
            key,
            product: order.product.clone(),
            channel: order.channel.clone(),
            version: order.version.clone(),
            sequence,
            epoch: order.epoch,
            components: Vec::new(),
            headers: Vec::new(),
            leaves: Vec::new(),
            policy: gate::policy(),
            decision: None,
            requester: order.requester.name.clone(),
            requester_id: order.requester.id(),
            build: order.build.clone(),
            commit: order.commit.clone(),
            sbom: order.sbom.map(|sbom| sbom.0),
            evidence: order.evidence.clone(),
            rollback_of: None,
        }
    }

    /// Adds the next component, in the order of the product.
    pub(crate) fn add(&mut self, prepared: Prepared) {
        self.headers.push((prepared.record.name.clone(), prepared.header));
        self.leaves.extend(prepared.leaf);
        self.components.push(prepared.record);
    }

    /// What its intents are written under.
    pub(crate) fn under(&self, now: Time) -> Under<'_> {
        Under {
            attempts: &self.attempts,
            requester: self.requester_id,
            policy: self.policy,
            decision: self.decision,
            now,
        }
    }

    /// The number that it takes.
    pub(crate) fn reservation(&self) -> Reservation {
        Reservation {
            product: self.product.clone(),
            channel: self.channel.clone(),
            version: self.version.clone(),
            sequence: self.sequence,
        }
    }

    /// Its manifest, to be assembled.
    pub(crate) fn spec(&self, product: &Product, keys: &Keys) -> ReleaseSpec {
        let components = self.components.iter().zip(&product.components);
        ReleaseSpec {
            environment: match product.environment {
                product::Environment::Test => Environment::Test,
                product::Environment::Production => Environment::Production,
            },
            vendor: product.vendor,
            class: product.class,
            product: self.product.clone(),
            channel: self.channel.clone(),
            version: self.version.clone(),
            sequence: self.sequence,
            epoch: self.epoch,
            delegation: keys.delegation_index(),
            rollback_of: self.rollback_of,
            components: components
                .map(|(record, component)| author::ComponentSpec {
                    name: record.name.clone(),
                    size: record.size,
                    digest: record.payload,
                    slot: None,
                    block: block(component.block_size),
                    tree_root: record.tree_root,
                })
                .collect(),
            description: None,
        }
    }
}

impl Draft {
    /// The draft of a request that waits.
    pub(crate) fn again(request: &SigningRequest, attempts: Arc<Attempts>) -> Draft {
        Draft {
            attempts,
            key: request.key.clone(),
            product: request.product.clone(),
            channel: request.channel.clone(),
            version: request.version.clone(),
            sequence: request.sequence,
            epoch: request.epoch,
            components: request.components.clone(),
            // They are in what people agreed to.
            headers: Vec::new(),
            leaves: request.leaves.clone(),
            policy: request.policy,
            decision: request.decision,
            requester: request.requester.clone(),
            requester_id: request.requester_id,
            build: request.build.clone(),
            commit: request.commit.clone(),
            sbom: request.sbom,
            evidence: request.evidence.clone(),
            rollback_of: request.rollback_of,
        }
    }
}
