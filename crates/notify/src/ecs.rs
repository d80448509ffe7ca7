//! Records in the names of the Elastic Common Schema (ECS 8.11), which SIEMs
//! know how to search and to join with everything else.
//!
//! What ECS has no name for stands under `firmseal`, as ECS asks of custom
//! fields ("Custom fields": a capitalised or proper name as the top-level
//! field set). docs/audit-records.md lists every field.

use firmseal_fleet::audit::{AuditAction, AuditRecord, Outcome};
use serde_json::{Map, Value, json};

/// The version of ECS that the names are from.
pub const ECS_VERSION: &str = "8.11.0";

/// `event.category` and `event.type` (ECS, "Event fields": both are arrays
/// of allowed values).
fn classes(action: AuditAction) -> (&'static str, &'static str) {
    match action {
        AuditAction::SigningRequested => ("process", "start"),
        AuditAction::SigningDecided => ("process", "info"),
        AuditAction::SigningHeld => ("process", "denied"),
        AuditAction::HoldReleased | AuditAction::Approved => ("process", "allowed"),
        AuditAction::ApprovalWithdrawn => ("process", "change"),
        AuditAction::SigningAttempted => ("process", "error"),
        AuditAction::ArtifactSigned | AuditAction::ReleaseSigned => ("file", "creation"),
        AuditAction::SigningClosed => ("process", "end"),
        AuditAction::ReleaseRetired => ("file", "deletion"),
        AuditAction::PolicyProposed => ("configuration", "info"),
        AuditAction::PolicyClosed => ("configuration", "end"),
        AuditAction::KeyChanged | AuditAction::PolicyActivated | AuditAction::TrustPublished => {
            ("configuration", "change")
        }
        AuditAction::RolloutChanged => ("configuration", "change"),
        AuditAction::Anomaly => ("intrusion_detection", "info"),
        AuditAction::CredentialCreated => ("iam", "creation"),
        AuditAction::CredentialRevoked => ("iam", "deletion"),
        AuditAction::ProductCreated => ("configuration", "creation"),
        AuditAction::AccessDenied => ("authentication", "info"),
    }
}

/// The record as one JSON object.
pub fn encode(record: &AuditRecord) -> Value {
    let (category, kind) = classes(record.action);
    let outcome = match record.outcome {
        Outcome::Success => "success",
        Outcome::Failure => "failure",
        Outcome::Unknown => "unknown",
    };
    let mut event = json!({
        "kind": if record.action == AuditAction::Anomaly { "alert" } else { "event" },
        "category": [category],
        "type": [kind],
        "action": record.action.word(),
        "outcome": outcome,
        "id": record.number.to_string(),
        "sequence": record.number,
        "module": "firmseal",
        "dataset": "firmseal.audit",
    });
    if !record.reasons.is_empty() {
        let why: Vec<_> = record.reasons.iter().map(ToString::to_string).collect();
        event["reason"] = why.join("; ").into();
    }
    let mut out = json!({
        "@timestamp": record.time.to_string(),
        "ecs": { "version": ECS_VERSION },
        "event": event,
        "service": { "name": "firmseal", "type": "signing", "version": env!("CARGO_PKG_VERSION") },
    });
    if let Some(user) = user(record) {
        out["user"] = user;
    }
    // ECS, "User fields": `user.target` is whom a change is about.
    if let Some(credential) = &record.subject.credential {
        out["user"]["target"] = json!({ "name": credential.holder, "roles": credential.roles });
    }
    if let Some(team) = record.caller.as_ref().and_then(|caller| caller.team.as_ref()) {
        out["group"] = json!({ "name": team });
    }
    if let Some(source) = record.caller.as_ref().and_then(|caller| caller.source) {
        out["source"] = json!({ "ip": source });
    }
    let rules: Vec<_> = record.reasons.iter().map(|reason| reason.rule.as_str()).collect();
    if !rules.is_empty() {
        out["rule"] = json!({ "name": rules });
    }
    let subject = &record.subject;
    if let Some(digest) = &subject.digest {
        out["file"] = json!({ "hash": { "sha256": digest.to_string() } });
    }
    let hashes: Vec<_> = [&subject.digest, &subject.policy, &subject.decision, &subject.key_id]
        .into_iter()
        .flatten()
        .chain(subject.artifacts.iter().filter(|artifact| subject.digest != Some(**artifact)))
        .map(ToString::to_string)
        .collect();
    if !hashes.is_empty() {
        out["related"] = json!({ "hash": hashes });
    }
    // Its own names, as the record has them: nothing of it is lost.
    let own = serde_json::to_value(subject).unwrap_or_else(|_| Value::Object(Map::new()));
    if own.as_object().is_some_and(|members| !members.is_empty()) {
        out["firmseal"] = own;
    }
    out
}

fn user(record: &AuditRecord) -> Option<Value> {
    match (&record.caller, &record.by) {
        (Some(caller), _) => {
            let mut user = json!({ "name": caller.name, "roles": caller.roles });
            if !caller.claims.is_empty() {
                user["firmseal_claims"] = json!(caller.claims);
            }
            Some(user)
        }
        (None, Some(name)) => Some(json!({ "name": name })),
        (None, None) => None,
    }
}
