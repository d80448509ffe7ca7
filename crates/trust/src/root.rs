//! Root documents: who may do what, as bytes.

use firmseal_core::cose::Context;
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_core::{Environment, Refusal, Role, Root};
use firmseal_manifest::cbor::Writer;
use firmseal_manifest::{Digest, KeyError, ProductId, PublicKey, Signature, Tbs, sign1};

/// What every release must carry besides signatures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Demands {
    /// Witnesses that must have cosigned the birth proof; 0 asks for none.
    pub witnesses: u64,
    /// Approvers that must have signed a Statement; 0 asks for none.
    pub approvals: u64,
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
    /// What releases must carry. Left out of a production root, it means a
    /// witness and an approval: to demand less has to be written down.
    pub demands: Option<Demands>,
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
        body.map(if self.demands.is_some() { 7 } else { 6 });
        body.uint(1).uint(1);
        body.uint(2).uint(self.version);
        body.uint(3).bytes(&self.lineage);
        body.uint(4).uint(self.environment as u64);
        body.uint(5).array(self.roles.len());
        for role in &self.roles {
            role.encode(&mut body)?;
        }
        body.uint(6).uint(self.minimum_epoch);
        if let Some(demands) = self.demands {
            body.uint(7).map(2).uint(1).uint(demands.witnesses).uint(2).uint(demands.approvals);
        }
        let unsigned = UnsignedRoot { body: body.finish() };
        Root::decode(&unsigned.encode(&[])?)?;
        Ok(unsigned)
    }
}

impl RoleSpec {
    fn encode(&self, out: &mut Writer) -> Result<(), KeyError> {
        out.map(if self.products.is_empty() { 3 } else { 4 });
        out.uint(1).uint(self.role as u64);
        out.uint(2).uint(self.threshold);
        out.uint(3).array(self.holders.len());
        for holder in &self.holders {
            out.array(2).text(&holder.name).array(holder.keys.len());
            for key in &holder.keys {
                out.raw(&key.cose_key());
                // Only keys that devices can verify with belong in a root.
                key.as_core().ok_or_else(|| {
                    KeyError::Unsupported(format!("{} in a root document", key.algorithm()))
                })?;
            }
        }
        if !self.products.is_empty() {
            out.uint(4).array(self.products.len());
            for product in &self.products {
                out.text(product.as_str());
            }
        }
        Ok(())
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

    /// Puts the document together and verifies it against its own root
    /// role, as a device does with its trust anchor.
    pub fn seal(&self, signatures: &[(&PublicKey, Signature)]) -> Result<Vec<u8>, RootError> {
        let document = self.encode(signatures)?;
        Root::decode(&document)?.verify(&RustCrypto)?;
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
