//! Events: what happened, as the log tells it.
//!
//! An [`Intent`](crate::Intent) is logged before a key is used; an event
//! follows what was done. It holds digests, numbers and ids of our own
//! making, never names, and stays in a public log for ever. Its encoding is
//! an array that begins with [`TAG`]; an intent is a map, so that neither is
//! ever read as the other.

use std::fmt;

use firmseal_core::{Digest, KeyId};
use minicbor::data::Type;
use minicbor::{Decoder, decode};
use uuid::Uuid;

use crate::cbor::Writer;
pub use crate::event_words::{Denial, End, KeyChange, Outcome, Phase, Ruling};
use crate::ids::{RequestId, RolloutId};

/// The first item of every event.
pub const TAG: &str = "firmseal/event";

/// Roles that a credential can have, a bit for each.
const ROLES: u8 = 0b11_1111;

/// Something that happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A release was asked for, and waits for people.
    Requested {
        /// The signing request.
        request: RequestId,
        /// The manifest that was assembled.
        manifest: Digest,
        /// Who asked, as intents say it.
        requester: Digest,
    },
    /// An approver agreed.
    Approved {
        /// The signing request.
        request: RequestId,
        /// The manifest.
        manifest: Digest,
        /// The approver's key.
        key: KeyId,
    },
    /// An approval was taken back.
    Unapproved {
        /// The signing request.
        request: RequestId,
        /// The approver's key.
        key: KeyId,
    },
    /// A signing request came to its end.
    Closed {
        /// The signing request.
        request: RequestId,
        /// How.
        end: End,
    },
    /// A release was signed, verified and stored.
    Released {
        /// The manifest.
        manifest: Digest,
        /// The envelope with its signatures.
        envelope: Digest,
        /// Where its intent stands in the log that signed it.
        intent: u64,
    },
    /// A release was taken back, or away.
    Retired {
        /// The manifest.
        manifest: Digest,
        /// Whether a revocation did it; else a person.
        revoked: bool,
    },
    /// A root document was published.
    Root {
        /// Its version.
        version: u64,
        /// SHA-256 of the document with its signatures.
        document: Digest,
    },
    /// A revocation was published.
    Revocation {
        /// Its version.
        version: u64,
        /// SHA-256 of the document with its signatures.
        document: Digest,
    },
    /// A rollout began or changed its state.
    Rollout {
        /// The rollout.
        rollout: RolloutId,
        /// The manifest of its release.
        manifest: Digest,
        /// What it does now.
        phase: Phase,
    },
    /// It was decided whether a signing request is carried out. That one was
    /// permitted is told by its intent, whose context names the decision.
    Decided {
        /// The signing request.
        request: RequestId,
        /// SHA-256 of the decision's record; zeros in entries of before,
        /// where it was not a policy that decided.
        decision: Digest,
        /// What was decided.
        ruling: Ruling,
    },
    /// A key was to be used, and there is no signature that anybody got.
    Attempt {
        /// The signing request.
        request: RequestId,
        /// Where the intent stands in the log.
        intent: u64,
        /// What is known of it.
        outcome: Outcome,
    },
    /// The state of a signing key changed.
    Key {
        /// The key.
        key: KeyId,
        /// Who said so, as intents say it.
        by: Digest,
        /// To what.
        change: KeyChange,
        /// When it ends or is destroyed, in seconds since 1970; 0 otherwise.
        due: u64,
    },
    /// A policy was put in force, in place of the one before it.
    Policy {
        /// How many there have been with it.
        number: u64,
        /// SHA-256 of its document.
        policy: Digest,
        /// The one that was in force until then.
        previous: Option<Digest>,
        /// Number of the root document that said whose word counts.
        root: u64,
        /// SHA-256 of the Statement with the signatures of those who agreed.
        agreed: Digest,
    },
    /// The use of a key that somebody asked for departs from the usual.
    Unusual {
        /// The signing request.
        request: RequestId,
        /// The key.
        key: KeyId,
        /// In which ways: bit 0 is the rate, 1 the hour, 2 the product, 3 the
        /// source.
        how: u8,
    },
    /// A credential was made: somebody can sign in with it.
    Credential {
        /// Its id.
        credential: Uuid,
        /// Whose it is, as intents say it.
        holder: Digest,
        /// What it allows: bit 0 is the role auditor, 1 signer, 2 approver, 3
        /// operator, 4 officer, 5 admin.
        roles: u8,
        /// What it is confined to, by the digest of its scope.
        scope: Option<Digest>,
        /// When it stops working, in seconds since 1970; 0 for never.
        expires: u64,
        /// Who made it, as intents say it.
        by: Digest,
    },
    /// A credential was revoked.
    Revoked {
        /// Its id.
        credential: Uuid,
        /// Who revoked it, as intents say it.
        by: Digest,
    },
    /// A product was made. It never changes.
    Product {
        /// SHA-256 of what the registry answers about it.
        product: Digest,
        /// Who made it, as intents say it.
        by: Digest,
    },
    /// Somebody was denied what was asked for, so many times.
    Denied {
        /// Why.
        why: Denial,
        /// Who, as intents say it, where that is known.
        caller: Option<Digest>,
        /// How often.
        count: u64,
        /// The first time of them, in seconds since 1970.
        since: u64,
        /// The last.
        until: u64,
    },
}

