//! A cabinet with a signature: its folders as they are, and one more, which
//! holds the jcat and is not packed.

use super::cabinet::{BLOCK_MAX, Cabinet, FOLDER, File, HEADER, sum};
use super::malformed;
use crate::error::FormatError;
use crate::plan::Plan;

/// The name that fwupd's own tools give it.
pub(super) const JCAT: &str = "firmware.jcat";

/// Lays out the cabinet with this jcat, in the place of one that it has.
pub(super) fn with(cabinet: &Cabinet, jcat: &[u8]) -> Result<Plan, FormatError> {
    let is_kept = |file: &&File| !file.name.ends_with(".jcat");
    let kept: Vec<&File> = cabinet.files.iter().filter(is_kept).collect();
    // A folder of ours is its last, and has nothing else in it.
    let last = cabinet.folders.len() - 1;
    let drops = last > 0 && kept.iter().all(|file| file.folder != last);
    let folders = if drops { &cabinet.folders[..last] } else { &cabinet.folders[..] };
    if folders.len() == 8 || kept.len() == 64 {
        return Err(malformed("it has 8 folders or 64 files, and no place for a jcat"));
    }
    let own = File {
        name: JCAT.to_owned(),
        folder: folders.len(),
        range: 0..jcat.len() as u64,
        // 1980-01-01, midnight: a function of nothing; an ordinary file.
        stamp: [0x21, 0, 0, 0, 0x20, 0],
    };
    let mut table = Vec::new();
    for file in kept.iter().copied().chain([&own]) {
        let size = (file.range.end - file.range.start) as u32;
        table.extend([size.to_le_bytes(), (file.range.start as u32).to_le_bytes()].concat());
        table.extend((file.folder as u16).to_le_bytes());
        table.extend(file.stamp);
        table.extend([file.name.as_bytes(), &[0]].concat());
    }
    let blocks: Vec<Vec<u8>> = jcat.chunks(BLOCK_MAX as usize).map(block).collect();
    let first = HEADER + FOLDER * (folders.len() as u64 + 1);
    let mut at = first + table.len() as u64;
    let mut entries = Vec::new();
    let packed = folders.iter().map(|own| (own.end - own.start, own.blocks.len(), own.is_packed));
    let added = (blocks.iter().map(Vec::len).sum::<usize>() as u64, blocks.len(), false);
    for (len, count, is_packed) in packed.chain([added]) {
        entries.extend((at as u32).to_le_bytes());
        entries.extend((count as u16).to_le_bytes());
        entries.extend(u16::from(is_packed).to_le_bytes());
        at += len;
    }
    let len = u32::try_from(at).map_err(|_| malformed("with a jcat it is longer than 4 GiB"))?;
    let mut head = b"MSCF\0\0\0\0".to_vec();
    head.extend([len, 0, first as u32, 0].iter().flat_map(|word| word.to_le_bytes()));
    head.extend([3, 1]);
    let counts = [folders.len() as u16 + 1, kept.len() as u16 + 1, 0, 0, 0];
    head.extend(counts.iter().flat_map(|half| half.to_le_bytes()));
    let data = folders.first().map_or(0, |own| own.start)..folders.last().map_or(0, |own| own.end);
    Ok(Plan::new(cabinet.len).bytes([head, entries, table].concat()).source(data).bytes(blocks.concat()))
}

/// A block that is not packed, with its header.
fn block(data: &[u8]) -> Vec<u8> {
    let size = data.len() as u16;
    [&sum(data, size).to_le_bytes()[..], &size.to_le_bytes(), &size.to_le_bytes(), data].concat()
}
