//! A log, witnesses and tiles in memory.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::collections::BTreeMap;

use ed25519_dalek::{Signer, SigningKey};
use firmseal_core::Digest;
use firmseal_tlog::{
    Checkpoint, Edge, Error, Kind, Note, NoteSignature, Tile, Tiles, VerifierKey, cosignature_message,
    leaf_hash,
};

/// Somebody with an Ed25519 key.
pub struct Party {
    secret: SigningKey,
    pub key: VerifierKey,
}

impl Party {
    pub fn new(name: &str, kind: Kind, seed: u8) -> Party {
        let secret = SigningKey::from_bytes(&[seed; 32]);
        let key = VerifierKey::new(name, kind, secret.verifying_key().to_bytes()).unwrap();
        Party { secret, key }
    }

    pub fn log(name: &str) -> Party {
        Party::new(name, Kind::Ed25519, 1)
    }

    pub fn sign(&self, text: &str) -> NoteSignature {
        NoteSignature::new(&self.key, &self.secret.sign(text.as_bytes()).to_bytes())
    }

    pub fn cosign(&self, text: &str, time: u64) -> NoteSignature {
        let signature = self.secret.sign(&cosignature_message(time, text)).to_bytes();
        NoteSignature::timed(&self.key, time, &signature)
    }

    pub fn checkpoint(&self, size: u64, root: Digest) -> Note {
        let checkpoint = Checkpoint { origin: self.key.name().to_owned(), size, root, extensions: vec![] };
        let mut note = checkpoint.to_note().unwrap();
        note.push(self.sign(note.text())).unwrap();
        note
    }
}

/// Somebody with an ML-DSA-44 key.
pub struct Strong {
    secret: ml_dsa::ExpandedSigningKey<ml_dsa::MlDsa44>,
    pub key: VerifierKey,
}

impl Strong {
    pub fn new(name: &str, seed: u8) -> Strong {
        let secret = ml_dsa::ExpandedSigningKey::<ml_dsa::MlDsa44>::from_seed(&[seed; 32].into());
        let public = secret.verifying_key().encode().to_vec();
        Strong { secret, key: VerifierKey::new(name, Kind::MlDsa44, public).unwrap() }
    }

    pub fn sign(&self, text: &str, time: u64) -> NoteSignature {
        let message = self.key.message(time, text).unwrap();
        let signature = self.secret.sign_deterministic(&message, &[]).unwrap().encode();
        NoteSignature::timed(&self.key, time, &signature)
    }
}

/// Tiles in memory, as a log that grew writes them.
#[derive(Default)]
pub struct Memory(pub BTreeMap<Tile, Vec<u8>>);

impl Tiles for Memory {
    fn read(&self, tile: Tile) -> Result<Vec<u8>, Error> {
        let found = self.0.get(&tile).or_else(|| self.0.get(&tile.full()));
        found.cloned().ok_or(Error::Unreadable { tile: tile.path(), why: "it is not there".to_owned() })
    }
}

pub fn entry(index: u64) -> Vec<u8> {
    format!("entry {index}").into_bytes()
}

/// The tiles and the edge of the log of the first entries, grown in steps
/// up to each of these sizes.
pub fn grown(sizes: &[u64]) -> (Memory, Edge) {
    let (mut tiles, mut edge) = (Memory::default(), Edge::new());
    for size in sizes {
        while edge.size() < *size {
            edge.push(leaf_hash(&entry(edge.size())));
        }
        tiles.0.extend(edge.take());
    }
    (tiles, edge)
}
