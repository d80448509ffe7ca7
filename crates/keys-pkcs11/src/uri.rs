//! PKCS#11 URIs (RFC 7512): which key in which token behind which module.
//!
//! Parsed in full and strictly. What the grammar does not allow, what we
//! could not honour, and what would put a PIN into a configuration is
//! refused: an attribute that was silently ignored would select another key
//! than its author meant.

use std::fmt::{self, Write as _};
use std::path::PathBuf;
use std::str::FromStr;

use firmseal_keys::uri_options::URI_MAX;
use firmseal_keys::{KeysError, SecretSource};

/// Most sessions that a URI may ask for; each has a thread.
const SESSIONS_MAX: u64 = 256;

/// The class of an object (RFC 7512 §2.3, attribute `type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ObjectType {
    /// A private key: what a signer needs.
    Private,
    /// A public key.
    Public,
    /// A certificate.
    Cert,
    /// A secret key.
    SecretKey,
    /// Data.
    Data,
}

impl ObjectType {
    const NAMES: [(ObjectType, &'static str); 5] = [
        (ObjectType::Private, "private"),
        (ObjectType::Public, "public"),
        (ObjectType::Cert, "cert"),
        (ObjectType::SecretKey, "secret-key"),
        (ObjectType::Data, "data"),
    ];
}

/// A parsed PKCS#11 URI. Every attribute that is present must match.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Pkcs11Uri {
    /// Label of the token.
    pub token: Option<String>,
    /// Manufacturer of the token.
    pub manufacturer: Option<String>,
    /// Serial number of the token.
    pub serial: Option<String>,
    /// Model of the token.
    pub model: Option<String>,
    /// Manufacturer of the module.
    pub library_manufacturer: Option<String>,
    /// Description of the module.
    pub library_description: Option<String>,
    /// Version of the module, major and minor.
    pub library_version: Option<(u8, u8)>,
    /// Label of the object.
    pub object: Option<String>,
    /// Class of the object.
    pub object_type: Option<ObjectType>,
    /// CKA_ID of the object.
    pub id: Option<Vec<u8>>,
    /// Manufacturer of the slot.
    pub slot_manufacturer: Option<String>,
    /// Description of the slot.
    pub slot_description: Option<String>,
    /// Number of the slot. Many modules renumber slots: prefer the serial.
    pub slot_id: Option<u64>,
    /// Where the PIN comes from.
    pub pin_source: Option<SecretSource>,
    /// The module, as an absolute path.
    pub module_path: Option<PathBuf>,
    /// How many sessions a signer keeps with the token; an attribute of our
    /// own, as RFC 7512 §2.3 allows.
    pub sessions: Option<u16>,
}

fn fail<T>(why: impl fmt::Display) -> Result<T, KeysError> {
    Err(KeysError::NotAKeyUri(format!("PKCS#11 URI: {why}")))
}

/// Sets an attribute that may stand once (RFC 7512 §2.3: "an attribute
/// MUST NOT be present more than once" in the path).
fn once<T>(name: &str, slot: &mut Option<T>, value: T) -> Result<(), KeysError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => fail(format_args!("`{name}` stands twice")),
    }
}

impl FromStr for Pkcs11Uri {
    type Err = KeysError;

    /// No error repeats a value: a PIN may stand where it does not belong.
    fn from_str(text: &str) -> Result<Pkcs11Uri, KeysError> {
        if text.len() > URI_MAX {
            return fail(format_args!("longer than {URI_MAX} bytes"));
        }
        let Some(rest) = text.strip_prefix("pkcs11:") else {
            return fail("it begins with `pkcs11:`");
        };
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        let mut uri = Pkcs11Uri::default();
        // Both parts may be empty; between separators there is an attribute.
        for attribute in path.split(';').filter(|_| !path.is_empty()) {
            uri.path_attribute(attribute)?;
        }
        for attribute in query.into_iter().flat_map(|query| query.split('&')) {
            uri.query_attribute(attribute)?;
        }
        Ok(uri)
    }
}

fn split(attribute: &str) -> Result<(&str, &str), KeysError> {
    match attribute.split_once('=') {
        // An empty value would match only an empty label; left out, the
        // attribute matches all. Which was meant cannot be told.
        Some((name, "")) if is_known(name) => fail(format_args!("`{name}` is empty; leave it out")),
        Some(pair) => Ok(pair),
        None => fail("attributes are written `name=value`"),
    }
}

