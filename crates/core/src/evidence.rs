//! Evidence: what an envelope carries besides signatures, so that a device
//! needs nobody's word: `{? 1 => intent, ? 2 => [* statement], ? 3 =>
//! birth proof}`.
//!
//! It is covered by no signature of ours and needs none: the Intent is the
//! log's leaf, Statements are signed by people, and the proof by the log and
//! its witnesses. A carrier who drops a part loses the release, no more.

use crate::cbor::Reader;
use crate::checkpoint::Checkpoint;
use crate::crypto::{Crypto, Hasher};
use crate::digest::Digest;
use crate::intent::Intent;
use crate::key::KeyId;
use crate::limits::{Limit, PATH_MAX, STATEMENTS_MAX};
use crate::merkle;
use crate::refusal::Refusal;
use crate::revocation::Born;
use crate::role::{RoleEntry, Tally};
use crate::root::Root;
use crate::statement::{SignedStatement, StatementPurpose};
use crate::time::Moment;

/// Decoded evidence. Nothing in it is trusted yet.
#[derive(Clone, Debug)]
pub(crate) struct Evidence<'a> {
    pub(crate) intent: Option<Intent<'a>>,
    proof: Option<Proof<'a>>,
    statements: (Reader<'a>, usize),
}

/// `[checkpoint, index, [* hash]]`.
#[derive(Clone, Debug)]
struct Proof<'a> {
    checkpoint: Checkpoint<'a>,
    index: u64,
    path: (Reader<'a>, usize),
}

/// What a Statement must agree with.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'s> {
    pub(crate) manifest: &'s Digest,
    pub(crate) signed: &'s [KeyId],
    pub(crate) moment: &'s Moment,
}

impl<'a> Evidence<'a> {
    pub(crate) fn decode(bytes: Option<&'a [u8]>) -> Result<Evidence<'a>, Refusal> {
        let mut evidence = Evidence { intent: None, proof: None, statements: (Reader::new(&[]), 0) };
        let Some(bytes) = bytes else { return Ok(evidence) };
        let mut reader = Reader::new(bytes);
        let mut labels = reader.map()?;
        while let Some(label) = labels.next_int(&mut reader)? {
            match label {
                1 => evidence.intent = Some(Intent::decode(reader.bytes()?)?),
                2 => {
                    let count = reader.array(STATEMENTS_MAX, Limit::StatementsMax)?;
                    evidence.statements = (reader.clone(), count);
                    for _ in 0..count {
                        let signed = SignedStatement::decode(&mut reader)?;
                        // Said about a file or a policy, and not about any
                        // release.
                        if !signed.statement.purpose.is_of_releases() {
                            return Err(Refusal::Unsupported("a Statement's purpose"));
                        }
                    }
                }
                3 => evidence.proof = Some(Proof::decode(&mut reader)?),
                _ => return Err(Refusal::Unsupported("a member of the evidence")),
            }
        }
        reader.end()?;
        Ok(evidence)
    }

    /// Checks the birth proof: the Intent stands in a log of the root, under
    /// a quorum of its witnesses. `None` where there is no proof.
    // Apart: releases without it pay nothing for its stack.
    #[inline(never)]
    pub(crate) fn birth(
        &self,
        root: &Root<'_>,
        product: &str,
        revoked: impl Fn(&KeyId) -> bool,
        crypto: &impl Crypto,
    ) -> Result<Option<Born<'a>>, Refusal> {
        let (Some(proof), Some(intent)) = (&self.proof, &self.intent) else { return Ok(None) };
        let checkpoint = proof.checkpoint.verify(root, product, revoked, crypto)?;
        let leaf = merkle::leaf_hash(intent.bytes, crypto);
        let mut path = proof.path.0.clone();
        let path = (0..proof.path.1).map_while(move |_| path.array_of().ok().map(|hash| Digest(*hash)));
        if !merkle::includes(leaf, proof.index, checkpoint.size, path, &checkpoint.hash, crypto) {
            return Err(Refusal::ProofInvalid("the intent is not in the tree"));
        }
        Ok(Some(Born { checkpoint, index: proof.index }))
    }

