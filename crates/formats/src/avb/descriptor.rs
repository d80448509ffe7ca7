//! Descriptors (libavb, avb_descriptor.h and the headers of each kind): what is
//! signed of partitions, and what a kernel is told.
//!
//! Each byte of one means something or is zero, none is there twice for the
//! same thing, and none has flags that the libavb it says is enough would not
//! know: two readers find the same in it.

use std::collections::BTreeSet;
use std::ops::Range;

use super::header::LOCATIONS;
use super::key::Key;
use super::words::{Words, padded_text, text};
use crate::der::Bad;
use crate::hash::Hash;

/// What everything has behind its names.
const RESERVED: u64 = 60;
/// AVB_PART_NAME_MAX_SIZE, without the zero behind it.
const NAME_MAX: usize = 31;

/// A descriptor.
#[derive(Clone, Debug)]
pub(super) enum Descriptor {
    Property { key: String, value: Vec<u8> },
    Hashtree(Hashtree),
    Hash(Hashed),
    Cmdline { flags: u32, text: String },
    Chain(Chain),
}

/// A partition's data has this hash, behind a salt.
#[derive(Clone, Debug)]
pub(super) struct Hashed {
    pub(super) partition: String,
    pub(super) image_size: u64,
    pub(super) hash: Hash,
    pub(super) salt: Vec<u8>,
    /// None where each device keeps its own.
    pub(super) digest: Vec<u8>,
    pub(super) flags: u32,
}

/// A partition's data is under this tree of dm-verity.
#[derive(Clone, Debug)]
pub(super) struct Hashtree {
    pub(super) partition: String,
    pub(super) version: u32,
    pub(super) image_size: u64,
    pub(super) tree: Range<u64>,
    pub(super) data_block: u32,
    pub(super) hash_block: u32,
    pub(super) fec: Range<u64>,
    /// As dm-verity names it.
    pub(super) hash: String,
    pub(super) salt: Vec<u8>,
    pub(super) root: Vec<u8>,
    pub(super) flags: u32,
}

/// A partition has a vbmeta of its own, by this key.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    pub(super) partition: String,
    pub(super) rollback_location: u32,
    pub(super) key: Key,
    pub(super) flags: u32,
}

/// Reads all of them, of a vbmeta for which this minor version of libavb is
/// enough.
pub(super) fn read_all(bytes: &[u8], minor: u32) -> Result<Vec<Descriptor>, Bad> {
    let (mut words, mut all) = (Words(bytes), Vec::new());
    let (mut names, mut locations) = (BTreeSet::new(), BTreeSet::new());
    while !words.0.is_empty() {
        let (tag, len) = (words.u64()?, words.u64()?);
        if !len.is_multiple_of(8) {
            return Err("the length of a descriptor is no multiple of 8");
        }
        let descriptor = Descriptor::read(tag, Words(words.bytes(len)?))?;
        if descriptor.minor() > minor {
            return Err(
                "a descriptor is of a later libavb than the one that it says is enough, which ignores it",
            );
        }
        // Of two properties with one name libavb finds the first.
        if descriptor.name().is_some_and(|name| !names.insert((tag, name.to_owned()))) {
            return Err("two of its descriptors are of one kind and for the same");
        }
        if let Descriptor::Chain(chain) = &descriptor
            && (!(1..LOCATIONS).contains(&chain.rollback_location)
                || !locations.insert(chain.rollback_location))
        {
            return Err(
                "a chained partition stores its rollback index where another one does, or libavb has no place",
            );
        }
        all.push(descriptor);
    }
    Ok(all)
}

impl Descriptor {
    fn read(tag: u64, mut words: Words<'_>) -> Result<Descriptor, Bad> {
        let descriptor = match tag {
            0 => property(&mut words)?,
            1 => Descriptor::Hashtree(Hashtree::read(&mut words)?),
            2 => Descriptor::Hash(Hashed::read(&mut words)?),
            3 => cmdline(&mut words)?,
            4 => Descriptor::Chain(Chain::read(&mut words)?),
            _ => return Err("it has a descriptor of a kind that is not known"),
        };
        words.end()?;
        Ok(descriptor)
    }

    /// The minor version of libavb that knows what is in it ("Changes in ..." in
    /// each header).
    fn minor(&self) -> u32 {
        let from = |minor, is_in_it: bool| if is_in_it { minor } else { 0 };
        match self {
            Descriptor::Property { .. } | Descriptor::Cmdline { .. } => 0,
            Descriptor::Hash(own) => from(1, own.flags != 0 || own.digest.is_empty()),
            Descriptor::Hashtree(own) => from(1, own.flags != 0 || own.root.is_empty()),
            Descriptor::Chain(own) => from(3, own.flags != 0),
        }
    }

    /// What there can be one of, of its kind.
    fn name(&self) -> Option<&str> {
        match self {
            Descriptor::Property { key, .. } => Some(key),
            Descriptor::Hashtree(own) => Some(&own.partition),
            Descriptor::Hash(own) => Some(&own.partition),
            Descriptor::Cmdline { .. } => None,
            Descriptor::Chain(own) => Some(&own.partition),
        }
    }
}

