//! The property every reader keeps on every input: no panic, and nothing
//! unsigned is told as proven. Shared, by `#[path]`, between the mutation
//! test on stable and the fuzz target.

#![allow(unreachable_pub)]

use firmseal_evidence::{Attests, Builder, Builders, Gathering, Materials};
use firmseal_manifest::{ArtifactId, Digest, PublicKey, Signature};

fn yes(_: &PublicKey, _: &[u8], _: &Signature) -> bool {
    true
}

fn no(_: &PublicKey, _: &[u8], _: &Signature) -> bool {
    false
}

/// Reads `bytes` as evidence: as if every signature held, so that what is
/// behind them is read too, and as if none did.
///
/// # Panics
/// If a reader panics, or tells as proven what nobody signed.
pub fn run(bytes: &[u8]) {
    let _ = Materials::read(bytes).map(|list| firmseal_evidence::materials::lines(None, Some(&list)));
    let (Ok(product), Ok(key)) = ("gateway".parse(), PublicKey::from_ed25519([7; 32])) else { return };
    let more = [Attests::Reproduction, Attests::Scan, Attests::Evaluation];
    let all = [&Builder::USUAL[..], &more].concat();
    let builder = Builder { id: "b".to_owned(), key, products: vec![], attests: all };
    let Ok(builders) = Builders::new(vec![builder]) else { return };
    let artifacts = [ArtifactId(Digest([1; 32]))];
    let mut gathering = Gathering::new(&product, &artifacts, &builders, &yes);
    let _ = gathering.read(bytes);
    let facts = gathering.finish();
    assert!(facts.provenance.iter().all(|one| one.builder == "b" && one.artifacts == artifacts));
    assert_eq!(facts.attested, !facts.provenance.is_empty());
    assert!(facts.scans.iter().all(|one| one.updated <= one.finished && one.artifacts == artifacts));
    assert!(facts.evaluations.iter().all(|one| one.evaluator == "b" && one.artifacts == artifacts));
    assert!(facts.evaluations.iter().all(|one| !one.failed || one.passed.is_empty()));

    let mut gathering = Gathering::new(&product, &artifacts, &builders, &no);
    let _ = gathering.read(bytes);
    let facts = gathering.finish();
    assert!(!facts.attested && facts.provenance.is_empty() && facts.reproduced.is_none());
    assert!(facts.scans.is_empty() && facts.evaluations.is_empty());
    assert!(facts.tests.iter().all(|run| !run.signed) && facts.sbom.is_none_or(|sbom| !sbom.signed));
}
