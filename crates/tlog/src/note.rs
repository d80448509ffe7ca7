//! Signed notes: a text and the signatures under it (C2SP signed-note).

use crate::base64;
use crate::error::Error;
use crate::key::{Kind, VerifierKey, is_name};

/// Longest note. A checkpoint with every signature allowed, all ML-DSA, is
/// shorter.
pub const NOTE_MAX: usize = 512 * 1024;

/// Most signature lines. "Verifiers SHOULD apply a maximum limit to the
/// number of signatures in a note [...] but MUST accept at least up to 16".
pub const SIGNATURES_MAX: usize = 100;

/// Longest signature, decoded: SLH-DSA's fast parameter sets have 49,856.
const SIGNATURE_MAX: usize = 50 * 1024;

const DASH: &str = "\u{2014} ";

/// A line under a note. Nobody has checked it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoteSignature {
    name: String,
    id: u32,
    bytes: Vec<u8>,
}

/// A note: its text, and signature lines that nobody has checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// A signature that verifies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verified<'k> {
    /// By this key.
    pub key: &'k VerifierKey,
    /// At this time, in seconds since 1970, if it is a cosignature.
    pub time: Option<u64>,
}

impl NoteSignature {
    /// The line of a key over a note: for [`Kind::Ed25519`], the 64 bytes.
    pub fn new(key: &VerifierKey, signature: &[u8]) -> NoteSignature {
        NoteSignature { name: key.name().to_owned(), id: key.id(), bytes: signature.to_vec() }
    }

    /// The line of a key of any other kind, over
    /// [`VerifierKey::message`] at `time`.
    pub fn timed(key: &VerifierKey, time: u64, signature: &[u8]) -> NoteSignature {
        let mut line = NoteSignature::new(key, signature);
        line.bytes.splice(..0, time.to_be_bytes());
        line
    }

    /// Reads one line, without its newline.
    pub fn parse(line: &str) -> Result<NoteSignature, Error> {
        let bad = Error::malformed("signature line");
        let line = line.strip_prefix(DASH).ok_or(bad("it does not begin with an em dash and a space"))?;
        let (name, rest) = line.split_once(' ').ok_or(bad("it has no signature"))?;
        if !is_name(name) {
            return Err(bad("the key's name is empty or has a space or a plus"));
        }
        if rest.len() > (SIGNATURE_MAX + 6) / 3 * 4 {
            return Err(bad("it is too long"));
        }
        let decoded = base64::decode(rest).ok_or(bad("it is not base64"))?;
        match decoded.split_first_chunk::<4>() {
            Some((id, bytes)) if !bytes.is_empty() => Ok(NoteSignature {
                name: name.to_owned(),
                id: u32::from_be_bytes(*id),
                bytes: bytes.to_vec(),
            }),
            _ => Err(bad("it is too short")),
        }
    }

    /// Name of the key that it says it is by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Id of the key that it says it is by.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// What stands behind the id: the signature, as its kind lays it out.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn is_by(&self, key: &VerifierKey) -> bool {
        self.id == key.id() && self.name == key.name()
    }

    /// Checks it; returns the time of a cosignature.
    fn verify(&self, key: &VerifierKey, text: &str) -> Result<Option<u64>, Error> {
        let bad = || Error::BadSignature { name: self.name.clone() };
        let (time, signature) = match key.kind() {
            Kind::Ed25519 => (0, self.bytes.as_slice()),
            Kind::Cosignature | Kind::MlDsa44 | Kind::MlDsa87 => {
                let (time, signature) = self.bytes.split_first_chunk().ok_or_else(bad)?;
                (u64::from_be_bytes(*time), signature)
            }
        };
        // No timestamp may "exceed 2^63 - 1". Zero says of an Ed25519
        // cosignature that it vouches for less than a checkpoint; ML-DSA
        // signs trees without a time as well.
        if time > i64::MAX as u64 || (time == 0 && key.kind() == Kind::Cosignature) {
            return Err(bad());
        }
        let message = key.message(time, text).map_err(|_| bad())?;
        match key.has_signed(&message, signature) {
            true => Ok((time != 0).then_some(time)),
            false => Err(bad()),
        }
    }
}

