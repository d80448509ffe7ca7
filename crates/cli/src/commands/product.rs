//! `firmseal product`: the devices that may run the same release.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand, ValueEnum};
use firmseal_api::registry::{Component, Environment, Product};
use firmseal_manifest::ProductId;

use super::block_on;
use super::listing::Listing;
use crate::error::{CliError, Kind, Result};
use crate::output::Output;
use crate::product_file;
use crate::profile::Profile;
use crate::record::Record;
use crate::units::Size;

/// Make, list and show products
#[derive(Subcommand)]
#[command(after_help = "Examples:
  firmseal product create gateway --vendor example.com --class 'gateway rev 1' --component main=16MiB
  firmseal product list")]
pub enum Products {
    /// Make a product
    ///
    /// Vendor and class are SUIT identifiers that devices carry. A domain
    /// becomes the vendor's UUID, a text the UUID of a class of that vendor
    /// (UUID version 5, as the SUIT drafts advise); a UUID stays as it is.
    #[command(after_help = "Examples:
  firmseal product create gateway --vendor example.com --class 'gateway rev 1' --component main=16MiB
  firmseal product create sensor --vendor example.com --class sensor --format mcuboot \\
      --component app=384KiB,block=1024 --hardware A1 --hardware A2 --environment production
  firmseal product create --from gateway.toml

A file for --from, in TOML or JSON:
  id = \"gateway\"
  environment = \"test\"
  vendor = \"example.com\"
  class = \"gateway rev 1\"
  format = \"raw\"
  components = [{ name = \"main\", capacity = \"16MiB\", block_size = 4096 }]")]
    Create(Box<Create>),
    /// List products
    #[command(after_help = "Examples:
  firmseal product list
  firmseal product list --json | jq -r '.[].id'")]
    List(Listing),
    /// Show a product
    #[command(after_help = "Examples:
  firmseal product show gateway
  firmseal product show gateway --json > gateway.json   to make it elsewhere with create --from")]
    Show {
        /// The product
        product: ProductId,
    },
}

/// Make a product
#[derive(Args)]
pub struct Create {
    /// Its name
    #[arg(required_unless_present = "from")]
    product: Option<ProductId>,
    /// Read it from a file, in TOML or JSON
    #[arg(long, value_name = "FILE", conflicts_with_all =
        ["product", "vendor", "class", "component", "hardware", "format", "environment"])]
    from: Option<PathBuf>,
    /// Vendor: a domain or a UUID
    #[arg(long, value_name = "DOMAIN", required_unless_present = "from")]
    vendor: Option<String>,
    /// Class of devices: a text or a UUID
    #[arg(long, value_name = "TEXT", required_unless_present = "from")]
    class: Option<String>,
    /// A component: its name, how much fits into its slot, bytes in a block
    #[arg(long, value_name = "NAME=SIZE[,block=N]", required_unless_present = "from")]
    component: Vec<Slot>,
    /// A hardware revision that its releases run on
    #[arg(long, value_name = "REVISION")]
    hardware: Vec<String>,
    /// The firmware format of its artifacts
    #[arg(long, default_value = "raw", value_parser =
        PossibleValuesParser::new(firmseal_formats::FORMATS.iter().map(|format| format.name())))]
    format: String,
    /// Test or production, for good
    #[arg(long, value_enum, default_value = "test")]
    environment: World,
}

/// Test or production.
#[derive(Clone, Copy, ValueEnum)]
pub enum World {
    /// For development and trial devices
    Test,
    /// For what customers have
    Production,
}

/// A component as people write it: `main=1MiB,block=1024`.
#[derive(Clone, PartialEq, Debug)]
pub struct Slot(Component);

