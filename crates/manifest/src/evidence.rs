//! Evidence: Intent, Statements and birth proof, as an envelope carries
//! them.

use firmseal_core::{Digest, KeyId};

use crate::cbor::Writer;
use crate::intent::Intent;
use crate::key::{KeyError, PublicKey, Signature};
use crate::sign1;
use crate::statement::Statement;

/// What an envelope carries so that a device needs nobody's word.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Evidence {
    /// The Intent that was logged before the release was signed.
    pub intent: Option<Intent>,
    /// What people have agreed to, with their signatures.
    pub statements: Vec<SignedStatement>,
    /// Where the Intent stands in the log.
    pub proof: Option<BirthProof>,
}

/// A Statement and the signatures under it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SignedStatement {
    /// The Statement.
    pub statement: Statement,
    /// The signatures.
    pub signatures: Vec<Agreement>,
}

/// One person's signature under a Statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Agreement {
    /// COSE, by a key file or a token.
    Cose {
        /// The key.
        key: PublicKey,
        /// Its signature over [`Statement::to_be_signed`].
        signature: Signature,
    },
    /// OpenSSH's signature format: the decoded blob.
    Ssh(Vec<u8>),
    /// A WebAuthn assertion.
    WebAuthn {
        /// The passkey.
        key: KeyId,
        /// `authenticatorData`.
        authenticator: Vec<u8>,
        /// `clientDataJSON`.
        client: Vec<u8>,
        /// `signature`.
        signature: Vec<u8>,
    },
}

/// A checkpoint that covers the Intent, and the path to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BirthProof {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Index of the leaf.
    pub index: u64,
    /// Sibling hashes from the leaf upward.
    pub path: Vec<Digest>,
}

/// A checkpoint with the signatures of its log and of witnesses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// The log's origin.
    pub origin: String,
    /// Entries of the tree.
    pub size: u64,
    /// Hash of the tree.
    pub hash: Digest,
    /// The log's key, and its Ed25519 signature over the note's text.
    pub signature: (KeyId, Vec<u8>),
    /// What witnesses have cosigned.
    pub cosignatures: Vec<Cosignature>,
}

/// A witness's timestamped signature (C2SP tlog-cosignature, Ed25519).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cosignature {
    /// The witness's key.
    pub key: KeyId,
    /// Seconds since 1970.
    pub time: u64,
    /// The signature.
    pub signature: Vec<u8>,
}

impl Evidence {
    /// The encoded member's content.
    pub fn encode(&self) -> Result<Vec<u8>, KeyError> {
        let (intent, proof) = (self.intent.is_some(), self.proof.is_some());
        let members = usize::from(intent) + usize::from(!self.statements.is_empty()) + usize::from(proof);
        let mut out = Writer::new();
        out.map(members);
        if let Some(intent) = &self.intent {
            out.uint(1).bytes(&intent.encode());
        }
        if !self.statements.is_empty() {
            out.uint(2).array(self.statements.len());
            for signed in &self.statements {
                signed.write(&mut out)?;
            }
        }
        if let Some(proof) = &self.proof {
            out.uint(3).array(3);
            proof.checkpoint.write(&mut out);
            out.uint(proof.index).array(proof.path.len());
            for hash in &proof.path {
                out.bytes(hash.as_bytes());
            }
        }
        Ok(out.finish())
    }
}

impl SignedStatement {
    /// The Statement with its signatures, as an envelope carries them.
    pub fn encode(&self) -> Result<Vec<u8>, KeyError> {
        let mut out = Writer::new();
        self.write(&mut out)?;
        Ok(out.finish())
    }

    fn write(&self, out: &mut Writer) -> Result<(), KeyError> {
        out.array(2).bytes(&self.statement.encode()).array(self.signatures.len());
        self.signatures.iter().try_for_each(|agreement| agreement.encode(out))
    }
}

impl Agreement {
    fn encode(&self, out: &mut Writer) -> Result<(), KeyError> {
        out.array(2);
        match self {
            Agreement::Cose { key, signature } => out.uint(0).bytes(&sign1::encode(key, signature)?),
            Agreement::Ssh(blob) => out.uint(1).bytes(blob),
            Agreement::WebAuthn { key, authenticator, client, signature } => out
                .uint(2)
                .array(4)
                .bytes(key.0.as_bytes())
                .bytes(authenticator)
                .bytes(client)
                .bytes(signature),
        };
        Ok(())
    }
}

impl Checkpoint {
    /// Writes the checkpoint as part of a proof or a freshness document.
    pub fn write(&self, out: &mut Writer) {
        out.map(5);
        out.uint(1).text(&self.origin);
        out.uint(2).uint(self.size);
        out.uint(3).bytes(self.hash.as_bytes());
        out.uint(4).array(2).bytes(self.signature.0.0.as_bytes()).bytes(&self.signature.1);
        out.uint(5).array(self.cosignatures.len());
        for cosignature in &self.cosignatures {
            out.array(3).bytes(cosignature.key.0.as_bytes()).uint(cosignature.time);
            out.bytes(&cosignature.signature);
        }
    }
}
