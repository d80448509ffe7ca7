//! A signed image: vbmeta with another key and signature, in its place, or a
//! partition that data becomes with vbmeta and a footer.

use sha2::{Digest, Sha256};

use super::NAME;
use super::descriptor::{self, Hashed};
use super::footer::{self, Footer};
use super::header::Facts;
use super::image::{Image, Partition, begins};
use super::inspect::describe;
use super::key::Key;
use super::options::Options;
use super::own::{self, Data};
use super::vbmeta::{Content, Draft};
use crate::error::FormatError;
use crate::format::{Unsigned, Wanted};
use crate::hash::Hash;
use crate::inspection::Inspection;
use crate::parameters::bad;
use crate::plan::Plan;
use crate::source::{Source, head};

const BLOCK: u64 = 4096;
/// An image in pieces, for fastboot (libsparse, sparse_format.h).
const SPARSE: [u8; 4] = 0xed26_ff3a_u32.to_le_bytes();
/// What says who has made vbmeta.
const RELEASE: &str = "firmseal";

/// An image without its vbmeta.
#[derive(Clone)]
struct Around {
    /// What stands before it.
    before: Plan,
    /// Length of the whole, if it has one; zeros are put behind vbmeta up to
    /// there.
    len: Option<u64>,
    /// What ends the whole.
    footer: Option<Footer>,
}

pub(super) fn prepare(source: &dyn Source, wanted: &Wanted<'_>) -> Result<Unsigned, FormatError> {
    let options = Options::parse(wanted.parameters)?;
    let key = Key::of(wanted.key)?;
    let (content, around, own) = if begins(source)? || footer::ends(source)? {
        let image = Image::read(source)?;
        options.agree(&image)?;
        again(source, image, &key, wanted.epoch)?
    } else {
        build(source, &options, wanted)?
    };
    let inspection: Inspection = describe(&content, own, Some(wanted.epoch));
    let draft = content.draft(&key)?;
    around.room_for(&draft)?;
    let tbs = draft.tbs();
    Ok(Unsigned::new(tbs, inspection, Box::new(move |signature| Ok(around.with(draft.with(signature)?)))))
}

impl Around {
    fn room_for(&self, draft: &Draft) -> Result<(), FormatError> {
        let end = self.footer.zip(self.len).map(|(_, len)| len - footer::LEN);
        let need = self.before.output_len().saturating_add(draft.len());
        match end {
            Some(slot) if need > slot => Err(FormatError::SlotTooSmall { need, slot }),
            _ => Ok(()),
        }
    }

    fn with(&self, vbmeta: Vec<u8>) -> Plan {
        let len = vbmeta.len() as u64;
        let end = self.footer.map(|own| Footer { vbmeta_len: len, ..own }.write()).unwrap_or_default();
        let plan = self.before.clone().bytes(vbmeta);
        let zeros = self.len.unwrap_or(0).saturating_sub(plan.output_len() + end.len() as u64);
        plan.fill(0, zeros).bytes(end)
    }
}

/// Laid out: what is signed, where it goes, and which descriptor is over the
/// data.
type Laid = (Content, Around, Option<usize>);

/// An image that has vbmeta: all but its key and its signature stays.
fn again(source: &dyn Source, image: Image, key: &Key, epoch: u64) -> Result<Laid, FormatError> {
    let unsupported = |what: String| FormatError::unsupported(NAME, what);
    let Image { vbmeta, partition, len } = image;
    let mut content = vbmeta.content;
    let index = content.facts.rollback_index;
    if index != epoch && (vbmeta.signed.is_some() || index != 0) {
        let (inside, wanted) = (index.to_string(), epoch.to_string());
        return Err(FormatError::Disagrees { field: "rollback index", inside, wanted });
    }
    content.facts.rollback_index = epoch;
    let stays = vbmeta.signed.as_ref().is_none_or(|signed| signed.key == *key);
    if !stays && !content.metadata.is_empty() {
        let what = "its public key metadata tells of the key that is replaced: build it again with the metadata of \
                    the new one, and `--algorithm NONE`";
        return Err(unsupported(what.to_owned()));
    }
    let plan = Plan::new(source.len()?);
    let Some(Partition { footer, data }) = partition else {
        // avbtool pads to a size that somebody asked for.
        let len = (len > vbmeta.len).then_some(len);
        return Ok((content, Around { before: plan, len, footer: None }, None));
    };
    match data {
        Data::Checked(_) => {}
        Data::Unchecked(_, why) => {
            let what = format!("what it says of its data cannot be checked here: {why}");
            return Err(unsupported(what));
        }
        Data::Uncovered => {
            return Err(unsupported(
                "none of its descriptors is over its data, which no signature would cover".to_owned(),
            ));
        }
    }
    let before = plan.source(0..footer.vbmeta_at);
    Ok((content, Around { before, len: Some(len), footer: Some(footer) }, data.index()))
}

/// Data that becomes a partition, as `avbtool add_hash_footer` makes one.
fn build(source: &dyn Source, options: &Options, wanted: &Wanted<'_>) -> Result<Laid, FormatError> {
    let needed = |name, why: &str| bad(name, format!("data without vbmeta becomes a partition: give {why}"));
    let partition =
        options.partition.clone().ok_or_else(|| needed("partition-name", "its name, as `boot`"))?;
    let size = options.size.ok_or_else(|| needed("partition-size", "its size in bytes"))?;
    let image_size = source.len()?;
    if image_size == 0 {
        return Err(FormatError::malformed(NAME, "it is empty"));
    }
    if head::<4>(source)? == Some(SPARSE) {
        return Err(FormatError::unsupported(
            NAME,
            "a sparse image, of which a device hashes something else: `simg2img` makes a plain one",
        ));
    }
    let vbmeta_at = image_size.saturating_add(BLOCK - 1) / BLOCK * BLOCK;
    // A block for the footer, as avbtool has it.
    let need = vbmeta_at.saturating_add(2 * BLOCK);
    if need > size {
        return Err(FormatError::SlotTooSmall { need, slot: size });
    }
    let salt = options.salt.clone().unwrap_or_else(|| salt(&partition, image_size, size, wanted));
    let mut own = Hashed { partition, image_size, hash: Hash::Sha256, salt, digest: Vec::new(), flags: 0 };
    own.digest = own::digest(source, &own)?;
    let encoded = own.write();
    let facts = Facts {
        minor: 0,
        rollback_index: wanted.epoch,
        flags: 0,
        rollback_location: 0,
        release: RELEASE.to_owned(),
    };
    let descriptors =
        descriptor::read_all(&encoded, facts.minor).map_err(|why| FormatError::malformed(NAME, why))?;
    let content = Content { facts, descriptors, encoded, metadata: Vec::new() };
    let before = Plan::new(image_size).source(0..image_size).fill(0, vbmeta_at - image_size);
    let footer = Footer { original_size: image_size, vbmeta_at, vbmeta_len: 0 };
    Ok((content, Around { before, len: Some(size), footer: Some(footer) }, Some(0)))
}

/// A salt has to differ between images and need not be secret; the same wish
/// makes the same file.
fn salt(partition: &str, image_size: u64, size: u64, wanted: &Wanted<'_>) -> Vec<u8> {
    let hasher = Sha256::new()
        .chain_update(b"firmseal avb hash salt 1")
        .chain_update([image_size, size, wanted.epoch].map(u64::to_be_bytes).concat())
        .chain_update(partition)
        .chain_update([0])
        .chain_update(wanted.version.to_string());
    hasher.finalize().to_vec()
}
