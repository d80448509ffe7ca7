//! Witnesses: what one is asked, what it decides, and how its answer is
//! read (C2SP tlog-witness).
//!
//! [`decide`] is pure. Whoever carries it out takes a lock over the state
//! of the log, decides, makes the new state durable, and only then signs
//! and answers: a cosignature that was handed out and then forgotten in a
//! crash would let the log fork.

use firmseal_core::Digest;

use crate::checkpoint::{Checkpoint, signed_by_log};
use crate::error::Error;
use crate::key::VerifierKey;
use crate::merkle::{empty_root, verify_consistency};
use crate::note::{NOTE_MAX, Note, NoteSignature, SIGNATURES_MAX};
use crate::{base64, lines};

/// Longest body. The proof has at most 63 lines.
const BODY_MAX: usize = NOTE_MAX + 4 * 1024;
const LINES_MAX: usize = 63;

/// The body of an add-checkpoint request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// The size that the log thinks the witness has seen.
    pub old: u64,
    /// Proof from there to the checkpoint.
    pub proof: Vec<Digest>,
    /// The checkpoint, with the log's signature.
    pub checkpoint: Note,
}

/// A log that a witness knows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownLog {
    /// Its origin.
    pub origin: String,
    /// Its keys.
    pub keys: Vec<VerifierKey>,
}

/// What a witness has last cosigned of one log. The default is nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// Entries.
    pub size: u64,
    /// Root over them.
    pub root: Digest,
}

impl Default for Seen {
    fn default() -> Seen {
        Seen { size: 0, root: empty_root() }
    }
}

/// Why a witness does not cosign.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// 400: malformed, or the old size is beyond the checkpoint.
    BadRequest,
    /// 403: no trusted key of the log signed, or one did not sign well.
    Untrusted,
    /// 404: no such log.
    UnknownLog,
    /// 409: the witness has seen another size, this one.
    Conflict(u64),
    /// 422: the proof does not lead there.
    BadProof,
}

impl Refusal {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Refusal::BadRequest => 400,
            Refusal::Untrusted => 403,
            Refusal::UnknownLog => 404,
            Refusal::Conflict(_) => 409,
            Refusal::BadProof => 422,
        }
    }

    /// The content type and the body, where there is one.
    pub fn body(&self) -> Option<(&'static str, String)> {
        match self {
            Refusal::Conflict(size) => Some(("text/x.tlog.size", format!("{size}\n"))),
            _ => None,
        }
    }
}

/// What a witness does with a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Answer so, and change nothing.
    Refuse(Refusal),
    /// Replace the state of the log `origin` by `seen`, durably; then sign
    /// [`crate::cosignature_message`] of a time that is not 0 and of
    /// `text`, and answer 200 with the signature line.
    Cosign {
        /// Which log.
        origin: String,
        /// What has now been seen.
        seen: Seen,
        /// The checkpoint's text.
        text: String,
    },
}

impl Request {
    /// Reads a body.
    pub fn parse(body: &[u8]) -> Result<Request, Error> {
        let bad = Error::malformed("witness request");
        if body.len() > BODY_MAX {
            return Err(bad("it is too long"));
        }
        let mut rest = std::str::from_utf8(body).map_err(|_| bad("it is not UTF-8"))?;
        let old = lines::take(&mut rest).and_then(|line| line.strip_prefix("old ")).and_then(lines::number);
        let old = old.ok_or(bad("its first line is not an old size"))?;
        let mut proof = Vec::new();
        loop {
            match lines::take(&mut rest).ok_or(bad("it has no checkpoint"))? {
                "" => break,
                _ if proof.len() == LINES_MAX => return Err(bad("it has more than 63 hashes")),
                hash => proof.push(base64::digest(hash).ok_or(bad("a hash is not 32 bytes in base64"))?),
            }
        }
        Ok(Request { old, proof, checkpoint: Note::parse(rest.as_bytes())? })
    }
}

impl std::fmt::Display for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "old {}", self.old)?;
        self.proof.iter().try_for_each(|hash| writeln!(f, "{}", base64::encode(hash.as_bytes())))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

/// Decides about a body. `seen` gives the state of a log, by origin.
pub fn decide(body: &[u8], logs: &[KnownLog], seen: impl FnOnce(&str) -> Seen) -> Decision {
    match judge(body, logs, seen) {
        Ok((checkpoint, note)) => Decision::Cosign {
            seen: Seen { size: checkpoint.size, root: checkpoint.root },
            origin: checkpoint.origin,
            text: note.text().to_owned(),
        },
        Err(refusal) => Decision::Refuse(refusal),
    }
}

fn judge(
    body: &[u8],
    logs: &[KnownLog],
    seen: impl FnOnce(&str) -> Seen,
) -> Result<(Checkpoint, Note), Refusal> {
    let request = Request::parse(body).map_err(|_| Refusal::BadRequest)?;
    let text = request.checkpoint.text();
    // A size of 0 with another root than the empty one is well formed to
    // this specification, and answered with 422.
    let zero = || text.lines().nth(1) == Some("0");
    let origin = text.lines().next().unwrap_or_default();
    let log = logs.iter().find(|log| log.origin == origin).ok_or(Refusal::UnknownLog)?;
    signed_by_log(&request.checkpoint, &log.keys).map_err(|_| Refusal::Untrusted)?;
    let refusal = if zero() { Refusal::BadProof } else { Refusal::BadRequest };
    let checkpoint = Checkpoint::parse(text).map_err(|_| refusal)?;
    if request.old > checkpoint.size {
        return Err(Refusal::BadRequest);
    }
    let seen = seen(origin);
    if request.old != seen.size {
        return Err(Refusal::Conflict(seen.size));
    }
    verify_consistency(request.old, checkpoint.size, &request.proof, &seen.root, &checkpoint.root)
        .map_err(|_| Refusal::BadProof)?;
    Ok((checkpoint, request.checkpoint))
}

/// What a witness answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Its cosignatures, unchecked: add those that verify under its key.
    Cosigned(Vec<NoteSignature>),
    /// It has seen this size: prove from there and ask again.
    Conflict(u64),
    /// It refuses, with this status.
    Refused(u16),
}

impl Answer {
    /// Reads an answer. Version 1.0.0 answered 409 also where the size was
    /// right and the root was not; that has no size to read, and is a
    /// refusal.
    pub fn read(status: u16, content_type: Option<&str>, body: &[u8]) -> Result<Answer, Error> {
        let bad = Error::malformed("witness answer");
        if body.len() > BODY_MAX {
            return Err(bad("it is too long"));
        }
        let text = || std::str::from_utf8(body).map_err(|_| bad("it is not UTF-8"));
        match status {
            200 => {
                let lines = text()?.strip_suffix('\n').ok_or(bad("it does not end with a newline"))?;
                let signatures = lines
                    .split('\n')
                    .take(SIGNATURES_MAX + 1)
                    .map(NoteSignature::parse)
                    .collect::<Result<Vec<_>, _>>()?;
                match signatures.len() <= SIGNATURES_MAX {
                    true => Ok(Answer::Cosigned(signatures)),
                    false => Err(bad("it has too many signatures")),
                }
            }
            409 if content_type == Some("text/x.tlog.size") => {
                let size = text()?.strip_suffix('\n').and_then(lines::number);
                size.map(Answer::Conflict).ok_or(bad("its size is not a plain decimal number"))
            }
            other => Ok(Answer::Refused(other)),
        }
    }
}
