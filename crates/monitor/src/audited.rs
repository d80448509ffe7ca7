//! An export of the audit trail, judged offline.
//!
//! Pure: whoever exported it is believed in nothing. The entries that it has
//! stand in the tree of a checkpoint that the log signed, and with witnesses
//! a quorum of them; each record says what its entry says; each entry of the
//! period is told by a record; and no number is missing.

use std::collections::{BTreeMap, BTreeSet};

use firmseal_api::audit::{AuditOutcome, AuditRecord, AuditedCredential, LogEntry};
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_core::evidence::holder_id;
use firmseal_core::{Digest, KeyId};
use firmseal_fleet::audit::AuditAction;
use firmseal_fleet::{self as fleet, KeyPhase, Role, Time};
use firmseal_manifest::{ArtifactId, End, Event, Intent, Leaf, Outcome, Purpose, Ruling};
use firmseal_tlog::{Checkpoint, VerifierKey, leaf_hash, verify_inclusion};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::finding::{Finding, Kind};
use crate::follow::{Trusted, witnessed};

/// What an export says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scope {
    /// From when on; from the first record if absent.
    pub from: Option<Time>,
    /// Until when, not included; until it was made if absent.
    pub to: Option<Time>,
    /// Days that the server keeps records.
    pub retention_days: u32,
    /// The first entry of the log in it that belongs to the period: where the
    /// export before this one ended.
    pub first: u64,
    /// The entry behind the last.
    pub end: u64,
}

/// An export, as it was read.
#[derive(Clone, Debug)]
pub struct Export {
    /// What it says of itself.
    pub scope: Scope,
    /// The checkpoint, a signed note.
    pub checkpoint: Vec<u8>,
    /// Records, oldest first.
    pub records: Vec<AuditRecord>,
    /// Entries: those of the period, and others that records name.
    pub entries: Vec<LogEntry>,
    /// Records of decisions, by the names that their files have.
    pub decisions: BTreeMap<ArtifactId, Vec<u8>>,
}

/// What an export is worth.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Audited {
    /// Records in it.
    pub records: usize,
    /// Numbers of the first and the last.
    pub numbers: Option<(u64, u64)>,
    /// Entries of the log that the period covers: from, and behind.
    pub entries: (u64, u64),
    /// Size and root of the tree that they stand in.
    pub size: u64,
    /// Signatures by action.
    pub actions: BTreeMap<&'static str, usize>,
    /// Uses of keys whose end lies behind the period: the next export has to
    /// tell it.
    pub open: Vec<u64>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// Judges an export. `before` are the uses of keys that the export before this
/// one left open: here they have ended, or were made behind the trail's back.
pub fn audit(export: &Export, trusted: &Trusted, before: &[u64], now: u64) -> Audited {
    let mut actions = BTreeMap::new();
    for record in &export.records {
        *actions.entry(record.action.word()).or_insert(0) += 1;
    }
    let ends = |records: &[AuditRecord]| Some((records.first()?.number, records.last()?.number));
    let mut audited = Audited {
        records: export.records.len(),
        numbers: ends(&export.records),
        entries: (export.scope.first, export.scope.end),
        size: 0,
        actions,
        open: Vec::new(),
        findings: Vec::new(),
    };
    let leaves = match proven(export, trusted, now, &mut audited) {
        Ok(leaves) => leaves,
        Err(finding) => {
            audited.findings.push(finding);
            return audited;
        }
    };
    numbered(export, &mut audited.findings);
    for record in &export.records {
        told(record, export, &leaves, &mut audited.findings);
    }
    covered(export, before, &leaves, &mut audited);
    audited
}

