//! Address maps: where the images of a component may be loaded, and what
//! they may never touch.

use serde::{Deserialize, Serialize};

/// Most regions of a map.
pub const REGIONS_MAX: usize = 64;
const NAME_MAX: usize = 64;

/// A piece of a device's address space.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// What lies there: `app slot`, `certificate store`.
    pub name: String,
    /// Its first address.
    pub start: u64,
    /// Its bytes.
    pub size: u64,
}

/// Where images may be loaded.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddressMap {
    /// An image lies in one of these in whole. Without any, it may lie
    /// anywhere that is not protected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<Region>,
    /// No image touches any of these: boot indicators, stores of keys and
    /// certificates. They count inside allowed regions as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub protected: Vec<Region>,
    /// Whether a file that names no address is let through: nothing can be
    /// held against it. Every product that is made says so or not. Those from
    /// before it could be said are silent: see [`AddressMap::lets_unplaced`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_unplaced: Option<bool>,
}

/// How an image leaves its map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trespass<'a> {
    /// It lies in none of the allowed regions.
    Outside,
    /// It touches a protected one.
    Protected(&'a Region),
}

impl Region {
    /// The address after its last one; one more than fits 64 bits where it
    /// reaches the end.
    fn end(&self) -> u128 {
        u128::from(self.start) + u128::from(self.size)
    }
}

impl AddressMap {
    /// Whether a file that names no address is let through. A stored map that
    /// is silent does: its product cannot be changed, and a rule that came
    /// later would end its updates for good.
    pub fn lets_unplaced(&self) -> bool {
        self.allow_unplaced.unwrap_or(true)
    }

    /// What is wrong with the map by itself.
    pub fn check(&self) -> Result<(), &'static str> {
        let regions = || self.allowed.iter().chain(&self.protected);
        if regions().next().is_none() {
            return Err("an address map names regions, allowed or protected");
        }
        if regions().count() > REGIONS_MAX {
            return Err("an address map has at most 64 regions");
        }
        // Names go to terminals.
        let named = |name: &str| {
            !name.trim().is_empty() && name.len() <= NAME_MAX && !name.chars().any(char::is_control)
        };
        if !regions().all(|region| named(&region.name)) {
            return Err("a region has a name of 1 to 64 bytes without control characters");
        }
        match regions().all(|region| region.size > 0 && region.end() <= 1 << 64) {
            true => Ok(()),
            false => Err("a region has a size, and ends within 64 bits of addresses"),
        }
    }

    /// How an image of so many bytes leaves the map when it is loaded at
    /// this address, if it does. Sums are made in 128 bits: an image at the
    /// end of the address space does not come round to its beginning.
    pub fn trespass(&self, address: u64, size: u64) -> Option<Trespass<'_>> {
        let start = u128::from(address);
        // An empty image still has a place.
        let end = start + u128::from(size.max(1));
        let touches = |region: &&Region| start < region.end() && u128::from(region.start) < end;
        if let Some(region) = self.protected.iter().find(touches) {
            return Some(Trespass::Protected(region));
        }
        let inside = |region: &Region| u128::from(region.start) <= start && end <= region.end();
        let lies = match self.allowed.is_empty() {
            true => end <= 1 << 64,
            false => self.allowed.iter().any(inside),
        };
        (!lies).then_some(Trespass::Outside)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(name: &str, start: u64, size: u64) -> Region {
        Region { name: name.to_owned(), start, size }
    }

    #[test]
    fn an_image_lies_inside_in_whole_and_touches_nothing_protected() {
        let map = AddressMap {
            allowed: vec![region("slot", 0x1000, 0x1000), region("top", u64::MAX - 0xff, 0x100)],
            protected: vec![region("keys", 0x1800, 0x10)],
            ..AddressMap::default()
        };
        assert_eq!(map.check(), Ok(()));
        let keys = Some(Trespass::Protected(&map.protected[0]));
        let outside = Some(Trespass::Outside);
        let cases = [
            (0x1000, 0x800, None),
            (0x1000, 0x801, keys),
            (0x1810, 0x7f0, None),
            (0x180f, 1, keys),
            (0x180f, 0, keys),
            (0x1810, 0x7f1, outside),
            (0xfff, 2, outside),
            (0x2000, 1, outside),
            (0, u64::MAX, keys),
            // Around the end.
            (u64::MAX - 0xff, 0x100, None),
            (u64::MAX - 0xff, 0x101, outside),
            (u64::MAX, 1, None),
            (u64::MAX, 2, outside),
            (u64::MAX, u64::MAX, outside),
        ];
        for (address, size, told) in cases {
            assert_eq!(map.trespass(address, size), told, "{size:#x} at {address:#x}");
        }
        let only = AddressMap { protected: map.protected.clone(), ..AddressMap::default() };
        assert_eq!(only.trespass(0, 0x1800), None);
        assert_eq!(only.trespass(u64::MAX, 2), outside, "never around the end");
    }

    #[test]
    fn a_map_has_regions_that_exist() {
        let map = |regions: Vec<Region>| AddressMap { allowed: regions, ..AddressMap::default() };
        assert!(map(vec![]).check().is_err());
        assert!(map(vec![region("", 0, 1)]).check().is_err());
        assert!(map(vec![region("a\u{1b}", 0, 1)]).check().is_err());
        assert!(map(vec![region("a", 0, 0)]).check().is_err());
        assert!(map(vec![region("a", 1, u64::MAX)]).check().is_ok());
        assert!(map(vec![region("a", 2, u64::MAX)]).check().is_err());
        assert!(map(vec![region("a", 0, 1); REGIONS_MAX + 1]).check().is_err());
    }
}
