//! Audit devices of Vault and OpenBao: what they wrote down of a transit key.
//!
//! A file has a JSON object in each line, two for a request: one before it
//! is carried out, one before its answer leaves (Vault, "Audit log entry
//! schema"). No answer leaves unless an audit device has it. What was handed in
//! is hashed with a key, numbers as well where the device has read them as text;
//! paths and the numbers of answers are not. So the key can be read, and the
//! version that signed, and what was signed cannot.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::trail::{Collected, Use, seconds};

/// A key pair in a transit engine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VaultKey {
    /// The namespace, where there is one, without a slash at either end.
    pub namespace: Option<String>,
    /// Where the engine is mounted, without a slash at either end.
    pub mount: String,
    /// The key's name.
    pub name: String,
    /// Which of its key pairs.
    pub version: u32,
}

#[derive(Deserialize)]
struct Entry {
    time: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    error: String,
    request: Option<Request>,
    response: Option<Response>,
    auth: Option<Auth>,
}

#[derive(Deserialize)]
struct Response {
    data: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
struct Request {
    id: Option<String>,
    path: Option<String>,
    namespace: Option<Namespace>,
    data: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
struct Namespace {
    #[serde(default)]
    path: String,
}

#[derive(Deserialize)]
struct Auth {
    display_name: Option<String>,
}

/// Reads a line.
pub(crate) fn collect(line: &[u8], key: &VaultKey, into: &mut Collected) -> Result<(), String> {
    let entry: Entry = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let time = seconds(&entry.time)?;
    into.saw(time);
    // A request by itself came to nothing, or its answer follows.
    if entry.kind != "response" || !entry.error.is_empty() {
        return Ok(());
    }
    let excluded =
        || "an answer without the id and the path of its request; have nothing excluded".to_owned();
    let request = entry.request.ok_or_else(excluded)?;
    let (Some(id), Some(path)) = (&request.id, &request.path) else { return Err(excluded()) };
    let answer = entry.response.and_then(|response| response.data);
    let odd = match key.did(path, &request, answer.as_ref()) {
        None => return Ok(()),
        Some(Did::Sign) => None,
        Some(Did::Odd(why)) => Some(why),
    };
    let by = entry.auth.and_then(|auth| auth.display_name);
    // The request's id is the event: there is no other.
    into.used(Use::new(time, id.clone(), by, None, odd));
    Ok(())
}

/// What a request did with a key.
enum Did {
    Sign,
    /// What we never ask for.
    Odd(&'static str),
}

impl VaultKey {
    fn did(&self, path: &str, request: &Request, answer: Option<&Map<String, Value>>) -> Option<Did> {
        let namespace = request.namespace.as_ref().map_or("", |namespace| namespace.path.trim_matches('/'));
        if namespace != self.namespace.as_deref().unwrap_or("") {
            return None;
        }
        let below = path.strip_prefix(self.mount.as_str())?.strip_prefix('/')?;
        let (verb, rest) = below.split_once('/')?;
        let mut rest = rest.split('/');
        match verb {
            // Perhaps with the hash's name behind it.
            "sign" => (rest.next() == Some(&self.name))
                .then(|| self.signed(request.data.as_ref(), answer))
                .flatten(),
            "keys" => (rest.next() == Some(&self.name) && rest.next() == Some("csr"))
                .then_some(Did::Odd("it signed a certificate request")),
            "backup" => {
                (rest.next() == Some(&self.name)).then_some(Did::Odd("it was backed up in plain text"))
            }
            // What of the key comes first, or the key that wraps it, whatever
            // somebody called that.
            "export" | "byok-export" => {
                let is_public = matches!(rest.next(), Some("public-key" | "certificate-chain"));
                let is_own = rest.next() == Some(&self.name);
                (is_own && !(verb == "export" && is_public))
                    .then_some(Did::Odd("its private half was exported"))
            }
            _ => None,
        }
    }

    fn signed(&self, data: Option<&Map<String, Value>>, answer: Option<&Map<String, Value>>) -> Option<Did> {
        let member = |name: &str| data.and_then(|data| data.get(name)).filter(|value| !value.is_null());
        if member("batch_input").is_some() {
            return Some(Did::Odd("it signed a batch: Firmseal asks for one signature at a time"));
        }
        let Some(named) = member("key_version").filter(|named| named.as_u64() != Some(0)) else {
            return Some(Did::Odd("no version was named: Firmseal always names one"));
        };
        // The answer says which it was, where the request's is hashed.
        let signed = answer.and_then(|answer| answer.get("key_version")).and_then(Value::as_u64);
        match signed.or(named.as_u64()) {
            None => Some(Did::Odd("which version signed is hidden")),
            Some(version) => (version == u64::from(self.version)).then_some(Did::Sign),
        }
    }
}
