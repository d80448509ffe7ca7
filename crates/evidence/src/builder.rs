//! Builders: whose statements about builds count, and for what.

use firmseal_manifest::{ProductId, PublicKey, Signature};
use serde::{Deserialize, Serialize};

/// Most builders of one configuration: each signature of a statement is
/// tried under each of them.
pub const BUILDERS_MAX: usize = 64;

/// Verification of one signature over a message; pure code has no host's
/// cryptography.
pub type Verify<'a> = &'a (dyn Fn(&PublicKey, &[u8], &Signature) -> bool + Send + Sync);

/// A kind of statement.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attests {
    /// Where an artifact comes from.
    Provenance,
    /// Test results.
    Tests,
    /// What an artifact is made of.
    Sbom,
    /// That a second build came out the same. Not among the usual ones:
    /// whoever builds does not vouch for the own build.
    Reproduction,
    /// What a scanner found. Not among the usual ones: a machine that puts
    /// something into a build would say that nothing is in it.
    Scan,
    /// What somebody who evaluated an artifact found it to have. Not among
    /// the usual ones: nobody evaluates the own work.
    Evaluation,
}

/// A key, and what is believed of statements that it signs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Builder {
    /// The builder's id, exactly as its provenance spells it.
    pub id: String,
    /// Its key. A builder with several, say while one is rotated, stands
    /// here several times.
    pub key: PublicKey,
    /// The products that it builds; all, if empty.
    pub products: Vec<ProductId>,
    /// What it may say.
    pub attests: Vec<Attests>,
}

impl Builder {
    /// What a builder says unless the configuration says otherwise.
    pub const USUAL: [Attests; 3] = [Attests::Provenance, Attests::Tests, Attests::Sbom];
}

/// Why builders are not taken from a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuilderError {
    /// Too many.
    #[error("at most {BUILDERS_MAX} builders are configured")]
    Many,
    /// An id that is empty, long or not plain text.
    #[error("builder id {0:?} is not a text of 1 to 1024 printable characters")]
    Id(String),
    /// A row that says what another says.
    #[error("builder `{0}` is configured twice with the same key")]
    Twice(String),
}

/// The builders of a configuration.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Builders(Vec<Builder>);

impl Builders {
    /// Takes a configuration.
    pub fn new(builders: Vec<Builder>) -> Result<Builders, BuilderError> {
        if builders.len() > BUILDERS_MAX {
            return Err(BuilderError::Many);
        }
        for (index, builder) in builders.iter().enumerate() {
            if !crate::member::is_plain(&builder.id) {
                return Err(BuilderError::Id(builder.id.clone()));
            }
            let same = |other: &Builder| other.id == builder.id && other.key == builder.key;
            if builders[..index].iter().any(same) {
                return Err(BuilderError::Twice(builder.id.clone()));
            }
        }
        Ok(Builders(builders))
    }

    /// Those that build a product.
    pub fn of<'a>(&'a self, product: &'a ProductId) -> impl Iterator<Item = &'a Builder> {
        self.0.iter().filter(move |builder| builder.products.is_empty() || builder.products.contains(product))
    }
}
