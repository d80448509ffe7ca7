//! Presence: devices that were here lately, and when.
//!
//! A poll that brings nothing new touches no disk: the device is known from
//! memory, and that it was seen is written down later, for many at once.
//! Losing those notes loses nothing that matters.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use firmseal_fleet::{Certificate, Device, Time};
use firmseal_manifest::{DeviceId, Digest};
use firmseal_store::StoreError;

use super::App;

/// How long a device is believed before the store is asked again. Changes
/// made through this process show at once; this bounds how long a change
/// made by another process can go unseen.
const BELIEVED: Duration = Duration::from_secs(5);
/// Devices kept in memory, a few hundred bytes each.
const KEPT: usize = 100_000;

/// A device behind a certificate.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) device: Device,
    pub(crate) certificate: Certificate,
    read: Instant,
}

#[derive(Default)]
struct Inner {
    by_certificate: HashMap<Digest, Arc<Known>>,
    seen: HashMap<DeviceId, Time>,
    /// Counts forgettings: what was read before one is not kept after it.
    forgotten: u64,
}

/// The devices in memory.
#[derive(Default)]
pub(crate) struct Presence {
    inner: Mutex<Inner>,
}

impl Presence {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while holding the lock; if something did, the maps
        // are still maps.
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The device that a certificate was issued to.
    pub(crate) async fn find(
        &self,
        app: &App,
        fingerprint: &Digest,
    ) -> Result<Option<Arc<Known>>, StoreError> {
        let generation = {
            let inner = self.lock();
            if let Some(known) = inner.by_certificate.get(fingerprint)
                && known.read.elapsed() < BELIEVED
            {
                return Ok(Some(known.clone()));
            }
            inner.forgotten
        };
        let read = Instant::now();
        let Some((device, certificate)) = app.store.device_of_certificate(fingerprint).await? else {
            self.lock().by_certificate.remove(fingerprint);
            return Ok(None);
        };
        let known = Arc::new(Known { device, certificate, read });
        let mut inner = self.lock();
        // A revocation may have been written between our read and now; then
        // this answer serves this request only, and the next one reads.
        if inner.forgotten == generation {
            if inner.by_certificate.len() >= KEPT {
                inner.by_certificate.clear();
            }
            inner.by_certificate.insert(*fingerprint, known.clone());
        }
        Ok(Some(known))
    }

    /// Forgets what is believed about a device, after it was changed.
    pub(crate) fn forget(&self, device: DeviceId) {
        let mut inner = self.lock();
        inner.forgotten += 1;
        inner.by_certificate.retain(|_, known| known.device.id != device);
    }

    /// Forgets one certificate's device: cheap, for the device's own news.
    pub(crate) fn forget_certificate(&self, fingerprint: &Digest) {
        let mut inner = self.lock();
        inner.forgotten += 1;
        inner.by_certificate.remove(fingerprint);
    }

    /// Notes that a device was here.
    pub(crate) fn note(&self, device: DeviceId, now: Time) {
        self.lock().seen.insert(device, now);
    }

    /// When a device was here, if that is not yet written down.
    pub(crate) fn last_seen(&self, device: &DeviceId) -> Option<Time> {
        self.lock().seen.get(device).copied()
    }

    /// Takes the notes, to write them down.
    pub(crate) fn take_notes(&self) -> Vec<(DeviceId, Time)> {
        std::mem::take(&mut self.lock().seen).into_iter().collect()
    }
}
