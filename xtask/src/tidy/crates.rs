//! Rules about crates and what they depend on.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use crate::error::Error;
use crate::{process, workspace};

/// The layers, bottom up, as ARCHITECTURE.md draws them. Imports point down
/// or stay level.
const LAYERS: &[(&str, &[&str])] = &[
    ("root", &["core"]),
    ("root, in C", &["core-c"]),
    ("words", &["manifest"]),
    (
        "pure",
        &["boot", "bootsim", "evidence", "fleet", "formats", "identity", "timestamp", "tlog", "trust", "tuf"],
    ),
    ("service", &["api", "keys", "outbound", "policy", "sign", "store"]),
    (
        "rim",
        &[
            "agent",
            "keyhost",
            "keys-aws",
            "keys-pkcs11",
            "keys-remote",
            "keys-tpm",
            "keys-vault",
            "monitor",
            "notify",
            "oci",
            "server",
            "station",
            "store-cloud",
            "store-local",
            "witness",
        ],
    ),
    ("bins", &["cli", "pkcs11-module", "testkit", "e2e"]),
];

/// One dependency comment may speak for a small family, not for a page.
const PER_COMMENT: usize = 5;

/// Every crate says what it is.
pub(super) fn descriptions() -> Result<Vec<String>, Error> {
    each_own_package(|package| {
        let described = package["description"].as_str().is_some_and(|text| text.len() >= 10);
        match described {
            true => Vec::new(),
            false => vec![format!("{}: no description", name(package))],
        }
    })
}

/// No dependency of ours accepts any version.
pub(super) fn wildcards() -> Result<Vec<String>, Error> {
    each_own_package(|package| {
        array(&package["dependencies"])
            .filter(|dependency| dependency["req"] == "*" && dependency["path"].is_null())
            .map(|dependency| format!("{}: {} = \"*\"", name(package), name(dependency)))
            .collect()
    })
}

/// The committed lock files are those that the manifests lead to.
pub(super) fn locks() -> Result<Vec<String>, Error> {
    let stale = |manifest: &PathBuf| {
        let mut cargo = workspace::cargo();
        cargo.args(["metadata", "--format-version=1", "--locked", "--manifest-path"]).arg(manifest);
        !process::works(&mut cargo)
    };
    let text = |manifest: PathBuf| format!("{}: its Cargo.lock is not up to date", manifest.display());
    Ok(workspace::manifests().into_iter().filter(stale).map(text).collect())
}

/// Imports point down, and every crate has a layer.
pub(super) fn layers() -> Result<Vec<String>, Error> {
    let mut ranks = BTreeMap::new();
    for (rank, (layer, crates)) in LAYERS.iter().enumerate() {
        for short in *crates {
            ranks.insert(format!("firmseal-{short}"), (rank, *layer));
        }
    }
    // The binary `firmseal` is made by the crate of that name.
    ranks.insert("firmseal".to_owned(), (LAYERS.len() - 1, "bins"));
    let metadata = workspace::metadata(&workspace::root().join("Cargo.toml"))?;
    let mut problems = Vec::new();
    for package in array(&metadata["packages"]).filter(|package| package["source"].is_null()) {
        let package_name = name(package);
        if package_name == "xtask" {
            continue;
        }
        let Some((rank, layer)) = ranks.get(package_name) else {
            problems.push(format!("{package_name}: has no layer (xtask/src/tidy/crates.rs)"));
            continue;
        };
        for dependency in array(&package["dependencies"]) {
            // Tests may look up: they put whole chains together.
            if dependency["kind"] == "dev" {
                continue;
            }
            match ranks.get(name(dependency)) {
                Some((below, upper)) if below > rank => problems.push(format!(
                    "{package_name} ({layer}) depends on {} ({upper}), which is above it",
                    name(dependency)
                )),
                _ => {}
            }
        }
    }
    Ok(problems)
}

/// Every dependency of the workspace has a comment that says what it is for.
pub(super) fn commented() -> Result<Vec<String>, Error> {
    let mut problems = Vec::new();
    for manifest in workspace::manifests() {
        let text = workspace::read(&manifest)?;
        let file = manifest.strip_prefix(workspace::root()).unwrap_or(&manifest).display().to_string();
        problems.extend(uncommented(&text).into_iter().map(|problem| format!("{file}: {problem}")));
    }
    Ok(problems)
}

/// The dependencies of `[workspace.dependencies]` that no comment explains;
/// our own crates explain themselves.
fn uncommented(manifest: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let (mut inside, mut allowance) = (false, 0);
    for line in manifest.lines().map(str::trim) {
        if line.starts_with('[') {
            inside = line == "[workspace.dependencies]";
            allowance = 0;
        } else if !inside || line.is_empty() {
            allowance = 0;
        } else if line.starts_with('#') {
            allowance = PER_COMMENT;
        } else if let Some((dependency, value)) = line.split_once('=') {
            if value.contains("path =") {
                continue;
            }
            match allowance {
                0 => problems.push(format!("{}: what is it for?", dependency.trim())),
                _ => allowance -= 1,
            }
        }
    }
    problems
}

fn each_own_package(rule: impl Fn(&Value) -> Vec<String>) -> Result<Vec<String>, Error> {
    let mut problems = Vec::new();
    for manifest in workspace::manifests() {
        let metadata = workspace::metadata(&manifest)?;
        for package in array(&metadata["packages"]).filter(|package| package["source"].is_null()) {
            problems.extend(rule(package));
        }
    }
    problems.sort();
    problems.dedup();
    Ok(problems)
}

/// The elements of a JSON array; none for anything else.
fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().map(Vec::as_slice).unwrap_or_default().iter()
}

/// The name of a package or dependency.
fn name(value: &Value) -> &str {
    value["name"].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::uncommented;

    #[test]
    fn a_dependency_without_a_comment_is_found() {
        let manifest = "[workspace.dependencies]\nours = { path = \"x\" }\n# Why.\na = \"1\"\n\nb = \"1\"\n[profile.dev]\nc = 1\n";
        assert_eq!(uncommented(manifest), ["b: what is it for?"]);
    }
}
