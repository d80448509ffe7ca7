//! Root documents: who may do what, as bytes.

use firmseal_core::cose::Context;
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_core::{Demands, Environment, Refusal, Role, Root};
use firmseal_manifest::cbor::Writer;
use firmseal_manifest::{ChannelName, Digest, KeyError, ProductId, PublicKey, Signature, Tbs, sign1};

/// What every release must carry besides signatures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DemandsSpec {
    /// What is demanded.
    pub demands: Demands,
    /// The products it is said of; empty for all.
    pub products: Vec<ProductId>,
}

impl DemandsSpec {
    /// Nothing but signatures, for every product: what a root for
    /// development says in so many words.
    pub const NOTHING: DemandsSpec = DemandsSpec {
        demands: Demands { proof: false, approvals: false, delegation: false, owner: false },
        products: Vec::new(),
    };
}

/// A log that takes no more entries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClosedLogSpec {
    /// Its origin.
    pub origin: String,
    /// The key that signed its checkpoints.
    pub key: PublicKey,
    /// How many entries it has.
    pub size: u64,
    /// The hash of its whole tree.
    pub hash: Digest,
}

/// Everything that a root document says.
#[derive(Clone, Debug)]
pub struct RootSpec {
    /// Version, from 1.
    pub version: u64,
    /// The chain of root documents it belongs to.
    pub lineage: [u8; 16],
    /// Test or production.
    pub environment: Environment,
    /// The roles, root and release at least.
    pub roles: Vec<RoleSpec>,
    /// Lowest security epoch that may be installed.
    pub minimum_epoch: u64,
    /// What releases must carry. A production root that says nothing
    /// demands proof and approvals: to demand less has to be written down.
    pub demands: Vec<DemandsSpec>,
    /// The logs that were closed.
    pub closed_logs: Vec<ClosedLogSpec>,
    /// Sequence numbers to which devices lower their floors when they adopt
    /// the document.
    pub sequence_resets: Vec<(ProductId, u64)>,
}

/// A role: its holders, and how many of them must agree.
#[derive(Clone, Debug)]
pub struct RoleSpec {
    /// The role.
    pub role: Role,
    /// Distinct holders that must sign.
    pub threshold: u64,
    /// The holders.
    pub holders: Vec<Holder>,
    /// The products it is limited to; empty for all.
    pub products: Vec<ProductId>,
    /// Of approvers, the channels it is limited to; empty for all that no
    /// other entry names.
    pub channels: Vec<ChannelName>,
    /// Whether a holder counts only who has signed with a classical key and
    /// with a post-quantum one.
    pub both_kinds: bool,
}

/// A person or machine that holds keys for a role.
#[derive(Clone, Debug)]
pub struct Holder {
    /// Its name, once per role.
    pub name: String,
    /// Its keys. However many it holds, it counts once.
    pub keys: Vec<PublicKey>,
}

/// Why a root document cannot be written or completed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    /// Devices would refuse it.
    #[error("devices would refuse this root document: {0}")]
    Refused(#[from] Refusal),
    /// A key that devices cannot verify with.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// A root document's body, ready to be signed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnsignedRoot {
    body: Vec<u8>,
}

impl RootSpec {
    /// Encodes the body and checks its form as a device would.
    pub fn assemble(&self) -> Result<UnsignedRoot, RootError> {
        let mut body = Writer::new();
        let said = [self.demands.is_empty(), self.closed_logs.is_empty(), self.sequence_resets.is_empty()];
        body.map(6 + said.iter().filter(|empty| !**empty).count());
        body.uint(1).uint(1);
        body.uint(2).uint(self.version);
        body.uint(3).bytes(&self.lineage);
        body.uint(4).uint(self.environment as u64);
        body.uint(5).array(self.roles.len());
        for role in &self.roles {
            role.encode(&mut body)?;
        }
        body.uint(6).uint(self.minimum_epoch);
        if !self.demands.is_empty() {
            body.uint(7).array(self.demands.len());
            self.demands.iter().for_each(|demands| demands.encode(&mut body));
        }
        if !self.closed_logs.is_empty() {
            body.uint(8).array(self.closed_logs.len());
            for log in &self.closed_logs {
                body.array(4).text(&log.origin).raw(&cose_key(&log.key)?);
                body.uint(log.size).bytes(log.hash.as_bytes());
            }
        }
        if !self.sequence_resets.is_empty() {
            body.uint(9).array(self.sequence_resets.len());
            for (product, sequence) in &self.sequence_resets {
                body.array(2).text(product.as_str()).uint(*sequence);
            }
        }
        let unsigned = UnsignedRoot { body: body.finish() };
        Root::decode(&unsigned.encode(&[])?)?;
        Ok(unsigned)
    }
}

