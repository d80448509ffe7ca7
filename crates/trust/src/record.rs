//! Records: who did what at a ceremony, for the binder and for machines.
//!
//! Each entry names the digest of the one before, so none can be changed,
//! dropped or put in between without every digest after it changing. The
//! last digest stands for the whole: whoever wrote it down, or logged it,
//! can tell. Times and names are what the people present stated; a record
//! proves that nobody altered them since.

use std::fmt::Write as _;

use firmseal_core::crypto::{Crypto, Hasher, RustCrypto};
use firmseal_manifest::Digest;
use firmseal_manifest::ids::parse_digest;

/// Most entries that are read: a ceremony has a dozen.
pub const EVENTS_MAX: usize = 1000;
/// Longest record that is read, in bytes.
pub const RECORD_MAX: usize = 1024 * 1024;

const HEAD: &str = "# Ceremony record: ";
const ABOUT: &str = "Each entry's digest covers the entry and the digest before it; the last one stands for all.\n\
    `firmseal ceremony verify-record` checks them.\n";

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// What.
    pub what: String,
    /// Who did it, as stated.
    pub who: String,
    /// When, as stated.
    pub when: String,
}

/// Why a record is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It is none, or somebody added to it outside the entries.
    #[error("line {line} is not what a record says there; it was changed by hand, or is no record")]
    Malformed {
        /// Where.
        line: usize,
    },
    /// An entry does not hash to what it says.
    #[error("entry {entry} was changed after it was written, or one before it was dropped")]
    Broken {
        /// Which, from 1.
        entry: usize,
    },
    /// It does not end before its bounds.
    #[error("a record has at most {EVENTS_MAX} entries and {RECORD_MAX} bytes")]
    TooLong,
}

/// A ceremony's record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    title: String,
    events: Vec<Event>,
}

impl Record {
    /// An empty record.
    pub fn new(title: &str) -> Record {
        Record { title: line(title), events: Vec::new() }
    }

    /// Adds what happened next.
    pub fn push(&mut self, event: Event) {
        let Event { what, who, when } = event;
        self.events.push(Event { what: line(&what), who: line(&who), when: line(&when) });
    }

    /// What it is called.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// What happened, in order.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// The digest that stands for the whole.
    pub fn digest(&self) -> Digest {
        self.digests().last().unwrap_or_else(|| self.begin())
    }

    fn begin(&self) -> Digest {
        hash(&[b"firmseal/record", self.title.as_bytes()])
    }

    fn digests(&self) -> impl Iterator<Item = Digest> + '_ {
        self.events.iter().scan(self.begin(), |before, event| {
            let parts =
                [before.as_bytes(), event.what.as_bytes(), event.who.as_bytes(), event.when.as_bytes()];
            *before = hash(&parts);
            Some(*before)
        })
    }

    /// The record as Markdown.
    pub fn markdown(&self) -> String {
        let mut out = format!("{HEAD}{}\n\n{ABOUT}", self.title);
        for (index, (event, digest)) in self.events.iter().zip(self.digests()).enumerate() {
            let Event { what, who, when } = event;
            let number = index + 1;
            // Writing to a string does not fail.
            let _ =
                write!(out, "\n## {number}. {what}\n\n- who: {who}\n- when: {when}\n- digest: `{digest}`\n");
        }
        out
    }

    /// Reads a record and checks every digest in it. What is not exactly as
    /// [`Record::markdown`] writes it is refused, so nothing hides between
    /// the entries.
    pub fn parse(text: &str) -> Result<Record, RecordError> {
        if text.len() > RECORD_MAX {
            return Err(RecordError::TooLong);
        }
        let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
        let mut next = |prefix: &str| -> Result<Option<(usize, String)>, RecordError> {
            let Some((line, text)) = lines.next() else { return Ok(None) };
            match text.strip_prefix(prefix) {
                Some(rest) => Ok(Some((line, rest.to_owned()))),
                None => Err(RecordError::Malformed { line }),
            }
        };
        let need = |found: Option<(usize, String)>| {
            found.ok_or(RecordError::Malformed { line: text.lines().count() + 1 })
        };
        let mut record = Record::new(&need(next(HEAD)?)?.1);
        need(next("")?)?;
        ABOUT.lines().try_for_each(|about| need(next(about)?).map(drop))?;
        let mut stated = Vec::new();
        while next("")?.is_some() {
            if record.events.len() == EVENTS_MAX {
                return Err(RecordError::TooLong);
            }
            let what = need(next(&format!("## {}. ", record.events.len() + 1))?)?.1;
            need(next("")?)?;
            let who = need(next("- who: ")?)?.1;
            let when = need(next("- when: ")?)?.1;
            let (line, digest) = need(next("- digest: `")?)?;
            let digest = digest.strip_suffix('`').and_then(parse_digest);
            stated.push(digest.ok_or(RecordError::Malformed { line })?);
            record.push(Event { what, who, when });
        }
        for (index, (own, stated)) in record.digests().zip(&stated).enumerate() {
            if own != *stated {
                return Err(RecordError::Broken { entry: index + 1 });
            }
        }
        let own = record.markdown();
        if own != text {
            let same = own.lines().zip(text.lines()).take_while(|(own, said)| own == said).count();
            return Err(RecordError::Malformed { line: same + 1 });
        }
        Ok(record)
    }
}

/// One line, whatever was said: an entry cannot forge the next one.
fn line(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    plain.trim().to_owned()
}

fn hash(parts: &[&[u8]]) -> Digest {
    let mut hasher = RustCrypto.sha256();
    for part in parts {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finish()
}
