//! What a FIT says of itself.
//!
//! In it is what the default configuration uses, and, called other, what those
//! use that carry a signature of their own; beside it, in brackets, what no
//! signature covers.

use super::cursor::Cursor;
use super::image::{Image, Kept};
use super::memory::{address, overlap};
use super::parts::Fit;
use super::tree::{BEGIN_NODE, END_NODE, NOP, PROP, text, texts};
use super::{NAME, existing, header, image};
use crate::error::FormatError;
use crate::hash::hex;
use crate::inspection::Inspection;
use crate::source::Source;

/// Most tokens that are looked at to tell a FIT from a devicetree.
const TOKENS_MAX: usize = 4096;

/// Whether a file is a devicetree with images or configurations in it.
/// Devicetrees for kernels are files like any other.
pub(super) fn is_fit(source: &dyn Source) -> Result<bool, FormatError> {
    if !header::is_tree(source)? {
        return Ok(false);
    }
    let mut head = [0; 16];
    let len = source.len()?;
    if len < header::LEN {
        return Ok(false);
    }
    source.read_at(0, &mut head)?;
    // Where the structures begin: the rest of the header may be damaged.
    let start = u64::from(u32::from_be_bytes([head[8], head[9], head[10], head[11]]));
    let mut cursor = Cursor::new(source, NAME, start.min(len)..len);
    Ok(top_level(&mut cursor).is_ok_and(|found| found))
}

/// Whether a child of the root is called so.
fn top_level(cursor: &mut Cursor<'_>) -> Result<bool, FormatError> {
    let mut depth = 0_usize;
    for _ in 0..TOKENS_MAX {
        match cursor.word()? {
            BEGIN_NODE => {
                let mut name = Vec::new();
                while !name.contains(&0) && name.len() < 32 {
                    name.extend(cursor.word()?.to_be_bytes());
                }
                depth += 1;
                let is_part = name.starts_with(b"images\0") || name.starts_with(b"configurations\0");
                if depth == 2 && is_part {
                    return Ok(true);
                }
                while !name.contains(&0) {
                    name = cursor.word()?.to_be_bytes().to_vec();
                }
            }
            PROP => {
                let len = u64::from(cursor.word()?);
                cursor.word()?;
                cursor.skip(len.next_multiple_of(4))?;
            }
            END_NODE => depth = depth.saturating_sub(1),
            NOP => {}
            _ => break,
        }
    }
    Ok(false)
}

/// Describes a FIT, whose images are what their hashes say.
pub(super) fn inspect(source: &dyn Source) -> Result<Inspection, FormatError> {
    let fit = Fit::read(source)?;
    fit.check(source)?;
    describe(&fit)
}

