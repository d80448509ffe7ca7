//! How the keys of a place are opened: all of them, or those that are there.
//!
//! A server that was cut off begins again while an HSM is away: the rest of
//! its work needs no key. What it needs is the public half of each, which it
//! keeps from the last time that it found the key, under the very URI that
//! settings write. A key under a URI that was never opened has to be there.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use firmseal_keys::{Awaited, DynSigner, SecretSource, SignError};
use firmseal_manifest::PublicKey;

use crate::error::{CliError, Kind, Result, file};
use crate::key_hosts::{KeyOpener, NotOpen};
use crate::keys::KeyUri;
use crate::newfile;
use crate::place::{Place, layout};

/// How long a start waits for keys that it can begin without, all of them
/// together: one that hangs holds up nobody.
const PATIENCE: Duration = Duration::from_secs(5);
const HEADER: &str = "# Which key was found under which URI, so that a server begins while one is away.\n\
                      # Firmseal writes it; without it, each key has to be there once more.\n\n";

/// What becomes of a key that is not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Absent {
    /// It is an error.
    Refused,
    /// It is waited for, if it was found before.
    Awaited,
}

type Opened = std::result::Result<Arc<dyn DynSigner>, NotOpen>;

/// Opens the keys of a place.
pub struct Opening<'a> {
    place: &'a Place,
    opener: Arc<KeyOpener>,
    /// Public halves that were found, by their URIs.
    known: BTreeMap<String, PublicKey>,
    /// Those keys, on their way since the beginning.
    begun: Mutex<BTreeMap<String, Receiver<Opened>>>,
    until: Instant,
    /// What is found now, of keys that may be waited for.
    found: Mutex<BTreeMap<String, PublicKey>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn path(place: &Place) -> PathBuf {
    place.path(layout::SEEN)
}

impl<'a> Opening<'a> {
    /// Begins to open these keys, all at once, where they may be absent.
    pub fn begin<'u>(
        place: &'a Place,
        opener: KeyOpener,
        uris: impl Iterator<Item = &'u KeyUri>,
        absent: Absent,
    ) -> Result<Opening<'a>> {
        let mut known = match absent {
            Absent::Refused => BTreeMap::new(),
            Absent::Awaited => read(place)?,
        };
        let (opener, mut begun) = (Arc::new(opener), BTreeMap::new());
        for uri in uris.filter(|uri| known.contains_key(&uri.to_string()) && opener.may_wait(uri)) {
            // Once, however many products it signs for: each attempt offers a PIN
            // and takes a session.
            if begun.contains_key(&uri.to_string()) {
                continue;
            }
            let (sender, receiver) = sync_channel(1);
            let (opener, own) = (opener.clone(), place.own(uri));
            // Nobody listens any more where it took too long.
            let work = move || drop(sender.send(opener.open(&own)));
            thread::Builder::new().name("key-opening".to_owned()).spawn(work)?;
            begun.insert(uri.to_string(), receiver);
        }
        // The rest is not named any more, or is opened as if it never was.
        known.retain(|uri, _| begun.contains_key(uri));
        let (begun, found) = (Mutex::new(begun), Mutex::new(known.clone()));
        Ok(Opening { place, opener, known, begun, until: Instant::now() + PATIENCE, found })
    }

    /// The key of this URI, as the settings write it.
    pub fn open(&self, uri: &KeyUri) -> Result<Arc<dyn DynSigner>> {
        let name = uri.to_string();
        let Some(public_key) = self.known.get(&name) else {
            return self.keep(uri, self.opener.open(&self.place.own(uri))?);
        };
        let opened = match lock(&self.begun).remove(&name) {
            Some(begun) => match begun.recv_timeout(self.until.saturating_duration_since(Instant::now())) {
                Ok(opened) => opened,
                Err(RecvTimeoutError::Timeout) => Err(slow()),
                Err(RecvTimeoutError::Disconnected) => {
                    Err(CliError::new(Kind::Unexpected, "the attempt to open it failed").into())
                }
            },
            // It has two tables, or one and a place in a set: that is told
            // by whoever sees both.
            None => self.opener.open(&self.place.own(uri)),
        };
        match opened {
            Ok(signer) => self.keep(uri, signer),
            // Out of reach is one thing. A backend or a host that answers, and
            // contradicts what is known or written, wants a person at once.
            Err(contradicted) if matches!(contradicted.error.kind, Kind::Usage | Kind::Refused) => {
                Err(contradicted.error)
            }
            Err(not_open) => Ok(self.awaited(uri, public_key, not_open)),
        }
    }

    fn keep(&self, uri: &KeyUri, signer: Arc<dyn DynSigner>) -> Result<Arc<dyn DynSigner>> {
        if self.opener.may_wait(uri) {
            lock(&self.found).insert(uri.to_string(), signer.dyn_public_key().clone());
        }
        Ok(signer)
    }

    fn awaited(&self, uri: &KeyUri, public_key: &PublicKey, why: NotOpen) -> Arc<dyn DynSigner> {
        let (opener, own, expected) = (self.opener.clone(), self.place.own(uri), public_key.id());
        let key = uri.to_string();
        tracing::warn!(key, error = why.error.message, "a key is not there yet; its requests wait");
        let open = move || match opener.open(&own) {
            Ok(signer) => {
                match signer.dyn_public_key().id() == expected {
                    true => tracing::info!(key, "a key is there"),
                    false => tracing::error!(key, %expected, "another key is where this one was"),
                }
                Ok(signer)
            }
            Err(why) => {
                tracing::warn!(key, error = why.error.message, "a key is still not there");
                Err(SignError::from(why))
            }
        };
        Arc::new(Awaited::new(public_key.clone(), why.into(), open))
    }

    /// Where secrets come from.
    pub fn secret(&self) -> &SecretSource {
        self.opener.secret()
    }

    /// Keeps what was found for the next start.
    pub fn remember(&self) -> Result {
        let found = lock(&self.found);
        if *found == read(self.place)? {
            return Ok(());
        }
        let pem = |(uri, key): (&String, &PublicKey)| Ok((uri.clone(), key.to_pem()?));
        let rows: BTreeMap<String, String> = found.iter().map(pem).collect::<Result<_>>()?;
        let text = toml::to_string(&rows).map_err(|error| CliError::new(Kind::Unexpected, error))?;
        newfile::replace(&path(self.place), newfile::PUBLIC, (HEADER.to_owned() + &text).as_bytes())
    }
}

