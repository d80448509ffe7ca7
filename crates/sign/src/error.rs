//! Why an order did not become a release.

use std::io;

use firmseal_core::{KeyId, Refusal};
use firmseal_evidence::EvidenceError;
use firmseal_formats::FormatError;
use firmseal_keys::{LogError, SignError};
use firmseal_manifest::{ArtifactId, AuthorError, Digest, KeyError, ProductId, RequestId};
use firmseal_store::StoreError;

use crate::gate::GateRefusal;
use crate::key_rules::KeyRefusal;
use crate::policy::{PolicyError, Reason};
use crate::proofs::ProofError;
use crate::timestamps::StampError;
use crate::waiting::{ApprovalError, WAITING_MAX};

/// Why an order did not become a release, and who can do something about it.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The gate does not let it through.
    #[error("the gate refuses: {0}")]
    Gate(#[from] GateRefusal),
    /// The policy does not let it through.
    #[error("the policy refuses: {}", listed(reasons))]
    Policy {
        /// Which rules, and why.
        reasons: Vec<Reason>,
        /// Blob of the decision's record.
        decision: Digest,
    },
    /// The policy wants a person to look at it first.
    #[error("the policy holds this until a security officer lets it go: {}", listed(reasons))]
    Held {
        /// Which rules, and why.
        reasons: Vec<Reason>,
        /// Blob of the decision's record.
        decision: Digest,
        /// Digest of the rules that hold it.
        rules: Digest,
    },
    /// The policy cannot be evaluated.
    #[error("nothing was signed: {0}")]
    NoVerdict(#[from] PolicyError),
    /// The policy asks for more people than there are.
    #[error("the policy asks for {need} approvals, and the root document names {have} approvers")]
    TooFewApprovers {
        /// How many it asks for.
        need: u32,
        /// How many there are.
        have: usize,
    },
    /// An artifact is not what its format demands.
    #[error("artifact of component `{component}`: {error}")]
    Format {
        /// The component.
        component: String,
        /// What is wrong with it.
        error: FormatError,
    },
    /// The product's format signs images, and no key for that is configured.
    #[error(
        "format `{format}` signs the image itself and no artifact key is configured for product `{product}`"
    )]
    NoArtifactKey {
        /// The product.
        product: String,
        /// Its format.
        format: String,
    },
    /// A key was asked for by a name that none has.
    #[error("there is no signing key `{0}`")]
    NoSuchKey(String),
    /// The caller is confined to something else.
    #[error("the credential does not reach {0}")]
    OutOfScope(String),
    /// No release key is configured.
    #[error("no release key is configured for product `{0}`")]
    NoReleaseKey(String),
    /// A key that is not used for this, or not now.
    #[error("{0}; nothing was signed with it")]
    KeyRefused(#[from] KeyRefusal),
    /// A key that signs here was revoked.
    #[error("key {key} was revoked by revocation {version}; it signs nothing any more")]
    KeyRevoked {
        /// The key.
        key: KeyId,
        /// The revocation that says so.
        version: u64,
    },
    /// These keys, or their delegation, may not sign this release.
    #[error(
        "the keys that are configured for product `{product}` may not sign this release, so nothing was \
         signed: {refusal} (refusal {code})", code = .refusal.code()
    )]
    NotEntitled {
        /// The product.
        product: ProductId,
        /// What devices would say.
        refusal: Refusal,
    },
    /// Each holder must sign with both kinds of keys, and not enough of them
    /// have both here.
    #[error(
        "the root document demands a classical and a post-quantum signature of each of {need} holders, and \
         the keys that are configured for product `{product}` are both of only {have}; nothing was signed"
    )]
    BothKinds {
        /// The product.
        product: ProductId,
        /// Holders of whom keys of both kinds are configured.
        have: u8,
        /// Holders that must sign.
        need: u8,
    },
    /// Proofs are demanded, and nobody is there to witness.
    #[error(
        "the root document demands that the log proves releases of product `{0}`, and no witnesses are \
         configured here; name them in signing.toml"
    )]
    NoWitnesses(String),
    /// The intent is logged and not witnessed, so nothing was signed.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// An approval that is not taken, or a request that waits no more.
    #[error(transparent)]
    Approval(#[from] ApprovalError),
    /// Another release, or other keys, came in between.
    #[error("the signing request is superseded: {0}; order it again")]
    Superseded(String),
    /// More requests of a product wait than people can read.
    #[error("{WAITING_MAX} signing requests of product `{0}` wait; decide on some of them first")]
    TooManyWait(String),
    /// Fewer witnesses than devices count.
    #[error(
        "{have} of {need} witnesses of the root document's role have cosigned, so nothing was signed; the \
         quorum in signing.toml is not below that role's threshold, and its witnesses are the role's"
    )]
    TooFewWitnesses {
        /// How many have.
        have: usize,
        /// How many must.
        need: usize,
    },
    /// The root document in force cannot be read back.
    #[error("the root document in force: {0}")]
    Root(String),
    /// What was ordered as software bill of materials is none.
    #[error("artifact {0}, the software bill of materials, {1}")]
    Sbom(String, EvidenceError),
    /// What was handed in as evidence of the build cannot be read.
    #[error("artifact {0}, handed in as evidence, {1}")]
    Evidence(ArtifactId, EvidenceError),
    /// A timestamp is required, and no authority gave one.
    #[error(transparent)]
    Stamp(#[from] StampError),
    /// The same request is being carried out.
    #[error("signing request {0} is being carried out; ask again for its result")]
    InFlight(RequestId),
    /// The idempotency key was used for another order.
    #[error("this idempotency key belongs to signing request {0}, which asked for something else")]
    KeyReused(RequestId),
    /// The release does not fit a manifest.
    #[error(transparent)]
    Author(#[from] AuthorError),
    /// A key that cannot be used here.
    #[error(transparent)]
    KeyUnfit(#[from] KeyError),
    /// The intent was not logged, so nothing was signed.
    #[error("nothing was signed: {0}")]
    Log(#[from] LogError),
    /// The key did not sign.
    #[error(transparent)]
    Key(#[from] SignError),
    /// The finished envelope would be refused by devices; it was discarded.
    #[error("devices would refuse this release: {0} (refusal {code})", code = .0.code())]
    Refused(#[from] Refusal),
    /// A payload in the store is not what the signed facts say.
    #[error("payload of component `{0}` differs from the signed facts")]
    PayloadDiffers(String),
    /// A signed image does not read back as it was approved.
    #[error("the signed image of component `{0}` does not read back as it was prepared; it was discarded")]
    ReadBack(String),
    /// Storage.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Temporary storage for artifacts.
    #[error("temporary storage: {0}")]
    Spool(#[from] io::Error),
}

fn listed(reasons: &[Reason]) -> String {
    reasons.iter().map(Reason::to_string).collect::<Vec<_>>().join("; ")
}
