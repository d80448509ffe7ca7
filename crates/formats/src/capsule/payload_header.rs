//! edk2's FMP payload header (FmpDevicePkg, FmpPayloadHeaderLibV1), which
//! U-Boot reads too: the firmware's version, and the lowest one that a device
//! takes afterwards. It begins the payload, so the signature covers it.

use super::NAME;
use crate::error::FormatError;
use crate::format::Bare;
use crate::source::{Source, head};

/// Its length.
pub(super) const LEN: u64 = 16;
/// What it begins with: its name, and its length.
const MAGIC: [u8; 8] = *b"MSS1\x10\0\0\0";
/// How far it is looked for behind an expression of dependencies.
const EXPRESSION: u64 = 64 * 1024;

/// Whether edk2 takes the beginning of so many bytes for such a header. It skips
/// longer ones.
fn is_one(head: &[u8], len: u64) -> bool {
    let size = |head: &[u8; 8]| u64::from(u32::from_le_bytes([head[4], head[5], head[6], head[7]]));
    head.first_chunk::<8>().is_some_and(|head| head.starts_with(b"MSS1") && (LEN..=len).contains(&size(head)))
}

/// Both versions, in whatever way their maker counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PayloadHeader {
    pub(super) version: u32,
    pub(super) lowest: u32,
}

impl PayloadHeader {
    /// That of a payload, if it has one.
    pub(super) fn read(payload: &dyn Source) -> Result<Option<PayloadHeader>, FormatError> {
        let malformed = |what: &str| FormatError::malformed(NAME, what);
        if head::<4>(payload)?.is_none_or(|magic| magic != *b"MSS1") {
            return Ok(None);
        }
        let bytes = head::<{ LEN as usize }>(payload)?.filter(|bytes| bytes.starts_with(&MAGIC));
        let bytes = bytes.ok_or_else(|| malformed("its FMP payload header has another length than 16"))?;
        if payload.len()? == LEN {
            return Err(malformed("nothing follows its FMP payload header"));
        }
        let [version, lowest] =
            [8, 12].map(|at| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]));
        PayloadHeader { version, lowest }.checked().map(Some)
    }

    /// A device that took it would refuse to take it again.
    pub(super) fn checked(self) -> Result<PayloadHeader, FormatError> {
        match self.lowest <= self.version {
            true => Ok(self),
            false => Err(FormatError::malformed(
                NAME,
                format!(
                    "its lowest supported version, {}, is above its own version, {}",
                    self.lowest, self.version
                ),
            )),
        }
    }

    pub(super) fn bytes(self) -> Vec<u8> {
        [&MAGIC[..], &self.version.to_le_bytes(), &self.lowest.to_le_bytes()].concat()
    }
}

/// Whether a file begins as edk2's payloads do: with their header, or with an
/// expression before it (UEFI 2.10 §23.2).
pub(super) fn begins(file: &Bare<'_>) -> Result<bool, FormatError> {
    let mut head = vec![0; file.len.min(EXPRESSION) as usize];
    file.source.read_at(0, &mut head)?;
    let behind = expression(&head).unwrap_or_default();
    Ok(head.get(behind..).is_some_and(|head| is_one(head, file.len)))
}

/// Where an expression ends, if bytes begin with one.
fn expression(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let operand = match *bytes.get(at)? {
            // A GUID, a version, a name to its zero, operators, a length.
            0x00 => 16,
            0x01 | 0x0e => 4,
            0x02 => bytes.get(at + 1..)?.iter().position(|byte| *byte == 0)? + 1,
            0x03..=0x0c => 0,
            0x0d => return Some(at + 1),
            _ => return None,
        };
        at += 1 + operand;
    }
}
