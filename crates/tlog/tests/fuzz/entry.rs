//! The property every parser keeps on every input: no panic, and what it
//! accepts it writes again as it was. Shared, by `#[path]`, between the
//! mutation test on stable and the fuzz target.

#![allow(unreachable_pub)]

use firmseal_core::Digest;
use firmseal_tlog::{
    Answer, Checkpoint, Kind, KnownLog, LogProof, Note, Policy, Request, Seen, Tile, VerifierKey, decide,
    decode_bundle, encode_bundle,
};

/// Reads `bytes` as everything that the crate reads.
///
/// # Panics
/// If a parser panics, or accepts what it would write otherwise.
pub fn run(bytes: &[u8]) {
    if let Ok(entries) = decode_bundle(bytes) {
        assert_eq!(encode_bundle(&entries).as_deref(), Ok(bytes));
    }
    let policy = std::str::from_utf8(bytes).ok().and_then(|text| Policy::parse(text).ok());
    if let Ok(note) = Note::parse(bytes) {
        assert_eq!(note.to_string().as_bytes(), bytes);
        if let Ok(key) = VerifierKey::new("w", Kind::MlDsa44, vec![7; 1312]) {
            let _ = key.message(1, note.text());
        }
        if let Ok(checkpoint) = Checkpoint::parse(note.text()) {
            assert_eq!(checkpoint.to_string(), note.text());
            let logs = [KnownLog { origin: checkpoint.origin, keys: vec![] }];
            decide(format!("old 0\n\n{note}").as_bytes(), &logs, |_| Seen::default());
        }
    }
    if let Ok(request) = Request::parse(bytes) {
        assert_eq!(request.to_string().as_bytes(), bytes);
    }
    if let Ok(proof) = LogProof::parse(bytes) {
        assert_eq!(proof.to_string().as_bytes(), bytes);
        if let Some(policy) = policy {
            let _ = proof.verify(&Digest([0; 32]), &policy);
        }
    }
    for status in [200, 409] {
        let _ = Answer::read(status, Some("text/x.tlog.size"), bytes);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        if let Ok(key) = VerifierKey::parse(text) {
            assert_eq!(key.to_string(), text);
        }
        if let Ok((tile, entries)) = Tile::parse(text) {
            assert_eq!(if entries { tile.entries_path() } else { tile.path() }, text);
        }
    }
}
