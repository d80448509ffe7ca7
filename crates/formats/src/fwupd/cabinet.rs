//! Cabinets ([MS-CAB]): headers, folders and the table of files, with one
//! meaning for every reader.

use std::io;
use std::ops::Range;

use super::{NAME, is_plain, malformed};
use crate::error::FormatError;
use crate::source::{Source, bytes_at};

const MAGIC: &[u8; 4] = b"MSCF";
pub(super) const HEADER: u64 = 36;
pub(super) const FOLDER: u64 = 8;
const FILE: u64 = 16;
/// Header of a block of data.
const BLOCK: u64 = 8;
/// What a block holds, but for a folder's last.
pub(super) const BLOCK_MAX: u64 = 32 * 1024;
/// A block that does not pack well: two bytes of magic and some of deflate.
const PACKED_MAX: u16 = 32 * 1024 + 6144;
const FOLDERS_MAX: u16 = 8;
const FILES_MAX: u16 = 64;
/// Longest cabinet: what fwupd takes is far less.
const CABINET_MAX: u64 = u32::MAX as u64;
/// How far the names of files are looked for.
const HEAD: u64 = 4096;

/// A cabinet.
pub(super) struct Cabinet {
    pub(super) folders: Vec<Folder>,
    pub(super) files: Vec<File>,
    pub(super) len: u64,
}

/// Blocks of data, one after the other.
pub(super) struct Folder {
    pub(super) is_packed: bool,
    /// With the headers of blocks.
    pub(super) blocks: Vec<Block>,
    pub(super) start: u64,
    pub(super) end: u64,
    /// Length of its content.
    pub(super) size: u64,
}

/// A block.
#[derive(Clone)]
pub(super) struct Block {
    pub(super) data: Range<u64>,
    pub(super) size: u16,
    pub(super) sum: u32,
}

/// A file in it.
#[derive(Clone)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) folder: usize,
    /// Where it lies in the folder's content.
    pub(super) range: Range<u64>,
    /// Date, time and attributes, as they are.
    pub(super) stamp: [u8; 6],
}

/// Whether a file is a cabinet that names a metainfo among its first files:
/// Windows' own do not.
pub(super) fn is_firmware(source: &dyn Source) -> io::Result<bool> {
    const NAMED: &[u8] = b".metainfo.xml\0";
    let mut head = vec![0; source.len()?.min(HEAD) as usize];
    source.read_at(0, &mut head)?;
    Ok(head.starts_with(MAGIC) && head.windows(NAMED.len()).any(|window| window == NAMED))
}

impl Cabinet {
    pub(super) fn read(source: &dyn Source) -> Result<Cabinet, FormatError> {
        let len = source.len()?;
        let head: [u8; HEADER as usize] = bytes_at(source, 0, len, (NAME, "its header"))?;
        let word =
            |at: usize| u64::from(u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]));
        let half = |at: usize| u16::from_le_bytes([head[at], head[at + 1]]);
        if head[..4] != *MAGIC || [4, 12, 20].iter().any(|at| word(*at) != 0) || head[24..26] != [3, 1] {
            return Err(malformed("it is no cabinet of version 1.3, or has something where zeros belong"));
        }
        if word(8) != len || len > CABINET_MAX {
            return Err(malformed("its header says another length than the file has"));
        }
        // Chained cabinets, and room for a signature of Windows'.
        if half(30) != 0 || half(34) != 0 {
            return Err(FormatError::unsupported(
                NAME,
                "a cabinet of several, or one with reserved fields; make it anew",
            ));
        }
        let (folders, files) = (half(26), half(28));
        if !(1..=FOLDERS_MAX).contains(&folders) || !(1..=FILES_MAX).contains(&files) {
            return Err(malformed("it has no folders or files, more than 8 folders, or more than 64 files"));
        }
        let table = HEADER + FOLDER * u64::from(folders);
        if word(16) != table {
            return Err(malformed("its files do not follow its folders"));
        }
        let (files, mut at) = read_files(source, table, files, len)?;
        let mut found = Cabinet { folders: Vec::new(), files, len };
        for index in 0..u64::from(folders) {
            let folder = Folder::read(source, HEADER + FOLDER * index, at, len)?;
            at = folder.end;
            found.folders.push(folder);
        }
        if at != len {
            return Err(malformed("something stands behind its data"));
        }
        found.checked()
    }

    /// Names that stand once, and files that lie beside each other.
    fn checked(self) -> Result<Cabinet, FormatError> {
        let mut names: Vec<String> = self.files.iter().map(|file| file.name.to_lowercase()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(malformed(format!("`{}` stands in it twice", twice[0])));
        }
        let mut before = (0, 0);
        for file in &self.files {
            let Some(folder) = self.folders.get(file.folder) else {
                return Err(malformed(format!("`{}` is in no folder", file.name)));
            };
            if (file.folder, file.range.start) < before || file.range.end > folder.size {
                return Err(malformed(format!("`{}` overlaps another file, or its folder's end", file.name)));
            }
            before = (file.folder, file.range.end);
        }
        Ok(self)
    }
}

