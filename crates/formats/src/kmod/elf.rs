//! The sections of a relocatable ELF file (System V ABI, *Object Files*), as
//! far as a module is told by them.

use std::ops::Range;

use super::NAME;
use crate::error::FormatError;
use crate::source::Source;

/// Longest name that is looked at, with its NUL.
const NAME_LEN: usize = 32;
/// SHT_NOBITS: a section without bytes in the file.
const NOBITS: u32 = 8;
/// SHF_ALLOC: the kernel finds no other sections by name.
const ALLOC: u64 = 2;

/// Machines (`e_machine`), by the kernel's names for them.
const MACHINES: [(u16, &str); 9] = [
    (3, "x86"),
    (8, "mips"),
    (20, "powerpc"),
    (21, "powerpc64"),
    (22, "s390"),
    (40, "arm"),
    (62, "x86_64"),
    (183, "arm64"),
    (243, "riscv"),
];

/// The layout of a file's numbers.
#[derive(Clone, Copy)]
struct Layout {
    is_64: bool,
    is_big: bool,
}

impl Layout {
    fn of(ident: &[u8]) -> Option<Layout> {
        let &[0x7f, b'E', b'L', b'F', class @ (1 | 2), data @ (1 | 2), ..] = ident else { return None };
        Some(Layout { is_64: class == 2, is_big: data == 2 })
    }

    /// A number of some bytes, which are all there.
    fn number(self, bytes: &[u8], range: Range<usize>) -> u64 {
        let digits = bytes.get(range).unwrap_or_default();
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        if self.is_big { digits.iter().fold(0, add) } else { digits.iter().rev().fold(0, add) }
    }
}

/// A module's file.
pub(super) struct Elf {
    pub(super) machine: String,
    /// Where `.modinfo` lies.
    pub(super) modinfo: Range<u64>,
}

/// Whether a file says that it is relocatable ELF.
pub(super) fn is_relocatable(source: &dyn Source) -> Result<bool, FormatError> {
    let mut head = [0; 18];
    if source.len()? < head.len() as u64 {
        return Ok(false);
    }
    source.read_at(0, &mut head)?;
    Ok(Layout::of(&head).is_some_and(|layout| layout.number(&head, 16..18) == 1))
}

impl Elf {
    /// Reads the sections of a file that ends here.
    pub(super) fn read(source: &dyn Source, end: u64) -> Result<Elf, FormatError> {
        let malformed = |what: &str| FormatError::malformed(NAME, what);
        let mut head = [0; 64];
        if end < 64 {
            return Err(malformed("it is too short for ELF"));
        }
        source.read_at(0, &mut head)?;
        let layout = Layout::of(&head).ok_or_else(|| malformed("it is no ELF"))?;
        let number = |range| layout.number(&head, range);
        let (entry, table, size, count, names) = match layout.is_64 {
            true => (64, number(0x28..0x30), number(0x3a..0x3c), number(0x3c..0x3e), number(0x3e..0x40)),
            false => (40, number(0x20..0x24), number(0x2e..0x30), number(0x30..0x32), number(0x32..0x34)),
        };
        let fits = table.checked_add(count * entry).is_some_and(|own| own <= end);
        if size != entry || count == 0 || names == 0 || names >= count || !fits {
            return Err(malformed("its section table does not fit, or its names are in none of them"));
        }
        let mut places = vec![0..if layout.is_64 { 64 } else { 52 }, table..table + count * entry];
        let section = |index: u64| Section::read(source, table + index * entry, layout, end);
        let names = section(names)?.bytes.ok_or_else(|| malformed("its names are in no section"))?;
        let (mut modinfo, mut modules) = (Vec::new(), 0);
        for index in 1..count {
            let own = section(index)?;
            places.extend(own.bytes.clone());
            match name(source, &names, own.name)?.as_slice() {
                b".modinfo" => modinfo.push(own),
                b".gnu.linkonce.this_module" => modules += 1,
                _ => {}
            }
        }
        disjoint(places)?;
        // The kernel takes the first one that is loaded, tools take the first
        // one.
        let [Section { bytes: Some(modinfo), is_loaded: true, .. }] = modinfo.as_slice() else {
            return Err(malformed("it is no kernel module: it has not one section `.modinfo`"));
        };
        if modules != 1 {
            return Err(malformed(
                "it is no kernel module: it has not one section `.gnu.linkonce.this_module`",
            ));
        }
        let machine = number(18..20);
        let named = MACHINES.iter().find(|(own, _)| u64::from(*own) == machine);
        let machine = named.map_or_else(|| machine.to_string(), |(_, name)| (*name).to_owned());
        Ok(Elf { machine, modinfo: modinfo.clone() })
    }
}

struct Section {
    name: u64,
    /// Where it lies, if it lies in the file.
    bytes: Option<Range<u64>>,
    is_loaded: bool,
}

impl Section {
    fn read(source: &dyn Source, at: u64, layout: Layout, end: u64) -> Result<Section, FormatError> {
        let mut bytes = [0; 64];
        let len = if layout.is_64 { 64 } else { 40 };
        source.read_at(at, &mut bytes[..len])?;
        let number = |range| layout.number(&bytes, range);
        let (flags, start, size) = match layout.is_64 {
            true => (number(8..16), number(24..32), number(32..40)),
            false => (number(8..12), number(16..20), number(20..24)),
        };
        let (name, kind) = (number(0..4), number(4..8));
        let is_there = !matches!(kind, 0) && kind != u64::from(NOBITS);
        let range = start.checked_add(size).filter(|own| *own <= end).map(|own| start..own);
        match range {
            // What lies in the signature is not signed.
            None if is_there => Err(FormatError::malformed(NAME, "a section lies behind its end")),
            range => Ok(Section { name, bytes: range.filter(|_| is_there), is_loaded: flags & ALLOC != 0 }),
        }
    }
}

/// No two parts share bytes: of those that do, the kernel copies what it loads
/// and changes it (relocations, `.modinfo` that is text as well), and tools show
/// what stood there before. Sections without bytes lie anywhere.
fn disjoint(mut places: Vec<Range<u64>>) -> Result<(), FormatError> {
    places.retain(|place| !place.is_empty());
    places.sort_unstable_by_key(|place| place.start);
    match places.windows(2).any(|pair| pair[0].end > pair[1].start) {
        true => Err(FormatError::malformed(
            NAME,
            "two of its sections overlap, or one lies in the header or in the section table",
        )),
        false => Ok(()),
    }
}

/// A section's name, as far as it is looked at.
fn name(source: &dyn Source, names: &Range<u64>, at: u64) -> Result<Vec<u8>, FormatError> {
    let start = names.start.saturating_add(at).min(names.end);
    let len = (names.end - start).min(NAME_LEN as u64);
    let mut bytes = vec![0; len as usize];
    source.read_at(start, &mut bytes)?;
    let end = bytes.iter().position(|byte| *byte == 0);
    bytes.truncate(end.unwrap_or(bytes.len()));
    Ok(bytes)
}