/// The leaves that stand in the tree of a checkpoint that is believed.
fn proven(
    export: &Export,
    trusted: &Trusted,
    now: u64,
    audited: &mut Audited,
) -> Result<BTreeMap<u64, Option<Leaf>>, Finding> {
    let keys: Vec<VerifierKey> = std::iter::once(&trusted.log).chain(&trusted.beside).cloned().collect();
    let (checkpoint, note) = Checkpoint::open_all(&export.checkpoint, &keys, trusted.log.name())
        .map_err(|error| Finding::new(Kind::BadSignature, "checkpoint", error))?;
    audited.size = checkpoint.size;
    audited.findings.extend(witnessed(&note, trusted, now));
    let mut leaves = BTreeMap::new();
    for LogEntry { index, leaf, path } in &export.entries {
        let path: Vec<Digest> = path.iter().map(|hash| hash.0).collect();
        let hash = leaf_hash(&leaf.0);
        if verify_inclusion(&hash, *index, checkpoint.size, &path, &checkpoint.root).is_err() {
            let detail = "its proof does not lead to the checkpoint's root";
            audited.findings.push(Finding::new(Kind::Incomplete, format!("entry {index}"), detail));
            continue;
        }
        leaves.insert(*index, Leaf::decode(&leaf.0));
    }
    Ok(leaves)
}

/// Numbers rise by one and are never given out again.
fn numbered(export: &Export, findings: &mut Vec<Finding>) {
    for pair in export.records.windows(2) {
        if pair[0].number.checked_add(1) != Some(pair[1].number) {
            let about = format!("record {}", pair[0].number);
            let detail = format!("the next one is {}: what stands between them is missing", pair[1].number);
            findings.push(Finding::new(Kind::Unrecorded, about, detail));
        }
    }
}

/// Whether a record says what its entry and its decision say.
fn told(
    record: &AuditRecord,
    export: &Export,
    leaves: &BTreeMap<u64, Option<Leaf>>,
    findings: &mut Vec<Finding>,
) {
    let about = || format!("record {}", record.number);
    let Some(index) = record.log_index else {
        findings.push(Finding::new(Kind::Unlogged, about(), "it names no entry of the log"));
        return;
    };
    match leaves.get(&index) {
        Some(Some(leaf)) if agrees(record, leaf) => {}
        Some(_) => {
            let detail = format!("entry {index} says something else");
            findings.push(Finding::new(Kind::Contradicted, about(), detail));
        }
        None => {
            let detail = format!("entry {index} is not proven here");
            findings.push(Finding::new(Kind::Unlogged, about(), detail));
        }
    }
    let Some(decision) = record.decision else { return };
    match export.decisions.get(&decision) {
        None => {
            findings.push(Finding::new(Kind::Unlogged, about(), format!("decision {decision} is missing")))
        }
        Some(bytes) if RustCrypto.digest(bytes) != decision.0 || !is_about(record, bytes) => {
            let detail = format!("decision {decision} is another one, or about something else");
            findings.push(Finding::new(Kind::Contradicted, about(), detail));
        }
        Some(_) => {}
    }
}

/// Whether a decision's record is about the request of an audit record.
fn is_about(record: &AuditRecord, decision: &[u8]) -> bool {
    let Ok(decision) = serde_json::from_slice::<Value>(decision) else { return false };
    let question = &decision["question"];
    let says = |value: &Value, text: Option<String>| text.is_none_or(|text| value.as_str() == Some(&text));
    let signed = record.action == AuditAction::ArtifactSigned;
    let about = |file: ArtifactId| {
        let files = question["artifacts"].as_array().into_iter().flatten();
        files.into_iter().any(|own| own["digest"].as_str() == Some(&file.to_string()))
    };
    says(&question["request"], record.request.map(|request| request.to_string()))
        && says(&question["product"], record.product.as_ref().map(ToString::to_string))
        && (!signed || says(&decision["policy"], record.policy.map(|policy| policy.to_string())))
        && (!signed || record.digest.is_some_and(about))
}

/// Whether a record says what an entry says.
fn agrees(record: &AuditRecord, leaf: &Leaf) -> bool {
    let digest = record.digest.map(|digest| digest.0);
    let key = record.key_id.map(|key| KeyId(key.0));
    let by = record.by.as_deref().map(|name| holder_id(name, &RustCrypto));
    let decided = |decision: Digest| match record.decision {
        Some(own) => own.0 == decision,
        None => decision == Digest([0; 32]),
    };
    let marked =
        |intent: &Intent| record.request.is_some_and(|id| intent.context.contains(&Intent::mark(&id)));
    match (record.action, leaf) {
        (AuditAction::ArtifactSigned, Leaf::Intent(intent)) => {
            intent.purpose == Purpose::Artifact
                && key.is_some_and(|key| intent.keys == [key])
                && record.policy.is_some_and(|policy| policy.0 == intent.policy)
                && by == Some(intent.requester)
                && marked(intent)
                // Header, decision and mark: one that was made is named.
                && intent.context.len() == 2 + usize::from(record.decision.is_some())
                && record.decision.is_none_or(|decision| intent.context.contains(&decision.0))
        }
        (AuditAction::SigningAttempted, Leaf::Intent(intent)) => {
            matches!(intent.purpose, Purpose::Artifact | Purpose::Release)
                && by == Some(intent.requester)
                && marked(intent)
                && key.is_none_or(|key| intent.keys == [key])
                && record.outcome != AuditOutcome::Success
        }
        (_, Leaf::Event(event)) => says(record, event, digest, key, by, &decided),
        _ => false,
    }
}