/// The same of one whose images were compared.
pub(super) fn describe(fit: &Fit) -> Result<Inspection, FormatError> {
    let tree = &fit.tree;
    let mut inspection = Inspection::new(NAME, fit.images.iter().map(Image::size).sum());
    for name in ["description", "timestamp"] {
        if let Some(value) = tree.value(0, name) {
            inspection.field(name, shown(value));
        }
    }
    let parts = fit.configurations.iter().enumerate();
    let (inside, outside): (Vec<_>, Vec<_>) =
        parts.partition(|(index, own)| fit.main == Some(*index) || own.is_signed(tree));
    let mut used: Vec<usize> = inside.iter().flat_map(|(_, own)| own.images()).collect();
    used.sort_unstable();
    used.dedup();
    for (index, own) in &inside {
        let values = tree.nodes[own.node].properties.iter();
        let values = values.map(|own| format!("{} {}", tree.name_of(own), shown(tree.value_of(own))));
        let kind = if fit.main == Some(*index) { "configuration" } else { "other configuration" };
        let values = values.collect::<Vec<_>>().join("; ");
        inspection.field(format!("{kind} {}", fit.name(own.node)), values);
    }
    let main = fit.main.map(|main| fit.configurations[main].images()).unwrap_or_default();
    let mut targets: Vec<String> = Vec::new();
    for index in &used {
        let own = &fit.images[*index];
        let kind = if main.contains(index) { "image" } else { "other image" };
        let name = format!("{kind} {}", fit.name(own.node));
        for hash in &own.hashes {
            inspection.field(format!("{name} {}", hash.algorithm), hex(&hash.value));
        }
        inspection.field(name.clone(), image_line(fit, own));
        if let Some(load) = tree.value(own.node, "load") {
            // U-Boot takes as many words as there are, and the last two count.
            let load = address(load).ok_or_else(|| {
                FormatError::malformed(NAME, format!("{name}: `load` has neither one word nor two"))
            })?;
            // What is no text counts as packed: U-Boot may read it as anything.
            let packing = tree.value(own.node, "compression");
            let plain = packing.is_none_or(|packing| text(packing) == Some("none"));
            inspection.load(load, plain.then(|| own.size()));
        }
        if let Some(target) = tree.value(own.node, "arch").and_then(text)
            && targets.iter().all(|own| own != target)
        {
            targets.push(target.to_owned());
        }
        inspection.encrypted |= tree.child(own.node, "cipher").is_some();
    }
    inspection.target = (!targets.is_empty()).then(|| targets.join(", "));
    match fit.main {
        _ if fit.configurations.is_empty() => {
            inspection.note("configurations", "none: there is nothing that a signature could be over");
        }
        Some(main) if fit.has_default => inspection.note("default", fit.name(fit.configurations[main].node)),
        _ => inspection.note("default", "none"),
    }
    for (_, own) in &outside {
        let what = "no signature: U-Boot that requires one does not start it";
        inspection.note(format!("configuration {}", fit.name(own.node)), what);
    }
    for (_, own) in &inside {
        if let Some((below, above)) = overlap(fit, own) {
            let [below, above] = [below, above].map(|index| fit.name(fit.images[index].node));
            let what = format!("{below} and {above}: one of them is not what runs, whatever is verified");
            inspection.note(format!("loaded over each other in {}", fit.name(own.node)), what);
        }
    }
    for (_, own) in inside.iter().filter(|(_, own)| !own.is_signed(tree)) {
        inspection.note(format!("signatures of {}", fit.name(own.node)), "none");
    }
    for (index, own) in fit.images.iter().enumerate() {
        let name = fit.name(own.node);
        if used.binary_search(&index).is_err() {
            inspection.note(format!("image {name}"), format!("{}; not used here", image_line(fit, own)));
        }
        if own.hashes.is_empty() {
            inspection.note(format!("hash of {name}"), "none: nothing protects its data");
        }
        if tree.nodes[own.node].children.iter().any(|node| fit.name(*node).starts_with("signature")) {
            let what = "not looked at: an image by itself may be combined with any other";
            inspection.note(format!("signature of image {name}"), what);
        }
    }
    uncovered(fit, &mut inspection);
    existing::add(fit, &mut inspection)?;
    Ok(inspection)
}

/// What stands in the file and belongs to nothing above.
fn uncovered(fit: &Fit, inspection: &mut Inspection) {
    let tree = &fit.tree;
    for node in &tree.nodes[0].children {
        if !["images", "configurations"].contains(&fit.name(*node)) {
            inspection.note(format!("node {}", fit.name(*node)), "not covered by signatures");
        }
    }
    let outside = fit.images.iter().filter(|image| image.kept != Kept::Inside).map(Image::size);
    let blocks = [&tree.header.structure, &tree.header.strings, &tree.header.reserved];
    let known =
        header::LEN + blocks.iter().map(|block| block.end - block.start).sum::<u64>() + outside.sum::<u64>();
    let rest = fit.len.saturating_sub(known);
    if rest > 0 {
        inspection.note("bytes of no part", rest.to_string());
    }
}

/// What an image is.
fn image_line(fit: &Fit, own: &Image) -> String {
    let tree = &fit.tree;
    let mut parts = Vec::new();
    for property in &tree.nodes[own.node].properties {
        let name = tree.name_of(property);
        if !image::PLACES.contains(&name) {
            parts.push(format!("{name} {}", shown(tree.value_of(property))));
        }
    }
    if let Some(cipher) = tree.child(own.node, "cipher") {
        let algorithm = tree.value(cipher, "algo").map(shown).unwrap_or_default();
        parts.push(format!("cipher {algorithm}"));
    }
    parts.push(format!("{} bytes", own.size()));
    parts.join("; ")
}

/// A value as people read it: text, or hexadecimal, in short.
fn shown(value: &[u8]) -> String {
    const LONGEST: usize = 200;
    let plain = |list: &Vec<&str>| list.iter().all(|one| one.chars().all(|letter| !letter.is_control()));
    let text = match texts(value).filter(plain) {
        Some(list) => list.join(", "),
        None if value.is_empty() => "yes".to_owned(),
        None => format!("0x{}", hex(&value[..value.len().min(LONGEST)])),
    };
    let text = match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    };
    // Nobody's description looks like the next property.
    let plain = |letter: char| letter.is_alphanumeric() || " ._+-/:(),@#".contains(letter);
    if text.chars().all(plain) { text } else { format!("{text:?}") }
}
