//! The artifact's own archive: which members it has, and in which order.

use std::io;
use std::ops::Range;

use super::tar::{BLOCK, END_MAX, Header};
use super::{NAME, malformed};
use crate::error::FormatError;
use crate::hash::{Hash, array};
use crate::source::{Source, bytes_at, head};

/// Most payloads.
const PAYLOADS_MAX: usize = 64;
pub(super) const SIGNATURE: &str = "manifest.sig";

/// Where its members lie.
pub(super) struct Archive {
    pub(super) version: Member,
    pub(super) manifest: Member,
    pub(super) signature: Option<Member>,
    pub(super) header: Member,
    /// Those of the payloads, in their order.
    pub(super) data: Vec<Member>,
    pub(super) len: u64,
}

/// A file in it.
pub(super) struct Member {
    pub(super) name: String,
    /// Where its header begins.
    pub(super) start: u64,
    pub(super) data: Range<u64>,
}

/// Whether a file is an archive that begins as artifacts do.
pub(super) fn is_artifact(source: &dyn Source) -> io::Result<bool> {
    let Some(start) = head::<{ 2 * BLOCK }>(source)? else { return Ok(false) };
    let says = start[BLOCK..].windows(8).any(|window| window == b"\"mender\"");
    Ok(start.starts_with(b"version\0") && start[257..262] == *b"ustar" && says)
}

impl Archive {
    /// Reads the headers; of the members nothing but where they lie.
    pub(super) fn read(source: &dyn Source) -> Result<Archive, FormatError> {
        let len = source.len()?;
        let mut members = members(source, len)?.into_iter().peekable();
        let (Some(version), Some(manifest)) = (
            members.next_if(|member| member.name == "version"),
            members.next_if(|member| member.name == "manifest"),
        ) else {
            return Err(malformed("its first members are not `version` and `manifest`"));
        };
        let signature = members.next_if(|member| member.name == SIGNATURE);
        let header = members.next().ok_or_else(|| malformed("it has no header"))?;
        packed("header.tar", &header.name)?;
        let data: Vec<Member> = members.collect();
        for (index, member) in data.iter().enumerate() {
            packed(&format!("data/{index:04}.tar"), &member.name)?;
        }
        Ok(Archive { version, manifest, signature, header, data, len })
    }
}

/// Checks a member's name, which says how it is packed.
fn packed(wanted: &str, name: &str) -> Result<(), FormatError> {
    match name.strip_prefix(wanted) {
        Some("" | ".gz") => Ok(()),
        Some(".xz" | ".zst") => Err(FormatError::unsupported(
            NAME,
            format!(
                "`{name}` is packed with something else than gzip: make the artifact with `--compression gzip`"
            ),
        )),
        _ if name == "manifest-augment" || name.starts_with("header-augment.") => {
            Err(FormatError::unsupported(NAME, "it is augmented: no signature covers what is added"))
        }
        _ => Err(malformed(format!(
            "it has `{name}` where `{wanted}` belongs, packed with gzip or not at all"
        ))),
    }
}

fn members(source: &dyn Source, len: u64) -> Result<Vec<Member>, FormatError> {
    let (mut members, mut at) = (Vec::new(), 0);
    loop {
        let block: [u8; BLOCK] = bytes_at(source, at, len, (NAME, "its archive"))?;
        let Some(header) = Header::read(&block)? else { break };
        let start = at + BLOCK as u64;
        let data = start..start + header.size;
        let next = data.end + header.padding();
        if next > len {
            return Err(FormatError::Truncated { format: NAME, what: "its archive", need: next, have: len });
        }
        if members.len() == PAYLOADS_MAX + 4 {
            return Err(malformed("it has more than 64 payloads"));
        }
        zeros(source, data.end..next)?;
        members.push(Member { name: header.name, start: at, data });
        at = next;
    }
    // Two blocks of zeros at least.
    match (2 * BLOCK as u64..=END_MAX).contains(&(len - at)) {
        true => zeros(source, at..len)?,
        false => {
            return Err(malformed("it does not end with two blocks of zeros, or something stands behind"));
        }
    }
    Ok(members)
}

impl Member {
    /// A short one, in whole.
    pub(super) fn content(&self, source: &dyn Source, max: u64) -> Result<Vec<u8>, FormatError> {
        let len = self.data.end - self.data.start;
        if len > max {
            return Err(malformed(format!("`{}` is longer than {max} bytes", self.name)));
        }
        let mut bytes = vec![0; len as usize];
        source.read_at(self.data.start, &mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn sha256(&self, source: &dyn Source) -> Result<[u8; 32], FormatError> {
        Ok(array(&Hash::Sha256.of_range(source, self.data.clone())?))
    }
}

fn zeros(source: &dyn Source, range: Range<u64>) -> Result<(), FormatError> {
    // Less than a block, or the zeros at the end.
    let mut bytes = vec![0; (range.end - range.start) as usize];
    source.read_at(range.start, &mut bytes)?;
    match bytes.iter().all(|byte| *byte == 0) {
        true => Ok(()),
        false => Err(malformed("something stands between its members, or behind them")),
    }
}
