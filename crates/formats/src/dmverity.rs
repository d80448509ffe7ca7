//! dm-verity images (Linux, *Documentation/admin-guide/device-mapper/
//! verity.rst*; cryptsetup, `lib/verity/verity.c`): a file system with its
//! hash tree behind it, as `veritysetup format` writes it into one file.
//!
//! ```text
//! blocks of data | superblock, alone in a block | hash tree over the data
//! ```
//!
//! A kernel that is given a signature verifies it over the root of the tree,
//! in hexadecimal (`root_hash_sig_key_desc`).

use std::io;

use crate::cms::beside;
use crate::cms::scheme::Scheme;
use crate::cms::{attributes, certificate};
use crate::error::FormatError;
use crate::format::{Beside, Format, Likeness, Unsigned, Wanted};
use crate::hash::hex;
use crate::inspection::Inspection;
use crate::laid_out::Padding;
use crate::parameters::Parameter;
use crate::source::Source;
use crate::verity::{BLOCK, Tree};

const NAME: &str = "dmverity";
const MAGIC: &[u8; 8] = b"verity\0\0";
/// `struct verity_sb`.
const SUPERBLOCK: usize = 512;
const SALT: usize = 32;

/// The dm-verity format.
pub(crate) struct DmVerity;

const PARAMETERS: &[Parameter] = &[certificate::PARAMETER, attributes::PARAMETERS[0], beside::FORM];

impl Format for DmVerity {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "file systems with a dm-verity tree behind them; the signature stands beside, in CMS over the root hash"
    }

    fn detect(&self, _source: &dyn Source) -> Result<Likeness, FormatError> {
        // It begins as its file system does, and where that ends is written
        // nowhere: looking for it would read every file whole.
        Ok(Likeness::No)
    }

    fn inspect(&self, source: &dyn Source) -> Result<Inspection, FormatError> {
        Ok(Image::read(source)?.describe())
    }

    fn beside(&self) -> Option<&dyn Beside> {
        Some(self)
    }
}

impl Beside for DmVerity {
    fn parameters(&self) -> &'static [Parameter] {
        PARAMETERS
    }

    fn prepare(&self, source: &dyn Source, wanted: &Wanted<'_>) -> Result<Unsigned, FormatError> {
        wanted.parameters.check(PARAMETERS)?;
        let image = Image::read(source)?;
        // The kernel's PKCS #7 knows RSA with this padding alone.
        let scheme = Scheme::of_common(NAME, wanted.key, Padding::Pkcs1)?;
        let own = beside::Own { format: NAME, scheme, len: source.len()? };
        own.prepare(wanted, image.describe(), |hash| Ok(hash.of(image.root().as_bytes())))
    }

    fn read(&self, signature: &dyn Source, source: &dyn Source) -> Result<Inspection, FormatError> {
        let image = Image::read(source)?;
        let mut inspection = image.describe();
        inspection.signatures = beside::read(NAME, signature, |hash| Ok(hash.of(image.root().as_bytes())))?;
        Ok(inspection)
    }
}

/// An image whose tree is the one over its data.
struct Image {
    blocks: u64,
    uuid: uuid::Uuid,
    salt: [u8; SALT],
    root: [u8; 32],
}

impl Image {
    /// Reads an image, once however often it is asked for while it is signed.
    fn read(source: &dyn Source) -> Result<Image, FormatError> {
        let remembered = source.remembered();
        if let Some(known) = remembered.and_then(|own| own.get(NAME)).and_then(|own| Image::decode(&own)) {
            return Ok(known);
        }
        let image = Image::found(source)?;
        if let Some(remembered) = remembered {
            remembered.put(NAME, &image.encode());
        }
        Ok(image)
    }

