//! Reload: new certificate files take effect without a restart.

use std::sync::Arc;
use std::sync::Mutex;

use arc_swap::ArcSwap;
use firmseal_manifest::Digest;
use rustls::server::ServerConfig;

use super::names::sha256;
use super::{TlsError, TlsSettings, read};

/// A TLS configuration that follows its files.
///
/// Handshakes that begin after a reload see the new files; connections that
/// are open keep what they have until their age ends.
pub(crate) struct ReloadingTls {
    settings: TlsSettings,
    current: ArcSwap<ServerConfig>,
    /// Digests of the files as last tried, good or bad, so that a bad set
    /// is complained about once and not every time somebody looks.
    tried: Mutex<Vec<Option<Digest>>>,
}

/// What a look at the files brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reload {
    /// The files are as they were.
    Unchanged,
    /// The new files are in use.
    Replaced,
    /// The new files cannot be used; the old ones stay in use.
    Kept,
}

impl ReloadingTls {
    pub(crate) fn load(settings: TlsSettings) -> Result<ReloadingTls, TlsError> {
        let tried = Mutex::new(fingerprint(&settings));
        let current = ArcSwap::new(settings.load()?);
        Ok(ReloadingTls { settings, current, tried })
    }

    pub(crate) fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// Looks at the files. Contents are compared, not dates: a copy that
    /// keeps its date is a change, and a touched file is none. Certificate
    /// and key are two files, so a look between two writes finds a pair that
    /// does not fit; the old pair stays, and the next look finds both.
    pub(crate) fn reload(&self) -> Reload {
        let seen = fingerprint(&self.settings);
        {
            let mut tried = self.tried.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            if *tried == seen {
                return Reload::Unchanged;
            }
            *tried = seen;
        }
        match self.settings.load() {
            Ok(config) => {
                self.current.store(config);
                tracing::info!(certificate = %self.settings.certificate.display(), "tls files reloaded");
                Reload::Replaced
            }
            Err(err) => {
                tracing::error!(error = %err, "new tls files cannot be used; the old ones stay in use");
                Reload::Kept
            }
        }
    }
}

fn fingerprint(settings: &TlsSettings) -> Vec<Option<Digest>> {
    settings.files().into_iter().map(|path| read(path).ok().map(|bytes| sha256(&bytes))).collect()
}
