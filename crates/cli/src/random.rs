//! Randomness in text: tokens and passphrases.

use crate::error::{CliError, Kind, Result};

/// 256 random bits in hexadecimal.
pub fn random() -> Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| CliError::new(Kind::Local, error))?;
    Ok(firmseal_manifest::Digest(bytes).to_string())
}
