//! Audit records on the wire.

use firmseal_api::audit as api;
use firmseal_fleet::audit::{AuditedCredential, Outcome};
use firmseal_fleet::{AuditRecord, Scope};

pub(crate) fn record_out(record: AuditRecord) -> api::AuditRecord {
    let AuditRecord { number, time, action, outcome, caller, by, reasons, subject } = record;
    let caller_name = caller.as_ref().map(|caller| caller.name.clone());
    let (team, roles, claims, source) = match caller {
        Some(caller) => (caller.team, caller.roles, caller.claims, caller.source),
        None => Default::default(),
    };
    api::AuditRecord {
        number,
        time,
        action,
        outcome: match outcome {
            Outcome::Success => api::AuditOutcome::Success,
            Outcome::Failure => api::AuditOutcome::Failure,
            Outcome::Unknown => api::AuditOutcome::Unknown,
        },
        by: caller_name.or(by),
        team,
        roles,
        claims,
        source,
        reasons: reasons
            .into_iter()
            .map(|reason| firmseal_api::signatures::Reason { rule: reason.rule, why: reason.why })
            .collect(),
        request: subject.request,
        release: subject.release,
        product: subject.product,
        channel: subject.channel,
        version: subject.version,
        digest: subject.digest,
        artifacts: subject.artifacts,
        key: subject.key,
        key_id: subject.key_id,
        fallback: subject.fallback,
        policy: subject.policy,
        decision: subject.decision,
        log_index: subject.log_index,
        build: subject.build,
        commit: subject.commit,
        credential: subject.credential.map(credential_out),
        count: subject.count,
    }
}

fn credential_out(credential: AuditedCredential) -> api::AuditedCredential {
    let AuditedCredential { id, holder, roles, scope, expires } = credential;
    let Scope { products, channels, keys } = scope;
    api::AuditedCredential { id: id.0, holder, roles, products, channels, keys, expires }
}
