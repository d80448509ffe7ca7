//! Parameters, which make a partition of data or are held against one.

use super::NAME;
use super::descriptor::{Descriptor, is_partition};
use super::image::Image;
use crate::error::FormatError;
use crate::parameters::{Parameter, Parameters, bad};

pub(super) const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "partition-name",
        about: "of data without a footer: the partition it is for, without a slot's suffix, as `boot`",
    },
    Parameter {
        name: "partition-size",
        about: "of data without a footer: the partition's size in bytes, a multiple of 4096",
    },
    Parameter {
        name: "salt",
        about: "of data without a footer: what is hashed before it, in hexadecimal; made from name, sizes and \
                version if not given",
    },
];

/// Longest salt, in bytes.
const SALT_MAX: usize = 64;

/// Parsed parameters.
pub(super) struct Options {
    pub(super) partition: Option<String>,
    pub(super) size: Option<u64>,
    pub(super) salt: Option<Vec<u8>>,
}

impl Options {
    pub(super) fn parse(parameters: &Parameters) -> Result<Options, FormatError> {
        parameters.check(PARAMETERS)?;
        let partition = parameters.get("partition-name").map(str::to_owned);
        if partition.as_ref().is_some_and(|name| !is_partition(name)) {
            return Err(bad("partition-name", "use letters, digits, `_`, `-` and `.`, up to 31".to_owned()));
        }
        let size = parameters.number("partition-size", u64::MAX >> 1)?;
        if size.is_some_and(|size| !size.is_multiple_of(4096)) {
            return Err(bad("partition-size", "use a multiple of 4096".to_owned()));
        }
        let salt = parameters.get("salt").map(|text| {
            salt(text).ok_or_else(|| bad("salt", format!("use up to {SALT_MAX} bytes in hexadecimal")))
        });
        Ok(Options { partition, size, salt: salt.transpose()? })
    }

    /// Holds them against an image that has vbmeta already, which keeps what it
    /// says.
    pub(super) fn agree(&self, image: &Image) -> Result<(), FormatError> {
        let own = image.partition.as_ref().and_then(|partition| partition.data.index());
        let own = own.and_then(|own| image.vbmeta.content.descriptors.get(own));
        let (name, salt) = match own {
            Some(Descriptor::Hash(own)) => (&own.partition, &own.salt),
            Some(Descriptor::Hashtree(own)) => (&own.partition, &own.salt),
            _ if self.partition.is_none() && self.size.is_none() && self.salt.is_none() => return Ok(()),
            _ => {
                let what = "vbmeta without a partition takes no parameters: what it says of partitions stays";
                return Err(FormatError::unsupported(NAME, what));
            }
        };
        let same = |field, inside: String, wanted: Option<String>| match wanted {
            Some(wanted) if wanted != inside => Err(FormatError::Disagrees { field, inside, wanted }),
            _ => Ok(()),
        };
        same("partition name", name.clone(), self.partition.clone())?;
        same("partition size", image.len.to_string(), self.size.map(|size| size.to_string()))?;
        let shown = |salt: &Vec<u8>| crate::hash::hex(salt);
        same("salt", shown(salt), self.salt.as_ref().map(shown))
    }
}

fn salt(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2) && digits.len() <= 2 * SALT_MAX)?;
    Some(digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}
