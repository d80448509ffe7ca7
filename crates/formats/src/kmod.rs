//! Linux kernel modules with an appended signature (the kernel's
//! *Kernel module signing facility*, `scripts/sign-file.c` and
//! `kernel/module_signature.c`).
//!
//! ```text
//! ELF, relocatable: the module               <- signed, all of it
//! PKCS #7: signer | hash | signature         no content, attributes or
//!                                            certificates
//! 0 0 2 0 0 0 0 0 | length of the PKCS #7
//! ~Module signature appended~
//! ```

mod appended;
mod elf;
mod inspect;
mod modinfo;
mod pkcs7;
mod sign;

use crate::error::FormatError;
use crate::format::{Embedding, Format, Likeness, Unsigned, Wanted};
use crate::inspection::Inspection;
use crate::parameters::Parameter;
use crate::source::Source;

const NAME: &str = "kmod";

/// The format of kernel modules.
pub(crate) struct Kmod;

impl Format for Kmod {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "Linux kernel modules (.ko), signed as sign-file does: RSA, P-256 and P-384"
    }

    fn detect(&self, source: &dyn Source) -> Result<Likeness, FormatError> {
        // Any relocatable file: what the kernel would load has to be told from
        // other files before a signature over it is one that it believes.
        Ok(if elf::is_relocatable(source)? { Likeness::Own } else { Likeness::No })
    }

    fn inspect(&self, source: &dyn Source) -> Result<Inspection, FormatError> {
        inspect::inspect(source)
    }

    fn embedding(&self) -> Option<&dyn Embedding> {
        Some(self)
    }
}

impl Embedding for Kmod {
    fn parameters(&self) -> &'static [Parameter] {
        sign::PARAMETERS
    }

    fn numbers(&self) -> bool {
        false
    }

    fn prepare(&self, source: &dyn Source, wanted: &Wanted<'_>) -> Result<Unsigned, FormatError> {
        sign::prepare(source, wanted)
    }
}
