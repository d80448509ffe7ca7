//! Signatures between wire and fleet.

use firmseal_api::{Base64, signatures};
use firmseal_fleet as fleet;
use firmseal_manifest::ArtifactId;
use firmseal_sign::Requester;

use super::approval_out;
use crate::app::signatures::Asked;
use crate::error::ApiError;

pub(crate) fn priority_in(priority: signatures::Priority) -> fleet::Priority {
    match priority {
        signatures::Priority::Emergency => fleet::Priority::Emergency,
        signatures::Priority::Release => fleet::Priority::Release,
        signatures::Priority::Nightly => fleet::Priority::Nightly,
    }
}

pub(crate) fn signature_state_in(state: signatures::SignatureState) -> fleet::JobState {
    use signatures::SignatureState as State;
    match state {
        State::Queued => fleet::JobState::Queued,
        State::Waiting => fleet::JobState::Waiting,
        State::Held => fleet::JobState::Held,
        State::Signed => fleet::JobState::Signed,
        State::Refused => fleet::JobState::Refused,
        State::Expired => fleet::JobState::Expired,
        State::Cancelled => fleet::JobState::Cancelled,
    }
}

fn signature_state_out(state: fleet::JobState) -> signatures::SignatureState {
    use signatures::SignatureState as State;
    match state {
        fleet::JobState::Queued => State::Queued,
        fleet::JobState::Waiting => State::Waiting,
        fleet::JobState::Held => State::Held,
        fleet::JobState::Signed => State::Signed,
        fleet::JobState::Refused => State::Refused,
        fleet::JobState::Expired => State::Expired,
        fleet::JobState::Cancelled => State::Cancelled,
    }
}

/// One of several: whatever it came to, the caller hears of it by itself.
pub(crate) fn signature_answer_out(
    came_to: Result<Asked, ApiError>,
    called: &str,
) -> signatures::SignatureAnswer {
    match came_to {
        Ok(Asked::Made(request) | Asked::Known(request) | Asked::Open(request) | Asked::Refused(request)) => {
            signatures::SignatureAnswer::Request(Box::new(request))
        }
        Err(error) => signatures::SignatureAnswer::Problem(error.problem(called)),
    }
}

pub(crate) fn signature_request_out(
    job: fleet::Job,
    signature: Option<fleet::Signature>,
    approvals: Vec<fleet::Approval>,
) -> signatures::SignatureRequest {
    let fleet::Job { id, asked, progress } = job;
    let of_file = matches!(asked.kind, fleet::JobKind::Artifact(_));
    // What people agree to of a release is at `/v1/requests/{request}`.
    let review = progress.review.filter(|_| of_file).map(|review| signatures::Review {
        tbs: ArtifactId(review.tbs),
        header: ArtifactId(review.header),
        asked: ArtifactId(asked.fingerprint),
        policy: ArtifactId(review.policy),
        signer: ArtifactId(review.signer),
        requester_id: ArtifactId(Requester(asked.caller.clone()).id()),
        expiry: review.expiry,
        need: review.need,
        approvals: approvals.into_iter().map(approval_out).collect(),
    });
    let (artifact, asked_key) = match asked.kind {
        fleet::JobKind::Artifact(order) => (order.artifact, order.key),
        // One without components never became a job's release.
        fleet::JobKind::Release(order) => {
            let first = order.components.first();
            (first.map_or(ArtifactId(asked.fingerprint), |(_, artifact)| *artifact), None)
        }
    };
    signatures::SignatureRequest {
        id,
        kind: match of_file {
            true => signatures::RequestKind::File,
            false => signatures::RequestKind::Release,
        },
        state: signature_state_out(progress.state),
        product: asked.product,
        channel: asked.channel,
        version: asked.version,
        epoch: asked.epoch,
        artifact,
        key: asked.signing_key,
        asked_key,
        parameters: asked.parameters,
        evidence: asked.evidence,
        priority: match asked.priority {
            fleet::Priority::Emergency => signatures::Priority::Emergency,
            fleet::Priority::Release => signatures::Priority::Release,
            fleet::Priority::Nightly => signatures::Priority::Nightly,
        },
        requester: asked.caller.name,
        team: asked.caller.team,
        build: asked.build,
        commit: asked.commit,
        created: asked.created,
        deadline: asked.deadline,
        reasons: progress
            .reasons
            .into_iter()
            .map(|reason| signatures::Reason { rule: reason.rule, why: reason.why })
            .collect(),
        decision: progress.decision.map(ArtifactId),
        failures: progress.failures,
        released_by: progress.released_by,
        review,
        signature: signature.map(signature_out),
        release: match progress.came_to {
            Some(fleet::CameTo::Release(release)) => Some(release),
            _ => None,
        },
    }
}

fn signature_out(signature: fleet::Signature) -> signatures::Signature {
    signatures::Signature {
        request: signature.request,
        value: Base64(signature.value),
        format: signature.format,
        tbs: ArtifactId(signature.tbs),
        header: ArtifactId(signature.header),
        signed: signature.signed,
        log_index: signature.log_index,
        key: signature.key,
        key_id: ArtifactId(signature.key_id),
        algorithm: signature.algorithm,
        fallback: signature.fallback,
        policy: ArtifactId(signature.policy),
        attempts: signature.attempts,
        timestamps: signature.timestamps,
        finished: signature.finished,
    }
}
