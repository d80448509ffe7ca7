//! Products: what a release is made for.

use std::collections::BTreeSet;

/// Most components of a product: what core lets a manifest name, so that no
/// product is made whose releases every device would refuse.
pub use firmseal_manifest::limits::COMPONENTS_MAX;
use firmseal_manifest::{Digest, ProductId, digest_of};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{AddressMap, FleetError, Time};

/// Most hardware revisions of a product.
pub const HARDWARE_MAX: usize = 64;
/// Longest component name, hardware revision or format name, in bytes.
pub const NAME_MAX: usize = 64;

/// Test and production never mix: not their keys, builds or devices.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// For development and trial devices.
    Test,
    /// For what customers have.
    Production,
}

impl Environment {
    /// The name in records and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Environment::Test => "test",
            Environment::Production => "production",
        }
    }
}

/// The block size of a component's block tree.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(into = "u32", try_from = "u32")]
pub enum BlockSize {
    /// For devices with little RAM.
    Small,
    /// The ordinary size, which Linux can enforce on every read.
    Page,
}

impl BlockSize {
    /// Bytes in a block.
    pub const fn bytes(self) -> u32 {
        match self {
            BlockSize::Small => 1024,
            BlockSize::Page => 4096,
        }
    }
}

impl From<BlockSize> for u32 {
    fn from(size: BlockSize) -> u32 {
        size.bytes()
    }
}

impl TryFrom<u32> for BlockSize {
    type Error = FleetError;

    fn try_from(bytes: u32) -> Result<BlockSize, FleetError> {
        match bytes {
            1024 => Ok(BlockSize::Small),
            4096 => Ok(BlockSize::Page),
            _ => Err(unusable("block size", "use 4096, or 1024 for small RAM")),
        }
    }
}

/// A place in a device that an update fills.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ComponentSpec {
    /// Its name: `rootfs`, `app`.
    pub name: String,
    /// Bytes that fit into one of its slots.
    pub capacity: u64,
    /// Block size of its tree.
    pub block_size: BlockSize,
    /// Where its images may be loaded, where that is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addresses: Option<AddressMap>,
}

/// A product: the devices that may run the same release.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Product {
    /// Its name.
    pub id: ProductId,
    /// Test or production, for good.
    pub environment: Environment,
    /// SUIT vendor id.
    pub vendor: Uuid,
    /// SUIT class id.
    pub class: Uuid,
    /// Hardware revisions its releases run on.
    pub hardware: Vec<String>,
    /// Name of the firmware format its artifacts have: a row of
    /// `firmseal-formats`.
    pub format: String,
    /// Its components, in the order of their SUIT indexes.
    pub components: Vec<ComponentSpec>,
    /// When it was created.
    pub created: Time,
}

fn unusable(field: impl Into<String>, why: &'static str) -> FleetError {
    FleetError::Unusable { what: "product", field: field.into(), why }
}

