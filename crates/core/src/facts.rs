//! Facts: what a release is, in one signed element that is read before any
//! command.
//!
//! Commands can be written in many ways; facts cannot. Floors, targets and
//! block trees are decided on facts alone.

use crate::cbor::Reader;
use crate::digest::{Digest, SHA_256};
use crate::limits::{COMPONENTS_MAX, Limit};
use crate::refusal::Refusal;
use crate::root::Environment;
use crate::tree::{BlockSize, Tree};

/// Label of the facts in the manifest. Labels below -256 are private.
pub const FACTS: i64 = -257;

/// The profile that this code implements.
pub const PROFILE: u64 = 1;

/// The facts of a release.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// Test or production.
    pub environment: Environment,
    /// Vendor UUID.
    pub vendor: &'a [u8; 16],
    /// Device class UUID.
    pub class: &'a [u8; 16],
    /// Product name.
    pub product: &'a str,
    /// Channel name.
    pub channel: &'a str,
    /// Version for people (semver 2.0.0).
    pub version: &'a str,
    /// Security epoch.
    pub epoch: u64,
    /// Delegation index; 0 without delegation.
    pub delegation: u64,
    /// Of a rollback that was signed ahead: the manifest that must have been
    /// revoked before this one installs.
    pub rollback_of: Option<Digest>,
    /// Encoded, and read again when they are asked for: eight of them by
    /// value would be the largest thing on a device's stack, several times.
    components: Reader<'a>,
    component_count: usize,
}

/// The facts of one component's payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ComponentFacts {
    /// The slot the payload is built for; `None` if any will do.
    pub slot: Option<u64>,
    /// Its size and block tree.
    pub tree: Tree,
}

impl<'a> Facts<'a> {
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Facts<'a>, Refusal> {
        let mut reader = Reader::new(bytes);
        let mut keys = reader.map()?;
        let (mut profile, mut environment, mut vendor, mut class) = (None, None, None, None);
        let (mut product, mut channel, mut version) = (None, None, None);
        let (mut epoch, mut delegation, mut rollback_of) = (None, None, None);
        let (mut components, mut component_count) = (Reader::new(&[]), 0);
        while let Some(label) = keys.next_int(&mut reader)? {
            match label {
                1 => profile = Some(reader.uint()?),
                2 => environment = Environment::from_label(reader.uint()?),
                3 => vendor = Some(reader.array_of()?),
                4 => class = Some(reader.array_of()?),
                5 => product = Some(reader.text()?),
                6 => channel = Some(reader.text()?),
                7 => version = Some(reader.text()?),
                8 => epoch = Some(reader.uint()?),
                9 => delegation = Some(reader.uint()?),
                10 => {
                    component_count = reader.array(COMPONENTS_MAX, Limit::ComponentsMax)?;
                    components = reader.clone();
                    for _ in 0..component_count {
                        ComponentFacts::decode(&mut reader)?;
                    }
                }
                11 => rollback_of = Some(Digest(*reader.array_of()?)),
                _ => return Err(Refusal::Unsupported("a member of the facts")),
            }
        }
        reader.end()?;
        if profile != Some(PROFILE) {
            return Err(Refusal::Unsupported("facts of another profile"));
        }
        const INCOMPLETE: Refusal = Refusal::Malformed("incomplete facts");
        Ok(Facts {
            environment: environment.ok_or(INCOMPLETE)?,
            vendor: vendor.ok_or(INCOMPLETE)?,
            class: class.ok_or(INCOMPLETE)?,
            product: product.ok_or(INCOMPLETE)?,
            channel: channel.ok_or(INCOMPLETE)?,
            version: version.ok_or(INCOMPLETE)?,
            epoch: epoch.ok_or(INCOMPLETE)?,
            delegation: delegation.ok_or(INCOMPLETE)?,
            rollback_of,
            components,
            component_count,
        })
    }

    /// The payloads, in the order of the manifest's components.
    pub fn components(&self) -> impl Iterator<Item = ComponentFacts> + use<'a> {
        let mut reader = self.components.clone();
        (0..self.component_count).map_while(move |_| ComponentFacts::decode(&mut reader).ok())
    }

    /// One payload.
    pub fn component(&self, index: usize) -> Option<ComponentFacts> {
        self.components().nth(index)
    }
}

impl ComponentFacts {
    fn decode(reader: &mut Reader<'_>) -> Result<ComponentFacts, Refusal> {
        let mut keys = reader.map()?;
        let (mut size, mut slot, mut tree) = (None, None, None);
        while let Some(label) = keys.next_int(reader)? {
            match label {
                1 => size = Some(reader.uint()?),
                2 => slot = Some(reader.uint()?),
                3 => {
                    reader.array_exact(3)?;
                    if reader.int()? != SHA_256 {
                        return Err(Refusal::Unsupported("a block tree other than SHA-256"));
                    }
                    let block = BlockSize::from_bytes(reader.uint()?)
                        .ok_or(Refusal::Unsupported("a block size other than 1024 and 4096"))?;
                    tree = Some((block, Digest(*reader.array_of()?)));
                }
                _ => return Err(Refusal::Unsupported("a member of a component's facts")),
            }
        }
        let (block, root) = tree.ok_or(Refusal::Malformed("a component without a block tree"))?;
        let size = size.ok_or(Refusal::Malformed("a component without a size"))?;
        Ok(ComponentFacts { slot, tree: Tree::new(size, block, root)? })
    }
}
