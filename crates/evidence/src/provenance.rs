//! SLSA provenance, versions 1 and 0.2: who built, from which source.

use serde_json::Value;

use crate::error::EvidenceError;
use crate::facts::Provenance;
use crate::member::Format;

/// Predicate types of it.
pub(crate) const TYPES: [&str; 2] = ["https://slsa.dev/provenance/v1", "https://slsa.dev/provenance/v0.2"];

const FORMAT: Format = Format("SLSA provenance");

/// The source as one dependency or parameter tells it.
#[derive(Default)]
struct Source {
    uri: Option<String>,
    commit: Option<String>,
    reference: Option<String>,
}

/// Reads a predicate. Which artifacts it is about, and whose key signed it,
/// is for the caller.
pub(crate) fn read(predicate_type: &str, predicate: &Value) -> Result<Provenance, EvidenceError> {
    let (run, definition) = match predicate_type == TYPES[0] {
        true => (FORMAT.object(predicate, "runDetails")?, FORMAT.object(predicate, "buildDefinition")?),
        false => (predicate, predicate),
    };
    let builder = FORMAT.text(FORMAT.object(run, "builder")?, "id")?;
    let build_type = FORMAT.text(definition, "buildType")?;
    let source = match predicate_type == TYPES[0] {
        true => of_dependencies(definition)?,
        false => of_invocation(predicate)?,
    };
    Ok(Provenance {
        builder: builder.to_owned(),
        build_type: build_type.to_owned(),
        source: source.uri,
        commit: source.commit,
        reference: source.reference,
        artifacts: Vec::new(),
    })
}

/// Version 1 has no member for the source: it is one of the dependencies,
/// and which one depends on the kind of build. Where the parameters name a
/// repository (GitHub: `workflow.repository`, GitLab: `source`), it is the
/// one of that name; otherwise the only one with a commit. Of several, none
/// is guessed to be it: a policy that asks for the source then refuses.
fn of_dependencies(definition: &Value) -> Result<Source, EvidenceError> {
    let nothing = Value::Null;
    let parameters = definition.get("externalParameters").unwrap_or(&nothing);
    let workflow = parameters.get("workflow").unwrap_or(&nothing);
    let mut named = FORMAT.optional(workflow, "repository")?;
    for name in ["source", "repository"] {
        if named.is_none() && parameters.get(name).is_some_and(Value::is_string) {
            named = FORMAT.optional(parameters, name)?;
        }
    }
    let named = named.map(|uri| split(uri).0);
    let mut found = Vec::new();
    for dependency in FORMAT.list(definition, "resolvedDependencies")? {
        if let (Some(uri), Some(commit)) = (FORMAT.optional(dependency, "uri")?, commit(dependency)?) {
            let (uri, reference) = split(uri);
            found.push(Source { uri: Some(uri), commit: Some(commit), reference });
        }
    }
    if let Some(named) = &named {
        found.retain(|source| source.uri.as_ref() == Some(named));
    }
    let same =
        found.windows(2).all(|pair| (&pair[0].uri, &pair[0].commit) == (&pair[1].uri, &pair[1].commit));
    let mut source = match found.into_iter().next() {
        Some(source) if same => source,
        _ => Source { uri: named, ..Source::default() },
    };
    if source.reference.is_none() {
        source.reference = FORMAT.optional(workflow, "ref")?.map(str::to_owned);
    }
    Ok(source)
}

/// Version 0.2 says it in `invocation.configSource`.
fn of_invocation(predicate: &Value) -> Result<Source, EvidenceError> {
    let config = predicate.get("invocation").and_then(|invocation| invocation.get("configSource"));
    let Some(config) = config else { return Ok(Source::default()) };
    let (uri, reference) = FORMAT.optional(config, "uri")?.map(split).unzip();
    Ok(Source { uri, commit: commit(config)?, reference: reference.flatten() })
}

/// A commit in a DigestSet. `gitCommit` is its name; `sha1` is what it was
/// called before, and some builders put it under `sha256`, with 40 digits.
fn commit(descriptor: &Value) -> Result<Option<String>, EvidenceError> {
    let Some(digest) = descriptor.get("digest") else { return Ok(None) };
    for name in ["gitCommit", "sha1", "sha256"] {
        let Some(text) = FORMAT.optional(digest, name)? else { continue };
        let hex = text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        if hex && (text.len() == 40 || (text.len() == 64 && name == "gitCommit")) {
            return Ok(Some(text.to_owned()));
        }
    }
    Ok(None)
}

/// Repository and reference of `git+https://host/repository@refs/heads/main`
/// (SPDX download location, which SLSA uses).
fn split(uri: &str) -> (String, Option<String>) {
    let plain = uri.strip_prefix("git+").unwrap_or(uri);
    // An `@` of the authority (`git@host`) stands before the path.
    let path = plain.find("://").map_or(0, |at| at + 3);
    let path = plain[path..].find('/').map_or(plain.len(), |at| path + at);
    let (repository, reference) = match plain[path..].rfind('@') {
        Some(at) => (&plain[..path + at], Some(plain[path + at + 1..].to_owned())),
        None => (plain, None),
    };
    let repository = repository.strip_suffix(".git").unwrap_or(repository);
    (repository.to_owned(), reference.filter(|reference| !reference.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn a_reference_is_cut_from_a_repository() {
        for (uri, repository, reference) in [
            ("git+https://github.com/o/r@refs/heads/main", "https://github.com/o/r", Some("refs/heads/main")),
            ("https://github.com/o/r", "https://github.com/o/r", None),
            ("git+ssh://git@host/o/r.git@v1", "ssh://git@host/o/r", Some("v1")),
            ("https://git@host", "https://git@host", None),
            ("x@", "x@", None),
            ("", "", None),
        ] {
            assert_eq!(split(uri), (repository.to_owned(), reference.map(str::to_owned)), "{uri}");
        }
    }
}
