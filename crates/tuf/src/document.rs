//! Signed metadata: a body, and the signatures over its canonical form.

use std::collections::BTreeSet;

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_fleet::Time;
use firmseal_manifest::{PublicKey, Signature, Tbs};
use serde_json::{Map, Value, json};

use crate::canonical;
use crate::error::TufError;
use crate::role::{Authority, Role};

/// Checks one signature; the caller has the cryptography.
pub type Verify<'a> = &'a dyn Fn(&PublicKey, &Tbs, &Signature) -> bool;

/// Most signatures that one document may carry.
const SIGNATURES_MAX: usize = 64;

/// The highest version: what every client's integers can hold, with room to
/// go on from.
const VERSION_MAX: u64 = i64::MAX as u64 - 1;

/// Metadata of a role, with its signatures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Document {
    role: Role,
    version: u64,
    expires: Time,
    body: Value,
    signatures: Vec<(String, String)>,
}

impl Document {
    /// Reads a file. Who signed it is asked with [`Document::satisfies`].
    pub fn decode(role: Role, file: &str, bytes: &[u8]) -> Result<Document, TufError> {
        let wrong = |what| TufError::Malformed { file: file.to_owned(), what };
        let mut whole: Value = serde_json::from_slice(bytes).map_err(|_| wrong("not JSON"))?;
        let body = whole["signed"].take();
        if body["_type"] != role.name() {
            return Err(wrong("another role's metadata"));
        }
        let version = body["version"].as_u64().filter(|version| (1..=VERSION_MAX).contains(version));
        let expires = body["expires"].as_str().and_then(|text| text.parse().ok());
        let signatures = whole["signatures"].as_array().filter(|list| list.len() <= SIGNATURES_MAX);
        let pair =
            |entry: &Value| Some((entry["keyid"].as_str()?.to_owned(), entry["sig"].as_str()?.to_owned()));
        Ok(Document {
            role,
            version: version.ok_or_else(|| wrong("no version"))?,
            expires: expires.ok_or_else(|| wrong("no expiry"))?,
            signatures: signatures
                .and_then(|list| list.iter().map(pair).collect())
                .ok_or_else(|| wrong("no signatures"))?,
            body,
        })
    }

    /// A body that nobody has signed yet; `members` are the role's own.
    pub(crate) fn unsigned(role: Role, version: u64, expires: Time, members: Map<String, Value>) -> Document {
        let mut body = members;
        body.insert("_type".to_owned(), role.name().into());
        body.insert("spec_version".to_owned(), crate::SPEC_VERSION.into());
        body.insert("version".to_owned(), version.into());
        body.insert("expires".to_owned(), expires.to_string().into());
        Document { role, version, expires, body: Value::Object(body), signatures: Vec::new() }
    }

    /// Whose it is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Its number.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// From when on clients refuse it.
    pub fn expires(&self) -> Time {
        self.expires
    }

    /// What is signed.
    pub fn body(&self) -> &Value {
        &self.body
    }

    /// The bytes that signatures cover.
    pub fn canonical(&self) -> Vec<u8> {
        // Numbers with a fraction have no canonical form. Nobody can have
        // signed a body with one, and no signature is over nothing.
        canonical::encode(&self.body).unwrap_or_default()
    }

    /// Adds a signature.
    pub(crate) fn sign(&mut self, key: &crate::Key, signature: &Signature) {
        self.signatures.push((key.id().to_owned(), key.write_signature(signature)));
    }

    /// Whether a key has signed.
    pub fn is_signed_by(&self, key: &crate::Key, verify: Verify<'_>) -> bool {
        self.satisfies(&Authority::new(vec![key.clone()], 1), verify)
    }

    /// Takes over the signatures of a copy that somebody else has signed.
    /// Whose they are is asked later; what is said twice stays once.
    pub fn merge(&mut self, copy: Document) -> Result<(), TufError> {
        if copy.body != self.body {
            return Err(TufError::OtherRoot("the copies do not say the same"));
        }
        for signature in copy.signatures {
            if !self.signatures.contains(&signature) && self.signatures.len() < SIGNATURES_MAX {
                self.signatures.push(signature);
            }
        }
        Ok(())
    }

    /// Whether two say the same, whatever the time until which they do.
    pub(crate) fn agrees(&self, other: &Document) -> bool {
        let timeless = |document: &Document| {
            let mut body = document.body.clone();
            body.as_object_mut().map(|members| members.remove("expires"));
            body
        };
        timeless(self) == timeless(other)
    }

    /// Whether as many different keys of an authority have signed as it
    /// demands.
    pub fn satisfies(&self, authority: &Authority, verify: Verify<'_>) -> bool {
        let canonical = self.canonical();
        // A set: a key that signs twice counts once (CVE-2020-6174).
        let mut signed = BTreeSet::new();
        for (id, text) in &self.signatures {
            let Some(key) = authority.key(id) else { continue };
            let Ok(tbs) = key.to_be_signed(&canonical, self.role) else { continue };
            if key.read_signature(text).is_some_and(|signature| verify(key.public(), &tbs, &signature)) {
                signed.insert(id);
            }
        }
        signed.len() as u64 >= authority.threshold && authority.threshold > 0
    }

    /// The file's name.
    pub fn file(&self) -> String {
        self.role.file(self.version)
    }

    /// The file: members in order, indented for people.
    pub fn encode(&self) -> Vec<u8> {
        let signatures: Vec<Value> =
            self.signatures.iter().map(|(id, text)| json!({ "keyid": id, "sig": text })).collect();
        let mut whole = json!({ "signatures": signatures, "signed": self.body });
        // Another crate's feature decides which order maps have by themselves.
        whole.sort_all_objects();
        // Maps with text for keys and no fractions: there is no error here.
        let mut bytes = serde_json::to_vec_pretty(&whole).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

/// Version, length and digest of a file, as the metadata above it says them
/// (TUF 1.0.34 §4.4).
pub(crate) fn meta(version: u64, file: &[u8]) -> Value {
    json!({
        "version": version,
        "length": file.len(),
        "hashes": { "sha256": RustCrypto.digest(file).to_string() },
    })
}
