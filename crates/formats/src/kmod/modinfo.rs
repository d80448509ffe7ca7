//! `.modinfo`: what a module says of itself, `key=value` for each line
//! (`include/linux/moduleparam.h`).

use std::ops::Range;

use super::NAME;
use crate::error::FormatError;
use crate::source::Source;

/// Longest section that is read.
const SECTION_MAX: u64 = 256 * 1024;
/// Longest value that is told.
const VALUE_MAX: usize = 1024;

/// The lines.
pub(super) struct ModInfo(Vec<(String, String)>);

impl ModInfo {
    pub(super) fn read(source: &dyn Source, range: &Range<u64>) -> Result<ModInfo, FormatError> {
        let malformed = |what: &str| FormatError::malformed(NAME, what);
        let len = range.end - range.start;
        if len > SECTION_MAX {
            return Err(malformed("its .modinfo is longer than 256 KiB"));
        }
        let mut bytes = vec![0; len as usize];
        source.read_at(range.start, &mut bytes)?;
        // The last line goes on in what lies behind, for those who look there.
        if bytes.last().is_some_and(|last| *last != 0) {
            return Err(malformed("its .modinfo does not end with a NUL"));
        }
        let lines = bytes.split(|byte| *byte == 0).filter(|line| *line != b"");
        let parted = lines.map(|line| {
            let at = line.iter().position(|byte| *byte == b'=');
            let (key, value) = line.split_at(at.ok_or_else(|| malformed("a line of .modinfo has no value"))?);
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            Ok((text(key), text(&value[1..])))
        });
        Ok(ModInfo(parted.collect::<Result<_, FormatError>>()?))
    }

    /// The value of what stands there once at most: the kernel takes the first
    /// one, and tools tell all.
    pub(super) fn one(&self, key: &'static str) -> Result<Option<String>, FormatError> {
        let mut all = self.0.iter().filter(|(own, _)| own == key);
        let first = all.next().map(|(_, value)| told(value));
        match all.next() {
            None => Ok(first),
            Some(_) => Err(FormatError::malformed(NAME, format!("its .modinfo says {key} twice"))),
        }
    }

    /// The values, one behind the other.
    pub(super) fn all(&self, key: &str) -> Option<String> {
        let all: Vec<&str> =
            self.0.iter().filter(|(own, _)| own == key).map(|(_, value)| value.as_str()).collect();
        (!all.is_empty()).then(|| told(&all.join(", ")))
    }
}

fn told(value: &str) -> String {
    let plain = |own: char| match own.is_control() {
        true => own.escape_default().to_string(),
        false => own.to_string(),
    };
    value.trim_end().chars().take(VALUE_MAX).map(plain).collect()
}
