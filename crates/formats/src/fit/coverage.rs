//! What a configuration's signature covers (U-Boot, boot/image-fit-sig.c and
//! boot/fdt_region.c): the root, the configuration, each image that it uses
//! with its hashes and its cipher. Of these nodes the properties, but for
//! those that say where data is; of their children where each begins and
//! ends, with its name; then the strings, as long as they were.
//!
//! Up to 2025 U-Boot took the list of nodes from `hashed-nodes`, which nothing
//! covers, and could be made to verify other images than it ran
//! (CVE-2026-46728). It has derived the list from the configuration since.
//! What is signed and believed here is the same in both.

use super::image::PLACES;
use super::memory::overlap;
use super::parts::{Configuration, Fit};
use super::tree::{END, END_NODE};
use crate::hash::Hash;

/// U-Boot's bounds: IMAGE_MAX_HASHED_NODES, FIT_MAX_HASH_PATH_BUF, the path
/// and the regions in fit_config_check_sig.
const NODES_MAX: usize = 100;
const PATHS_MAX: usize = 4096;
const PATH_MAX: usize = 196;

/// Why a configuration's signature would not protect it.
#[derive(Debug)]
pub(super) struct Gap {
    /// The node that is not protected.
    pub(super) node: usize,
    /// What is wrong with it.
    pub(super) what: &'static str,
}

/// The nodes that a signature covers.
pub(super) struct Coverage<'a> {
    fit: &'a Fit,
    /// In the order of the file.
    nodes: Vec<usize>,
    paths: Vec<String>,
}

/// What is hashed, and what of it can be checked.
struct Stream {
    bytes: Vec<u8>,
    /// Runs of tokens that stand together: U-Boot has room for so many.
    regions: usize,
    is_open: bool,
    /// Where the last name in the strings ends.
    names_end: usize,
}