impl RoleSpec {
    fn encode(&self, out: &mut Writer) -> Result<(), KeyError> {
        let more = [!self.products.is_empty(), self.both_kinds, !self.channels.is_empty()];
        out.map(3 + more.iter().filter(|said| **said).count());
        out.uint(1).uint(self.role as u64);
        out.uint(2).uint(self.threshold);
        out.uint(3).array(self.holders.len());
        for holder in &self.holders {
            out.array(2).text(&holder.name).array(holder.keys.len());
            for key in &holder.keys {
                out.raw(&cose_key(key)?);
            }
        }
        if !self.products.is_empty() {
            out.uint(4).array(self.products.len());
            for product in &self.products {
                out.text(product.as_str());
            }
        }
        if self.both_kinds {
            out.uint(5).bool(true);
        }
        if !self.channels.is_empty() {
            out.uint(6).array(self.channels.len());
            for channel in &self.channels {
                out.text(channel.as_str());
            }
        }
        Ok(())
    }
}

impl Holder {
    /// Whether it has keys of both kinds.
    pub fn has_both_kinds(&self) -> bool {
        let has = |kind| self.keys.iter().any(|key| key.algorithm().is_post_quantum() == kind);
        has(false) && has(true)
    }
}

/// A key's encoding, if it is one that devices can verify with: no other
/// belongs in a root.
fn cose_key(key: &PublicKey) -> Result<Vec<u8>, KeyError> {
    match key.as_core() {
        Some(_) => Ok(key.cose_key()),
        None => Err(KeyError::Unsupported(format!("{} in a root document", key.algorithm()))),
    }
}

impl DemandsSpec {
    fn encode(&self, out: &mut Writer) {
        let Demands { proof, approvals, delegation, owner } = self.demands;
        out.map(if self.products.is_empty() { 4 } else { 5 });
        for (label, demanded) in [(1, proof), (2, approvals), (3, delegation), (4, owner)] {
            out.uint(label).bool(demanded);
        }
        if !self.products.is_empty() {
            out.uint(5).array(self.products.len());
            for product in &self.products {
                out.text(product.as_str());
            }
        }
    }
}

impl UnsignedRoot {
    /// SHA-256 of the body: what an intent names.
    pub fn digest(&self) -> Digest {
        RustCrypto.digest(&self.body)
    }

    /// What `key` signs.
    pub fn to_be_signed(&self, key: &PublicKey) -> Result<Tbs, KeyError> {
        sign1::to_be_signed(key, Context::Root, &self.digest())
    }

    /// The document without any signature: its form is what can be read.
    pub fn unsigned(&self) -> Result<Vec<u8>, KeyError> {
        self.encode(&[])
    }

    /// Puts a trust anchor together and verifies it against its own root
    /// role.
    pub fn seal(&self, signatures: &[(&PublicKey, Signature)]) -> Result<Vec<u8>, RootError> {
        let document = self.encode(signatures)?;
        Root::decode(&document)?.verify(&RustCrypto)?;
        Ok(document)
    }

    /// Puts a rotation together and verifies it as a device does that holds
    /// `previous`.
    pub fn seal_after(
        &self,
        previous: &[u8],
        signatures: &[(&PublicKey, Signature)],
    ) -> Result<Vec<u8>, RootError> {
        let document = self.encode(signatures)?;
        Root::decode(previous)?.successor(&document, &RustCrypto)?;
        Ok(document)
    }

    fn encode(&self, signatures: &[(&PublicKey, Signature)]) -> Result<Vec<u8>, KeyError> {
        let mut document = Writer::new();
        document.array(2).bytes(&self.body).array(signatures.len());
        for (key, signature) in signatures {
            document.bytes(&sign1::encode(key, signature)?);
        }
        Ok(document.finish())
    }
}
