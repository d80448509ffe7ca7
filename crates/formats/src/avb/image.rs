//! An image: vbmeta and zeros, or a partition with vbmeta in it.

use super::NAME;
use super::footer::{self, Footer};
use super::header::MAGIC;
use super::own::{self, Data};
use super::vbmeta::Vbmeta;
use crate::error::FormatError;
use crate::source::{Source, head};

/// An image.
pub(super) struct Image {
    pub(super) vbmeta: Vbmeta,
    pub(super) partition: Option<Partition>,
    pub(super) len: u64,
}

/// What an image has that is more than vbmeta.
pub(super) struct Partition {
    pub(super) footer: Footer,
    pub(super) data: Data,
}

/// Whether a file begins with vbmeta.
pub(super) fn begins(source: &dyn Source) -> Result<bool, FormatError> {
    Ok(head::<4>(source)?.is_some_and(|magic| &magic == MAGIC))
}

impl Image {
    pub(super) fn read(source: &dyn Source) -> Result<Image, FormatError> {
        let malformed = |what: &str| Err(FormatError::malformed(NAME, what));
        let len = source.len()?;
        match (begins(source)?, footer::ends(source)?) {
            (false, false) => malformed("it neither begins with vbmeta nor ends with a footer"),
            // avbtool goes by the footer, libavb by the name of the partition.
            (true, true) => malformed("it begins with vbmeta, and a footer tells of another one"),
            (true, false) => {
                let vbmeta = Vbmeta::read(source, 0, len)?;
                own::zeros(source, vbmeta.len..len)?;
                Ok(Image { vbmeta, partition: None, len })
            }
            (false, true) => {
                let (footer, end) = (Footer::read(source)?, len - footer::LEN);
                let vbmeta = Vbmeta::read(source, footer.vbmeta_at, end)?;
                // libavb reads so much, and avbtool what the header tells.
                if vbmeta.len != footer.vbmeta_len || footer.original_size > footer.vbmeta_at {
                    return malformed("its footer tells otherwise of vbmeta than that does");
                }
                own::zeros(source, footer.vbmeta_at + vbmeta.len..end)?;
                let data = own::check(source, &vbmeta.content.descriptors, &footer)?;
                Ok(Image { vbmeta, partition: Some(Partition { footer, data }), len })
            }
        }
    }
}
