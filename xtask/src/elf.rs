//! Reading the size of a firmware out of its ELF file.

use std::path::Path;

use crate::error::Error;

const ALLOCATED: u32 = 2;
const PROGBITS: u32 = 1;

/// Bytes that a 32-bit little-endian ELF file puts into flash: code,
/// constants and the initial values of variables.
pub(crate) fn flash_size(path: &Path) -> Result<u64, Error> {
    let bytes = std::fs::read(path).map_err(Error::file(path))?;
    size(&bytes)
        .ok_or_else(|| Error::wrong(format!("{}: not a 32-bit little-endian ELF file", path.display())))
}

fn size(elf: &[u8]) -> Option<u64> {
    if elf.get(..6)? != [0x7f, b'E', b'L', b'F', 1, 1] {
        return None;
    }
    let table = word(elf, 32)? as usize;
    let entry = usize::from(half(elf, 46)?);
    let count = usize::from(half(elf, 48)?);
    let mut total = 0;
    for index in 0..count {
        let header = elf.get(table + index * entry..)?;
        let (kind, flags, size) = (word(header, 4)?, word(header, 8)?, word(header, 20)?);
        if kind == PROGBITS && flags & ALLOCATED != 0 {
            total += u64::from(size);
        }
    }
    Some(total)
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    #[test]
    fn other_files_have_no_size() {
        assert_eq!(super::size(b""), None);
        assert_eq!(super::size(b"\x7fELF\x02\x01"), None);
        assert_eq!(super::size(b"\x7fELF\x01\x01"), None);
    }
}
