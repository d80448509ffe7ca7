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
        Checkpoint::open_all(bytes, std::slice::from_ref(key), origin)
    }

    /// The same for a log with several keys.
    pub fn open_all(bytes: &[u8], keys: &[VerifierKey], origin: &str) -> Result<(Checkpoint, Note), Error> {
        let note = Note::parse(bytes)?;
        signed_by_log(&note, keys)?;
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

/// Checks that a log has signed a note, which it does with a key of each kind
/// that it is known to have. Two of one kind are an old and a new one, and
/// either will do.
///
/// Were one kind enough where two are known, whoever can forge the weaker
/// would leave the stronger out. Ed25519 is always one of them: a log whose
/// checkpoints are witnessed has it (tlog-tiles), and it alone covers
/// extension lines.
pub(crate) fn signed_by_log(note: &Note, keys: &[VerifierKey]) -> Result<(), Error> {
    let bad = Error::malformed("verifier key");
    let has = |kind| keys.iter().any(|key| key.kind() == kind);
    // A witness's says that a log looked so, never what the log is.
    if has(Kind::Cosignature) {
        return Err(bad("it is a witness's, where a log's is wanted"));
    }
    if !has(Kind::Ed25519) {
        return Err(bad("a log has a key of type 1; others stand beside it"));
    }
    let verified = note.verify(keys)?;
    let signed = |kind| verified.iter().any(|verified| verified.key.kind() == kind);
    match keys.iter().find(|key| !signed(key.kind())) {
        None => Ok(()),
        Some(key) => Err(Error::HalfSigned { name: key.name().to_owned(), id: key.id() }),
    }
}

impl std::fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, base64::encode(self.root.as_bytes()))?;
        self.extensions.iter().try_for_each(|extension| writeln!(f, "{extension}"))
    }
}