    fn encode(&self) -> Vec<u8> {
        [&self.blocks.to_le_bytes()[..], self.uuid.as_bytes(), &self.salt, &self.root].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Image> {
        let (blocks, rest) = bytes.split_first_chunk()?;
        let (uuid, rest) = rest.split_first_chunk()?;
        let (salt, root) = rest.split_first_chunk()?;
        Some(Image {
            blocks: u64::from_le_bytes(*blocks),
            uuid: uuid::Uuid::from_bytes(*uuid),
            salt: *salt,
            root: root.try_into().ok()?,
        })
    }

    /// The one superblock that says of itself where it stands, and the tree to
    /// the file's end. The file's length leaves one place for it; any other one
    /// is looked for as blocks are hashed.
    fn found(source: &dyn Source) -> Result<Image, FormatError> {
        let len = source.len()?;
        let Some(blocks) = blocks_in(len) else { return Image::misplaced(source, len) };
        let Some(block) = superblock(source, blocks)? else { return Image::misplaced(source, len) };
        for number in blocks + 1..len / BLOCK {
            if superblock(source, number)?.is_some() {
                return Err(two());
            }
        }
        Image::check(source, blocks, &block)
    }

    /// What is wrong with a file that has none in its place.
    fn misplaced(source: &dyn Source, len: u64) -> Result<Image, FormatError> {
        let mut found = None;
        for number in 1..len / BLOCK {
            if let Some(block) = superblock(source, number)?
                && found.replace((number, block)).is_some()
            {
                return Err(two());
            }
        }
        match found {
            Some((blocks, block)) => Image::check(source, blocks, &block),
            None => Err(FormatError::malformed(
                NAME,
                "no superblock stands behind its data: `veritysetup format --hash-offset=SIZE FILE FILE` writes \
                 one, SIZE being the file's",
            )),
        }
    }

    fn check(source: &dyn Source, blocks: u64, block: &[u8; SUPERBLOCK]) -> Result<Image, FormatError> {
        let unsupported = |what| Err(FormatError::unsupported(NAME, what));
        if (le32(block, 8), le32(block, 12)) != (1, 1) {
            return unsupported("its version or the kind of its hashes is another than 1");
        }
        if !block[32..64].starts_with(b"sha256\0") || block[38..64].iter().any(|byte| *byte != 0) {
            return unsupported("it hashes with something else than sha256");
        }
        if (u64::from(le32(block, 64)), u64::from(le32(block, 68))) != (BLOCK, BLOCK) {
            return unsupported("its blocks have another size than 4096 bytes");
        }
        if usize::from(u16::from_le_bytes([block[80], block[81]])) != SALT {
            return unsupported("its salt has another length than 32 bytes");
        }
        if blocks < 2 {
            return unsupported("it has one block of data");
        }
        let mut salt = [0; SALT];
        salt.copy_from_slice(&block[88..88 + SALT]);
        let at = (blocks + 1) * BLOCK;
        if source.len()? != at + Tree::len_over(blocks) {
            return Err(FormatError::malformed(NAME, "the file does not end where its tree does"));
        }
        let mut second = false;
        let root = Tree::standing(source, blocks, salt, at, |number, block| {
            let head = block.first_chunk();
            second |= number > 0 && head.is_some_and(|head| says_so(head, number));
        })?;
        match root {
            _ if second => Err(two()),
            Some(root) => Ok(Image { blocks, uuid: uuid::Uuid::from_bytes(uuid_of(block)), salt, root }),
            None => Err(FormatError::malformed(NAME, "its tree is over other data")),
        }
    }

    /// What is signed.
    fn root(&self) -> String {
        hex(&self.root)
    }

    fn describe(&self) -> Inspection {
        let mut inspection = Inspection::new(NAME, self.blocks * BLOCK);
        inspection.field("root hash", self.root());
        inspection.note("uuid", self.uuid.to_string());
        inspection.note("salt", hex(&self.salt));
        inspection
    }
}

/// The superblock in a block, if there is one that says that it stands there.
/// Data may hold an image of its own; what it says then is not where it stands.
fn superblock(source: &dyn Source, number: u64) -> io::Result<Option<[u8; SUPERBLOCK]>> {
    let mut head = [0; MAGIC.len()];
    source.read_at(number * BLOCK, &mut head)?;
    if &head != MAGIC {
        return Ok(None);
    }
    let mut block = [0; SUPERBLOCK];
    source.read_at(number * BLOCK, &mut block)?;
    Ok(says_so(&block, number).then_some(block))
}

fn says_so(block: &[u8; SUPERBLOCK], number: u64) -> bool {
    block.starts_with(MAGIC) && le64(block, 72) == number
}

fn two() -> FormatError {
    FormatError::malformed(NAME, "two superblocks say where they stand")
}

/// How many blocks of data a file of this length has, with a superblock and the
/// tree behind them.
fn blocks_in(len: u64) -> Option<u64> {
    let whole = |blocks: u64| (blocks + 1).saturating_mul(BLOCK).saturating_add(Tree::len_over(blocks));
    let (mut low, mut high) = (1, len / BLOCK);
    while low < high {
        let middle = low.midpoint(high);
        if whole(middle) < len { low = middle + 1 } else { high = middle }
    }
    (low == high && whole(low) == len).then_some(low)
}

fn uuid_of(block: &[u8; SUPERBLOCK]) -> [u8; 16] {
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&block[16..32]);
    uuid
}

fn le32(block: &[u8; SUPERBLOCK], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&block[at..at + 4]);
    u32::from_le_bytes(word)
}

fn le64(block: &[u8; SUPERBLOCK], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&block[at..at + 8]);
    u64::from_le_bytes(word)
}
