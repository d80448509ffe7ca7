//! Intel HEX: memory as text, as linkers and flash tools write it (Intel,
//! Hexadecimal Object File Format Specification, Revision A, 1988).
//!
//! ```text
//! : length address type data... checksum      each a pair of digits
//! ```
//!
//! Inspected, and signed beside the file. An image that a bootloader checks
//! is made of the binary that `objcopy -I ihex -O binary` writes.

use crate::error::FormatError;
use crate::format::{Format, Likeness};
use crate::hash::{Hash, hex};
use crate::inspection::{Inspection, Load};
use crate::source::{Source, for_each_piece, head};

const NAME: &str = "hex";
/// Digits of the longest record: 255 bytes of data and five around them.
const DIGITS_MAX: usize = 2 * (255 + 5);
/// More pieces than any memory map has (bounded memory on hostile input).
const RANGES_MAX: usize = 1024;
/// Pieces that are told one by one.
const TOLD_MAX: usize = 16;

/// The Intel HEX format.
pub(crate) struct IntelHex;

impl Format for IntelHex {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "Intel HEX, with the addresses that it fills; the signature stands beside the file"
    }

    fn detect(&self, source: &dyn Source) -> Result<Likeness, FormatError> {
        let digits = head::<9>(source)?;
        let own = digits
            .is_some_and(|[colon, digits @ ..]| colon == b':' && digits.iter().all(u8::is_ascii_hexdigit));
        Ok(if own { Likeness::Own } else { Likeness::No })
    }

    fn inspect(&self, source: &dyn Source) -> Result<Inspection, FormatError> {
        let memory = Memory::read(source)?;
        let mut out = Inspection::new(NAME, memory.ranges.iter().map(|(start, end)| end - start).sum());
        let loads = memory.ranges.iter();
        out.loads = loads.map(|(start, end)| Load { address: *start, size: Some(end - start) }).collect();
        out.load_addresses = out.loads.iter().map(|load| load.address).collect();
        for (start, end) in memory.ranges.iter().take(TOLD_MAX) {
            out.field("range", format!("{start:#010x} to {:#010x} ({} bytes)", end - 1, end - start));
        }
        if let Some(more @ 1..) = memory.ranges.len().checked_sub(TOLD_MAX) {
            out.field("ranges", format!("{more} more"));
        }
        if let Some(entry) = memory.entry {
            out.field("entry", entry);
        }
        out.field("sha256", hex(&Hash::Sha256.of_range(source, 0..source.len()?)?));
        Ok(out)
    }
}

/// How a record's 16 bits of address become an address.
#[derive(Clone, Copy)]
enum Base {
    /// The segment that a record of type 2 names, or none.
    Segment(u64),
    /// The upper half that a record of type 4 names.
    Linear(u64),
}

/// What a file fills.
struct Memory {
    /// Ranges in order, none of which touches the next.
    ranges: Vec<(u64, u64)>,
    base: Base,
    entry: Option<String>,
    ended: bool,
}

impl Memory {
    /// Reads a file whole, a record at a time.
    fn read(source: &dyn Source) -> Result<Memory, FormatError> {
        let mut memory = Memory { ranges: Vec::new(), base: Base::Segment(0), entry: None, ended: false };
        let (mut line, mut number) = (Vec::with_capacity(DIGITS_MAX + 2), 1u64);
        let mut failed = None;
        for_each_piece(source, 0..source.len()?, |piece| {
            for byte in piece {
                if *byte == b'\n' {
                    memory.line(&line).map_err(|what| failed = Some(what)).map_err(|()| stopped())?;
                    line.clear();
                    number += 1;
                // A colon before the digits, a carriage return behind.
                } else if line.len() < DIGITS_MAX + 2 {
                    line.push(*byte);
                } else {
                    failed = Some("a line is longer than any record".to_owned());
                    return Err(stopped());
                }
            }
            Ok(())
        })
        .or_else(|error| if failed.is_some() { Ok(()) } else { Err(error) })?;
        if failed.is_none() {
            failed = memory.line(&line).err();
        }
        match failed {
            Some(what) => Err(FormatError::malformed(NAME, format!("line {number}: {what}"))),
            None if !memory.ended => {
                Err(FormatError::malformed(NAME, "there is no record that ends the file"))
            }
            None if memory.ranges.is_empty() => {
                Err(FormatError::malformed(NAME, "the file fills no address"))
            }
            None => Ok(memory),
        }
    }