impl FromStr for Slot {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Slot, String> {
        let (name, rest) = text.split_once('=').ok_or("write NAME=SIZE, as in main=1MiB")?;
        let (size, block) = match rest.split_once(',') {
            None => (rest, None),
            Some((size, option)) => {
                let block = option.strip_prefix("block=").ok_or("after the size only `block=N` may stand")?;
                (size, Some(block))
            }
        };
        let capacity = size.parse::<Size>().map_err(|error| error.to_string())?.0;
        let block_size = match block {
            None => 4096,
            Some(block) => block.parse().map_err(|_| "block= takes 4096, or 1024 for small RAM")?,
        };
        Ok(Slot(Component { name: name.to_owned(), capacity, block_size, addresses: None }))
    }
}

impl Products {
    /// Runs the subcommand.
    pub fn run(self, profile: Option<&Path>, output: &Output) -> Result {
        // Read before the profile: a mistake in it has nothing to do with
        // any server.
        let wish = match &self {
            Products::Create(create) => Some(create.product()?),
            Products::List(_) | Products::Show { .. } => None,
        };
        let client = Profile::read(profile)?.client()?;
        block_on(async {
            let operator = client.operator();
            match (self, wish) {
                (Products::List(listing), _) => {
                    let products = listing.fetch(output, async |page| operator.products(&page).await).await?;
                    output.table(&products, &["PRODUCT", "ENVIRONMENT", "FORMAT", "COMPONENTS"], |product| {
                        let components: Vec<&str> =
                            product.components.iter().map(|component| component.name.as_str()).collect();
                        vec![
                            product.id.to_string(),
                            environment(product.environment).to_owned(),
                            product.format.clone(),
                            components.join(", "),
                        ]
                    })
                }
                (Products::Show { product }, _) => {
                    let product = operator.product(&product).await?;
                    output.value(&product, || print(&product))
                }
                (Products::Create(_), wish) => {
                    let wish = wish.ok_or_else(|| CliError::new(Kind::Usage, "name the product"))?;
                    let product = operator.create_product(&wish).await?;
                    output.value(&product, || print(&product))
                }
            }
        })
    }
}

impl Create {
    fn product(&self) -> Result<Product> {
        if let Some(path) = &self.from {
            return product_file::read(path);
        }
        // clap has seen to it that these are there.
        let need = |what: &str| CliError::new(Kind::Usage, format_args!("give the product's {what}"));
        let vendor = product_file::vendor(self.vendor.as_deref().ok_or_else(|| need("--vendor"))?)?;
        Ok(Product {
            id: self.product.clone().ok_or_else(|| need("name"))?,
            environment: match self.environment {
                World::Test => Environment::Test,
                World::Production => Environment::Production,
            },
            vendor,
            class: product_file::class(vendor, self.class.as_deref().ok_or_else(|| need("--class"))?)?,
            hardware: self.hardware.clone(),
            format: self.format.clone(),
            components: self.component.iter().map(|slot| slot.0.clone()).collect(),
            created: None,
        })
    }
}

fn environment(environment: Environment) -> &'static str {
    match environment {
        Environment::Test => "test",
        Environment::Production => "production",
    }
}

fn print(product: &Product) -> String {
    let mut record = Record::new()
        .row("product", &product.id)
        .row("environment", environment(product.environment))
        .row("vendor", product.vendor)
        .row("class", product.class);
    if !product.hardware.is_empty() {
        record = record.row("hardware", product.hardware.join(", "));
    }
    record = record.row("format", &product.format);
    for component in &product.components {
        let size = Size(component.capacity);
        record = record
            .row("component", format_args!("{}, {size}, blocks of {}", component.name, component.block_size));
    }
    record.maybe("made", product.created).print()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_have_a_name_and_a_size() {
        let slot =
            |text: &str| text.parse::<Slot>().map(|slot| (slot.0.name, slot.0.capacity, slot.0.block_size));
        assert_eq!(slot("main=1MiB"), Ok(("main".to_owned(), 1 << 20, 4096)));
        assert_eq!(slot("app=384KiB,block=1024"), Ok(("app".to_owned(), 384 << 10, 1024)));
        for bad in ["main", "main=", "main=1M", "main=1MiB,1024", "main=1MiB,block=x", "main=1MiB,block="] {
            assert!(slot(bad).is_err(), "{bad}");
        }
    }
}
