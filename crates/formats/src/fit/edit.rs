//! A tree with nodes taken out and put in. What is not touched stays as it is,
//! byte for byte, and is not read for it.

use std::ops::Range;

use super::header::{self, LEN};
use super::tree::{BEGIN_NODE, END_NODE, PROP, Tree};
use crate::plan::Plan;

/// Changes to a tree.
pub(super) struct Edit {
    /// What is taken out, in the order of the file, and what comes in its place.
    cuts: Vec<(Range<u64>, Vec<u8>)>,
    /// All strings: what was there stays where it is, as signatures cover it.
    strings: Vec<u8>,
}

impl Edit {
    pub(super) fn new(tree: &Tree) -> Edit {
        Edit { cuts: Vec::new(), strings: tree.strings().to_vec() }
    }

    /// Puts bytes into the place of a range.
    pub(super) fn replace(&mut self, range: Range<u64>, bytes: Vec<u8>) {
        self.cuts.push((range, bytes));
        self.cuts.sort_by_key(|(range, _)| range.start);
    }

    /// A node of these properties.
    pub(super) fn node(&mut self, name: &str, properties: &[(&str, Vec<u8>)]) -> Vec<u8> {
        self.parent(name, properties, &[])
    }

    /// The same with nodes in it.
    pub(super) fn parent(&mut self, name: &str, properties: &[(&str, Vec<u8>)], nodes: &[u8]) -> Vec<u8> {
        let mut out = BEGIN_NODE.to_be_bytes().to_vec();
        out.extend_from_slice(name.as_bytes());
        out.push(0);
        pad(&mut out);
        out.extend(properties.iter().flat_map(|(name, value)| self.property(name, value)));
        out.extend_from_slice(nodes);
        out.extend(END_NODE.to_be_bytes());
        out
    }

    /// A property.
    pub(super) fn property(&mut self, name: &str, value: &[u8]) -> Vec<u8> {
        let mut out = [PROP, value.len() as u32, self.name(name)].map(u32::to_be_bytes).concat();
        out.extend_from_slice(value);
        pad(&mut out);
        out
    }

    /// Where a name stands in the strings: that which is there, as libfdt
    /// finds it, or a new one behind all others.
    pub(super) fn name(&mut self, name: &str) -> u32 {
        let wanted = [name.as_bytes(), &[0]].concat();
        let found = self.strings.windows(wanted.len()).position(|window| window == wanted);
        found.unwrap_or_else(|| {
            self.strings.extend_from_slice(&wanted);
            self.strings.len() - wanted.len()
        }) as u32
    }

    /// Length of the strings.
    pub(super) fn strings_len(&self) -> u32 {
        self.strings.len() as u32
    }

    fn structure_len(&self, tree: &Tree) -> u64 {
        let block = &tree.header.structure;
        self.cuts.iter().fold(block.end - block.start, |len, (range, bytes)| {
            len + bytes.len() as u64 - (range.end - range.start)
        })
    }

    fn reserved_len(tree: &Tree) -> u64 {
        tree.header.reserved.end - tree.header.reserved.start
    }

    /// Length of the tree, without what may follow it.
    pub(super) fn len(&self, tree: &Tree) -> u64 {
        LEN + Self::reserved_len(tree) + self.structure_len(tree) + self.strings.len() as u64
    }

    /// The tree, filled up with zeros to `total` bytes.
    pub(super) fn plan(&self, tree: &Tree, source_len: u64, total: u64) -> Plan {
        let header = header::write(
            total as u32,
            Self::reserved_len(tree) as u32,
            self.structure_len(tree) as u32,
            self.strings_len(),
            tree.header.boot_cpu,
        );
        let mut plan = Plan::new(source_len).bytes(header).source(tree.header.reserved.clone());
        let mut at = tree.header.structure.start;
        for (range, bytes) in &self.cuts {
            plan = plan.source(at..range.start).bytes(bytes.clone());
            at = range.end;
        }
        let zeros = total.saturating_sub(self.len(tree)) as usize;
        plan.source(at..tree.header.structure.end).bytes(self.strings.clone()).bytes(vec![0; zeros])
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}