fn says(
    record: &AuditRecord,
    event: &Event,
    digest: Option<Digest>,
    key: Option<KeyId>,
    by: Option<Digest>,
    decided: &impl Fn(Digest) -> bool,
) -> bool {
    let is = |request: &_| record.request.as_ref() == Some(request);
    let failed = record.outcome == AuditOutcome::Failure;
    match (record.action, event) {
        // A proposed policy is asked for as a release is, and ends so.
        (
            AuditAction::SigningRequested | AuditAction::PolicyProposed,
            Event::Requested { request, manifest, requester },
        ) => is(request) && digest == Some(*manifest) && by == Some(*requester),
        (AuditAction::Approved, Event::Approved { request, manifest, key: own }) => {
            is(request) && digest == Some(*manifest) && key == Some(*own)
        }
        (AuditAction::ApprovalWithdrawn, Event::Unapproved { request, key: own }) => {
            is(request) && key == Some(*own)
        }
        (AuditAction::SigningClosed | AuditAction::PolicyClosed, Event::Closed { request, end }) => {
            is(request) && *end != End::Signed && failed
        }
        (AuditAction::ReleaseSigned, Event::Released { manifest, .. })
        | (AuditAction::ReleaseRetired, Event::Retired { manifest, .. })
        | (AuditAction::RolloutChanged, Event::Rollout { manifest, .. }) => digest == Some(*manifest),
        (AuditAction::TrustPublished, Event::Root { version, document }) => {
            digest == Some(*document) && record.version == Some(format!("root document {version}"))
        }
        (AuditAction::TrustPublished, Event::Revocation { version, document }) => {
            digest == Some(*document) && record.version == Some(format!("revocation {version}"))
        }
        (AuditAction::PolicyActivated, Event::Policy { number, policy, .. }) => {
            digest == Some(*policy) && record.version == Some(format!("policy {number}"))
        }
        (AuditAction::KeyChanged, Event::Key { key: own, by: who, change, .. }) => {
            key == Some(*own)
                && by.is_none_or(|by| by == *who)
                && record.reasons.first().is_some_and(|why| why.rule == KeyPhase::from(*change).word())
        }
        (AuditAction::SigningDecided, Event::Decided { request, decision, ruling }) => {
            is(request)
                && decided(*decision)
                && match ruling {
                    Ruling::Refused => failed,
                    Ruling::Approvals => !failed,
                    _ => false,
                }
        }
        (AuditAction::SigningHeld, Event::Decided { request, decision, ruling: Ruling::Held })
        | (AuditAction::HoldReleased, Event::Decided { request, decision, ruling: Ruling::Released }) => {
            is(request) && decided(*decision)
        }
        (AuditAction::CredentialCreated, Event::Credential { by: who, .. }) => {
            by == Some(*who) && record.credential.as_ref().is_some_and(|own| allows(own, event))
        }
        (AuditAction::CredentialRevoked, Event::Revoked { credential, by: who }) => {
            by == Some(*who) && record.credential.as_ref().is_some_and(|own| own.id == *credential)
        }
        (AuditAction::ProductCreated, Event::Product { product, by: who }) => {
            digest == Some(*product) && by == Some(*who)
        }
        (AuditAction::AccessDenied, Event::Denied { why, caller, count, .. }) => {
            failed
                && by == *caller
                && record.count == Some(*count)
                && record.reasons.first().is_some_and(|reason| reason.rule == why.word())
        }
        (AuditAction::Anomaly, Event::Unusual { request, key: own, .. }) => is(request) && key == Some(*own),
        _ => false,
    }
}

