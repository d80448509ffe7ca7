//! An envelope with one more COSE_Sign1, or another one in the place of what is
//! there. Nothing else changes.

use firmseal_manifest::cbor::Writer;
use firmseal_manifest::{KeyAlgorithm, Signature};

use super::authentication::{self, Authentication, BLOCKS_MAX};
use super::cose::{SIGN1, identifiers, sign1_structure, tbs};
use super::envelope::{AUTHENTICATION, MEMBER_MAX};
use super::inspect::{Opened, open};
use super::{NAME, names};
use crate::error::FormatError;
use crate::format::{Unsigned, Wanted};
use crate::parameters::{Parameter, bad};
use crate::plan::Plan;
use crate::signature::{encoded, raw_len};
use crate::source::Source;

const EXISTING: Parameter = Parameter {
    name: "existing",
    about: "the signatures that are there: keep (default), replace (all of them), or replace-same (the COSE_Sign1 \
            with the same key id)",
};
const ALGORITHM_ID: Parameter = Parameter {
    name: "algorithm-id",
    about: "of P-256, P-384 and Ed25519 keys: fully-specified (ESP256, ESP384, Ed25519; default), or older (ES256, \
            ES384, EdDSA), which devices from before RFC 9864 know",
};
const KEY_ID: Parameter = Parameter {
    name: "key-id",
    about: "thumbprint (of the key, RFC 9679; default), none, or up to 64 bytes in hexadecimal",
};

pub(super) const PARAMETERS: &[Parameter] = &[EXISTING, ALGORITHM_ID, KEY_ID];

/// Longest key id that is written.
const KEY_ID_MAX: usize = 64;

/// A COSE_Sign1 that lacks its signature.
struct Draft {
    algorithm: KeyAlgorithm,
    protected: Vec<u8>,
    key_id: Option<Vec<u8>>,
}

impl Draft {
    fn of(wanted: &Wanted<'_>) -> Result<Draft, FormatError> {
        let algorithm = wanted.key.algorithm();
        let (specified, older) = identifiers(algorithm).ok_or(FormatError::KeyAlgorithm {
            format: NAME,
            algorithm,
            use_instead: "a P-256, P-384, Ed25519, RSA or ML-DSA key",
        })?;
        let id = match wanted.parameters.get(ALGORITHM_ID.name) {
            None | Some("fully-specified") => specified,
            Some("older") => older,
            Some(_) => return Err(bad(ALGORITHM_ID.name, "use fully-specified or older".to_owned())),
        };
        let mut protected = Writer::new();
        protected.map(1).uint(1).int(id);
        Ok(Draft { algorithm, protected: protected.finish(), key_id: key_id(wanted)? })
    }

    fn seal(&self, signature: &[u8]) -> Vec<u8> {
        let mut out = Writer::new();
        out.tag(SIGN1).array(4).bytes(&self.protected);
        match &self.key_id {
            Some(key_id) => out.map(1).uint(4).bytes(key_id),
            None => out.map(0),
        };
        out.null().bytes(signature);
        out.finish()
    }
}

