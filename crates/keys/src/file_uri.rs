//! Key files by their URI: `file:PATH`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use firmseal_manifest::{KeyAlgorithm, KeyId, PublicKey};

use crate::backend_error::{BackendError, Fault};
use crate::error::KeysError;
use crate::file::FileKey;
use crate::home::{Destruction, KeyHome, KeyScheme};
use crate::listed::KeptKey;
use crate::secret::SecretSource;
use crate::signer::{DynSigner, Signer};
use crate::uri_options::fail;

/// Its row in a table.
pub const SCHEME: KeyScheme = KeyScheme::of::<FileUri>("file", "`file:PATH`");

/// The file of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileUri(pub PathBuf);

impl FromStr for FileUri {
    type Err = KeysError;

    fn from_str(text: &str) -> Result<FileUri, KeysError> {
        match text.strip_prefix("file:") {
            Some(path) if !path.is_empty() && !path.contains('\0') => Ok(FileUri(path.into())),
            _ => fail("file", "it is `file:PATH`"),
        }
    }
}

impl fmt::Display for FileUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "file:{}", self.0.display())
    }
}

impl KeyHome for FileUri {
    fn is_development_only(&self) -> bool {
        true
    }

    fn open(&self, secret: &SecretSource) -> Result<Arc<dyn DynSigner>, BackendError> {
        let passphrase = secret.read(&format!("passphrase of {}", self.0.display()))?;
        Ok(Arc::new(FileKey::open(&self.0, &passphrase)?))
    }

    /// An LMS key is made for a log instead: [`FileKey::generate_lms`].
    fn generate(&self, algorithm: KeyAlgorithm, secret: &SecretSource) -> Result<PublicKey, BackendError> {
        let passphrase = secret.read(&format!("new passphrase of {}", self.0.display()))?;
        Ok(FileKey::generate(&self.0, algorithm, &passphrase)?.public_key().clone())
    }

    fn generate_escrowable(&self, _: KeyAlgorithm, _: &SecretSource) -> Result<PublicKey, BackendError> {
        Err(BackendError::new(Fault::Usage, "a key in a file can always be split")
            .hint("leave --escrowable out; it is for keys in tokens"))
    }

    fn list(&self, _: Option<&SecretSource>) -> Result<Vec<KeptKey>, BackendError> {
        Err(BackendError::new(Fault::Usage, "a file holds one key, and nothing lists files")
            .hint("`firmseal keys show` shows the key"))
    }

    /// Whatever the file holds by then: without the passphrase nobody sees
    /// which key it is.
    fn destruction(&self, _: KeyId, _: &SecretSource) -> Destruction {
        let path = self.0.clone();
        Destruction::quiet(move || FileKey::destroy(&path))
    }

    fn within(&self, directory: &Path) -> Option<Arc<dyn KeyHome>> {
        Some(Arc::new(FileUri(directory.join(&self.0))))
    }
}
