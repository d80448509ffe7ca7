//! Product files: a product as people write it down, in TOML or JSON.

use std::path::Path;

use firmseal_api::registry::{AddressMap, Component, Environment, Product, Region};
use firmseal_manifest::ProductId;
use serde::Deserialize;
use serde::de::IgnoredAny;
use uuid::Uuid;

use crate::error::{CliError, Kind, Result, file};
use crate::units::Size;

/// A product as a file writes it. What `product show --json` prints is one,
/// too.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    id: ProductId,
    environment: Environment,
    vendor: String,
    class: String,
    #[serde(default)]
    hardware: Vec<String>,
    format: String,
    components: Vec<WrittenComponent>,
    /// The server says when it was made.
    #[serde(rename = "created")]
    _created: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenComponent {
    name: String,
    capacity: Capacity,
    #[serde(default = "page")]
    block_size: u32,
    addresses: Option<WrittenMap>,
}

/// Where its images may be loaded, in words of the product file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenMap {
    #[serde(default)]
    allowed: Vec<WrittenRegion>,
    #[serde(default)]
    protected: Vec<WrittenRegion>,
    allow_unplaced: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRegion {
    name: String,
    start: u64,
    size: Capacity,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Capacity {
    Bytes(u64),
    Text(String),
}

impl Capacity {
    fn bytes(self) -> std::result::Result<u64, String> {
        match self {
            Capacity::Bytes(bytes) => Ok(bytes),
            Capacity::Text(text) => Ok(text.parse::<Size>().map_err(|error| error.to_string())?.0),
        }
    }
}

impl WrittenMap {
    fn map(self) -> std::result::Result<AddressMap, String> {
        let regions = |all: Vec<WrittenRegion>| {
            let region =
                |one: WrittenRegion| Ok(Region { name: one.name, start: one.start, size: one.size.bytes()? });
            all.into_iter().map(region).collect::<std::result::Result<_, String>>()
        };
        Ok(AddressMap {
            allowed: regions(self.allowed)?,
            protected: regions(self.protected)?,
            allow_unplaced: self.allow_unplaced,
        })
    }
}

fn page() -> u32 {
    4096
}

/// Reads a product from a file, in TOML or JSON.
pub fn read(path: &Path) -> Result<Product> {
    let text = std::fs::read_to_string(path).map_err(file(path))?;
    let about = |error: CliError| error.about(path.display());
    let usage = |error: &dyn std::fmt::Display| about(CliError::new(Kind::Usage, error));
    // No TOML document begins with a brace.
    let written: Written = if text.trim_start().starts_with('{') {
        serde_json::from_str(&text).map_err(|error| usage(&error))?
    } else {
        toml::from_str(&text).map_err(|error| usage(&error.message()))?
    };
    let vendor = vendor(&written.vendor).map_err(about)?;
    let components = written.components.into_iter().map(|component| {
        let capacity = component.capacity.bytes().map_err(|error| usage(&error))?;
        let addresses =
            component.addresses.map(WrittenMap::map).transpose().map_err(|error| usage(&error))?;
        Ok(Component { name: component.name, capacity, block_size: component.block_size, addresses })
    });
    Ok(Product {
        id: written.id,
        environment: written.environment,
        vendor,
        class: class(vendor, &written.class).map_err(about)?,
        hardware: written.hardware,
        format: written.format,
        components: components.collect::<Result<_>>()?,
        created: None,
    })
}

/// A vendor's UUID: UUIDv5 of its domain in the DNS namespace
/// (draft-ietf-suit-manifest-37 §8.4.8.2: "Vendor ID = UUID5(DNS_PREFIX,
/// "vendor.example")").
pub fn vendor(text: &str) -> Result<Uuid> {
    if let Ok(uuid) = Uuid::try_parse(text) {
        return Ok(uuid);
    }
    let domain = text.to_ascii_lowercase();
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if !domain.contains('.') || !domain.split('.').all(label) {
        return Err(CliError::new(Kind::Usage, format_args!("`{text}` is neither a domain nor a UUID"))
            .hint("name a domain that the vendor owns, as in --vendor example.com"));
    }
    Ok(Uuid::new_v5(&Uuid::NAMESPACE_DNS, domain.as_bytes()))
}

/// A class's UUID: UUIDv5 of a text in the vendor's namespace (the same
/// section: "UUID5(Vendor ID, "Product Model X1-Z")").
pub fn class(vendor: Uuid, text: &str) -> Result<Uuid> {
    if text.trim().is_empty() {
        return Err(CliError::new(Kind::Usage, "a class of devices needs a text or a UUID"));
    }
    Ok(Uuid::try_parse(text).unwrap_or_else(|_| Uuid::new_v5(&vendor, text.as_bytes())))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_those_of_the_draft() {
        // draft-ietf-suit-manifest-37, appendix B: the vendor of every
        // example.
        let id = vendor("arm.com").unwrap();
        assert_eq!(id.to_string(), "fa6b4a53-d5ad-5fdf-be9d-e663e4d41ffe");
        let class_id = class(id, "nucleo").unwrap();
        assert_eq!(class_id, Uuid::new_v5(&id, b"nucleo"));
        assert_eq!(vendor(&id.to_string()).unwrap(), id, "a UUID stays as it is");
        assert_eq!(vendor("ARM.com").unwrap(), id, "domains know no case");
        for bad in ["", "arm", "arm..com", ".com", "a b.com", "-a.com", "ärm.com"] {
            assert_eq!(vendor(bad).unwrap_err().kind, Kind::Usage, "{bad:?}");
        }
        assert!(class(id, " ").is_err());
    }

    #[test]
    fn files_in_toml_and_json_say_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            read(&path)
        };
        let toml = write(
            "a.toml",
            "id = \"gw\"\nenvironment = \"test\"\nvendor = \"example.com\"\nclass = \"gw\"\nformat = \"raw\"\n\
             [[components]]\nname = \"main\"\ncapacity = \"1MiB\"\n\
             addresses.allowed = [{ name = \"slot\", start = 0x0800_0000, size = \"1MiB\" }]\n\
             addresses.protected = [{ name = \"keys\", start = 0x0801_0000, size = 4096 }]\n\
             addresses.allow_unplaced = true\n",
        )
        .unwrap();
        let map = toml.components[0].addresses.as_ref().unwrap();
        assert_eq!((map.allowed[0].start, map.allowed[0].size), (0x0800_0000, 1 << 20));
        assert_eq!(map.allow_unplaced, Some(true));
        let json = write("a.json", &serde_json::to_string(&toml).unwrap()).unwrap();
        assert_eq!(toml, json);
        assert_eq!(toml.components[0].capacity, 1 << 20);
        let misspelt = write("b.toml", "id = \"gw\"\nvendro = \"x\"\n").unwrap_err();
        assert_eq!(misspelt.kind, Kind::Usage);
        assert!(misspelt.message.contains("b.toml"), "{}", misspelt.message);
    }
}
