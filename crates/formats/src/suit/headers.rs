//! Headers of COSE (RFC 9052 §3): what a signature says of itself, covered by it
//! or not.

use super::Bad;
use super::cbor::{Reader, bytes, diagnostic};
use super::names;

const ALGORITHM: i64 = 1;
const CRITICAL: i64 = 2;
const KEY_ID: i64 = 4;
/// Longest protected header: certificates may stand in it.
const PROTECTED_MAX: usize = 8192;

/// The two buckets of a block or a signer.
#[derive(Clone)]
pub(super) struct Headers<'a> {
    /// The protected one as it is encoded, which is how it is signed.
    pub(super) protected: &'a [u8],
    /// From the protected bucket.
    pub(super) algorithm: Option<i64>,
    pub(super) key_id: Option<&'a [u8]>,
    /// Something that a reader has to know in order to believe it.
    pub(super) critical: bool,
    /// All of it, for people.
    pub(super) shown: String,
}

impl<'a> Headers<'a> {
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Headers<'a>, Bad> {
        let protected = reader.bytes()?;
        let mut out =
            Headers { protected, algorithm: None, key_id: None, critical: false, shown: String::new() };
        let mut labels = Vec::new();
        if protected.len() > PROTECTED_MAX {
            return Err("a protected header of more than 8192 bytes");
        }
        if !protected.is_empty() {
            let mut inner = Reader::new(protected);
            out.bucket(&mut inner, true, &mut labels)?;
            inner.end()?;
            if labels.is_empty() {
                return Err("a protected header of nothing, which is to be an empty byte string");
            }
        }
        out.bucket(reader, false, &mut labels)?;
        Ok(out)
    }

    fn bucket(
        &mut self,
        reader: &mut Reader<'a>,
        protected: bool,
        labels: &mut Vec<&'a [u8]>,
    ) -> Result<(), Bad> {
        let mut keys = reader.map()?;
        let first = labels.len();
        while let Some(key) = keys.next(reader)? {
            // "Labels in each of the maps MUST be unique" across both (§3).
            if labels[..first].contains(&key) || labels.len() >= 32 {
                return Err("a header parameter that is in both buckets, or more than 32 of them");
            }
            labels.push(key);
            let label = Reader::new(key).int().ok();
            let item = reader.item()?;
            let mut value = Reader::new(item);
            match label {
                Some(ALGORITHM) if protected => self.algorithm = value.int().ok(),
                Some(CRITICAL) => self.critical = true,
                Some(KEY_ID) => self.key_id = Some(value.bytes()?),
                _ => {}
            }
            let name = match (label, self.algorithm) {
                (Some(ALGORITHM), Some(algorithm)) if protected => names::algorithm(algorithm).into_owned(),
                (Some(KEY_ID), _) => format!("key id {}", bytes(self.key_id.unwrap_or_default())),
                _ => format!("{}: {}", diagnostic(key), diagnostic(item)),
            };
            let name = if protected || label == Some(KEY_ID) { name } else { format!("unprotected {name}") };
            self.shown += &format!("{}{name}", if self.shown.is_empty() { "" } else { ", " });
        }
        Ok(())
    }
}
