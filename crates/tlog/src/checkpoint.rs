//! Checkpoints: what a log says it is (C2SP tlog-checkpoint).

use firmseal_core::Digest;

use crate::error::Error;
use crate::key::{Kind, VerifierKey};
use crate::merkle::empty_root;
use crate::note::Note;
use crate::{base64, lines};

/// The text of a checkpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// How many entries it has.
    pub size: u64,
    /// Their Merkle tree hash (RFC 6962 §2.1).
    pub root: Digest,
    /// Lines that mean something to somebody else; not recommended.
    pub extensions: Vec<String>,
}

impl Checkpoint {
    /// Reads a note's text.
    pub fn parse(text: &str) -> Result<Checkpoint, Error> {
        let bad = Error::malformed("checkpoint");
        let mut rest = text;
        let mut line = || lines::take(&mut rest).ok_or(bad("it has fewer than three lines"));
        let origin = line()?;
        if origin.is_empty() {
            return Err(bad("its origin is empty"));
        }
        let size = lines::number(line()?).ok_or(bad("its size is not a plain decimal number"))?;
        let root = base64::digest(line()?).ok_or(bad("its root is not 32 bytes in base64"))?;
        let mut extensions = Vec::new();
        while !rest.is_empty() {
            match lines::take(&mut rest) {
                Some("") => return Err(bad("it has an empty line")),
                Some(extension) => extensions.push(extension.to_owned()),
                None => return Err(bad("it does not end with a newline")),
            }
        }
        if size == 0 && root != empty_root() {
            return Err(bad("its root is not the one of an empty log"));
        }
        Ok(Checkpoint { origin: origin.to_owned(), size, root, extensions })
    }

    /// Reads a signed checkpoint of the log that has this key, which must
    /// have signed it. Others' signatures are ignored.
    pub fn open(bytes: &[u8], key: &VerifierKey, origin: &str) -> Result<(Checkpoint, Note), Error> {
        let note = Note::parse(bytes)?;
        // A cosignature says that a log looked so, never what the log is.
        if key.kind() != Kind::Ed25519 {
            return Err(Error::malformed("verifier key")("a log's key has type 1"));
        }
        note.verify(std::slice::from_ref(key))?;
        let checkpoint = Checkpoint::parse(note.text())?;
        match checkpoint.origin == origin {
            true => Ok((checkpoint, note)),
            false => Err(Error::WrongLog { wanted: origin.to_owned(), found: checkpoint.origin }),
        }
    }

    /// The note to be signed. Refuses an origin or an extension that would
    /// be read as something else.
    pub fn to_note(&self) -> Result<Note, Error> {
        let text = self.to_string();
        match Checkpoint::parse(&text)? == *self {
            true => Note::new(text),
            false => Err(Error::malformed("checkpoint")("its origin or an extension has a newline")),
        }
    }
}

impl std::fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, base64::encode(self.root.as_bytes()))?;
        self.extensions.iter().try_for_each(|extension| writeln!(f, "{extension}"))
    }
}
