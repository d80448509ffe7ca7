//! A request for a signature, as people read it.

use firmseal_api::signatures::{RequestKind, SignatureRequest, SignatureState};

use crate::record::{Record, plain};

/// How far a request for a signature is.
pub fn state(request: &SignatureRequest) -> String {
    format!("{:?}", request.state).to_lowercase()
}

/// How many people are missing, of a request that waits for some.
pub fn missing(request: &SignatureRequest) -> Option<usize> {
    let review = request.review.as_ref().filter(|_| request.state == SignatureState::Waiting)?;
    Some((review.need as usize).saturating_sub(review.approvals.len()))
}

/// A request for a signature as people read it.
pub fn print(request: &SignatureRequest) -> Record {
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let mut record = Record::new()
        .row("request", request.id)
        .row("product", &request.product)
        .row("version", format_args!("{} on {}", request.version, request.channel))
        .row("epoch", request.epoch)
        .row(
            match request.kind {
                RequestKind::File => "file",
                RequestKind::Release => "first file",
            },
            request.artifact,
        )
        .row("key", &request.key)
        .row("requester", &request.requester)
        .maybe("build", given(&request.build))
        .maybe("commit", given(&request.commit))
        .row("state", state(request))
        .maybe("release", request.release);
    for reason in &request.reasons {
        record = record.row(format!("  {}", plain(&reason.rule)), &reason.why);
    }
    for approval in request.review.iter().flat_map(|review| &review.approvals) {
        record = record.row("agreed", format_args!("{} with key {}", approval.holder, approval.key));
    }
    record = record.maybe("missing", missing(request)).maybe("released by", request.released_by.as_ref());
    if let Some(signature) = &request.signature {
        let key = match signature.fallback {
            true => format!("{} (stand-in)", signature.key),
            false => signature.key.clone(),
        };
        record = record
            .row("signed", format_args!("{} with {key} ({})", signature.finished, signature.algorithm))
            .row("log index", signature.log_index)
            .row("what", signature.tbs)
            .maybe("signed file", signature.signed);
    }
    record
}