    /// Checks that the Intent announced exactly the approvals that are here.
    /// An owner's consent comes when the release is already signed.
    pub(crate) fn match_statements(&self, crypto: &impl Crypto) -> Result<(), Refusal> {
        let Some(intent) = &self.intent else { return Ok(()) };
        let approval = |signed: &SignedStatement<'_>| signed.statement.purpose == StatementPurpose::Approval;
        let here = || self.statements().filter(approval).map(|signed| crypto.digest(signed.statement.bytes));
        let announced = here().all(|digest| intent.statements().any(|own| own == digest));
        let present = intent.statements().all(|own| here().any(|digest| own == digest));
        match announced && present {
            true => Ok(()),
            false => Err(Refusal::IntentMismatch("the Statements")),
        }
    }

    /// Counts the holders of an approver role that agree, and compares each
    /// Statement that one of them signed with the release.
    ///
    /// The requester is not among them, whichever of its keys it uses:
    /// nobody approves the own request.
    // Apart: releases without it pay nothing for its stack.
    #[inline(never)]
    pub(crate) fn agree(
        &self,
        purpose: StatementPurpose,
        root: &Root<'_>,
        role: &RoleEntry<'_>,
        subject: &Subject<'_>,
        revoked: impl Fn(&KeyId) -> bool,
        crypto: &impl Crypto,
    ) -> Result<(), Refusal> {
        let mut tally = Tally::default();
        for signed in self.statements().filter(|signed| signed.statement.purpose == purpose) {
            let statement = &signed.statement;
            // Of another lineage: an owner's, while the vendor's are
            // counted, or the reverse.
            if statement.lineage != root.lineage() {
                continue;
            }
            let mut counted = false;
            signed.agreed(
                role,
                |holder, key| {
                    let own = role
                        .holder(holder)
                        .is_some_and(|name| requested(root, name, &statement.requester, crypto));
                    if !own && !revoked(key) {
                        tally.count(holder);
                        counted = true;
                    }
                },
                crypto,
            )?;
            if counted {
                self.compare(&signed, root, subject)?;
            }
        }
        let (have, need) = (tally.holders(), role.threshold());
        match (have >= need, purpose) {
            (true, _) => Ok(()),
            (false, StatementPurpose::Owner) => Err(Refusal::OwnerMissing),
            (false, _) => Err(Refusal::ApprovalsMissing { have: have as u8, need: need as u8 }),
        }
    }

    fn compare(
        &self,
        signed: &SignedStatement<'_>,
        root: &Root<'_>,
        subject: &Subject<'_>,
    ) -> Result<(), Refusal> {
        let statement = &signed.statement;
        const fn differs(what: &'static str) -> Result<(), Refusal> {
            Err(Refusal::StatementMismatch(what))
        }
        if statement.environment != root.environment() {
            return Err(Refusal::WrongEnvironment);
        }
        if statement.manifest != *subject.manifest {
            return differs("the manifest");
        }
        if !subject.signed.iter().all(|id| statement.signers().any(|own| own == *id)) {
            return differs("the keys that signed");
        }
        if let Some(intent) = &self.intent {
            if statement.policy != intent.policy {
                return differs("the policy");
            }
            if statement.requester != intent.requester {
                return differs("the requester");
            }
        }
        subject.moment.within(0, statement.expiry)
    }

    fn statements(&self) -> impl Iterator<Item = SignedStatement<'a>> + use<'a> {
        let mut reader = self.statements.0.clone();
        (0..self.statements.1).map_while(move |_| SignedStatement::decode(&mut reader).ok())
    }
}

impl<'a> Proof<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Proof<'a>, Refusal> {
        reader.array_exact(3)?;
        let checkpoint = Checkpoint::decode(reader)?;
        let index = reader.uint()?;
        let count = reader.array(PATH_MAX, Limit::PathMax)?;
        let path = (reader.clone(), count);
        for _ in 0..count {
            reader.array_of::<32>()?;
        }
        Ok(Proof { checkpoint, index, path })
    }
}

/// Whether a request came from this holder: with any key that the root knows
/// as the holder's, or by name.
fn requested(root: &Root<'_>, name: &str, requester: &Digest, crypto: &impl Crypto) -> bool {
    *requester == holder_id(name, crypto)
        || root.roles().any(|role| {
            role.keys()
                .any(|(holder, key)| role.holder(holder) == Some(name) && key.id(crypto).0 == *requester)
        })
}

/// What stands for a holder who asks without a key, signed in by name:
/// SHA-256("firmseal/holder" || 0x00 || name).
pub fn holder_id(name: &str, crypto: &impl Crypto) -> Digest {
    let mut hasher = crypto.sha256();
    hasher.update(b"firmseal/holder\0");
    hasher.update(name.as_bytes());
    hasher.finish()
}
