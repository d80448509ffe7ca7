//! What travels on a stick: requests out, signatures back.

use std::path::Path;

use base64ct::{Base64, Encoding};
use firmseal_core::limits::{ENVELOPE_MAX, REVOCATION_MAX, ROOT_MAX};
use firmseal_manifest::ids::parse_digest;
use firmseal_manifest::{Digest, KeyId, Signature};
use firmseal_tlog::{Checkpoint, VerifierKey, leaf_hash, verify_inclusion};
use firmseal_trust::Request;
use firmseal_trust::ceremony::Kind as What;
use serde::{Deserialize, Serialize};

use crate::error::{CliError, Kind, Result};
use crate::trust;

/// Longest file that is read: two documents in base64, and what is said of
/// them.
const FILE_MAX: usize = 4 * (ROOT_MAX + REVOCATION_MAX + ENVELOPE_MAX);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestFile {
    #[serde(rename = "firmseal-ceremony")]
    format: u32,
    kind: String,
    title: String,
    document: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    under: Option<String>,
}

/// A signature, as the custodian's machine hands it out.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignatureFile {
    #[serde(rename = "firmseal-signature")]
    format: u32,
    request: String,
    key: String,
    signature: String,
    /// When, by the clock of that machine.
    pub signed: String,
    /// The entry that was written before the key was used.
    pub log: Entry,
}

/// An entry of the log that a custodian keeps, and the proof that it is
/// there.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The log's verifier key.
    pub key: String,
    /// Where it stands.
    pub index: u64,
    /// The intent.
    pub leaf: String,
    /// A checkpoint that covers it.
    pub checkpoint: String,
    /// Siblings from the leaf upward.
    pub proof: Vec<String>,
}

fn text(path: &Path) -> Result<String> {
    let bytes = trust::read(path, FILE_MAX)?;
    String::from_utf8(bytes.into())
        .map_err(|_| CliError::new(Kind::Refused, "is not text").about(path.display()))
}

fn bytes(text: &str) -> Result<Vec<u8>> {
    Base64::decode_vec(text).map_err(|_| CliError::new(Kind::Refused, "what stands for bytes is not base64"))
}

fn format(found: u32) -> Result {
    match found {
        1 => Ok(()),
        _ => Err(CliError::new(Kind::Refused, format_args!("format {found} is not known"))
            .hint("use the same version of firmseal on every machine")),
    }
}

/// Reads a request. Everything that it says is checked again here: it came
/// by hand.
pub fn request(path: &Path) -> Result<Request> {
    let about = |error: CliError| error.about(path.display());
    let text = text(path)?;
    let file: RequestFile = toml::from_str(&text).map_err(|error| {
        about(CliError::new(Kind::Refused, format_args!("is no request: {}", error.message())))
    })?;
    let read = || -> Result<Request> {
        format(file.format)?;
        let kind = What::from_word(&file.kind)
            .ok_or_else(|| CliError::new(Kind::Refused, format_args!("no kind `{}`", file.kind)))?;
        let under = file.under.as_deref().map(bytes).transpose()?;
        Ok(Request::new(kind, &file.title, bytes(&file.document)?, under)?)
    };
    read().map_err(about)
}

/// A request as a file. `summary` stands above it for people; nobody
/// believes it.
pub fn write_request(request: &Request, summary: &str) -> Result<String> {
    let file = RequestFile {
        format: 1,
        kind: request.kind().word().to_owned(),
        title: request.title().to_owned(),
        document: Base64::encode_string(request.document()),
        under: request.under().map(Base64::encode_string),
    };
    let body = toml::to_string(&file).map_err(|error| CliError::new(Kind::Unexpected, error))?;
    let mut out = "# A ceremony's request. What stands behind # is for the eye only and could be forged:\n\
                   # `firmseal ceremony show` says what the bytes below say.\n#\n"
        .to_owned();
    for line in summary.lines() {
        out.push_str(format!("# {line}").trim_end());
        out.push('\n');
    }
    Ok(format!("{out}\n{body}"))
}

impl SignatureFile {
    /// A signature for a request.
    pub fn new(
        request: &Request,
        key: &KeyId,
        signature: &Signature,
        signed: String,
        log: Entry,
    ) -> SignatureFile {
        SignatureFile {
            format: 1,
            request: request.digest().to_string(),
            key: key.to_string(),
            signature: Base64::encode_string(&signature.0),
            signed,
            log,
        }
    }

    /// Reads one.
    pub fn read(path: &Path) -> Result<SignatureFile> {
        let text = text(path)?;
        toml::from_str(&text).map_err(|error| {
            CliError::new(Kind::Refused, format_args!("is no signature: {}", error.message()))
                .about(path.display())
        })
    }

    /// The file.
    pub fn write(&self) -> Result<String> {
        toml::to_string(self).map_err(|error| CliError::new(Kind::Unexpected, error))
    }

    /// The key, the digest of the request, and the signature.
    pub fn parts(&self) -> Result<(KeyId, Digest, Signature)> {
        format(self.format)?;
        let digest = |text: &str| {
            parse_digest(text).ok_or_else(|| CliError::new(Kind::Refused, "what stands for a digest is none"))
        };
        Ok((KeyId(digest(&self.key)?), digest(&self.request)?, Signature(bytes(&self.signature)?)))
    }

    /// Checks that the custodian's log has the entry that a signature for
    /// this request needs, and returns the log's name. Which log it is, only
    /// the custodian can say; that it was written first, their machine saw
    /// to.
    pub fn logged(&self, request: &Request) -> Result<String> {
        let refused = |why: &dyn std::fmt::Display| {
            CliError::new(Kind::Refused, format_args!("the log entry of the signature: {why}"))
        };
        let leaf = bytes(&self.log.leaf)?;
        if leaf != request.intent(&self.parts()?.0).encode() {
            return Err(refused(&"it is about something else"));
        }
        let key = VerifierKey::parse(&self.log.key).map_err(|error| refused(&error))?;
        let (checkpoint, _) = Checkpoint::open(self.log.checkpoint.as_bytes(), &key, key.name())
            .map_err(|error| refused(&error))?;
        let proof: Option<Vec<Digest>> = self.log.proof.iter().map(|text| parse_digest(text)).collect();
        let proof = proof.ok_or_else(|| refused(&"its proof is malformed"))?;
        verify_inclusion(&leaf_hash(&leaf), self.log.index, checkpoint.size, &proof, &checkpoint.root)
            .map_err(|error| refused(&error))?;
        Ok(key.name().to_owned())
    }
}
