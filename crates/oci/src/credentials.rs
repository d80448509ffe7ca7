//! Credentials by registry, from the file that container tools share
//! (containers-auth.json(5), Docker's config.json).

use std::collections::BTreeMap;
use std::fmt;

use base64ct::{Base64, Encoding};
use serde_json::Value;

use crate::error::OciError;

/// Name and password by host. They go to that host and to no other.
#[derive(Clone, Default)]
pub struct Credentials(BTreeMap<String, String>);

impl Credentials {
    /// Reads the file. Helpers that it names are not run.
    pub fn read(text: &str) -> Result<Credentials, OciError> {
        let bad = |why: &str| OciError::Settings(format!("the file of credentials {why}"));
        // What the parser says may quote a secret.
        let document: Value = serde_json::from_str(text).map_err(|_| bad("is no JSON"))?;
        let mut all = BTreeMap::new();
        let none = serde_json::Map::new();
        for (host, own) in document.get("auths").and_then(Value::as_object).unwrap_or(&none) {
            let Some(auth) = own.get("auth").and_then(Value::as_str) else { continue };
            let decoded = Base64::decode_vec(auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            // Back into base64 as one string: what is sent is nothing else.
            let pair = decoded.filter(|pair| pair.contains(':') && !pair.contains(char::is_control));
            let pair = pair.ok_or_else(|| bad(&format!("has no name and password for `{host}`")))?;
            all.insert(host.clone(), Base64::encode_string(pair.as_bytes()));
        }
        Ok(Credentials(all))
    }

    /// The value of an `Authorization` header for a host.
    pub(crate) fn basic(&self, host: &str) -> Option<String> {
        self.0.get(host).map(|pair| format!("Basic {pair}"))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

/// What a registry demands (RFC 9110 §11.6.1).
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Challenge {
    Basic,
    /// Where tokens are from, and what one is to be for.
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

impl Challenge {
    pub(crate) fn read(header: &str) -> Option<Challenge> {
        let (scheme, rest) = header.split_once(' ').unwrap_or((header, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Challenge::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let mut all = BTreeMap::new();
        let mut rest = rest.trim();
        while !rest.is_empty() {
            let (name, after) = rest.split_once("=\"")?;
            let (value, after) = after.split_once('"')?;
            all.insert(name.trim().to_ascii_lowercase(), value.to_owned());
            rest = after.trim_start_matches([',', ' ']);
        }
        let realm = all.remove("realm")?;
        Some(Challenge::Bearer { realm, service: all.remove("service"), scope: all.remove("scope") })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn credentials_are_for_one_host() {
        let text =
            r#"{"auths":{"a.example:5000":{"auth":"bmFtZTpwYXNz"},"b.example":{}},"credHelpers":{"c":"d"}}"#;
        let own = Credentials::read(text).unwrap();
        assert_eq!(own.basic("a.example:5000").unwrap(), "Basic bmFtZTpwYXNz");
        for host in ["a.example", "b.example", "a.example:5000.evil"] {
            assert_eq!(own.basic(host), None);
        }
        assert!(!format!("{own:?}").contains("bmFt"));
        for bad in ["", "{\"auths\":{\"a\":{\"auth\":\"x\"}}}", "{\"auths\":{\"a\":{\"auth\":\"bmFtZQ==\"}}}"]
        {
            let said = Credentials::read(bad);
            assert!(said.is_err(), "{bad}");
        }
    }

    #[test]
    fn challenges_are_read() {
        let bearer = |realm: &str, scope: Option<&str>| Challenge::Bearer {
            realm: realm.to_owned(),
            service: Some("r".to_owned()),
            scope: scope.map(str::to_owned),
        };
        let read = Challenge::read;
        assert_eq!(read("Basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(read("basic"), Some(Challenge::Basic));
        let full = "Bearer realm=\"https://a/t\",service=\"r\", scope=\"repository:a:pull,push\"";
        assert_eq!(read(full), Some(bearer("https://a/t", Some("repository:a:pull,push"))));
        assert_eq!(read("Bearer service=\"r\",realm=\"x\""), Some(bearer("x", None)));
        for text in ["", "Negotiate", "Bearer", "Bearer realm=x", "Bearer realm=\"x"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