const KNOWN: [&str; 16] = [
    "token",
    "manufacturer",
    "serial",
    "model",
    "library-manufacturer",
    "library-description",
    "library-version",
    "object",
    "type",
    "id",
    "slot-manufacturer",
    "slot-description",
    "slot-id",
    "pin-source",
    "module-name",
    "module-path",
];

fn is_known(name: &str) -> bool {
    KNOWN.contains(&name)
}

impl Pkcs11Uri {
    fn path_attribute(&mut self, attribute: &str) -> Result<(), KeysError> {
        let (name, value) = split(attribute)?;
        // RFC 7512 §2.3, pk11-pchar.
        let text = |value| decode_text(name, value, b":[]@!$'()*+,=&");
        match name {
            "token" => once(name, &mut self.token, text(value)?),
            "manufacturer" => once(name, &mut self.manufacturer, text(value)?),
            "serial" => once(name, &mut self.serial, text(value)?),
            "model" => once(name, &mut self.model, text(value)?),
            "library-manufacturer" => once(name, &mut self.library_manufacturer, text(value)?),
            "library-description" => once(name, &mut self.library_description, text(value)?),
            "library-version" => once(name, &mut self.library_version, version(value)?),
            "object" => once(name, &mut self.object, text(value)?),
            "type" => {
                let known = ObjectType::NAMES.iter().find(|(_, known)| *known == value);
                let Some((object_type, _)) = known else {
                    return fail("`type` is private, public, cert, secret-key or data");
                };
                once(name, &mut self.object_type, *object_type)
            }
            "id" => once(name, &mut self.id, decode(name, value, b":[]@!$'()*+,=&")?),
            "slot-manufacturer" => once(name, &mut self.slot_manufacturer, text(value)?),
            "slot-description" => once(name, &mut self.slot_description, text(value)?),
            "slot-id" => once(name, &mut self.slot_id, number(name, value)?),
            "pin-source" | "pin-value" | "module-name" | "module-path" | "sessions" => {
                fail(format_args!("`{name}` stands after the `?`"))
            }
            _ => unknown(name),
        }
    }

    fn query_attribute(&mut self, attribute: &str) -> Result<(), KeysError> {
        let (name, value) = split(attribute)?;
        // RFC 7512 §2.3, pk11-qchar.
        let text = |value| decode_text(name, value, b":[]@!$'()*+,=/?|");
        match name {
            "pin-source" => once(name, &mut self.pin_source, pin_source(&text(value)?)?),
            // RFC 7512 §4: a PIN in a URI ends up in configurations, process
            // lists and logs.
            "pin-value" => fail(
                "`pin-value` is not accepted: URIs are kept in configurations, process lists and logs; \
                 use `pin-source=file:PATH`",
            ),
            "module-path" => {
                let path = PathBuf::from(text(value)?);
                if !path.is_absolute() {
                    // A name would be searched for, and whoever controls the
                    // search decides which code sees the PIN.
                    return fail("`module-path` is an absolute path");
                }
                once(name, &mut self.module_path, path)
            }
            "sessions" => match number(name, value)? {
                count @ 1..=SESSIONS_MAX => once(name, &mut self.sessions, count as u16),
                _ => fail(format_args!("`sessions` is a number from 1 to {SESSIONS_MAX}")),
            },
            "module-name" => fail("`module-name` depends on the machine's search path; use `module-path`"),
            _ if is_known(name) => fail(format_args!("`{name}` stands before the `?`")),
            _ => unknown(name),
        }
    }
}

fn unknown<T>(name: &str) -> Result<T, KeysError> {
    // A name is short and plain, or it is not repeated.
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if name.len() <= 32 && name.bytes().all(plain) {
        return fail(format_args!("`{name}` is not an attribute that is understood here"));
    }
    fail("an attribute is not understood here")
}

/// RFC 7512 §2.4 lets the value be a file URI; programs to run (`|command`)
/// are left out, since a shell is no place for a PIN.
fn pin_source(text: &str) -> Result<SecretSource, KeysError> {
    if text.starts_with('/') {
        return Ok(SecretSource::File(text.into()));
    }
    match text.parse() {
        Ok(source) => Ok(source),
        Err(_) => fail("`pin-source` is `file:PATH`, `env:NAME` or `prompt`"),
    }
}