fn read_files(
    source: &dyn Source,
    table: u64,
    count: u16,
    len: u64,
) -> Result<(Vec<File>, u64), FormatError> {
    let (mut files, mut at) = (Vec::new(), table);
    for _ in 0..count {
        let entry: [u8; FILE as usize] = bytes_at(source, at, len, (NAME, "its table of files"))?;
        let [a, b, c, d, e, f, g, h, i, j, stamp @ ..] = entry;
        let (size, start) = (u32::from_le_bytes([a, b, c, d]), u64::from(u32::from_le_bytes([e, f, g, h])));
        at += FILE;
        let mut name = vec![0; (len - at).min(256) as usize];
        source.read_at(at, &mut name)?;
        let end = name.iter().position(|byte| *byte == 0);
        name.truncate(end.unwrap_or_default());
        at += name.len() as u64 + 1;
        let name = String::from_utf8(name).ok().filter(|name| is_plain(name));
        let name = name.ok_or_else(|| {
            malformed("the name of a file is no plain one: letters, digits, blanks and `_-.+`")
        })?;
        let folder = usize::from(u16::from_le_bytes([i, j]));
        files.push(File { name, folder, range: start..start + u64::from(size), stamp });
    }
    Ok((files, at))
}

impl Folder {
    /// Reads a folder's entry, and the headers of its blocks, which begin where
    /// `start` says.
    fn read(source: &dyn Source, entry: u64, start: u64, len: u64) -> Result<Folder, FormatError> {
        let [a, b, c, d, e, f, g, h] = bytes_at(source, entry, len, (NAME, "a folder"))?;
        let (first, count) = (u32::from_le_bytes([a, b, c, d]), u16::from_le_bytes([e, f]));
        let is_packed = match [g, h] {
            [0, 0] => false,
            [1, 0] => true,
            _ => {
                return Err(FormatError::unsupported(
                    NAME,
                    "a folder that is packed with something else than MSZIP",
                ));
            }
        };
        if u64::from(first) != start || count == 0 {
            return Err(malformed("the data of a folder does not follow what stands before it, or is none"));
        }
        let mut found = Folder { is_packed, blocks: Vec::new(), start, end: start, size: 0 };
        for index in 0..count {
            let [a, b, c, d, e, f, g, h] = bytes_at(source, found.end, len, (NAME, "a block"))?;
            let (packed, size) = (u16::from_le_bytes([e, f]), u16::from_le_bytes([g, h]));
            let data = found.end + BLOCK..found.end + BLOCK + u64::from(packed);
            let is_full = u64::from(size) == BLOCK_MAX || index + 1 == count;
            let fits = if is_packed { packed > 2 && packed <= PACKED_MAX } else { packed == size };
            if data.end > len || size == 0 || u64::from(size) > BLOCK_MAX || !is_full || !fits {
                return Err(malformed(
                    "a block has another length than its place asks for, or ends behind the file",
                ));
            }
            found.end = data.end;
            found.size += u64::from(size);
            found.blocks.push(Block { data, size, sum: u32::from_le_bytes([a, b, c, d]) });
        }
        Ok(found)
    }
}

/// The checksum of a block: words, and what is left of them the other way
/// round; then its header's lengths.
pub(super) fn sum(data: &[u8], size: u16) -> u32 {
    let (words, rest) = data.as_chunks::<4>();
    let sum = words.iter().fold(0, |sum, word| sum ^ u32::from_le_bytes(*word));
    let rest = rest.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
    sum ^ rest ^ (data.len() as u32 | u32::from(size) << 16)
}
