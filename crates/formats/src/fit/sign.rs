//! A FIT with a signature: a node in the configuration, and the tree around
//! it moved apart.

use std::ops::Range;

use firmseal_manifest::PublicKey;

use super::NAME;
use super::coverage::{Coverage, Gap};
use super::edit::Edit;
use super::existing::tbs;
use super::header::TOTAL_MAX;
use super::image::Kept;
use super::inspect::describe;
use super::options::{Options, Scheme, check_hint};
use super::parts::Fit;
use super::tree::text;
use crate::error::FormatError;
use crate::format::{Unsigned, Wanted};
use crate::hash::Hash;
use crate::parameters::bad;
use crate::plan::Plan;
use crate::source::Source;

/// The node, where there is none yet.
const SIGNATURE: &str = "signature-1";
/// The signature's own property.
const VALUE: &str = "value";

/// Lays out the signed FIT, all but the signature.
pub(super) fn prepare(source: &dyn Source, wanted: &Wanted<'_>) -> Result<Unsigned, FormatError> {
    let options = Options::parse(wanted.parameters, wanted.key)?;
    let scheme = Scheme::of(wanted.key, options.is_pss)?;
    let fit = Fit::read(source)?;
    fit.check(source)?;
    let mut draft = Draft::new(fit, source, &options, scheme, wanted.key)?;
    let blank = vec![0; scheme.len()];
    // What is covered is told by the tree that will be verified, read anew;
    // the list of it stands where nothing is covered.
    let plan = draft.plan(&blank)?;
    let changed = Fit::read(&plan.over(source)?)?;
    let coverage = Coverage::of(&changed, &changed.configurations[draft.index]);
    let coverage = coverage.map_err(|gap| unprotected(&changed, &gap))?;
    let strings = changed.tree.strings().len() as u32;
    let digest = coverage.hash(Hash::Sha256, strings);
    let digest = digest.ok_or_else(|| FormatError::malformed(NAME, "its names do not lie in its strings"))?;
    draft.nodes = coverage.paths().to_vec();
    let plan = draft.plan(&blank)?;
    let inspection = describe(&Fit::read(&plan.over(source)?)?)?;
    Ok(Unsigned::new(
        tbs(scheme, &digest),
        inspection,
        Box::new(move |signature| {
            scheme.check(signature)?;
            draft.plan(&signature.0)
        }),
    ))
}

/// What a person can do about a configuration that would not be protected.
fn unprotected(fit: &Fit, gap: &Gap) -> FormatError {
    let bare = fit.images.iter().any(|image| image.node == gap.node && image.hashes.is_empty());
    let hint = match bare {
        true => "; have mkimage hash it (a node hash-1 with algo = \"sha256\"), or ask for add-hashes=true",
        false => "",
    };
    FormatError::unsupported(NAME, format!("{}: {}{hint}", fit.tree.path(gap.node), gap.what))
}

/// A FIT, and what changes in it.
struct Draft {
    fit: Fit,
    /// The configuration that is signed.
    index: usize,
    /// The node for the signature: its name, and where it goes.
    name: String,
    place: Range<u64>,
    scheme: Scheme,
    hint: String,
    timestamp: Option<u32>,
    /// What the signature covers, once it is known.
    nodes: Vec<String>,
    /// Where hashes are added.
    hashes: Vec<(u64, Vec<u8>)>,
}

impl Draft {
    fn new(
        fit: Fit,
        source: &dyn Source,
        options: &Options,
        scheme: Scheme,
        key: &PublicKey,
    ) -> Result<Draft, FormatError> {
        let index = configuration(&fit, options)?;
        let own = &fit.configurations[index];
        let (node, name) = signature(&fit, index, options)?;
        let inside = fit.tree.nodes[own.node].inside();
        let place = node.map_or(inside..inside, |node| fit.tree.nodes[node].place.clone());
        let said = node.and_then(|node| fit.tree.value(node, "key-name-hint")).and_then(text);
        let hint = match (&options.hint, said.filter(|said| check_hint(said).is_ok())) {
            (Some(hint), _) => hint.clone(),
            (None, Some(said)) => said.to_owned(),
            (None, None) => key.id().to_string().chars().take(16).collect(),
        };
        let mut hashes = Vec::new();
        if options.add_hashes {
            for image in own.images().into_iter().map(|image| &fit.images[image]) {
                if image.hashes.is_empty() {
                    let value = Hash::Sha256.of_range(source, image.data.clone())?;
                    hashes.push((fit.tree.nodes[image.node].inside(), value));
                }
            }
        }
        let timestamp = options.timestamp;
        Ok(Draft { fit, index, name, place, scheme, hint, timestamp, nodes: Vec::new(), hashes })
    }

