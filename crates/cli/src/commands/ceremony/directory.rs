//! A ceremony's directory: the request, what came back, and the record.
//!
//!     request.toml     what is to be signed; copied out to the custodians
//!     signatures/      what they brought back, one file for each key
//!     record.md        who did what, each entry linked to the one before
//!
//! A signature is stored first and recorded after. Whoever opens the
//! directory for writing records what a cut has left unrecorded, so the two
//! never part for long.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_fleet::Time;
use firmseal_trust::record::RECORD_MAX;
use firmseal_trust::{Ceremony, Event, Record, Request};

use super::describe::Described;
use super::files::{self, SignatureFile};
use crate::bundle_file::BundleFile;
use crate::error::{CliError, Kind, Result, file};
use crate::newfile;
use crate::trust;

const REQUEST: &str = "request.toml";
const SIGNATURES: &str = "signatures";
const RECORD: &str = "record.md";
/// More than there can be holders in one ceremony.
const FILES_MAX: usize = 256;

/// Who writes the record, and when, as they state it.
pub struct Clerk {
    /// Their name.
    pub who: String,
    /// Their time; the clock's where they state none.
    pub when: Option<String>,
}

impl Clerk {
    /// Something that happens now.
    pub fn event(&self, what: String) -> Event {
        let now = || Time::from(SystemTime::now()).to_string();
        Event { what, who: self.who.clone(), when: self.when.clone().unwrap_or_else(now) }
    }
}

/// An open ceremony.
pub struct Directory {
    path: PathBuf,
    ceremony: Ceremony,
    record: Record,
    /// What the record must say of each signature that is here.
    carried: Vec<Carried>,
}

struct Carried {
    digest: String,
    who: String,
    when: String,
    what: String,
}

impl Directory {
    /// Makes the directory of a new ceremony.
    pub fn create(path: &Path, request: Request, clerk: &Clerk) -> Result<Directory> {
        newfile::free(path)?;
        for made in [path.to_owned(), path.join(SIGNATURES)] {
            fs::DirBuilder::new().mode(0o755).create(&made).map_err(file(&made))?;
        }
        let text = files::write_request(&request, &Described::of(&request)?.print())?;
        let mut record = Record::new(request.title());
        let (number, _) = request.number();
        let (kind, digest, words) = (request.kind().word(), request.digest(), request.words());
        record.push(clerk.event(format!(
            "began: {kind}, number {number}, request {digest}, signs over {}, words: {words}",
            request.subject()
        )));
        newfile::write(&path.join(RECORD), newfile::PUBLIC, record.markdown().as_bytes())?;
        // Last, and what makes it a ceremony's directory.
        newfile::write(&path.join(REQUEST), newfile::PUBLIC, text.as_bytes())?;
        Ok(Directory { path: path.to_owned(), ceremony: Ceremony::new(request), record, carried: Vec::new() })
    }

    /// Opens a directory and checks all that is in it.
    pub fn open(path: &Path) -> Result<Directory> {
        let request = path.join(REQUEST);
        if !request.is_file() {
            return Err(CliError::new(Kind::NotFound, format_args!("{} holds no ceremony", path.display()))
                .hint(format!("`firmseal ceremony start {} ...` begins one", path.display())));
        }
        let ceremony = Ceremony::new(files::request(&request)?);
        let record = record(&path.join(RECORD))?;
        let mut directory = Directory { path: path.to_owned(), ceremony, record, carried: Vec::new() };
        let folder = path.join(SIGNATURES);
        let mut names = Vec::new();
        for entry in fs::read_dir(&folder).map_err(file(&folder))?.take(FILES_MAX) {
            names.push(entry.map_err(file(&folder))?.path());
        }
        names.sort();
        for name in names.iter().filter(|name| name.extension().is_some_and(|end| end == "toml")) {
            directory.take(name).map_err(|error| error.about(name.display()))?;
        }
        Ok(directory)
    }

    /// The ceremony.
    pub fn ceremony(&self) -> &Ceremony {
        &self.ceremony
    }

    /// The record.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The file that is carried to the custodians.
    pub fn request_file(&self) -> PathBuf {
        self.path.join(REQUEST)
    }

