//! What an image says of itself.

use super::NAME;
use super::descriptor::{Descriptor, Hashed, Hashtree};
use super::header::{HASHTREE_DISABLED, VERIFICATION_DISABLED};
use super::image::{Image, Partition};
use super::own::Data;
use super::vbmeta::Content;
use crate::error::FormatError;
use crate::hash::{Hash, hex};
use crate::inspection::Inspection;
use crate::source::Source;

/// Longest value that is shown as it is.
const SHOWN_MAX: usize = 256;

pub(super) fn inspect(source: &dyn Source) -> Result<Inspection, FormatError> {
    let image = Image::read(source)?;
    let (content, signed) = (&image.vbmeta.content, &image.vbmeta.signed);
    let own = image.partition.as_ref().and_then(|partition| partition.data.index());
    let index = content.facts.rollback_index;
    // Where nobody has signed 0 is what avbtool writes unless told.
    let mut inspection = describe(content, own, (signed.is_some() || index != 0).then_some(index));
    match signed {
        None => inspection.note("algorithm", "NONE: nobody has signed it"),
        Some(signed) => {
            inspection.note("algorithm", signed.algorithm.name());
            inspection.note("public key sha256", signed.key.digest());
            inspection.signatures.push(signed.existing());
        }
    }
    if let Some(partition) = &image.partition {
        beside(partition, own.map(|own| &content.descriptors[own]), &mut inspection);
    }
    Ok(inspection)
}

/// What stands inside the signature, whoever makes it; `own` is the descriptor
/// that is over the image's data.
pub(super) fn describe(content: &Content, own: Option<usize>, epoch: Option<u64>) -> Inspection {
    let own = own.and_then(|own| content.descriptors.get(own));
    let (target, size) = match own {
        Some(Descriptor::Hash(own)) => (Some(&own.partition), own.image_size),
        Some(Descriptor::Hashtree(own)) => (Some(&own.partition), own.image_size),
        _ => (None, content.encoded.len() as u64),
    };
    let mut inspection = Inspection::new(NAME, size);
    let facts = &content.facts;
    inspection.target = target.cloned();
    inspection.epoch = epoch;
    inspection.debug = Some(facts.flags != 0);
    if facts.flags & VERIFICATION_DISABLED != 0 {
        inspection.field("verification", "DISABLED: a device starts whatever its partitions hold");
    }
    if facts.flags & HASHTREE_DISABLED != 0 {
        inspection.field("hash trees", "DISABLED: a device mounts without dm-verity");
    }
    if facts.rollback_location != 0 {
        inspection.field("rollback index location", facts.rollback_location.to_string());
    }
    inspection.field("release", &facts.release);
    inspection.field("libavb", format!("1.{} or later", facts.minor));
    for descriptor in &content.descriptors {
        let (name, value) = told(descriptor);
        inspection.field(name, value);
    }
    if !content.metadata.is_empty() {
        inspection.field("public key metadata", summary(&content.metadata));
    }
    inspection
}

/// A descriptor in a line.
fn told(descriptor: &Descriptor) -> (String, String) {
    match descriptor {
        Descriptor::Property { key, value } => {
            let plain = value.len() <= SHOWN_MAX && value.iter().all(|byte| matches!(byte, b' '..=b'~'));
            let value = match plain {
                true => String::from_utf8_lossy(value).into_owned(),
                false => summary(value),
            };
            (format!("property {key}"), value)
        }
        Descriptor::Hash(own) => (format!("hash of {}", own.partition), hash(own)),
        Descriptor::Hashtree(own) => (format!("hash tree of {}", own.partition), tree(own)),
        Descriptor::Cmdline { flags, text } => {
            let when = match flags {
                0 => "",
                1 => " (with hash trees)",
                2 => " (where hash trees are disabled)",
                _ => " (never)",
            };
            (format!("kernel command line{when}"), text.clone())
        }
        Descriptor::Chain(own) => {
            let (location, key) = (own.rollback_location, own.key.digest());
            let value = format!("rollback index at {location}, key sha256 {key}{}", slots(own.flags));
            (format!("chained partition {}", own.partition), value)
        }
    }
}

fn hash(own: &Hashed) -> String {
    let Hashed { image_size, salt, digest, flags, .. } = own;
    let digest = if digest.is_empty() { "each device's own".to_owned() } else { hex(digest) };
    let name = own.hash.name();
    format!("{name} {digest} of {image_size} bytes, salt {}{}", hex(salt), slots(*flags))
}

fn tree(own: &Hashtree) -> String {
    let Hashtree { image_size, tree, data_block, hash_block, fec, hash, salt, root, flags, version, .. } =
        own;
    let root = if root.is_empty() { "each device's own".to_owned() } else { hex(root) };
    let (from, len) = (tree.start, tree.end - tree.start);
    let mut out = format!(
        "dm-verity {version}, {hash} root {root} of {image_size} bytes in blocks of {data_block} and {hash_block}, \
         salt {}, {len} bytes at {from}{}",
        hex(salt),
        slots(*flags)
    );
    if !fec.is_empty() {
        out += &format!(", error correction of {} bytes at {}", fec.end - fec.start, fec.start);
    }
    if flags & 2 != 0 {
        out += ", blocks are checked when first read and never again";
    }
    out
}

/// The first flag of all that name partitions.
fn slots(flags: u32) -> &'static str {
    if flags & 1 != 0 { ", the same in all slots" } else { "" }
}

fn summary(bytes: &[u8]) -> String {
    format!("{} bytes, sha256 {}", bytes.len(), hex(&Hash::Sha256.of(bytes)))
}

/// What stands outside of the signature.
fn beside(partition: &Partition, own: Option<&Descriptor>, inspection: &mut Inspection) {
    let data = match partition.data {
        Data::Checked(_) => "is what its descriptor says".to_owned(),
        Data::Unchecked(_, why) => format!("not checked: {why}"),
        Data::Uncovered => "NOT COVERED: no descriptor is over it".to_owned(),
    };
    inspection.note("data", data);
    inspection.note("size before vbmeta was added", partition.footer.original_size.to_string());
    if let Some(Descriptor::Hashtree(own)) = own
        && !own.fec.is_empty()
    {
        inspection.note("error correction", "nothing covers it; what it corrects, the tree does");
    }
}