fn slow() -> NotOpen {
    CliError::new(Kind::Unavailable, format_args!("no answer within {} s", PATIENCE.as_secs())).into()
}

/// What was found before; nothing, if nobody kept it.
fn read(place: &Place) -> Result<BTreeMap<String, PublicKey>> {
    let path = path(place);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(file(&path)(error)),
    };
    let wrong = |why: String| {
        CliError::new(Kind::Usage, why)
            .about(path.display())
            .hint("remove it; each key has to be there once more then")
    };
    let rows: BTreeMap<String, String> =
        toml::from_str(&text).map_err(|error| wrong(error.message().to_owned()))?;
    let key = |(uri, pem): (String, String)| match PublicKey::from_text(&pem) {
        Ok(key) => Ok((uri, key)),
        Err(error) => Err(wrong(format!("{uri}: {error}"))),
    };
    rows.into_iter().map(key).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_read_back_and_nothing_else_is_believed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(layout::SERVER), "").unwrap();
        let place = Place::open(dir.path()).unwrap();
        assert!(read(&place).unwrap().is_empty());
        let key = PublicKey::from_ed25519([7; 32]).unwrap();
        let row = |pem: &str| format!("{HEADER}\"pkcs11:object=a\" = '''{pem}'''\n");
        std::fs::write(path(&place), row(&key.to_pem().unwrap())).unwrap();
        let known = read(&place).unwrap();
        assert_eq!(known.into_iter().collect::<Vec<_>>(), [("pkcs11:object=a".to_owned(), key)]);
        for wrong in ["no = 1".to_owned(), row("a key"), "\"".to_owned()] {
            std::fs::write(path(&place), &wrong).unwrap();
            let error = read(&place).err().unwrap();
            assert_eq!(error.kind, Kind::Usage);
            assert!(
                error.message.contains(layout::SEEN) && error.hint.is_some(),
                "{wrong}: {}",
                error.message
            );
        }
    }
}