    /// Reads a line: a record, or nothing.
    fn line(&mut self, line: &[u8]) -> Result<(), String> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return Ok(());
        }
        // Readers stop here or go on: what follows would have two meanings.
        if self.ended {
            return Err("something follows the record that ends the file".to_owned());
        }
        let digits = line.strip_prefix(b":").ok_or("it does not begin with a colon")?;
        let (pairs, odd) = digits.as_chunks::<2>();
        if !odd.is_empty() {
            return Err("an odd number of digits".to_owned());
        }
        let bytes: Option<Vec<u8>> = pairs.iter().map(|pair| byte(*pair)).collect();
        let bytes = bytes.ok_or("a character that is no hexadecimal digit")?;
        let [length, high, low, kind, rest @ ..] = bytes.as_slice() else {
            return Err("it is too short for a record".to_owned());
        };
        let Some((data, [_])) = rest.split_at_checked(usize::from(*length)) else {
            return Err(format!("it says {length} bytes of data and has {}", rest.iter().skip(1).count()));
        };
        // All bytes of a record, its checksum included, add up to nothing.
        if bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) != 0 {
            return Err("the checksum does not match".to_owned());
        }
        self.record(*kind, u16::from_be_bytes([*high, *low]), data)
    }

    fn record(&mut self, kind: u8, offset: u16, data: &[u8]) -> Result<(), String> {
        let entry = |this: &mut Memory, text: String| match this.entry.replace(text) {
            None => Ok(()),
            Some(_) => Err("a second entry point".to_owned()),
        };
        match (kind, data) {
            (0, _) => self.fill(offset, data.len() as u64),
            // Records without data have no place for an address.
            (_, _) if offset != 0 => Err(format!("a record of type {kind} with an address")),
            (1, []) => {
                self.ended = true;
                Ok(())
            }
            (2, [high, low]) => {
                self.base = Base::Segment(u64::from(u16::from_be_bytes([*high, *low])) << 4);
                Ok(())
            }
            (3, [cs_high, cs_low, ip_high, ip_low]) => {
                let (cs, ip) =
                    (u16::from_be_bytes([*cs_high, *cs_low]), u16::from_be_bytes([*ip_high, *ip_low]));
                entry(self, format!("{cs:04x}:{ip:04x}"))
            }
            (4, [high, low]) => {
                self.base = Base::Linear(u64::from(u16::from_be_bytes([*high, *low])) << 16);
                Ok(())
            }
            (5, [a, b, c, d]) => entry(self, format!("{:#010x}", u32::from_be_bytes([*a, *b, *c, *d]))),
            (1..=5, _) => Err(format!("a record of type {kind} with {} bytes", data.len())),
            _ => Err(format!("a record of type {kind}, which this format does not have")),
        }
    }

    /// Takes a range as filled. Addresses that wrap around within a record
    /// lie elsewhere for each reader; an address that is filled twice has
    /// the first value for one and the last for another.
    fn fill(&mut self, offset: u16, len: u64) -> Result<(), String> {
        if len == 0 {
            return Ok(());
        }
        if u64::from(offset) + len > 0x1_0000 {
            return Err("a record that reaches beyond its 64 KiB".to_owned());
        }
        let (Base::Segment(base) | Base::Linear(base)) = self.base;
        let (mut start, mut end) = (base + u64::from(offset), base + u64::from(offset) + len);
        let at = self.ranges.partition_point(|(other, _)| *other < start);
        let before = at.checked_sub(1).map(|at| self.ranges[at]);
        let after = self.ranges.get(at).copied();
        if before.is_some_and(|(_, other)| other > start) || after.is_some_and(|(other, _)| other < end) {
            return Err(format!("address {start:#x} or one behind it is filled twice"));
        }
        let (joins_before, joins_after) =
            (before.is_some_and(|(_, other)| other == start), after.is_some_and(|(other, _)| other == end));
        if let (true, Some((other, _))) = (joins_before, before) {
            start = other;
        }
        if let (true, Some((_, other))) = (joins_after, after) {
            end = other;
        }
        let from = at - usize::from(joins_before);
        self.ranges.splice(from..at + usize::from(joins_after), [(start, end)]);
        match self.ranges.len() {
            0..=RANGES_MAX => Ok(()),
            _ => Err(format!("more than {RANGES_MAX} ranges")),
        }
    }
}

/// Ends the reading; what was wrong is told beside.
fn stopped() -> std::io::Error {
    std::io::ErrorKind::InvalidData.into()
}

fn byte([high, low]: [u8; 2]) -> Option<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
    Some(digit(high)? << 4 | digit(low)?)
}