/// Whether a credential is the one that an event tells of, and allows no more
/// and no less.
fn allows(own: &AuditedCredential, event: &Event) -> bool {
    let AuditedCredential { id, holder, roles, products, channels, keys, expires } = own.clone();
    let Event::Credential { by, .. } = *event else { return false };
    let told = Event::Credential {
        credential: id,
        holder: holder_id(&holder, &RustCrypto),
        roles: Role::bits(&roles),
        scope: fleet::Scope { products, channels, keys }.id(),
        expires: expires.map_or(0, |end| end.millis() / 1000),
        by,
    };
    told == *event
}

/// Uses of keys that have come to an end, as records and entries tell it.
struct Ended {
    intents: BTreeSet<u64>,
    /// Of releases that are there: the leaves of their images, and their own,
    /// which stands in the log once for each of their keys.
    leaves: BTreeSet<Digest>,
}

impl Ended {
    fn new(told: &BTreeSet<u64>, leaves: &BTreeMap<u64, Option<Leaf>>) -> Ended {
        let mut ended = Ended { intents: told.clone(), leaves: BTreeSet::new() };
        for leaf in leaves.values().flatten() {
            if let Leaf::Event(Event::Released { intent, .. } | Event::Attempt { intent, .. }) = leaf {
                ended.intents.insert(*intent);
            }
        }
        for index in &ended.intents {
            if let Some(Some(Leaf::Intent(intent))) = leaves.get(index)
                && intent.purpose == Purpose::Release
            {
                ended.leaves.insert(intent.leaf_hash());
                ended.leaves.extend(&intent.context);
            }
        }
        ended
    }

    fn has(&self, index: u64, intent: &Intent) -> bool {
        self.intents.contains(&index) || self.leaves.contains(&intent.leaf_hash())
    }
}

/// Whether every entry of the period is there, and told by a record; and
/// whether what was open before has ended.
fn covered(export: &Export, before: &[u64], leaves: &BTreeMap<u64, Option<Leaf>>, audited: &mut Audited) {
    let told: BTreeSet<u64> = export.records.iter().filter_map(|record| record.log_index).collect();
    let ended = Ended::new(&told, leaves);
    for index in before {
        let about = format!("entry {index}");
        match leaves.get(index) {
            Some(Some(Leaf::Intent(intent))) if ended.has(*index, intent) => {}
            Some(_) => {
                let detail = "it was open in the export before, and nothing here ends it";
                audited.findings.push(Finding::new(Kind::Unrecorded, about, detail));
            }
            None => {
                let detail = "it was open in the export before, and is not proven here";
                audited.findings.push(Finding::new(Kind::Incomplete, about, detail));
            }
        }
    }
    // However much it claims to cover: what is missing ends the count.
    for index in export.scope.first..export.scope.end {
        let about = || format!("entry {index}");
        let untold = |detail: &str| Finding::new(Kind::Unrecorded, about(), detail);
        match leaves.get(&index) {
            None => {
                audited.findings.push(Finding::new(Kind::Incomplete, about(), "it is not proven here"));
                return;
            }
            Some(None) => {
                audited.findings.push(Finding::new(Kind::Unreadable, about(), "it is nothing of ours"))
            }
            Some(Some(Leaf::Intent(intent))) => match intent.purpose {
                Purpose::Artifact | Purpose::Release if !ended.has(index, intent) => {
                    audited.open.push(index);
                }
                _ => {}
            },
            Some(Some(Leaf::Event(event))) => match event {
                // The signature or the release is on record itself.
                Event::Closed { end: End::Signed, .. } | Event::Decided { ruling: Ruling::Agreed, .. } => {}
                Event::Attempt { intent, outcome, .. } if !told.contains(intent) => {
                    let what = match outcome {
                        Outcome::Failed => "a use of a key that failed is on no record",
                        Outcome::Unknown => "a use of a key whose end nobody saw is on no record",
                    };
                    audited.findings.push(untold(what));
                }
                Event::Attempt { .. } => {}
                _ if !told.contains(&index) => audited.findings.push(untold("what happened is on no record")),
                _ => {}
            },
            Some(Some(Leaf::Lms(_))) => {}
        }
    }
}
