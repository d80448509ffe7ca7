//! Where U-Boot puts the images of a configuration in memory.
//!
//! U-Boot keeps an image from being loaded over the FIT, and compares none with
//! another (boot/image-fit.c, fit_image_load; boot/bootm.c, bootm_load_os;
//! common/spl/spl_fit.c): each is verified where it lies in the file, and what is
//! loaded last stands in the place of what was verified first.

use std::ops::Range;

use super::image::Image;
use super::parts::{Configuration, Fit};
use super::tree::text;

/// What is loaded, of what a configuration uses. Scripts run where they are, and a
/// bitstream is in the FPGA before the next image is loaded, so that its place is
/// free again.
const LOADED: [&str; 7] = ["kernel", "fdt", "ramdisk", "loadables", "firmware", "setup", "standalone"];

/// Two images of a configuration that are loaded over each other, the one at the
/// higher address last.
pub(super) fn overlap(fit: &Fit, configuration: &Configuration) -> Option<(usize, usize)> {
    let mut places: Vec<(Range<u64>, usize)> = Vec::new();
    for (property, images) in &configuration.uses {
        if !LOADED.contains(&property.as_str()) {
            continue;
        }
        // Overlays are read where they are, and put into the first tree
        // (boot_get_fdt_fit): documentation has them all at one address.
        let count = if property == "fdt" { 1 } else { images.len() };
        for index in images.iter().take(count) {
            let known = places.iter().any(|(_, own)| own == index);
            if let Some(place) = place(fit, property, &fit.images[*index]).filter(|_| !known) {
                places.push((place, *index));
            }
        }
    }
    places.sort_unstable_by_key(|(place, index)| (place.start, *index));
    let over = places.windows(2).find(|pair| pair[0].0.end > pair[1].0.start)?;
    Some((over[0].1, over[1].1))
}

/// Where an image is loaded to. What is packed takes more than that there: as
/// much as it has in the file at least.
fn place(fit: &Fit, property: &str, image: &Image) -> Option<Range<u64>> {
    let said = |name: &str| fit.tree.value(image.node, name);
    if matches!(said("type").and_then(text), Some("kernel_noload" | "fpga")) {
        return None;
    }
    // "Optional, a value of 0 is ignored" (FIT_LOAD_OPTIONAL_NON_ZERO), but for
    // kernels and trees.
    let start =
        said("load").and_then(address).filter(|start| *start > 0 || ["kernel", "fdt"].contains(&property))?;
    Some(start..start.saturating_add(image.size())).filter(|place| !place.is_empty())
}

/// An address of one or two words.
pub(super) fn address(value: &[u8]) -> Option<u64> {
    match value.len() {
        4 => value.try_into().ok().map(u32::from_be_bytes).map(u64::from),
        8 => value.try_into().ok().map(u64::from_be_bytes),
        _ => None,
    }
}