    /// The file, with this value as its signature.
    fn plan(&self, value: &[u8]) -> Result<Plan, FormatError> {
        let tree = &self.fit.tree;
        let mut edit = Edit::new(tree);
        for (at, value) in &self.hashes {
            let properties = [("value", value.clone()), ("algo", string(Hash::Sha256.name()))];
            let node = edit.node("hash-1", &properties);
            edit.replace(*at..*at, node);
        }
        let uses = self.fit.configurations[self.index].uses.iter().map(|(name, _)| name.as_str());
        let mut properties = vec![
            ("algo", string(&self.scheme.name())),
            ("key-name-hint", string(&self.hint)),
            ("sign-images", strings(uses)),
            ("signer-name", string("firmseal")),
            // Of this layout: the same wish gives the same file in every release.
            ("signer-version", string("1")),
            ("hashed-nodes", strings(self.nodes.iter().map(String::as_str))),
        ];
        if matches!(self.scheme, Scheme::Pss(_)) {
            properties.push(("padding", string("pss")));
        }
        if let Some(time) = self.timestamp {
            properties.push(("timestamp", time.to_be_bytes().to_vec()));
        }
        // All names have to be there before it is known how long they are.
        let names = properties.iter().map(|(name, _)| *name).chain(["hashed-strings", VALUE]);
        for name in names {
            edit.name(name);
        }
        properties.push(("hashed-strings", [[0; 4], edit.strings_len().to_be_bytes()].concat()));
        properties.push((VALUE, value.to_vec()));
        let node = edit.node(&self.name, &properties);
        edit.replace(self.place.clone(), node);
        let (total, tail) = self.room(edit.len(tree))?;
        Ok(edit.plan(tree, self.fit.len, total).source(tail..self.fit.len))
    }

    /// Length of the tree with what fills it up, and where in the source that
    /// begins which follows it.
    fn room(&self, len: u64) -> Result<(u64, u64), FormatError> {
        let fit = &self.fit;
        let outside = || fit.images.iter().filter(|image| image.kept != Kept::Inside);
        let (total, tail) = match outside().next().map(|image| image.kept) {
            // They move with the end of the tree, and keep their alignment:
            // `mkimage -B` gives them one that loaders rely on.
            Some(Kept::Behind) => {
                let align = 1 << fit.base().trailing_zeros().min(16);
                (len.next_multiple_of(align), fit.base())
            }
            Some(Kept::At) => {
                let first = outside().map(|image| image.data.start).min().unwrap_or(0);
                let total = len.next_multiple_of(4).max(fit.tree.header.total);
                if total > first {
                    let what = format!(
                        "its images begin at byte {first:#x}, and with the signature the tree ends at {total:#x}: \
                         make it anew with `mkimage -E -p {:#x}`",
                        total.next_multiple_of(4096)
                    );
                    return Err(FormatError::unsupported(NAME, what));
                }
                (total, total)
            }
            _ => (len.next_multiple_of(4), fit.base()),
        };
        match total > TOTAL_MAX {
            true => Err(FormatError::unsupported(
                NAME,
                "with its signature the tree is longer than 256 MiB, which U-Boot does not verify: mkimage -E keeps \
                 images outside of it",
            )),
            false => Ok((total, tail.min(fit.len))),
        }
    }
}

/// The configuration that is meant.
fn configuration(fit: &Fit, options: &Options) -> Result<usize, FormatError> {
    let names = || {
        let names: Vec<&str> = fit.configurations.iter().take(20).map(|own| fit.name(own.node)).collect();
        names.join(", ")
    };
    match (&options.configuration, fit.main) {
        _ if fit.configurations.is_empty() => {
            Err(FormatError::unsupported(NAME, "it has no configuration, and nothing else is signed"))
        }
        (Some(name), _) => fit.configuration(name).ok_or_else(|| {
            bad("configuration", format!("the file has none of this name; it has {}", names()))
        }),
        (None, Some(main)) => Ok(main),
        (None, None) => {
            Err(bad("configuration", format!("the file names no default: choose one of {}", names())))
        }
    }
}

/// The node that takes the signature, if it is there, and its name.
fn signature(fit: &Fit, index: usize, options: &Options) -> Result<(Option<usize>, String), FormatError> {
    let own = &fit.configurations[index].signatures;
    let names = || own.iter().map(|node| fit.name(*node)).collect::<Vec<_>>().join(", ");
    let node = match (&options.signature, own.as_slice()) {
        (Some(name), all) => all.iter().copied().find(|node| fit.name(*node) == name),
        (None, []) => None,
        (None, [one]) => Some(*one),
        (None, _) => {
            return Err(bad("signature", format!("say which one it takes the place of: {}", names())));
        }
    };
    if let Some(node) = node {
        return Ok((Some(node), fit.name(node).to_owned()));
    }
    // Where nodes begin and end in a configuration is covered: a further one
    // breaks the signatures of those that are there.
    if fit.configurations[index].is_signed(&fit.tree) {
        let what = format!(
            "a new node would break the signatures that are there; replace one of {}, or have both nodes in the \
             source that mkimage reads",
            names()
        );
        return Err(bad("signature", what));
    }
    Ok((None, options.signature.clone().unwrap_or_else(|| SIGNATURE.to_owned())))
}

/// A string as a value.
pub(super) fn string(text: &str) -> Vec<u8> {
    strings([text].into_iter())
}

fn strings<'a>(list: impl Iterator<Item = &'a str>) -> Vec<u8> {
    list.flat_map(|text| text.bytes().chain([0])).collect()
}