fn property(words: &mut Words<'_>) -> Result<Descriptor, Bad> {
    let (key, value) = (words.u64()?, words.u64()?);
    let key = text(words.bytes(key)?)?;
    words.zeros(1)?;
    let value = words.bytes(value)?.to_vec();
    words.zeros(1)?;
    Ok(Descriptor::Property { key, value })
}

fn cmdline(words: &mut Words<'_>) -> Result<Descriptor, Bad> {
    let (flags, len) = (known(words.u32()?, 3)?, words.u32()?);
    Ok(Descriptor::Cmdline { flags, text: text(words.bytes(len.into())?)? })
}

impl Hashtree {
    fn read(words: &mut Words<'_>) -> Result<Hashtree, Bad> {
        let (version, image_size, tree) = (words.u32()?, words.u64()?, words.range()?);
        let (data_block, hash_block, roots) = (words.u32()?, words.u32()?, words.u32()?);
        let fec = words.range()?;
        if (roots == 0) != fec.is_empty() {
            return Err("it says of an error correction that it is there and that it is not");
        }
        let mut parts = [0..image_size, tree.clone(), fec.clone()];
        parts.sort_unstable_by_key(|part| (part.start, part.end));
        let parts: Vec<_> = parts.iter().filter(|part| !part.is_empty()).collect();
        if parts.windows(2).any(|pair| pair[0].end > pair[1].start) {
            return Err("data, hash tree and error correction of a partition overlap");
        }
        let hash = padded_text(words.bytes(32)?)?;
        let (name, salt, root) = (words.u32()?, words.u32()?, words.u32()?);
        let flags = known(words.u32()?, 3)?;
        words.zeros(RESERVED)?;
        let partition = partition(words, name)?;
        let salt = words.bytes(salt.into())?.to_vec();
        let root = words.bytes(root.into())?.to_vec();
        let len = match hash.as_str() {
            "sha1" => 20,
            "sha256" | "blake2b-256" => 32,
            "sha512" => 64,
            _ => return Err("it has a hash tree of a function that is not known"),
        };
        digest(&root, len)?;
        Ok(Hashtree {
            partition,
            version,
            image_size,
            tree,
            data_block,
            hash_block,
            fec,
            hash,
            salt,
            root,
            flags,
        })
    }
}

impl Hashed {
    fn read(words: &mut Words<'_>) -> Result<Hashed, Bad> {
        let image_size = words.u64()?;
        // What libavb has.
        let hash = match padded_text(words.bytes(32)?)?.as_str() {
            "sha256" => Hash::Sha256,
            "sha512" => Hash::Sha512,
            _ => return Err("it has a hash of a partition that is neither sha256 nor sha512"),
        };
        let (name, salt, len) = (words.u32()?, words.u32()?, words.u32()?);
        let flags = known(words.u32()?, 1)?;
        words.zeros(RESERVED)?;
        let partition = partition(words, name)?;
        let salt = words.bytes(salt.into())?.to_vec();
        let value = words.bytes(len.into())?.to_vec();
        digest(&value, hash.len())?;
        Ok(Hashed { partition, image_size, hash, salt, digest: value, flags })
    }

    /// Writes one, with tag and length.
    pub(super) fn write(&self) -> Vec<u8> {
        let mut own = self.image_size.to_be_bytes().to_vec();
        own.extend(self.hash.name().as_bytes());
        own.resize(8 + 32, 0);
        for word in [self.partition.len(), self.salt.len(), self.digest.len(), self.flags as usize] {
            own.extend((word as u32).to_be_bytes());
        }
        own.extend([0; RESERVED as usize]);
        own.extend([self.partition.as_bytes(), &self.salt, &self.digest].concat());
        own.resize(own.len().next_multiple_of(8), 0);
        let mut out = [2, own.len() as u64].map(u64::to_be_bytes).concat();
        out.extend(own);
        out
    }
}

impl Chain {
    fn read(words: &mut Words<'_>) -> Result<Chain, Bad> {
        let (rollback_location, name, key) = (words.u32()?, words.u32()?, words.u32()?);
        let flags = known(words.u32()?, 1)?;
        words.zeros(RESERVED)?;
        let partition = partition(words, name)?;
        let key = Key::read(words.bytes(key.into())?)?;
        Ok(Chain { partition, rollback_location, key, flags })
    }
}

/// The name of a partition, as far as it is one.
pub(super) fn is_partition(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(plain)
}

fn partition(words: &mut Words<'_>, len: u32) -> Result<String, Bad> {
    let name = text(words.bytes(len.into())?)?;
    match is_partition(&name) {
        true => Ok(name),
        false => Err("the name of a partition is something else than letters, digits, `_`, `-` and `.`"),
    }
}

fn known(flags: u32, all: u32) -> Result<u32, Bad> {
    if flags & !all == 0 { Ok(flags) } else { Err("a descriptor has flags that are not known") }
}

fn digest(value: &[u8], len: usize) -> Result<(), Bad> {
    match value.is_empty() || value.len() == len {
        true => Ok(()),
        false => Err("a digest in it has another length than its function gives"),
    }
}