impl Event {
    /// The log leaf: deterministic CBOR (RFC 8949 §4.2).
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        match self {
            Event::Requested { request, manifest, requester } => {
                begin(&mut out, 1, 3)
                    .bytes(request.uuid().as_bytes())
                    .bytes(manifest.as_bytes())
                    .bytes(requester.as_bytes());
            }
            Event::Approved { request, manifest, key } => {
                begin(&mut out, 2, 3)
                    .bytes(request.uuid().as_bytes())
                    .bytes(manifest.as_bytes())
                    .bytes(key.0.as_bytes());
            }
            Event::Unapproved { request, key } => {
                begin(&mut out, 3, 2).bytes(request.uuid().as_bytes()).bytes(key.0.as_bytes());
            }
            Event::Closed { request, end } => {
                begin(&mut out, 4, 2).bytes(request.uuid().as_bytes()).uint(*end as u64);
            }
            Event::Released { manifest, envelope, intent } => {
                begin(&mut out, 5, 3).bytes(manifest.as_bytes()).bytes(envelope.as_bytes()).uint(*intent);
            }
            Event::Retired { manifest, revoked } => {
                begin(&mut out, 6, 2).bytes(manifest.as_bytes()).bool(*revoked);
            }
            Event::Root { version, document } => {
                begin(&mut out, 7, 2).uint(*version).bytes(document.as_bytes());
            }
            Event::Revocation { version, document } => {
                begin(&mut out, 8, 2).uint(*version).bytes(document.as_bytes());
            }
            Event::Rollout { rollout, manifest, phase } => {
                begin(&mut out, 9, 3)
                    .bytes(rollout.uuid().as_bytes())
                    .bytes(manifest.as_bytes())
                    .uint(*phase as u64);
            }
            Event::Decided { request, decision, ruling } => {
                begin(&mut out, 10, 3)
                    .bytes(request.uuid().as_bytes())
                    .bytes(decision.as_bytes())
                    .uint(*ruling as u64);
            }
            Event::Attempt { request, intent, outcome } => {
                begin(&mut out, 11, 3).bytes(request.uuid().as_bytes()).uint(*intent).uint(*outcome as u64);
            }
            Event::Key { key, by, change, due } => {
                begin(&mut out, 12, 4)
                    .bytes(key.0.as_bytes())
                    .bytes(by.as_bytes())
                    .uint(*change as u64)
                    .uint(*due);
            }
            Event::Policy { number, policy, previous, root, agreed } => {
                let out = begin(&mut out, 13, 5).uint(*number).bytes(policy.as_bytes());
                maybe(out, previous).uint(*root).bytes(agreed.as_bytes());
            }
            Event::Unusual { request, key, how } => {
                begin(&mut out, 14, 3)
                    .bytes(request.uuid().as_bytes())
                    .bytes(key.0.as_bytes())
                    .uint((*how).into());
            }
            Event::Credential { credential, holder, roles, scope, expires, by } => {
                let out = begin(&mut out, 15, 6).bytes(credential.as_bytes()).bytes(holder.as_bytes());
                maybe(out.uint((*roles).into()), scope).uint(*expires).bytes(by.as_bytes());
            }
            Event::Revoked { credential, by } => {
                begin(&mut out, 16, 2).bytes(credential.as_bytes()).bytes(by.as_bytes());
            }
            Event::Product { product, by } => {
                begin(&mut out, 17, 2).bytes(product.as_bytes()).bytes(by.as_bytes());
            }
            Event::Denied { why, caller, count, since, until } => {
                let out = begin(&mut out, 18, 5).uint(*why as u64);
                maybe(out, caller).uint(*count).uint(*since).uint(*until);
            }
        }
        out.finish()
    }

    /// Reads a leaf; `None` for anything but what [`Event::encode`] writes.
    pub fn decode(leaf: &[u8]) -> Option<Event> {
        read(&mut Decoder::new(leaf)).ok().flatten().filter(|event| event.encode() == leaf)
    }
}

