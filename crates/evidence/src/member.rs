//! Members of JSON objects, and what may become a word in the facts.

use firmseal_fleet::Time;
use serde_json::Value;

use crate::error::EvidenceError;

/// Longest text that is kept.
const TEXT_MAX: usize = 1024;

/// Whether a text may be kept, shown and compared as it stands.
pub(crate) fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.len() <= TEXT_MAX && !text.chars().any(is_odd)
}

/// Characters that steer a terminal, or a reader's eye: controls, and those
/// that turn the direction of text or show nothing.
fn is_odd(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The readers of one format: they name it in errors.
#[derive(Clone, Copy)]
pub(crate) struct Format(pub(crate) &'static str);

impl Format {
    pub(crate) fn malformed(self, what: &'static str) -> EvidenceError {
        EvidenceError::Malformed { format: self.0, what }
    }

    /// A text that has to be there.
    pub(crate) fn text<'a>(self, object: &'a Value, name: &'static str) -> Result<&'a str, EvidenceError> {
        self.optional(object, name)?.ok_or(self.malformed(name))
    }

    /// A text that may be missing, and is nothing else where it is there.
    pub(crate) fn optional<'a>(
        self,
        object: &'a Value,
        name: &'static str,
    ) -> Result<Option<&'a str>, EvidenceError> {
        match object.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if is_plain(text) => Ok(Some(text)),
            Some(_) => Err(self.malformed(name)),
        }
    }

    /// A time that has to be there. "MUST be in RFC 3339 format in the UTC
    /// timezone" (in-toto, Timestamp); fractions, of which writers have any
    /// number of digits, are cut off.
    pub(crate) fn time(self, object: &Value, name: &'static str) -> Result<Time, EvidenceError> {
        instant(self.text(object, name)?).ok_or(self.malformed(name))
    }

    /// An object that has to be there.
    pub(crate) fn object<'a>(
        self,
        object: &'a Value,
        name: &'static str,
    ) -> Result<&'a Value, EvidenceError> {
        object.get(name).filter(|member| member.is_object()).ok_or(self.malformed(name))
    }

    /// A list, empty where it is missing.
    pub(crate) fn list<'a>(
        self,
        object: &'a Value,
        name: &'static str,
    ) -> Result<&'a [Value], EvidenceError> {
        match object.get(name) {
            None | Some(Value::Null) => Ok(&[]),
            Some(Value::Array(list)) => Ok(list),
            Some(_) => Err(self.malformed(name)),
        }
    }
}

fn instant(text: &str) -> Option<Time> {
    let plain = text.strip_suffix('Z')?;
    let (seconds, fraction) = plain.split_once('.').unwrap_or((plain, "0"));
    let digits = !fraction.is_empty() && fraction.bytes().all(|digit| digit.is_ascii_digit());
    // Without its fraction it is of one length.
    (digits && seconds.len() == 19).then(|| format!("{seconds}Z").parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::instant;

    #[test]
    fn times_of_all_writers() {
        let whole = instant("2026-11-18T09:00:00Z");
        assert!(whole.is_some());
        for text in ["2026-11-18T09:00:00.5Z", "2026-11-18T09:00:00.52Z", "2026-11-18T09:00:00.123456789Z"] {
            assert_eq!(instant(text), whole, "{text}");
        }
        for text in [
            "",
            "Z",
            "2026-11-18",
            "2026-11-18T09:00:00",
            "2026-11-18T09:00:00+01:00",
            "2026-11-18T09:00:00.Z",
            "2026-11-18T09:00:00.5.5Z",
            "2026-11-18T09:00:00.-5Z",
            "2026-13-18T09:00:00Z",
            "2026-11-18T09:00:00.000.Z",
            "1700000000",
        ] {
            assert_eq!(instant(text), None, "{text}");
        }
    }
}
