//! Client options that can hurt, kept where they are seen.

use super::Builder;

/// A builder on which the options that can hurt are callable.
pub struct DangerousBuilder(pub(super) Builder);

impl DangerousBuilder {
    /// Ignores the dates of the server's certificate; everything else about
    /// it is checked.
    ///
    /// For a device without a clock only. It cannot tell an expired
    /// certificate from a valid one, so a stolen server key works against
    /// it for ever; what it installs is still decided by the envelope's own
    /// signatures.
    #[must_use]
    pub fn ignore_dates(mut self) -> Builder {
        self.0.ignore_dates = true;
        self.0
    }
}