impl std::fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut bytes = self.id.to_be_bytes().to_vec();
        bytes.extend_from_slice(&self.bytes);
        write!(f, "{DASH}{} {}", self.name, base64::encode(&bytes))
    }
}

impl Note {
    /// A note that nobody has signed yet. What a key of [`Kind::Ed25519`]
    /// signs is the text.
    pub fn new(text: String) -> Result<Note, Error> {
        let bad = Error::malformed("note");
        if text.len() > NOTE_MAX {
            return Err(bad("it is too long"));
        }
        if !text.ends_with('\n') {
            return Err(bad("its text does not end with a newline"));
        }
        if text.bytes().any(|byte| byte < 0x20 && byte != b'\n') {
            return Err(bad("it has a control character"));
        }
        Ok(Note { text, signatures: Vec::new() })
    }

    /// Reads a note. Its signatures are not checked: see [`Note::verify`].
    pub fn parse(bytes: &[u8]) -> Result<Note, Error> {
        let bad = Error::malformed("note");
        if bytes.len() > NOTE_MAX {
            return Err(bad("it is too long"));
        }
        let whole = std::str::from_utf8(bytes).map_err(|_| bad("it is not UTF-8"))?;
        // The *last* empty line: a text may have empty lines of its own,
        // signature lines cannot.
        let at = whole.rfind("\n\n").ok_or(bad("it has no empty line before the signatures"))?;
        let (text, lines) = (&whole[..=at], &whole[at + 2..]);
        let mut note = Note::new(text.to_owned())?;
        let lines = lines.strip_suffix('\n').ok_or(bad("it has no signature, or no newline at the end"))?;
        for line in lines.split('\n') {
            note.push(NoteSignature::parse(line)?)?;
        }
        Ok(note)
    }

    /// Adds a line below those that are there.
    pub fn push(&mut self, signature: NoteSignature) -> Result<(), Error> {
        if self.signatures.len() == SIGNATURES_MAX {
            return Err(Error::malformed("note")("it has too many signatures"));
        }
        self.signatures.push(signature);
        Ok(())
    }

    /// The same text, with those of its lines that are wanted.
    pub fn retained(&self, wanted: impl Fn(&NoteSignature) -> bool) -> Note {
        let signatures = self.signatures.iter().filter(|line| wanted(line)).cloned().collect();
        Note { text: self.text.clone(), signatures }
    }

    /// What is signed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The lines, unchecked.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Checks the signatures of these keys, and returns one for each key
    /// that signed.
    ///
    /// Lines by others are ignored. A line by one of these keys that does
    /// not verify refuses the note, however many others do: "If a
    /// signature from a known key fails to verify, clients SHOULD reject
    /// the whole note." At least one of the keys must have signed.
    pub fn verify<'k>(&self, keys: &'k [VerifierKey]) -> Result<Vec<Verified<'k>>, Error> {
        let mut verified: Vec<Verified<'k>> = Vec::new();
        for line in &self.signatures {
            let mut own = keys.iter().filter(|key| line.is_by(key));
            let Some(key) = own.next() else { continue };
            // Four bytes of id can be made to collide; whoever configures
            // such keys must not learn it from a signature that counts.
            if own.any(|other| other != key) {
                return Err(Error::AmbiguousKey { name: line.name.clone() });
            }
            let time = line.verify(key, &self.text)?;
            match verified.iter_mut().find(|known| known.key == key) {
                // Twice by one key is one signer, as late as the later.
                Some(known) => known.time = known.time.max(time),
                None => verified.push(Verified { key, time }),
            }
        }
        if verified.is_empty() { Err(Error::Unsigned) } else { Ok(verified) }
    }
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}
