//! What a release is to the newest device of its product: for those who hand
//! releases to clients that cannot judge them.

use firmseal_core::crypto::RustCrypto;
use firmseal_core::{Digest, Refusal, Tree};
use firmseal_fleet::Product;

use crate::device::{self, Floors};
use crate::trust::Chain;

/// What an envelope says that core admits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// SHA-256 of the manifest.
    pub manifest: Digest,
    /// The channel.
    pub channel: String,
    /// The version.
    pub version: String,
    /// The sequence number.
    pub sequence: u64,
    /// The security epoch.
    pub epoch: u64,
    /// The components in order: name, and tree over the payload.
    pub components: Vec<(String, Tree)>,
}

impl Chain {
    /// Asks core, under the newest root document and revocation, and returns
    /// what the envelope says. No payload is looked at: whoever hands one
    /// out checks it against the tree.
    pub fn standing(&self, product: &Product, envelope: &[u8]) -> Result<Standing, Refusal> {
        device::ask(product, self, Floors::default(), |device| {
            let admitted = firmseal_core::admit(envelope, device, &RustCrypto)?;
            let facts = admitted.facts();
            let components = admitted.components().map(|(id, facts, _)| {
                let name = id.parts().first().copied().unwrap_or_default();
                (String::from_utf8_lossy(name).into_owned(), facts.tree)
            });
            Ok(Standing {
                manifest: admitted.manifest_digest(),
                channel: facts.channel.to_owned(),
                version: facts.version.to_owned(),
                sequence: admitted.sequence(),
                epoch: facts.epoch,
                components: components.collect(),
            })
        })
    }
}