impl<'a> Coverage<'a> {
    /// What a signature of this configuration covers, if it protects whatever
    /// U-Boot takes from there.
    pub(super) fn of(fit: &'a Fit, configuration: &Configuration) -> Result<Coverage<'a>, Gap> {
        let tree = &fit.tree;
        let gap = |node, what| Err(Gap { node, what });
        let mut nodes = vec![0, configuration.node];
        let uses: usize = configuration.uses.iter().map(|(_, images)| images.len()).sum();
        if uses == 0 {
            return gap(configuration.node, "it uses no image");
        }
        if tree.value(0, "description").is_none() {
            return gap(0, "the file has no description, without which U-Boot takes it for none");
        }
        if let Some((_, above)) = overlap(fit, configuration) {
            return gap(fit.images[above].node, "it is loaded over another image of its configuration");
        }
        let others = tree.nodes[configuration.node].children.len() - configuration.signatures.len();
        if others > 0 {
            return gap(configuration.node, "it has a node in it whose content no signature covers");
        }
        for image in configuration.images().into_iter().map(|index| &fit.images[index]) {
            nodes.push(image.node);
            if image.hashes.is_empty() {
                return gap(image.node, "an image has no hash, so that nothing protects its data");
            }
            for hash in &image.hashes {
                if hash.is_ignored {
                    return gap(
                        hash.node,
                        "an image has a hash that U-Boot is told to ignore (uboot-ignore)",
                    );
                }
                if hash.hash.is_none() {
                    return gap(hash.node, "an image has a hash that is not SHA-256, SHA-384 or SHA-512");
                }
                nodes.push(hash.node);
            }
            for child in &tree.nodes[image.node].children {
                match tree.nodes[*child].name.as_str() {
                    "cipher" => nodes.push(*child),
                    name if name.starts_with("hash") || name.starts_with("signature") => {}
                    _ => return gap(*child, "an image has a node in it whose content no signature covers"),
                }
            }
        }
        for node in &nodes {
            let is_image = fit.images.binary_search_by_key(node, |image| image.node).is_ok();
            if !is_image && PLACES.iter().any(|name| tree.property_of(*node, name).is_some()) {
                return gap(*node, "it has a property of a name that signatures leave out");
            }
            let is_leaf = !is_image && *node != 0 && *node != configuration.node;
            if is_leaf && !tree.nodes[*node].children.is_empty() {
                return gap(*node, "it has a node in it whose content no signature covers");
            }
        }
        if tree.nodes.iter().any(|node| node.path_len > PATH_MAX) {
            return gap(0, "a path in it is longer than 196 characters, which U-Boot does not verify");
        }
        let paths: Vec<String> = nodes.iter().map(|node| tree.path(*node)).collect();
        nodes.sort_unstable();
        let coverage = Coverage { fit, nodes, paths };
        let many = coverage.counted(configuration) > NODES_MAX;
        let long = coverage.paths.iter().map(|path| path.len() + 1).sum::<usize>() > PATHS_MAX;
        if many || long || coverage.stream(0).regions + 1 >= 20 + 7 * coverage.nodes.len() {
            return gap(configuration.node, "it uses more images than U-Boot verifies");
        }
        Ok(coverage)
    }

    /// Nodes as U-Boot counts them.
    fn counted(&self, configuration: &Configuration) -> usize {
        let of = |image: &usize| {
            let node = &self.fit.tree.nodes[self.fit.images[*image].node];
            1 + node.children.iter().filter(|child| self.has(**child)).count()
        };
        2 + configuration.uses.iter().flat_map(|(_, images)| images).map(of).sum::<usize>()
    }

    fn has(&self, node: usize) -> bool {
        self.nodes.binary_search(&node).is_ok()
    }

    /// The paths of the nodes, as `hashed-nodes` lists them.
    pub(super) fn paths(&self) -> &[String] {
        &self.paths
    }

    /// The hash that is signed, with so many bytes of the strings; `None` if a
    /// name that is used stands behind them, or they are not so long.
    pub(super) fn hash(&self, hash: Hash, strings: u32) -> Option<Vec<u8>> {
        let stream = self.stream(strings as usize);
        let fits = stream.names_end <= strings as usize && strings as usize <= self.fit.tree.strings().len();
        fits.then(|| hash.of(&stream.bytes))
    }

    fn stream(&self, strings: usize) -> Stream {
        let mut stream = Stream { bytes: Vec::new(), regions: 0, is_open: false, names_end: 0 };
        self.add(0, 0, &mut stream);
        stream.token(&END.to_be_bytes());
        let all = self.fit.tree.strings();
        stream.bytes.extend_from_slice(&all[..strings.min(all.len())]);
        stream
    }

    /// Adds a node: the whole of it, or, as the child of one that is covered,
    /// where it begins and ends.
    fn add(&self, node: usize, wanted: u8, stream: &mut Stream) {
        let tree = &self.fit.tree;
        let wanted = if self.has(node) { 2 } else { wanted.saturating_sub(1) };
        if wanted == 0 {
            // Nothing below it is covered either: what is hangs on the root
            // through nodes of which begin and end are.
            stream.is_open = false;
            return;
        }
        stream.token(tree.head_of(node));
        for property in &tree.nodes[node].properties {
            if wanted < 2 || PLACES.contains(&tree.name_of(property)) {
                stream.is_open = false;
                continue;
            }
            stream.token(tree.token_of(property));
            stream.names_end = stream.names_end.max(tree.name_end(property));
        }
        for child in &tree.nodes[node].children {
            self.add(*child, wanted, stream);
        }
        stream.token(&END_NODE.to_be_bytes());
    }
}

impl Stream {
    fn token(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.regions += usize::from(!self.is_open);
        self.is_open = true;
    }
}

/// Whether a file begins as what is hashed of a FIT: the token of a root,
/// which has no name, and that of a property or of a node in it.
pub(super) fn is_structure(head: &[u8]) -> bool {
    let words: Vec<&[u8]> = head.chunks_exact(4).take(3).collect();
    matches!(words.as_slice(), [[0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 1 | 3]])
}