fn key_id(wanted: &Wanted<'_>) -> Result<Option<Vec<u8>>, FormatError> {
    let given = match wanted.parameters.get(KEY_ID.name) {
        None | Some("thumbprint") => return Ok(Some(wanted.key.id().0.as_bytes().to_vec())),
        Some("none") => return Ok(None),
        Some(given) => given.as_bytes(),
    };
    let pairs = given.chunks(2).map(|pair| match pair {
        [high, low] => Some((digit(*high)? << 4) | digit(*low)?),
        _ => None,
    });
    let bytes: Option<Vec<u8>> = pairs.collect();
    match bytes.filter(|bytes| (1..=KEY_ID_MAX).contains(&bytes.len())) {
        Some(bytes) => Ok(Some(bytes)),
        None => Err(bad(KEY_ID.name, "use thumbprint, none, or 1 to 64 bytes in hexadecimal".to_owned())),
    }
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

/// The blocks of the signed file, and the place of the new one among them.
fn places(
    own: &Authentication<'_>,
    draft: &Draft,
    wanted: &Wanted<'_>,
) -> Result<(Vec<Vec<u8>>, usize), FormatError> {
    let mut blocks: Vec<Vec<u8>> = own.blocks.iter().map(|block| block.encoded.to_vec()).collect();
    let key_id = draft.key_id.as_deref();
    let same: Vec<usize> = match key_id {
        Some(key_id) => (0..own.blocks.len()).filter(|at| own.blocks[*at].is_of(key_id)).collect(),
        None => Vec::new(),
    };
    let refused = |why: &str| Err(bad(EXISTING.name, why.to_owned()));
    match (wanted.parameters.get(EXISTING.name), same.as_slice()) {
        (Some("replace"), _) => blocks.clear(),
        (Some("replace-same"), _) if key_id.is_none() => {
            return refused("replace-same needs a key id, which `key-id=none` leaves out");
        }
        (Some("replace-same"), [one]) => {
            blocks.remove(*one);
            return Ok((blocks, *one));
        }
        (Some("replace-same"), []) => return refused("no COSE_Sign1 has this key id; use keep"),
        (Some("replace-same"), _) => {
            return refused(
                "more than one COSE_Sign1 has this key id; use replace, which takes away all of them",
            );
        }
        (None | Some("keep"), []) => {}
        (None | Some("keep"), _) => {
            return refused("there is a COSE_Sign1 with this key id; use replace-same to replace it");
        }
        (Some(_), _) => return refused("use keep, replace or replace-same"),
    }
    let end = blocks.len();
    Ok((blocks, end))
}

/// Lays out the signed envelope, all but the signature.
pub(super) fn prepare(source: &dyn Source, wanted: &Wanted<'_>) -> Result<Unsigned, FormatError> {
    wanted.parameters.check(PARAMETERS)?;
    let draft = Draft::of(wanted)?;
    let opened = open(source)?;
    check(&opened, wanted)?;
    let Opened { envelope, wrapper, mut inspection, .. } = opened;
    let own = Authentication::read(wrapper.content())?;
    let (blocks, place) = places(&own, &draft, wanted)?;
    let digest = own.encoded.to_vec();
    let write = move |draft: &Draft, signature: &[u8]| {
        let mut all = blocks.clone();
        all.insert(place, draft.seal(signature));
        (all.len(), authentication::write(&digest, &all))
    };
    let (count, longest) = write(&draft, &vec![0; raw_len(draft.algorithm)]);
    if count > BLOCKS_MAX || longest.len() as u64 > MEMBER_MAX {
        let what = format!(
            "with one more signature it has more than {BLOCKS_MAX}, or more than {MEMBER_MAX} bytes of them"
        );
        return Err(FormatError::unsupported(NAME, what));
    }
    let tbs = tbs(draft.algorithm, sign1_structure(&draft.protected, own.encoded));
    let range = envelope.required(AUTHENTICATION, "authentication wrapper")?.wrapped.clone();
    let len = envelope.len;
    // What will be there is for whoever inspects the signed file to say.
    inspection.signatures.clear();
    Ok(Unsigned::new(
        tbs,
        inspection,
        Box::new(move |signature: &Signature| {
            encoded(draft.algorithm, signature)?;
            let (_, wrapper) = write(&draft, &signature.0);
            Ok(Plan::new(len).source(0..range.start).bytes(wrapper).source(range.end..len))
        }),
    ))
}

/// The manifest is what was asked for, and nothing of it is hidden.
fn check(opened: &Opened, wanted: &Wanted<'_>) -> Result<(), FormatError> {
    if let Some(label) = opened.left_out {
        let name = names::member(label);
        let what = format!(
            "its {name} commands were severed and left out, so nobody here has seen what would be signed: hand in the \
             envelope with them"
        );
        return Err(FormatError::unsupported(NAME, what));
    }
    let disagrees =
        |field, inside: String, wanted: String| Err(FormatError::Disagrees { field, inside, wanted });
    if opened.sequence != wanted.epoch {
        return disagrees("sequence number", opened.sequence.to_string(), wanted.epoch.to_string());
    }
    match opened.inspection.semver() {
        Some(version) if version != wanted.version => {
            disagrees("version", version.to_string(), wanted.version.to_string())
        }
        _ => Ok(()),
    }
}
