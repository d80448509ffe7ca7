//! ESP32 app images with Secure Boot v2 (ESP-IDF Programming Guide, "App Image
//! Format" and "Secure Boot v2"), as esptool 5.6 makes and espsecure signs them.
//!
//! ```text
//! header (8 bytes) | extended header (16 bytes)
//!   | segments: address, length, data (the first begins with the app's description)
//!   | zeros, checksum | SHA-256 of all of it, if the header says so
//!   | 0xff up to 4 KiB                                      <- signed up to here
//!   | sector of 4 KiB: up to three signature blocks, 0xff behind them
//! ```
//!
//! A device looks for the sector where the image ends: there it is, or the file
//! is refused.

mod app;
mod block;
mod chip;
mod image;
mod inspect;
mod sector;
mod sign;

use crate::error::FormatError;
use crate::format::{Embedding, Format, Likeness, Unsigned, Wanted};
use crate::inspection::Inspection;
use crate::parameters::Parameter;
use crate::source::{Source, head};

const NAME: &str = "esp32";

/// The format of ESP32 app images.
pub(crate) struct Esp32;

impl Format for Esp32 {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "ESP32 app images with Secure Boot v2: RSA-3072, P-256 and P-384; up to three signatures"
    }

    fn detect(&self, source: &dyn Source) -> Result<Likeness, FormatError> {
        let own = head::<24>(source)?.is_some_and(|header| image::is_one(&header));
        Ok(if own { Likeness::Own } else { Likeness::No })
    }

    fn inspect(&self, source: &dyn Source) -> Result<Inspection, FormatError> {
        inspect::inspect(source)
    }

    fn embedding(&self) -> Option<&dyn Embedding> {
        Some(self)
    }
}

impl Embedding for Esp32 {
    fn parameters(&self) -> &'static [Parameter] {
        sign::PARAMETERS
    }

    fn prepare(&self, source: &dyn Source, wanted: &Wanted<'_>) -> Result<Unsigned, FormatError> {
        sign::prepare(source, wanted)
    }
}
