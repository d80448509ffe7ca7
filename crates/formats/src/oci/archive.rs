//! The tar around a layout (POSIX.1-1988 ustar): members by name.
//!
//! Extractors disagree over what is unusual in a tar: names that stand twice
//! or lead outside, long names in members of their own, links. None of it is
//! in a layout, so all of it is refused.

use std::collections::BTreeMap;
use std::ops::Range;

use super::descriptor::Digest;
use super::malformed;
use crate::error::FormatError;
use crate::source::{Source, bytes_at, for_each_piece};

const BLOCK: u64 = 512;
/// Most members: an index of many platforms has some hundreds.
const MEMBERS_MAX: usize = 8192;
/// Most that may stand behind the end. Writers fill up to 10 KiB, or to 1 MiB
/// at most.
const BEHIND_MAX: u64 = 1024 * 1024;

/// The files of a layout, by name.
pub(super) type Members = BTreeMap<String, Range<u64>>;

/// Whether a tar begins as a layout does.
pub(super) fn is_layout(source: &dyn Source) -> Result<bool, FormatError> {
    let mut at = 0;
    // A directory of its own may come first.
    for _ in 0..2 {
        if source.len()? < at + BLOCK {
            return Ok(false);
        }
        let header: [u8; BLOCK as usize] = bytes_at(source, at, source.len()?, (super::NAME, "a header"))?;
        if header.get(257..262) != Some(b"ustar") {
            return Ok(false);
        }
        match name(&header).as_deref() {
            Ok("") => at += BLOCK,
            Ok(name) => return Ok(is_member(name)),
            Err(_) => return Ok(false),
        }
    }
    Ok(false)
}

/// Whether a layout has a member of this name, or has it above one.
fn is_member(name: &str) -> bool {
    matches!(name, "oci-layout" | "index.json" | "blobs" | "blobs/sha256" | "blobs/sha512") || is_blob(name)
}

fn is_blob(name: &str) -> bool {
    name.strip_prefix("blobs/").and_then(|own| Digest::parse(&own.replacen('/', ":", 1))).is_some()
}

/// Reads the members.
pub(super) fn members(source: &dyn Source) -> Result<Members, FormatError> {
    let len = source.len()?;
    let (mut at, mut members, mut seen) = (0, Members::new(), 0);
    loop {
        let header: [u8; BLOCK as usize] =
            bytes_at(source, at, len, (super::NAME, "the header of a member"))?;
        at += BLOCK;
        if header == [0; BLOCK as usize] {
            break;
        }
        seen += 1;
        if seen > MEMBERS_MAX {
            return Err(malformed("it has more than 8192 members"));
        }
        let (name, size) = (checked(&header)?, number(&header[124..136])?);
        match header[156] {
            b'5' if size == 0 && (name.is_empty() || is_member(&name) && !is_file(&name)) => continue,
            b'0' | 0 if is_file(&name) => {}
            b'x' | b'g' | b'L' | b'K' => {
                return Err(malformed("it has extended headers; pack it with `tar --format=ustar`"));
            }
            _ if name == "manifest.json" => {
                return Err(malformed(
                    "it is Docker's archive as well, which could name another image; write it with `skopeo copy ... \
                     oci-archive:FILE`",
                ));
            }
            _ => return Err(malformed(format!("`{name}` is no member of an image layout"))),
        }
        let end = at.checked_add(size).filter(|end| *end <= len);
        let end =
            end.ok_or_else(|| malformed(format!("`{name}` is longer than what is left of the file")))?;
        if members.insert(name.clone(), at..end).is_some() {
            return Err(malformed(format!("`{name}` stands in it twice")));
        }
        at = end.checked_next_multiple_of(BLOCK).unwrap_or(end);
    }
    // "two records of zeros" end it, and whole blocks only.
    if len - at < BLOCK || len % BLOCK != 0 {
        return Err(malformed("it does not end as a tar does; it was cut short"));
    }
    if len - at > BEHIND_MAX {
        return Err(malformed("more than a megabyte stands behind its end"));
    }
    let mut is_zero = true;
    for_each_piece(source, at..len, |piece| {
        is_zero &= piece.iter().all(|byte| *byte == 0);
        Ok(())
    })?;
    match is_zero {
        true => Ok(members),
        // Some readers go on after the end.
        false => Err(malformed("something stands behind its end")),
    }
}

fn is_file(name: &str) -> bool {
    matches!(name, "oci-layout" | "index.json") || is_blob(name)
}

/// The name of a member whose header is whole.
fn checked(header: &[u8; BLOCK as usize]) -> Result<String, FormatError> {
    if header.get(257..262) != Some(b"ustar") {
        return Err(malformed("a member of it has no header of ustar"));
    }
    // "the sum of all octets in the header ... the checksum field taken as spaces".
    let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
    let own: u64 = header[148..156].iter().map(|byte| u64::from(*byte)).sum();
    if number(&header[148..156])? != sum - own + 8 * u64::from(b' ') {
        return Err(malformed("the header of a member is damaged"));
    }
    name(header)
}

/// The name, without `./` before it and `/` behind it.
fn name(header: &[u8; BLOCK as usize]) -> Result<String, FormatError> {
    let field = |range: Range<usize>| {
        let bytes = &header[range];
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        let (text, rest) = bytes.split_at(end);
        let plain = text.iter().all(|byte| byte.is_ascii_graphic()) && rest.iter().all(|byte| *byte == 0);
        plain.then(|| String::from_utf8_lossy(text).into_owned())
    };
    // What GNU has in the place of the prefix are dates.
    let is_posix = header.get(257..263) == Some(b"ustar\0");
    let prefix = if is_posix { field(345..500) } else { Some(String::new()) };
    let (Some(name), Some(prefix)) = (field(0..100), prefix) else {
        return Err(malformed("the name of a member is no plain text"));
    };
    let whole = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
    let name = whole.strip_prefix("./").unwrap_or(&whole);
    let name = name.strip_suffix('/').unwrap_or(name);
    let leads_out = name.split('/').any(|part| matches!(part, "" | "." | ".."));
    match leads_out && !name.is_empty() {
        true => Err(malformed("the name of a member leads outside, or has a second spelling")),
        false => Ok(name.to_owned()),
    }
}

/// A number in octal digits, with what ends them.
fn number(field: &[u8]) -> Result<u64, FormatError> {
    let digits = field.iter().take_while(|byte| matches!(byte, b'0'..=b'7')).count();
    let ends = field.iter().skip(digits).all(|byte| matches!(byte, 0 | b' '));
    match ends && digits > 0 {
        true => Ok(field.iter().take(digits).fold(0, |number, byte| number << 3 | u64::from(byte - b'0'))),
        false => Err(malformed("a number in the header of a member is not octal")),
    }
}
