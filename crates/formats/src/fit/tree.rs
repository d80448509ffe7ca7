//! Flattened devicetrees (Devicetree Specification 0.4, chapter 5), read
//! strictly: what two readers could read in two ways is refused.
//!
//! The values of properties named `data` stay where they are: they are the
//! images, and may be as long as the file. Everything else is small, and kept.

use std::collections::BTreeSet;
use std::ops::Range;

use super::cursor::Cursor;
use super::header::Header;
use crate::error::FormatError;
use crate::source::Source;

pub(super) const BEGIN_NODE: u32 = 1;
pub(super) const END_NODE: u32 = 2;
pub(super) const PROP: u32 = 3;
pub(super) const NOP: u32 = 4;
pub(super) const END: u32 = 9;

/// Longest structure block without images.
const KEPT_MAX: usize = 512 * 1024;
/// Most nodes, and most properties.
const NODES_MAX: usize = 4096;
const PROPERTIES_MAX: usize = 16 * 1024;
/// U-Boot looks no deeper (boot/fdt_region.c, FDT_MAX_DEPTH).
const DEPTH_MAX: usize = 31;
/// Longest name of a node.
const NAME_MAX: usize = 127;
/// The property whose value is an image.
pub(super) const DATA: &str = "data";

/// A tree.
pub(super) struct Tree {
    format: &'static str,
    pub(super) header: Header,
    pub(super) strings: Vec<u8>,
    /// The structure block, without what `data` holds.
    kept: Vec<u8>,
    /// In the order of the file; the first is the root.
    pub(super) nodes: Vec<Node>,
}

/// A node.
pub(super) struct Node {
    pub(super) name: String,
    /// Its parent; the root's is itself.
    parent: usize,
    /// Length of its path.
    pub(super) path_len: usize,
    /// Its place in the file: from its first token to behind its last.
    pub(super) place: Range<u64>,
    /// Its first token, of what is kept.
    head: Range<usize>,
    pub(super) properties: Vec<Property>,
    pub(super) children: Vec<usize>,
}

/// A property. Trees end below 256 MiB.
pub(super) struct Property {
    name: Range<u32>,
    /// Its token, of what is kept; nothing of an image's.
    token: Range<u32>,
    /// Its value in the file.
    place: Range<u32>,
}

impl Property {
    /// Where its value stands in the file.
    pub(super) fn place(&self) -> Range<u64> {
        u64::from(self.place.start)..u64::from(self.place.end)
    }
}

fn in_memory(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}

impl Node {
    /// Where a further child goes: before its last token.
    pub(super) fn inside(&self) -> u64 {
        self.place.end.saturating_sub(4)
    }
}

impl Tree {
    /// Reads a tree. `format` is who asks, for messages.
    pub(super) fn read(source: &dyn Source, format: &'static str) -> Result<Tree, FormatError> {
        let header = Header::read(source, format)?;
        let mut strings = vec![0; (header.strings.end - header.strings.start) as usize];
        source.read_at(header.strings.start, &mut strings)?;
        if strings.last().is_some_and(|byte| *byte != 0) {
            return Err(FormatError::malformed(format, "its strings do not end with a zero"));
        }
        let mut tree = Tree { format, header, strings, kept: Vec::new(), nodes: Vec::new() };
        tree.walk(source)?;
        Ok(tree)
    }

    fn malformed(&self, what: impl Into<String>) -> FormatError {
        FormatError::malformed(self.format, what)
    }

