//! Encrypted files, opened with a device's private key to be looked at.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use firmseal_formats::{DecryptionKey, Format, Inspection};
use zeroize::Zeroizing;

use crate::error::{CliError, Kind, Result, file};

/// Longest key file that is read, in bytes.
const KEY_MAX: u64 = 16 * 1024;

/// What a file says of itself as its device reads it. The plaintext is
/// nowhere but in memory, a piece at a time.
pub fn opened(format: &dyn Format, source: &File, key: &Path) -> Result<Inspection> {
    let mut text = Zeroizing::new(String::with_capacity(KEY_MAX as usize));
    let read = File::open(key).and_then(|input| input.take(KEY_MAX).read_to_string(&mut text));
    read.map_err(file(key))?;
    let device = DecryptionKey::from_pem(&text)
        .map_err(|error| CliError::new(Kind::Usage, error).about(key.display()))?;
    let plan = format.decrypt(source, &device)?;
    Ok(format.inspect(&plan.over(source)?)?)
}
