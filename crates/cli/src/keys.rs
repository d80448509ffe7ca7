//! Keys: from a URI to a signer, whichever backend has it.

mod backends;
mod destruction;
mod listed;
#[cfg(test)]
mod tests;
pub mod tokens;
mod uri;

use std::io::Write;
use std::sync::Arc;

use firmseal_keys::{DynSigner, Log, Logged, SecretSource};
use firmseal_manifest::{Intent, KeyAlgorithm, PublicKey};
use firmseal_sign::PipelineError;

pub use self::destruction::{destruction, gone};
pub use self::listed::list;
pub use self::uri::KeyUri;
use crate::error::Result;

/// How keys are written, for help.
pub fn written() -> String {
    backends::written(backends::BACKENDS)
}

/// Opens a key. The secret unlocks a key file; a token's PIN or a service's
/// credential comes from the same source unless the URI names one.
pub fn open(uri: &KeyUri, secret: &SecretSource) -> Result<Arc<dyn DynSigner>> {
    Ok(uri.home()?.open(secret)?)
}

/// Makes a key where it will live. `secret` is as for [`open`].
pub fn generate(
    uri: &KeyUri,
    algorithm: KeyAlgorithm,
    escrowable: bool,
    secret: &SecretSource,
) -> Result<PublicKey> {
    let home = uri.home()?;
    Ok(match escrowable {
        true => home.generate_escrowable(algorithm, secret)?,
        false => home.generate(algorithm, secret)?,
    })
}

/// Logs the use of a key, which it then signs under. Says so when an LMS key
/// is nearly used up, to programs too: the next one is not made in a hurry.
pub async fn logged(log: &(impl Log + ?Sized), intent: Intent, key: &PublicKey) -> Result<Logged<Intent>> {
    let logged = Logged::append_for(log, intent, key).await.map_err(PipelineError::Log)?;
    if let Some(reserved) = logged.leaf().map(|leaf| leaf.reserved()).filter(|reserved| reserved.is_late()) {
        let left = reserved.left();
        // A closed stderr is no reason to stop.
        let _ = writeln!(
            std::io::stderr(),
            "warning: LMS key {} signs {left} more times; make the next key and rotate to it",
            key.id()
        );
    }
    Ok(logged)
}
