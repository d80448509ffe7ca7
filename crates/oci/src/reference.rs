//! Names of images: `HOST/REPOSITORY`, with a tag, a digest, or both.

use std::fmt;
use std::str::FromStr;

use firmseal_formats::BlobDigest;

use crate::error::OciError;

/// Longest name of a repository, with its host.
const NAME_MAX: usize = 255;

/// An image in a registry. The registry is always named: nobody is asked in
/// silence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reference {
    host: String,
    repository: String,
    tag: Option<String>,
    digest: Option<BlobDigest>,
}

impl Reference {
    /// Host of the registry, with its port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The repository.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The digest, where one is named: it says more than any tag.
    pub fn digest(&self) -> Option<&BlobDigest> {
        self.digest.as_ref()
    }

    /// What a registry is asked for: the digest, or the tag.
    pub(crate) fn wanted(&self) -> &str {
        let tag = self.tag.as_deref().unwrap_or("latest");
        self.digest.as_ref().map_or(tag, BlobDigest::as_str)
    }

    /// The same repository, pinned to a digest: a name that means one image
    /// for good.
    pub fn pinned(&self, digest: &BlobDigest) -> Reference {
        Reference { tag: None, digest: Some(digest.clone()), ..self.clone() }
    }

    /// Whether it is on this machine, where nobody in between reads along.
    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

/// Whether a host, with its port, is this machine. `localhost` is a name like
/// any other to some resolvers, so addresses alone count, and the name.
pub(crate) fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl FromStr for Reference {
    type Err = OciError;

    fn from_str(text: &str) -> Result<Reference, OciError> {
        let bad = |why| OciError::Reference { text: text.chars().take(80).collect(), why };
        let (rest, digest) = match text.split_once('@') {
            None => (text, None),
            Some((rest, digest)) => {
                let digest = BlobDigest::parse(digest);
                (
                    rest,
                    Some(digest.ok_or_else(|| bad("write a digest as sha256: and 64 hexadecimal digits"))?),
                )
            }
        };
        let (host, path) = rest.split_once('/').ok_or_else(|| bad("write HOST/REPOSITORY:TAG"))?;
        if !is_host(host) {
            return Err(bad("the registry's host has to come first, with a dot or a port in it"));
        }
        // Behind the last `/`, for hosts have their ports.
        let (path, tag) = match path.rsplit_once(':') {
            None => (path, None),
            Some((path, tag)) => (path, Some(tag)),
        };
        if !is_repository(path) || host.len() + path.len() > NAME_MAX {
            return Err(bad("a repository is of lower-case letters, digits, dots, dashes and underscores"));
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(bad("a tag is of at most 128 letters, digits, dots, dashes and underscores"));
        }
        Ok(Reference {
            host: host.to_owned(),
            repository: path.to_owned(),
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest.as_ref().map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

fn is_host(host: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']');
    let is_named = host == "localhost" || host.contains(['.', ':']);
    !host.is_empty() && host.bytes().all(plain) && is_named
}

/// "[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*" between slashes.
fn is_repository(path: &str) -> bool {
    path.split('/').all(|part| {
        let own = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let edges = part.bytes().next().is_some_and(own) && part.bytes().last().is_some_and(own);
        let plain = part.bytes().all(|byte| own(byte) || matches!(byte, b'.' | b'_' | b'-'));
        let joined = ["..", "___", "._", "_.", "-.", ".-", "-_", "_-"].iter().any(|pair| part.contains(pair));
        edges && plain && !joined
    })
}

fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let first = tag.bytes().next().is_some_and(word);
    first && tag.len() <= 128 && tag.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_say_where_and_what() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let good = [
            ("registry.example.com/nodes/worker:1.4.0", "1.4.0"),
            ("127.0.0.1:5000/worker", "latest"),
            ("[::1]:5000/worker:a", "a"),
            (&format!("localhost/a-b/c__d@{digest}"), &digest),
            (&format!("localhost:1/a:tag@{digest}"), &digest),
        ];
        for (text, wanted) in good {
            let own: Reference = text.parse().unwrap();
            assert_eq!((own.to_string().as_str(), own.wanted()), (text, wanted));
        }
        let bad = [
            "worker",
            "library/worker:1",
            "registry.example.com/",
            "registry.example.com/Worker",
            "registry.example.com/a//b",
            "registry.example.com/../b",
            "registry.example.com/a:",
            "registry.example.com/a:b c",
            "registry.example.com/a@sha256:00",
            "registry.example.com/a@md5:00",
            "user@registry.example.com/a",
            "https://registry.example.com/a",
            "registry.example.com/a?b",
        ];
        for text in bad {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }

    #[test]
    fn this_machine_is_told_from_others() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.1.2.3", "[::1]:80"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.example.com", "127.0.0.1.example.com", "10.0.0.1:80", "[::2]:80"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
