//! Policy documents: a policy's text and its examples in one spelling, so
//! that people agree to exactly these bytes and the same text has one name.
//!
//! Which language the text is in, and whether it makes sense, is not known
//! here.

use std::collections::BTreeSet;

use firmseal_core::Digest;
use firmseal_core::crypto::{Crypto, RustCrypto};
use minicbor::{Decoder, decode};

use crate::cbor::Writer;

/// The first item of every policy document.
pub const TAG: &str = "firmseal/policy";
/// Longest text of a policy, all files together, in bytes.
pub const TEXT_MAX: usize = 128 * 1024;
/// Most files of a policy.
pub const FILES_MAX: usize = 64;
/// Longest policy document, in bytes: its text, and room for the rest.
pub const DOCUMENT_MAX: usize = TEXT_MAX + 16 * 1024;
/// Longest name of a file, in bytes.
const NAME_MAX: usize = 128;

/// One file of a policy.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PolicyFile {
    /// Its name, which messages show.
    pub name: String,
    /// What stands in it.
    pub text: String,
}

/// A policy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyDocument {
    /// Number of the schema that it was written for.
    pub schema: u32,
    /// Its files, by name: rules, and examples of what they are meant to say.
    pub files: Vec<PolicyFile>,
}

/// Why something is no policy document.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PolicyDocumentError {
    /// It is not in the one spelling.
    #[error("is not a policy document, or not in its one spelling")]
    Malformed,
    /// There is nothing in it.
    #[error("has no file")]
    Empty,
    /// There is too much in it.
    #[error("has more than {FILES_MAX} files or {TEXT_MAX} bytes")]
    Long,
    /// A name that messages cannot show.
    #[error("has a file named {0:?}; use printable ASCII, each name once and in order")]
    Name(String),
}

impl PolicyDocument {
    /// A document of these files, in the order of their names.
    pub fn new(schema: u32, mut files: Vec<PolicyFile>) -> Result<PolicyDocument, PolicyDocumentError> {
        files.sort();
        let document = PolicyDocument { schema, files };
        document.check()?;
        Ok(document)
    }

    /// Checks everything that holds for a document by itself.
    pub fn check(&self) -> Result<(), PolicyDocumentError> {
        if self.files.is_empty() {
            return Err(PolicyDocumentError::Empty);
        }
        let long = self.files.iter().map(|file| file.text.len()).sum::<usize>() > TEXT_MAX;
        if long || self.files.len() > FILES_MAX {
            return Err(PolicyDocumentError::Long);
        }
        let graphic = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
        let mut before = BTreeSet::new();
        for PolicyFile { name, .. } in &self.files {
            let follows = before.last().is_none_or(|last| *last < name);
            if !graphic(name) || name.len() > NAME_MAX || !follows {
                return Err(PolicyDocumentError::Name(name.chars().take(NAME_MAX).collect()));
            }
            before.insert(name);
        }
        Ok(())
    }

    /// The document: deterministic CBOR (RFC 8949 §4.2).
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.array(3).text(TAG).uint(self.schema.into()).array(self.files.len());
        for file in &self.files {
            out.array(2).text(&file.name).text(&file.text);
        }
        out.finish()
    }

    /// Reads a document; nothing but what [`PolicyDocument::encode`] writes.
    pub fn decode(bytes: &[u8]) -> Result<PolicyDocument, PolicyDocumentError> {
        if bytes.len() > DOCUMENT_MAX {
            return Err(PolicyDocumentError::Long);
        }
        let document = read(&mut Decoder::new(bytes)).map_err(|_| PolicyDocumentError::Malformed)?;
        document.check()?;
        match document.encode() == bytes {
            true => Ok(document),
            false => Err(PolicyDocumentError::Malformed),
        }
    }

    /// SHA-256 of the document, which names the policy in records.
    pub fn digest(&self) -> Digest {
        RustCrypto.digest(&self.encode())
    }
}

fn read(input: &mut Decoder<'_>) -> Result<PolicyDocument, decode::Error> {
    let wrong = || decode::Error::message("not a policy document");
    if input.array()? != Some(3) || input.str()? != TAG {
        return Err(wrong());
    }
    let schema = input.u32()?;
    let count = input.array()?.filter(|count| *count <= FILES_MAX as u64).ok_or_else(wrong)?;
    let mut files = Vec::new();
    for _ in 0..count {
        if input.array()? != Some(2) {
            return Err(wrong());
        }
        files.push(PolicyFile { name: input.str()?.to_owned(), text: input.str()?.to_owned() });
    }
    Ok(PolicyDocument { schema, files })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> PolicyFile {
        PolicyFile { name: name.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else_is() {
        let document = PolicyDocument::new(1, vec![file("b.cedar", "2"), file("a.cedar", "1")]).unwrap();
        assert_eq!(document.files[0].name, "a.cedar", "in order, however the directory listed them");
        let bytes = document.encode();
        assert_eq!(PolicyDocument::decode(&bytes), Ok(document.clone()));
        for cut in 0..bytes.len() {
            assert!(PolicyDocument::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 0x20;
            assert_ne!(PolicyDocument::decode(&other), Ok(document.clone()), "changed at {at}");
        }
        assert!(PolicyDocument::decode(&[bytes, vec![0]].concat()).is_err());
    }

    #[test]
    fn bounds_are_checked() {
        let made = |files: Vec<PolicyFile>| PolicyDocument::new(1, files);
        assert_eq!(made(vec![]), Err(PolicyDocumentError::Empty));
        let long = "x".repeat(TEXT_MAX / 2 + 1);
        assert_eq!(made(vec![file("a", &long), file("b", &long)]), Err(PolicyDocumentError::Long));
        let many = (0..=FILES_MAX).map(|n| file(&format!("{n:04}"), "")).collect();
        assert_eq!(made(many), Err(PolicyDocumentError::Long));
        for bad in ["", "a b", "a\n", "ä"] {
            assert_eq!(made(vec![file(bad, "")]), Err(PolicyDocumentError::Name(bad.to_owned())));
        }
        let twice = made(vec![file("a", "1"), file("a", "2")]);
        assert_eq!(twice, Err(PolicyDocumentError::Name("a".to_owned())));
    }
}