fn begin(out: &mut Writer, kind: u64, members: usize) -> &mut Writer {
    out.array(2 + members).text(TAG).uint(kind)
}

fn maybe<'a>(out: &'a mut Writer, digest: &Option<Digest>) -> &'a mut Writer {
    match digest {
        Some(digest) => out.bytes(digest.as_bytes()),
        None => out.null(),
    }
}

fn read(decoder: &mut Decoder<'_>) -> Result<Option<Event>, decode::Error> {
    // A wrong count shows when it is written again.
    decoder.array()?;
    if decoder.str()? != TAG {
        return Ok(None);
    }
    let kind = decoder.u64()?;
    let mut input = Input(decoder);
    Ok(Some(match kind {
        1 => Event::Requested {
            request: input.request()?,
            manifest: input.digest()?,
            requester: input.digest()?,
        },
        2 => Event::Approved { request: input.request()?, manifest: input.digest()?, key: input.key()? },
        3 => Event::Unapproved { request: input.request()?, key: input.key()? },
        4 => Event::Closed {
            request: input.request()?,
            end: match input.0.u64()? {
                0 => End::Signed,
                1 => End::Cancelled,
                2 => End::Superseded,
                3 => End::Expired,
                _ => return Ok(None),
            },
        },
        5 => Event::Released { manifest: input.digest()?, envelope: input.digest()?, intent: input.0.u64()? },
        6 => Event::Retired { manifest: input.digest()?, revoked: input.0.bool()? },
        7 => Event::Root { version: input.0.u64()?, document: input.digest()? },
        8 => Event::Revocation { version: input.0.u64()?, document: input.digest()? },
        9 => Event::Rollout {
            rollout: RolloutId::from_uuid(input.uuid()?),
            manifest: input.digest()?,
            phase: match input.0.u64()? {
                0 => Phase::Active,
                1 => Phase::Halted,
                2 => Phase::Finished,
                _ => return Ok(None),
            },
        },
        10 => Event::Decided {
            request: input.request()?,
            decision: input.digest()?,
            ruling: match input.0.u64()? {
                0 => Ruling::Refused,
                1 => Ruling::Approvals,
                2 => Ruling::Held,
                3 => Ruling::Released,
                4 => Ruling::Agreed,
                _ => return Ok(None),
            },
        },
        11 => Event::Attempt {
            request: input.request()?,
            intent: input.0.u64()?,
            outcome: match input.0.u64()? {
                0 => Outcome::Failed,
                1 => Outcome::Unknown,
                _ => return Ok(None),
            },
        },
        12 => Event::Key {
            key: input.key()?,
            by: input.digest()?,
            change: match input.0.u64()? {
                0 => KeyChange::Enabled,
                1 => KeyChange::Ending,
                2 => KeyChange::Disabled,
                3 => KeyChange::Destroying,
                4 => KeyChange::Destroyed,
                _ => return Ok(None),
            },
            due: input.0.u64()?,
        },
        13 => Event::Policy {
            number: input.0.u64()?,
            policy: input.digest()?,
            previous: input.maybe_digest()?,
            root: input.0.u64()?,
            agreed: input.digest()?,
        },
        14 => Event::Unusual {
            request: input.request()?,
            key: input.key()?,
            how: match input.0.u8()? {
                how @ 1..=15 => how,
                _ => return Ok(None),
            },
        },
        15 => Event::Credential {
            credential: input.uuid()?,
            holder: input.digest()?,
            roles: match input.0.u8()? {
                roles @ 0..=ROLES => roles,
                _ => return Ok(None),
            },
            scope: input.maybe_digest()?,
            expires: input.0.u64()?,
            by: input.digest()?,
        },
        16 => Event::Revoked { credential: input.uuid()?, by: input.digest()? },
        17 => Event::Product { product: input.digest()?, by: input.digest()? },
        18 => Event::Denied {
            why: match input.0.u64()? {
                0 => Denial::SignIn,
                1 => Denial::Role,
                2 => Denial::Scope,
                3 => Denial::Key,
                4 => Denial::Own,
                5 => Denial::Approval,
                _ => return Ok(None),
            },
            caller: input.maybe_digest()?,
            count: input.0.u64()?,
            since: input.0.u64()?,
            until: input.0.u64()?,
        },
        _ => return Ok(None),
    }))
}

