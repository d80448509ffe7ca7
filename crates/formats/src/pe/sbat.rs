//! SBAT (shim, SBAT.md): which generation of which component an image is, by
//! which it can be revoked.

use super::NAME;
use super::image::Image;
use crate::error::FormatError;
use crate::source::Source;

/// Longest text that is read.
const TEXT_MAX: u64 = 64 * 1024;

/// One component, and its generation.
pub(crate) struct Entry {
    pub(crate) component: String,
    pub(crate) generation: u64,
}

/// The entries of an image, in order.
pub(crate) fn read(image: &Image, source: &dyn Source) -> Result<Vec<Entry>, FormatError> {
    let malformed = |what: &str| FormatError::malformed(NAME, what);
    let mut found = image.sections.iter().filter(|section| section.name == *b".sbat\0\0\0");
    let Some(section) = found.next() else { return Ok(Vec::new()) };
    if found.next().is_some() {
        return Err(malformed("it has two sections `.sbat`"));
    }
    let len = section.size.min(u64::from(section.virtual_size));
    if len > TEXT_MAX {
        return Err(malformed("its SBAT is longer than 64 KiB"));
    }
    // Where a section without bytes begins says nothing (*PE Format*, "Section
    // Table"), and may lie outside.
    if len == 0 {
        return Ok(Vec::new());
    }
    let mut bytes = vec![0; len as usize];
    source.read_at(section.start, &mut bytes)?;
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    if bytes[end..].iter().any(|byte| *byte != 0) {
        return Err(malformed("its SBAT goes on behind its end"));
    }
    let plain = |byte: &u8| matches!(byte, b' '..=b'~' | b'\n' | b'\r');
    let text = std::str::from_utf8(&bytes[..end]).ok().filter(|text| text.as_bytes().iter().all(plain));
    let text = text.ok_or_else(|| malformed("its SBAT is no ASCII"))?;
    let mut entries: Vec<Entry> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let mut parts = line.split(',');
        let (component, generation) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        // Digits alone: `parse` would also take a sign.
        let number =
            generation.bytes().all(|byte| byte.is_ascii_digit()).then(|| generation.parse().ok()).flatten();
        match number {
            Some(generation) if !component.is_empty() && generation > 0 => {
                if entries.iter().any(|entry| entry.component == component) {
                    return Err(malformed("its SBAT names a component twice"));
                }
                entries.push(Entry { component: component.to_owned(), generation });
            }
            _ => return Err(malformed("its SBAT has a line without component and generation")),
        }
    }
    Ok(entries)
}
