//! The parts of a FIT: images, and the configurations that use them.

use std::collections::BTreeMap;
use std::ops::Range;

use super::NAME;
use super::image::{Image, Kept};
use super::tree::{Tree, text, texts};
use crate::error::FormatError;
use crate::source::Source;

/// What U-Boot takes from a configuration as the names of images (boot/
/// image-fit.c, include/image.h).
const USES: [&str; 9] =
    ["kernel", "fdt", "ramdisk", "loadables", "firmware", "fpga", "setup", "standalone", "script"];
/// What it does not (boot/image-fit-sig.c, fit_config_get_hash_list).
const NO_USES: [&str; 3] = ["description", "compatible", "default"];
/// Most images of a configuration: U-Boot verifies no more nodes.
const USES_MAX: usize = 100;

/// A FIT.
pub(super) struct Fit {
    pub(super) tree: Tree,
    pub(super) images: Vec<Image>,
    pub(super) configurations: Vec<Configuration>,
    /// The one that is started unless another is named.
    pub(super) main: Option<usize>,
    /// Whether the file says so itself.
    pub(super) has_default: bool,
    /// Length of the file.
    pub(super) len: u64,
}

/// A configuration.
pub(super) struct Configuration {
    pub(super) node: usize,
    /// Properties that name images, with these, in order.
    pub(super) uses: Vec<(String, Vec<usize>)>,
    /// Nodes for signatures, with one in it or without.
    pub(super) signatures: Vec<usize>,
}

impl Fit {
    /// Reads a FIT. No image is read for it.
    pub(super) fn read(source: &dyn Source) -> Result<Fit, FormatError> {
        let malformed = |what: &str| FormatError::malformed(NAME, what);
        let tree = Tree::read(source, NAME)?;
        if !tree.header.reserves_nothing() {
            return Err(malformed("it reserves memory, which no signature covers"));
        }
        // "libfdt considers names with the name root but different @ suffix
        // to be equal": the node that is verified and the one that runs
        // could differ (CVE-2021-27097, CVE-2021-27138). The rest of the
        // specification's characters (§2.2.1), and no others: U-Boot cuts
        // names of configurations at `#`.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b",._+-".contains(&byte);
        if let Some(node) = tree.nodes.iter().find(|node| !node.name.bytes().all(plain)) {
            let what = format!(
                "node `{}` has a unit address or a character that devicetrees do not have: verifiers mistake it for \
                 another; name it with letters, digits and hyphens",
                node.name
            );
            return Err(FormatError::malformed(NAME, what));
        }
        let Some(parent) = tree.child(0, "images") else {
            return Err(malformed("it has no images: it is a devicetree, but no FIT"));
        };
        let len = source.len()?;
        let nodes = &tree.nodes[parent].children;
        let images =
            nodes.iter().map(|node| Image::read(&tree, *node, len)).collect::<Result<Vec<_>, _>>()?;
        disjoint(&images, &tree)?;
        let named = |(index, image): (usize, &Image)| (tree.nodes[image.node].name.as_str(), index);
        let names: BTreeMap<&str, usize> = images.iter().enumerate().map(named).collect();
        let (mut configurations, mut default) = (Vec::new(), None);
        if let Some(parent) = tree.child(0, "configurations") {
            for node in &tree.nodes[parent].children {
                configurations.push(Configuration::read(&tree, *node, &names)?);
            }
            if let Some(value) = tree.value(parent, "default") {
                let name = text(value).ok_or_else(|| malformed("its default configuration is no name"))?;
                let found = configurations.iter().position(|own| tree.nodes[own.node].name == name);
                let missing = || malformed("its default configuration is not there");
                default = Some(found.ok_or_else(missing)?);
            }
        }
        let has_default = default.is_some();
        let main = default.or_else(|| (configurations.len() == 1).then_some(0));
        Ok(Fit { tree, images, configurations, main, has_default, len })
    }

    /// Compares each image with its hashes.
    pub(super) fn check(&self, source: &dyn Source) -> Result<(), FormatError> {
        self.images.iter().try_for_each(|image| image.check(&self.tree, source))
    }

    /// The name of a node.
    pub(super) fn name(&self, node: usize) -> &str {
        &self.tree.nodes[node].name
    }

    /// The configuration of this name.
    pub(super) fn configuration(&self, name: &str) -> Option<usize> {
        self.configurations.iter().position(|own| self.name(own.node) == name)
    }

    /// Where images outside of the tree begin, counted from its end.
    pub(super) fn base(&self) -> u64 {
        self.tree.header.total.next_multiple_of(4)
    }
}

impl Configuration {
    fn read(tree: &Tree, node: usize, images: &BTreeMap<&str, usize>) -> Result<Configuration, FormatError> {
        let own = &tree.nodes[node];
        let (mut uses, mut count) = (Vec::new(), 0);
        for property in &own.properties {
            let name = tree.name_of(property);
            if NO_USES.contains(&name) {
                continue;
            }
            let must = USES.contains(&name);
            let Some(list) = texts(tree.value_of(property)) else {
                if must {
                    let what = format!("`{name}` of configuration `{}` is no list of names", own.name);
                    return Err(FormatError::malformed(NAME, what));
                }
                continue;
            };
            let mut found = Vec::new();
            for image in list {
                match images.get(image) {
                    Some(index) => found.push(*index),
                    None if must => {
                        let what =
                            format!("configuration `{}` uses image `{image}`, which is not there", own.name);
                        return Err(FormatError::malformed(NAME, what));
                    }
                    None => {}
                }
            }
            count += found.len();
            if count > USES_MAX {
                let what = format!("configuration `{}` uses more than 100 images", own.name);
                return Err(FormatError::malformed(NAME, what));
            }
            if !found.is_empty() {
                uses.push((name.to_owned(), found));
            }
        }
        let signatures =
            own.children.iter().copied().filter(|node| tree.nodes[*node].name.starts_with("signature"));
        let signatures = signatures.collect();
        Ok(Configuration { node, uses, signatures })
    }

    /// The images that it uses, each once.
    pub(super) fn images(&self) -> Vec<usize> {
        let mut all = Vec::new();
        for image in self.uses.iter().flat_map(|(_, images)| images) {
            if !all.contains(image) {
                all.push(*image);
            }
        }
        all
    }

    /// Whether a signature is in it.
    pub(super) fn is_signed(&self, tree: &Tree) -> bool {
        self.signatures.iter().any(|node| tree.property_of(*node, "value").is_some())
    }
}

/// No two images share bytes, none lies in the tree but those that are its
/// own, and all are placed in one way: what moves when a signature is added is
/// then known.
fn disjoint(images: &[Image], tree: &Tree) -> Result<(), FormatError> {
    let malformed = |what: &str| Err(FormatError::malformed(NAME, what));
    let outside: Vec<&Image> = images.iter().filter(|image| image.kept != Kept::Inside).collect();
    if outside.windows(2).any(|pair| pair[0].kept != pair[1].kept) {
        return malformed("some of its images have a position, and others an offset");
    }
    let mut places: Vec<Range<u64>> =
        outside.iter().map(|image| image.data.clone()).filter(|place| !place.is_empty()).collect();
    places.push(0..tree.header.total);
    places.sort_by_key(|place| (place.start, place.end));
    match places.windows(2).any(|pair| pair[0].end > pair[1].start) {
        true => malformed("two of its images overlap, or one lies in the tree"),
        false => Ok(()),
    }
}