fn number(name: &str, value: &str) -> Result<u64, KeysError> {
    let digits = value.bytes().all(|b| b.is_ascii_digit());
    match value.parse() {
        Ok(number) if digits => Ok(number),
        _ => fail(format_args!("`{name}` is a number")),
    }
}

fn version(value: &str) -> Result<(u8, u8), KeysError> {
    let (major, minor) = value.split_once('.').unwrap_or((value, "0"));
    let part = |part| number("library-version", part).ok().and_then(|n| u8::try_from(n).ok());
    match (part(major), part(minor)) {
        (Some(major), Some(minor)) => Ok((major, minor)),
        _ => fail("`library-version` is `major.minor`"),
    }
}

/// Percent-decoding (RFC 3986 §2.1) over the characters that may stand for
/// themselves.
fn decode(name: &str, value: &str, also: &[u8]) -> Result<Vec<u8>, KeysError> {
    let mut out = Vec::with_capacity(value.len());
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digits = (bytes.next().and_then(nibble), bytes.next().and_then(nibble));
                let (Some(high), Some(low)) = digits else {
                    return fail(format_args!("`{name}`: `%` is followed by two hexadecimal digits"));
                };
                out.push(high << 4 | low);
            }
            _ if is_unreserved(byte) || also.contains(&byte) => out.push(byte),
            _ => return fail(format_args!("`{name}`: write special characters as `%` and two digits")),
        }
    }
    Ok(out)
}

fn decode_text(name: &str, value: &str, also: &[u8]) -> Result<String, KeysError> {
    match String::from_utf8(decode(name, value, also)?) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => fail(format_args!("`{name}` is not text")),
    }
}