struct Input<'a, 'b>(&'a mut Decoder<'b>);

impl Input<'_, '_> {
    fn digest(&mut self) -> Result<Digest, decode::Error> {
        Digest::from_slice(self.0.bytes()?).ok_or_else(|| decode::Error::message("not a digest"))
    }

    fn maybe_digest(&mut self) -> Result<Option<Digest>, decode::Error> {
        match self.0.datatype()? {
            Type::Null => self.0.null().map(|()| None),
            _ => self.digest().map(Some),
        }
    }

    fn key(&mut self) -> Result<KeyId, decode::Error> {
        self.digest().map(KeyId)
    }

    fn uuid(&mut self) -> Result<Uuid, decode::Error> {
        Uuid::from_slice(self.0.bytes()?).map_err(|_| decode::Error::message("not an id"))
    }

    fn request(&mut self) -> Result<RequestId, decode::Error> {
        self.uuid().map(RequestId::from_uuid)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Requested { request, manifest, .. } => write!(f, "{request} asks for manifest {manifest}"),
            Event::Approved { request, key, .. } => write!(f, "key {key} agrees to {request}"),
            Event::Unapproved { request, key } => write!(f, "key {key} agrees to {request} no more"),
            Event::Closed { request, end } => write!(f, "{request} is {}", format!("{end:?}").to_lowercase()),
            Event::Released { manifest, .. } => write!(f, "manifest {manifest} is a release"),
            Event::Retired { manifest, revoked: true } => write!(f, "release {manifest} was revoked"),
            Event::Retired { manifest, revoked: false } => write!(f, "release {manifest} was withdrawn"),
            Event::Root { version, document } => write!(f, "root document {version}: {document}"),
            Event::Revocation { version, document } => write!(f, "revocation {version}: {document}"),
            Event::Rollout { rollout, manifest, phase } => {
                write!(f, "{rollout} of manifest {manifest} is {}", format!("{phase:?}").to_lowercase())
            }
            Event::Decided { request, ruling: Ruling::Approvals, .. } => {
                write!(f, "{request} waits for approvals")
            }
            Event::Decided { request, ruling: Ruling::Agreed, .. } => {
                write!(f, "{request} has its approvals")
            }
            Event::Decided { request, ruling, .. } => {
                write!(f, "{request} is {}", format!("{ruling:?}").to_lowercase())
            }
            Event::Key { key, change, .. } => {
                write!(f, "key {key} is {}", format!("{change:?}").to_lowercase())
            }
            Event::Policy { number, policy, .. } => write!(f, "policy {number} in force: {policy}"),
            Event::Unusual { request, key, .. } => write!(f, "{request} would use key {key} unusually"),
            Event::Credential { credential, .. } => write!(f, "credential {credential} is made"),
            Event::Revoked { credential, .. } => write!(f, "credential {credential} is revoked"),
            Event::Product { product, .. } => write!(f, "a product is made: {product}"),
            Event::Denied { why, count, .. } => write!(f, "denied {count} times: {}", why.word()),
            Event::Attempt { request, intent, outcome } => {
                let outcome = format!("{outcome:?}").to_lowercase();
                write!(f, "an attempt for {request} under entry {intent}: {outcome}")
            }
        }
    }
}

#[cfg(test)]
mod tests;