    fn walk(&mut self, source: &dyn Source) -> Result<(), FormatError> {
        let mut cursor = Cursor::new(source, self.format, self.header.structure.clone());
        let mut open: Vec<usize> = Vec::new();
        let mut properties = 0;
        loop {
            let at = cursor.at();
            let token = cursor.word()?;
            let current = open.last().copied();
            match (token, current) {
                (BEGIN_NODE, None) if !self.nodes.is_empty() => {
                    return Err(self.malformed("it has a second root"));
                }
                (BEGIN_NODE, parent) => {
                    if self.nodes.len() == NODES_MAX || open.len() > DEPTH_MAX {
                        return Err(self.malformed("it has more than 4096 nodes, or more than 32 levels"));
                    }
                    let from = self.kept.len();
                    self.keep(&BEGIN_NODE.to_be_bytes())?;
                    let name = self.name(&mut cursor)?;
                    if parent.is_none() != name.is_empty() {
                        return Err(self.malformed("its root has a name, or another node has none"));
                    }
                    let own = self.nodes.len();
                    let mut path_len = 0;
                    if let Some(parent) = parent {
                        self.nodes[parent].children.push(own);
                        path_len = self.nodes[parent].path_len + 1 + name.len();
                    }
                    self.nodes.push(Node {
                        name,
                        parent: parent.unwrap_or(own),
                        path_len,
                        place: at..at,
                        head: from..self.kept.len(),
                        properties: Vec::new(),
                        children: Vec::new(),
                    });
                    open.push(own);
                }
                (END_NODE, Some(own)) => {
                    open.pop();
                    self.nodes[own].place.end = cursor.at();
                    self.unambiguous(own)?;
                }
                (PROP, Some(own)) => {
                    properties += 1;
                    if properties > PROPERTIES_MAX {
                        return Err(self.malformed("it has more than 16384 properties"));
                    }
                    // Libraries stop at the first node: they never see it.
                    if !self.nodes[own].children.is_empty() {
                        return Err(self.malformed("a property stands behind a node"));
                    }
                    let property = self.property(&mut cursor)?;
                    self.nodes[own].properties.push(property);
                }
                (END, None) if !self.nodes.is_empty() => break,
                (NOP, _) => {
                    return Err(self.malformed(
                        "it has been edited in place (FDT_NOP): have dtc write it anew, or mkimage make it anew",
                    ));
                }
                _ => return Err(self.malformed(format!("it has no sense from byte {at} on"))),
            }
        }
        match cursor.is_at_end() {
            true => Ok(()),
            false => Err(self.malformed("something stands behind its last token")),
        }
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), FormatError> {
        if self.kept.len() + bytes.len() > KEPT_MAX {
            return Err(self.malformed("without its images it is longer than 512 KiB"));
        }
        self.kept.extend_from_slice(bytes);
        Ok(())
    }