/// Printable ASCII without spaces: revisions such as `A2` or `rev_b` pass,
/// control characters and look-alikes do not.
fn is_name(text: &str) -> bool {
    (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

impl Product {
    /// What stands for it in the log: SHA-256 of its JSON, which is also what
    /// `GET /v1/products/{product}` answers.
    pub fn digest(&self) -> serde_json::Result<Digest> {
        serde_json::to_vec(self).map(|text| digest_of(&text))
    }

    /// What is stored of this one, which somebody hands in: the known product
    /// of its name where it says the same again, and otherwise itself with
    /// everything said. A map that is silent here is strict. It repeats a known
    /// one that is silent as well, so that files from before can be handed in
    /// again.
    pub fn to_store(self, known: Option<Product>) -> Product {
        let Some(known) = known else { return self.saying(false) };
        let handed = Product { created: known.created, ..self };
        let same = handed == known || handed.clone().saying(false) == known.clone().saying(true);
        if same { known } else { handed.saying(false) }
    }

    /// With this said of files without addresses, where nothing is.
    fn saying(mut self, allow_unplaced: bool) -> Product {
        for map in self.components.iter_mut().filter_map(|component| component.addresses.as_mut()) {
            map.allow_unplaced.get_or_insert(allow_unplaced);
        }
        self
    }

    /// Checks every rule that holds for a product by itself.
    pub fn check(&self) -> Result<(), FleetError> {
        const NAME: &str = "use 1 to 64 printable ASCII characters without spaces";
        if self.vendor.is_nil() || self.class.is_nil() {
            return Err(unusable("vendor or class", "the nil UUID identifies nothing"));
        }
        if self.hardware.len() > HARDWARE_MAX {
            return Err(unusable("hardware", "at most 64 revisions"));
        }
        if self.components.is_empty() || self.components.len() > COMPONENTS_MAX {
            return Err(unusable("components", "a product has 1 to 8 components"));
        }
        if !is_name(&self.format) {
            return Err(unusable("format", NAME));
        }
        if let Some(bad) = self.hardware.iter().find(|revision| !is_name(revision)) {
            return Err(unusable(format!("hardware revision {bad:?}"), NAME));
        }
        let mut names = BTreeSet::new();
        for component in &self.components {
            let field = || format!("component {:?}", component.name);
            if !is_name(&component.name) {
                return Err(unusable(field(), NAME));
            }
            if !names.insert(&component.name) {
                return Err(unusable(field(), "each component has a name of its own"));
            }
            if component.capacity == 0 {
                return Err(unusable(field(), "give its capacity in bytes"));
            }
            if let Some(map) = &component.addresses {
                map.check().map_err(|why| unusable(field(), why))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product() -> Result<Product, Box<dyn std::error::Error>> {
        Ok(Product {
            id: "gateway".parse()?,
            environment: Environment::Test,
            vendor: Uuid::from_u128(1),
            class: Uuid::from_u128(2),
            hardware: vec!["A2".to_owned()],
            format: "raw".to_owned(),
            components: vec![ComponentSpec {
                name: "rootfs".to_owned(),
                capacity: 1 << 30,
                block_size: BlockSize::Page,
                addresses: None,
            }],
            created: Time::EPOCH,
        })
    }

    fn named(count: usize) -> Vec<ComponentSpec> {
        let spec = |n| ComponentSpec {
            name: format!("c{n}"),
            capacity: 1,
            block_size: BlockSize::Page,
            addresses: None,
        };
        (0..count).map(spec).collect()
    }

    #[test]
    fn a_product_has_as_many_components_as_a_device_can_hold() -> Result<(), Box<dyn std::error::Error>> {
        let full = Product { components: named(COMPONENTS_MAX), ..product()? };
        assert_eq!(full.check(), Ok(()));
        let over = Product { components: named(COMPONENTS_MAX + 1), ..full };
        let said = over.check().err().map(|error| error.to_string()).unwrap_or_default();
        assert!(said.contains(&format!("1 to {COMPONENTS_MAX} components")), "{said}");
        Ok(())
    }

    #[test]
    fn each_rule_is_checked() -> Result<(), Box<dyn std::error::Error>> {
        let good = product()?;
        assert_eq!(good.check(), Ok(()));
        assert_eq!(serde_json::from_str::<Product>(&serde_json::to_string(&good)?)?, good);
        type Break = fn(&mut Product);
        let breaks: [(&str, Break); 10] = [
            ("nil vendor", |p| p.vendor = Uuid::nil()),
            ("nil class", |p| p.class = Uuid::nil()),
            ("no component", |p| p.components.clear()),
            ("one more than a device can hold", |p| p.components = named(COMPONENTS_MAX + 1)),
            ("twice the same", |p| p.components.push(p.components[0].clone())),
            ("no capacity", |p| p.components[0].capacity = 0),
            ("a space", |p| p.components[0].name = "root fs".to_owned()),
            ("control character", |p| p.hardware.push("A\n".to_owned())),
            ("an empty address map", |p| p.components[0].addresses = Some(AddressMap::default())),
            ("no format", |p| p.format.clear()),
        ];
        for (name, break_it) in breaks {
            let mut bad = good.clone();
            break_it(&mut bad);
            assert!(bad.check().is_err(), "{name}");
        }
        Ok(())
    }

    #[test]
    fn products_from_before_a_word_stay_as_they_are() -> Result<(), Box<dyn std::error::Error>> {
        // A record, and its digest in the log, from before maps had the word.
        let record = r#"{"id":"gateway","environment":"test","vendor":"00000000-0000-0000-0000-000000000001","class":"00000000-0000-0000-0000-000000000002","hardware":["A2"],"format":"raw","components":[{"name":"rootfs","capacity":1073741824,"block_size":4096,"addresses":{"allowed":[{"name":"slot","start":4096,"size":4096}]}}],"created":"1970-01-01T00:00:00Z"}"#;
        let old: Product = serde_json::from_str(record)?;
        assert_eq!(serde_json::to_string(&old)?, record);
        assert_eq!(old.digest()?, digest_of(record.as_bytes()));
        let says = |word: Option<bool>| {
            let mut product = old.clone();
            if let Some(map) = &mut product.components[0].addresses {
                map.allow_unplaced = word;
            }
            product
        };
        let lets =
            |product: &Product| product.components[0].addresses.as_ref().map(AddressMap::lets_unplaced);
        assert_eq!(lets(&old), Some(true), "no rule of later locks it out");

        let (strict, open) = (says(Some(false)), says(Some(true)));
        assert_eq!((lets(&strict), lets(&open)), (Some(false), Some(true)));
        for product in [&strict, &open] {
            let text = serde_json::to_string(product)?;
            assert!(text.contains("allow_unplaced"), "{text}");
            assert_eq!(serde_json::from_str::<Product>(&text)?, *product);
        }
        // Silence is strict in what is made now, and what it was in a repeat.
        let later = |product: &Product| Product { created: Time::from_millis(1), ..product.clone() };
        let stored = |handed: &Product, known: Option<&Product>| later(handed).to_store(known.cloned());
        assert_eq!(stored(&old, None), later(&strict));
        assert_eq!(stored(&open, None), later(&open));
        for (handed, known, same) in [
            (&old, &old, true),
            (&open, &old, true),
            (&strict, &old, false),
            (&old, &strict, true),
            (&strict, &strict, true),
            (&open, &strict, false),
            (&old, &open, false),
            (&open, &open, true),
            (&strict, &open, false),
        ] {
            assert_eq!(stored(handed, Some(known)) == *known, same, "{handed:?} for {known:?}");
        }
        Ok(())
    }

    #[test]
    fn only_two_block_sizes_exist() {
        assert_eq!(serde_json::from_str::<BlockSize>("4096").ok(), Some(BlockSize::Page));
        assert_eq!(serde_json::from_str::<BlockSize>("1024").ok(), Some(BlockSize::Small));
        assert!(serde_json::from_str::<BlockSize>("512").is_err());
    }
}