    /// The record's file.
    pub fn record_file(&self) -> PathBuf {
        self.path.join(RECORD)
    }

    /// Takes a signature that was brought, and says whose it is. The same
    /// file again changes nothing.
    pub fn add(&mut self, from: &Path, clerk: &Clerk) -> Result<String> {
        let bytes = trust::read(from, 1 << 20)?;
        let digest = RustCrypto.digest(&bytes).to_string();
        if let Some(known) = self.carried.iter().find(|carried| carried.digest == digest) {
            let who = known.who.clone();
            self.settle(clerk)?;
            return Ok(who);
        }
        let holder = self.take(from).map_err(|error| error.about(from.display()))?;
        let (key, _, _) = SignatureFile::read(from)?.parts()?;
        let to = self.path.join(SIGNATURES).join(format!("{key}.toml"));
        newfile::write(&to, newfile::PUBLIC, &bytes)?;
        self.settle(clerk)?;
        Ok(holder)
    }

    fn take(&mut self, path: &Path) -> Result<String> {
        let bytes = trust::read(path, 1 << 20)?;
        let file = SignatureFile::read(path)?;
        let (key, asked, signature) = file.parts()?;
        let holder = self.ceremony.add(&key, &asked, signature)?;
        let log = file.logged(self.ceremony.request())?;
        let digest = RustCrypto.digest(&bytes).to_string();
        let what = format!("signed with key {key}, entry {} of log {log}, file {digest}", file.log.index);
        self.carried.push(Carried { digest, who: holder.clone(), when: file.signed, what });
        Ok(holder)
    }

    /// Records the signatures that the record does not have yet.
    fn settle(&mut self, clerk: &Clerk) -> Result {
        let known = |carried: &&Carried, record: &Record| {
            !record.events().iter().any(|event| event.what.contains(&carried.digest))
        };
        let record = &self.record;
        let new: Vec<Event> = self
            .carried
            .iter()
            .filter(|carried| known(carried, record))
            .map(|Carried { who, when, what, .. }| {
                let what = format!("{what}; taken by {}", clerk.who);
                Event { what, who: who.clone(), when: when.clone() }
            })
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        new.into_iter().for_each(|event| self.record.push(event));
        self.save()
    }

    /// Writes the signed document and what is said of it. Again, it changes
    /// nothing.
    pub fn finish(&mut self, to: &Path, payloads: Option<&Path>, clerk: &Clerk) -> Result<Vec<u8>> {
        let document = self.ceremony.finish()?;
        match payloads {
            Some(payloads) => self.bundle(to, payloads, &document)?,
            None => match fs::read(to) {
                Ok(there) if there == document => {}
                _ => newfile::write(to, newfile::PUBLIC, &document)?,
            },
        }
        self.settle(clerk)?;
        let what = format!("finished: the signed document is {}", RustCrypto.digest(&document));
        if !self.record.events().iter().any(|event| event.what == what) {
            self.record.push(clerk.event(what));
            self.save()?;
        }
        Ok(document)
    }

    /// Writes the bundle of a signed release, with the root document that
    /// names its signers.
    fn bundle(&self, to: &Path, payloads: &Path, envelope: &[u8]) -> Result {
        // As above: the same again changes nothing.
        if to.is_file() && BundleFile::open(to, None).is_ok_and(|there| there.envelope() == envelope) {
            return Ok(());
        }
        let request = self.ceremony.request();
        let carried = super::sign::payloads(request, payloads)?;
        let mut news = carried.news().clone();
        if let Some(under) = request.under()
            && !news.roots.iter().any(|root| root == under)
        {
            news.roots.push(under.to_vec());
        }
        carried.write(to, &news, envelope)
    }

    fn save(&self) -> Result {
        newfile::replace(&self.record_file(), newfile::PUBLIC, self.record.markdown().as_bytes())
    }
}

/// Reads a record and checks it.
pub fn record(path: &Path) -> Result<Record> {
    let about = |error: CliError| error.about(path.display());
    let bytes = trust::read(path, RECORD_MAX)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| about(CliError::new(Kind::Refused, "is not text")))?;
    Record::parse(text).map_err(|error| {
        about(CliError::new(Kind::Refused, error))
            .hint("compare it with the printed copy in the binder; a record is not mended")
    })
}