    fn name(&mut self, cursor: &mut Cursor<'_>) -> Result<String, FormatError> {
        let mut name = Vec::new();
        loop {
            let word = cursor.word()?.to_be_bytes();
            self.keep(&word)?;
            let end = word.iter().position(|byte| *byte == 0).unwrap_or(4);
            name.extend_from_slice(&word[..end]);
            if end < 4 {
                break;
            }
            if name.len() > NAME_MAX {
                return Err(self.malformed("a node has a name of more than 127 characters"));
            }
        }
        // A slash would make two paths of one.
        match name.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'/') {
            true => Ok(String::from_utf8_lossy(&name).into_owned()),
            false => Err(self.malformed(format!("the name of a node is `{}`", name.escape_ascii()))),
        }
    }

    fn property(&mut self, cursor: &mut Cursor<'_>) -> Result<Property, FormatError> {
        let from = self.kept.len() as u32;
        let (len, name_at) = (cursor.word()?, cursor.word()?);
        let name = self.string(name_at)?;
        let start = cursor.at() as u32;
        let padded = u64::from(len).next_multiple_of(4);
        if self.strings[in_memory(&name)] == *DATA.as_bytes() {
            cursor.skip(padded)?;
        } else if padded > KEPT_MAX as u64 {
            return Err(self.malformed("a property is longer than 512 KiB"));
        } else {
            self.keep(&[PROP, len, name_at].map(u32::to_be_bytes).concat())?;
            let value = cursor.take(padded as usize)?;
            self.keep(&value)?;
        }
        // It fits the tree: it was read, or passed over.
        Ok(Property { name, token: from..self.kept.len() as u32, place: start..start + len })
    }

    /// A name in the strings.
    fn string(&self, at: u32) -> Result<Range<u32>, FormatError> {
        let rest = self.strings.get(at as usize..).unwrap_or_default();
        let len = rest.iter().position(|byte| *byte == 0).unwrap_or(0);
        match len > 0 && rest[..len].iter().all(u8::is_ascii_graphic) {
            true => Ok(at..at + len as u32),
            false => Err(self.malformed("a property has no name")),
        }
    }

    /// Nothing in a node stands there twice: which of the two counts is each
    /// reader's choice.
    fn unambiguous(&self, own: usize) -> Result<(), FormatError> {
        let node = &self.nodes[own];
        let mut seen = BTreeSet::new();
        for property in &node.properties {
            if !seen.insert(self.name_of(property)) {
                let what = format!("property `{}` stands twice in `{}`", self.name_of(property), node.name);
                return Err(self.malformed(what));
            }
        }
        let mut seen = BTreeSet::new();
        for child in &node.children {
            let name = self.nodes[*child].name.as_str();
            if !seen.insert(name) {
                return Err(self.malformed(format!("node `{name}` stands twice in `{}`", node.name)));
            }
        }
        Ok(())
    }

    pub(super) fn strings(&self) -> &[u8] {
        &self.strings
    }

    /// A property's name.
    pub(super) fn name_of(&self, property: &Property) -> &str {
        // Printable ASCII: `string` has seen to it.
        std::str::from_utf8(&self.strings[in_memory(&property.name)]).unwrap_or_default()
    }

    /// Where a property's name ends in the strings, its zero included.
    pub(super) fn name_end(&self, property: &Property) -> usize {
        property.name.end as usize + 1
    }

    /// The property of this name.
    pub(super) fn property_of(&self, node: usize, name: &str) -> Option<&Property> {
        self.nodes[node].properties.iter().find(|own| self.name_of(own) == name)
    }

    /// A property's value; nothing of an image's.
    pub(super) fn value_of(&self, property: &Property) -> &[u8] {
        let token = &self.kept[in_memory(&property.token)];
        let len = (property.place.end - property.place.start) as usize;
        token.get(12..12 + len).unwrap_or_default()
    }

    /// The value of the property of this name.
    pub(super) fn value(&self, node: usize, name: &str) -> Option<&[u8]> {
        self.property_of(node, name).map(|own| self.value_of(own))
    }

    /// Where the property of this name stands in the file, or would.
    pub(super) fn property_place(&self, node: usize, name: &str) -> Range<u64> {
        match self.property_of(node, name) {
            Some(own) => own.place().start - 12..own.place().end.next_multiple_of(4),
            None => {
                let start = self.nodes[node].place.start + self.head_of(node).len() as u64;
                start..start
            }
        }
    }

    /// The child of this name.
    pub(super) fn child(&self, node: usize, name: &str) -> Option<usize> {
        self.nodes[node].children.iter().copied().find(|child| self.nodes[*child].name == name)
    }

    /// The path of a node.
    pub(super) fn path(&self, node: usize) -> String {
        let (mut names, mut at) = (Vec::new(), node);
        while at != 0 {
            names.push(self.nodes[at].name.as_str());
            at = self.nodes[at].parent;
        }
        names.reverse();
        format!("/{}", names.join("/"))
    }

    /// The first token of a node, with its name.
    pub(super) fn head_of(&self, node: usize) -> &[u8] {
        &self.kept[self.nodes[node].head.clone()]
    }

    /// The token of a property; nothing of an image's.
    pub(super) fn token_of(&self, property: &Property) -> &[u8] {
        &self.kept[in_memory(&property.token)]
    }
}

/// A value that is one string.
pub(super) fn text(value: &[u8]) -> Option<&str> {
    match value.split_last() {
        Some((0, text)) if !text.contains(&0) => std::str::from_utf8(text).ok(),
        _ => None,
    }
}

/// A value that is a list of strings, none of them empty.
pub(super) fn texts(value: &[u8]) -> Option<Vec<&str>> {
    let (0, all) = value.split_last().map(|(last, all)| (*last, all))? else { return None };
    let list: Option<Vec<&str>> =
        all.split(|byte| *byte == 0).map(|one| std::str::from_utf8(one).ok()).collect();
    list.filter(|list| list.iter().all(|one| !one.is_empty()))
}

/// A value that is a number of 32 bits.
pub(super) fn cell(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_be_bytes)
}
