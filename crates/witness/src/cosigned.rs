//! A checkpoint of ours and the cosignatures under it, each verified when it
//! is added.

use firmseal_manifest::limits::COSIGNATURES_MAX;
use firmseal_manifest::{Cosignature, KeyId, PublicKey};
use firmseal_tlog::{Checkpoint, Error, Note, NoteSignature, VerifierKey};

/// A checkpoint with cosignatures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cosigned {
    checkpoint: Checkpoint,
    note: Note,
    /// The log's Ed25519 key.
    log: VerifierKey,
    /// Who has cosigned and when.
    witnesses: Vec<(VerifierKey, u64)>,
}

impl Cosigned {
    /// Reads a checkpoint that this log has signed, with the lines of all of
    /// `keys`, which are its own and verified where they are there.
    /// Cosignatures in it are dropped: they are added one by one.
    pub(crate) fn open(bytes: &[u8], log: &VerifierKey, keys: &[VerifierKey]) -> Result<Cosigned, Error> {
        let (checkpoint, note) = Checkpoint::open(bytes, log, log.name())?;
        note.verify(keys)?;
        let note = note.retained(|line| keys.iter().any(|key| by(line, key)));
        Ok(Cosigned { checkpoint, note, log: log.clone(), witnesses: Vec::new() })
    }

    /// Adds a witness's line, in place of an older one; returns its time.
    pub(crate) fn add(&mut self, key: &VerifierKey, line: NoteSignature) -> Result<u64, Error> {
        let mut alone = self.note.retained(|_| false);
        alone.push(line.clone())?;
        let verified = alone.verify(std::slice::from_ref(key))?;
        let time = verified.first().and_then(|verified| verified.time).ok_or(Error::Unsigned)?;
        let mut note = self.note.retained(|line| !by(line, key));
        note.push(line)?;
        self.note = note;
        self.witnesses.retain(|(known, _)| known != key);
        self.witnesses.push((key.clone(), time));
        Ok(time)
    }

    /// Entries of the tree.
    pub fn size(&self) -> u64 {
        self.checkpoint.size
    }

    /// What it says.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// How many witnesses have cosigned.
    pub fn witnesses(&self) -> usize {
        self.witnesses.len()
    }

    /// The note, with every signature.
    pub fn note(&self) -> &Note {
        &self.note
    }

    /// As envelopes and freshness documents carry it.
    pub(crate) fn evidence(&self) -> Option<firmseal_manifest::Checkpoint> {
        let signature = self.note.signatures().iter().find(|line| by(line, &self.log))?;
        let mut cosignatures = Vec::new();
        for (key, time) in self.witnesses.iter().take(COSIGNATURES_MAX) {
            let line = self.note.signatures().iter().find(|line| by(line, key))?;
            // The time stands in front of the signature.
            let signature = line.bytes().get(8..)?.to_vec();
            cosignatures.push(Cosignature { key: id(key)?, time: *time, signature });
        }
        Some(firmseal_manifest::Checkpoint {
            origin: self.checkpoint.origin.clone(),
            size: self.checkpoint.size,
            hash: self.checkpoint.root,
            signature: (id(&self.log)?, signature.bytes().to_vec()),
            cosignatures,
        })
    }
}

fn by(line: &NoteSignature, key: &VerifierKey) -> bool {
    line.id() == key.id() && line.name() == key.name()
}

fn id(key: &VerifierKey) -> Option<KeyId> {
    PublicKey::from_ed25519(*key.ed25519()?).ok().map(|key| key.id())
}
