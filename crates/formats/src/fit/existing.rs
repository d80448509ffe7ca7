//! The signatures that a FIT carries.

use firmseal_manifest::{Signature, Tbs};

use super::NAME;
use super::coverage::Coverage;
use super::options::Scheme;
use super::parts::{Configuration, Fit};
use super::tree::{Tree, cell, text, texts};
use crate::error::FormatError;
use crate::hash::{Hash, array};
use crate::inspection::{Covered, ExistingSignature, Inspection, KeyClaim};

/// Most signatures that are read.
const SIGNATURES_MAX: usize = 256;
/// Longest value of a signature.
const VALUE_MAX: usize = 1024;

/// Adds each signature of a configuration, and what is known of all.
pub(super) fn add(fit: &Fit, inspection: &mut Inspection) -> Result<(), FormatError> {
    let mut count = 0;
    for (index, configuration) in fit.configurations.iter().enumerate() {
        for node in &configuration.signatures {
            let Some(value) = fit.tree.value(*node, "value") else { continue };
            count += 1;
            if count > SIGNATURES_MAX || value.len() > VALUE_MAX {
                let what = "it has more than 256 signatures, or one of more than 1024 bytes";
                return Err(FormatError::malformed(NAME, what));
            }
            note(fit, configuration, *node, inspection);
            let Some(scheme) = scheme(&fit.tree, *node) else { continue };
            let covered = match digest(fit, index, *node, scheme) {
                Ok(digest) => inputs(scheme, &digest).into_iter().map(Covered::Tbs).collect(),
                Err(why) => vec![Covered::Unknown(why)],
            };
            inspection.signatures.extend(covered.into_iter().map(|covered| ExistingSignature {
                algorithm: scheme.algorithm(),
                // The hint is a name that anybody may write.
                claim: KeyClaim::None,
                covered,
                signature: Signature(value.to_vec()),
            }));
        }
    }
    Ok(())
}

/// What stands in the node, which nothing covers.
fn note(fit: &Fit, configuration: &Configuration, node: usize, inspection: &mut Inspection) {
    let said = |name: &str| fit.tree.value(node, name).and_then(text);
    let mut parts = vec![said("algo").unwrap_or("no algorithm").to_owned()];
    parts.extend(said("padding").map(|padding| format!("padding {padding}")));
    parts.extend(said("key-name-hint").map(|hint| format!("key {hint}")));
    if let Some(name) = said("signer-name") {
        parts.push(format!("by {name} {}", said("signer-version").unwrap_or_default()).trim_end().to_owned());
    }
    if let Some(time) = fit.tree.value(node, "timestamp").and_then(cell) {
        parts.push(format!("at {time}"));
    }
    let name = format!("{} of {}", fit.name(node), fit.name(configuration.node));
    inspection.note(name, parts.join(", "));
}

/// How the signature in a node was made, if it is in a way that counts.
fn scheme(tree: &Tree, node: usize) -> Option<Scheme> {
    let algorithm = tree.value(node, "algo").and_then(text)?;
    let bits = match algorithm.split_once(',')?.1 {
        "ecdsa256" => return Some(Scheme::Ecdsa),
        "rsa2048" => 2048,
        "rsa3072" => 3072,
        "rsa4096" => 4096,
        _ => return None,
    };
    match tree.value(node, "padding") {
        Some(b"pss\0") => Some(Scheme::Pss(bits)),
        _ => Some(Scheme::Pkcs1(bits)),
    }
}

/// The hash that a signature is over, or why nobody can say, or believe it.
fn digest(fit: &Fit, index: usize, node: usize, scheme: Scheme) -> Result<Vec<u8>, &'static str> {
    let tree = &fit.tree;
    // A good signature over one configuration says nothing of the next, and
    // it is the default that starts: whoever may choose that could put one of
    // their own beside it.
    match fit.main {
        Some(main) if main == index => {}
        Some(_) => return Err("it is over another configuration than the default one"),
        None => return Err("the file names no default configuration, so it says nothing of what starts"),
    }
    if tree.value(node, "algo").and_then(text) != Some(scheme.name().as_str()) {
        return Err("it is over another hash than SHA-256");
    }
    if !matches!(tree.value(node, "padding"), None | Some(b"pss\0" | b"pkcs-1.5\0")) {
        return Err("it has a padding that U-Boot does not know");
    }
    if tree.value(node, "value").map(<[u8]>::len) != Some(scheme.len()) {
        return Err("it has another length than its algorithm's");
    }
    let configuration = &fit.configurations[index];
    let coverage = Coverage::of(fit, configuration).map_err(|gap| gap.what)?;
    let mut listed = tree.value(node, "hashed-nodes").and_then(texts).unwrap_or_default();
    let mut paths: Vec<&str> = coverage.paths().iter().map(String::as_str).collect();
    listed.sort_unstable();
    listed.dedup();
    paths.sort_unstable();
    if listed != paths {
        return Err("it lists other nodes than the configuration uses: old and new U-Boot would differ");
    }
    let strings = tree.value(node, "hashed-strings").and_then(|value| {
        let (offset, len) = value.split_first_chunk::<4>()?;
        (*offset == [0; 4]).then(|| cell(len)).flatten()
    });
    let strings = strings.ok_or("it does not cover the names of what it covers")?;
    coverage.hash(Hash::Sha256, strings).ok_or("it does not cover the names of what it covers")
}

/// What a key may have signed of a SHA-256. A file does not say how long the
/// salt of RSA-PSS is, and U-Boot takes any: mkimage has 32 bytes, and up to
/// 2023 as many as fit. Either is good if it verifies.
fn inputs(scheme: Scheme, digest: &[u8]) -> Vec<Tbs> {
    match scheme {
        Scheme::Pss(_) => vec![tbs(scheme, digest), Tbs::PssMax(array(digest))],
        _ => vec![tbs(scheme, digest)],
    }
}

/// What a key signs of a SHA-256.
pub(super) fn tbs(scheme: Scheme, digest: &[u8]) -> Tbs {
    match scheme {
        Scheme::Pkcs1(_) => Tbs::Pkcs1(array(digest)),
        Scheme::Pss(_) | Scheme::Ecdsa => Tbs::Sha256(array(digest)),
    }
}