fn nibble(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn encode(out: &mut fmt::Formatter<'_>, bytes: &[u8], plain: impl Fn(u8) -> bool) -> fmt::Result {
    bytes.iter().try_for_each(|byte| match byte {
        byte if plain(*byte) => out.write_char(*byte as char),
        byte => write!(out, "%{byte:02X}"),
    })
}

impl fmt::Display for Pkcs11Uri {
    /// One spelling for one URI: attributes in the order of the RFC, ids
    /// percent-encoded throughout.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("pkcs11:")?;
        let mut separator = "";
        let mut text = |f: &mut fmt::Formatter<'_>, name: &str, value: Option<&str>| {
            let Some(value) = value else { return Ok(()) };
            write!(f, "{separator}{name}=")?;
            separator = ";";
            encode(f, value.as_bytes(), is_unreserved)
        };
        text(f, "token", self.token.as_deref())?;
        text(f, "manufacturer", self.manufacturer.as_deref())?;
        text(f, "serial", self.serial.as_deref())?;
        text(f, "model", self.model.as_deref())?;
        text(f, "library-manufacturer", self.library_manufacturer.as_deref())?;
        text(f, "library-description", self.library_description.as_deref())?;
        let version = self.library_version.map(|(major, minor)| format!("{major}.{minor}"));
        text(f, "library-version", version.as_deref())?;
        text(f, "object", self.object.as_deref())?;
        let object_type = ObjectType::NAMES.iter().find(|(known, _)| Some(*known) == self.object_type);
        text(f, "type", object_type.map(|(_, name)| *name))?;
        text(f, "slot-manufacturer", self.slot_manufacturer.as_deref())?;
        text(f, "slot-description", self.slot_description.as_deref())?;
        text(f, "slot-id", self.slot_id.map(|id| id.to_string()).as_deref())?;
        if let Some(id) = &self.id {
            write!(f, "{separator}id=")?;
            encode(f, id, |_| false)?;
        }
        let mut separator = '?';
        let mut query = |f: &mut fmt::Formatter<'_>, name: &str, value: String| {
            write!(f, "{separator}{name}=")?;
            separator = '&';
            encode(f, value.as_bytes(), |byte| is_unreserved(byte) || matches!(byte, b'/' | b':'))
        };
        if let Some(source) = &self.pin_source {
            query(f, "pin-source", source.to_string())?;
        }
        if let Some(path) = &self.module_path {
            query(f, "module-path", path.display().to_string())?;
        }
        if let Some(sessions) = self.sessions {
            query(f, "sessions", sessions.to_string())?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn all_attributes_are_read_and_written() {
        let text = "pkcs11:token=My%20token;manufacturer=Snake%20Oil;serial=DE1;model=1.0\
            ;library-manufacturer=L;library-description=D;library-version=3.1;object=k%C3%A9y;type=private\
            ;slot-manufacturer=S;slot-description=E;slot-id=7;id=%00%FF\
            ?pin-source=file:/run/pin&module-path=/usr/lib/p.so&sessions=16";
        let uri: Pkcs11Uri = text.parse().unwrap();
        assert_eq!(uri.object.as_deref(), Some("kéy"));
        assert_eq!(uri.id.as_deref(), Some(&[0, 255][..]));
        assert_eq!(uri.library_version, Some((3, 1)));
        assert_eq!(uri.slot_id, Some(7));
        assert_eq!(uri.sessions, Some(16));
        assert_eq!(uri.pin_source, Some(SecretSource::File("/run/pin".into())));
        assert_eq!(uri.to_string(), text);
        // RFC 7512 §3: a URI without attributes matches everything.
        assert_eq!("pkcs11:".parse::<Pkcs11Uri>().unwrap(), Pkcs11Uri::default());
        // Unescaped sub-delimiters, order and the bare form of pin-source.
        let loose: Pkcs11Uri = "pkcs11:object=a+b(c)&d;token=t?pin-source=/run/pin".parse().unwrap();
        assert_eq!(loose.object.as_deref(), Some("a+b(c)&d"));
        assert_eq!(loose.to_string().parse::<Pkcs11Uri>().unwrap(), loose);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_what_is_read_has_one_spelling(
            text in "(pkcs11:)?((token|object|id|type|slot-id|x)=[a-z0-9%é ]{0,6}[;?&]?){0,4}(\\PC){0,8}"
        ) {
            if let Ok(uri) = text.parse::<Pkcs11Uri>() {
                assert_eq!(uri.to_string().parse::<Pkcs11Uri>().unwrap(), uri);
            }
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_no_value_repeated() {
        for (bad, says) in [
            ("token=x", "begins with"),
            ("PKCS11:token=x", "begins with"),
            ("pkcs11:token", "name=value"),
            ("pkcs11:token=a;", "name=value"),
            ("pkcs11:;token=a", "name=value"),
            ("pkcs11:token=a?", "name=value"),
            ("pkcs11:token=", "leave it out"),
            ("pkcs11:token=a;token=b", "twice"),
            ("pkcs11:token=a b", "special characters"),
            ("pkcs11:token=a/b", "special characters"),
            ("pkcs11:token=é", "special characters"),
            ("pkcs11:token=%4", "hexadecimal"),
            ("pkcs11:token=%zz", "hexadecimal"),
            ("pkcs11:token=%+1", "hexadecimal"),
            ("pkcs11:token=%ff", "not text"),
            ("pkcs11:token=a%00", "not text"),
            ("pkcs11:type=Private", "`type`"),
            ("pkcs11:slot-id=+1", "number"),
            ("pkcs11:slot-id=99999999999999999999", "number"),
            ("pkcs11:library-version=1.2.3", "major.minor"),
            ("pkcs11:x-vendor=1", "x-vendor"),
            ("pkcs11:Token=a", "`Token`"),
            ("pkcs11:token=a?serial=1", "before the `?`"),
            ("pkcs11:pin-source=file:/p", "after the `?`"),
            ("pkcs11:?pin-value=123456", "pin-source"),
            ("pkcs11:?pin-value=", "pin-source"),
            ("pkcs11:pin-value=123456", "after the `?`"),
            ("pkcs11:?pin-source=123456", "file:PATH"),
            ("pkcs11:?pin-source=|cat%20/pin", "file:PATH"),
            ("pkcs11:?pin-source=prompt&pin-source=prompt", "twice"),
            ("pkcs11:?module-path=lib.so", "absolute"),
            ("pkcs11:?sessions=0", "1 to 256"),
            ("pkcs11:?sessions=257", "1 to 256"),
            ("pkcs11:sessions=4", "after the `?`"),
            ("pkcs11:?module-name=softhsm2", "module-path"),
            (&format!("pkcs11:token={}", "a".repeat(URI_MAX)), "longer"),
        ] {
            let error = bad.parse::<Pkcs11Uri>().unwrap_err().to_string();
            assert!(error.contains(says), "{bad}: {error}");
            assert!(!error.contains("123456"), "{error}");
        }
    }
}
