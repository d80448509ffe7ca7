//! Comparison of two builds of one source: the same, the same but for the
//! signatures put on afterwards, or where they differ.

use crate::error::FormatError;
use crate::inspection::{Covered, Field, Inspection};
use crate::source::Source;

/// Most runs of differing bytes that are told one by one.
const RUNS_MAX: usize = 8;
/// Equal bytes that end a run.
const GAP: u64 = 16;
/// Bytes that are compared at once.
const PIECE: u64 = 128 * 1024;

/// How alike two files are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Likeness {
    /// Byte for byte.
    Identical,
    /// In everything that their own signatures cover.
    ButSignatures,
    /// Not.
    Different,
}

/// What a comparison comes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Comparison {
    /// How alike they are.
    pub likeness: Likeness,
    /// What differs, the first things first: what the formats read, then
    /// bytes by offset. Empty for files that are identical.
    pub differences: Vec<String>,
}

/// Compares two files.
pub fn compare(a: &dyn Source, b: &dyn Source) -> Result<Comparison, FormatError> {
    let (lengths, runs, count) = runs(a, b)?;
    if count == 0 && lengths.0 == lengths.1 {
        return Ok(Comparison { likeness: Likeness::Identical, differences: Vec::new() });
    }
    let mut differences = Vec::new();
    let mut likeness = Likeness::Different;
    // A file that no format reads is compared all the same.
    if let (Ok(a), Ok(b)) = (crate::inspect(a), crate::inspect(b)) {
        if signed_alike(&a, &b) {
            likeness = Likeness::ButSignatures;
        }
        differences.extend(read_apart(&a, &b));
    }
    if lengths.0 != lengths.1 {
        differences.push(format!("length: {} bytes, and {}", lengths.0, lengths.1));
    }
    for (start, end) in &runs {
        let last = end - 1;
        differences.push(match end - start {
            1 => format!("byte {start:#x}"),
            length => format!("bytes {start:#x} to {last:#x} ({length} bytes)"),
        });
    }
    if count as usize > runs.len() {
        differences.push(format!("{} more places", count as usize - runs.len()));
    }
    Ok(Comparison { likeness, differences })
}

/// Whether everything that is signed in both files is the same: each has
/// signatures, and each covers the same bytes with the same algorithm.
fn signed_alike(a: &Inspection, b: &Inspection) -> bool {
    let covered = |of: &Inspection| -> Option<Vec<_>> {
        let fingerprint = |covered: &Covered| match covered {
            Covered::Tbs(tbs) => Some(tbs.fingerprint()),
            Covered::Unknown(_) => None,
        };
        let each = of.signatures.iter();
        each.map(|signature| Some((signature.algorithm, fingerprint(&signature.covered)?))).collect()
    };
    let (Some(a_covered), Some(b_covered)) = (covered(a), covered(b)) else { return false };
    a.digest() == b.digest() && !a_covered.is_empty() && a_covered == b_covered
}

/// What the formats read differently.
fn read_apart(a: &Inspection, b: &Inspection) -> Vec<String> {
    let mut out = Vec::new();
    let mut told = |name: &str, a: String, b: String| {
        if a != b {
            out.push(format!("{name}: {a}, and {b}"));
        }
    };
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
    told("format", a.format.clone(), b.format.clone());
    told("version", text(&a.version), text(&b.version));
    told("security epoch", format!("{:?}", a.epoch), format!("{:?}", b.epoch));
    told("image size", a.image_size.to_string(), b.image_size.to_string());
    told("target", text(&a.target), text(&b.target));
    told("load addresses", format!("{:x?}", a.load_addresses), format!("{:x?}", b.load_addresses));
    // A digest of the file differs wherever anything does.
    let telling = |fields: &[Field]| fields.iter().filter(|field| field.name != "sha256").cloned().collect();
    let (a_fields, b_fields): (Vec<Field>, Vec<Field>) = (telling(&a.fields), telling(&b.fields));
    for field in &a_fields {
        match b_fields.iter().find(|other| other.name == field.name) {
            Some(other) => told(&field.name, field.value.clone(), other.value.clone()),
            None => told(&field.name, field.value.clone(), "none".to_owned()),
        }
    }
    for field in b_fields.iter().filter(|field| a_fields.iter().all(|own| own.name != field.name)) {
        told(&field.name, "none".to_owned(), field.value.clone());
    }
    told("signatures", a.signatures.len().to_string(), b.signatures.len().to_string());
    out
}

type Runs = ((u64, u64), Vec<(u64, u64)>, u64);

/// Both lengths, the first runs of differing bytes in what both have, and
/// how many runs there are.
fn runs(a: &dyn Source, b: &dyn Source) -> Result<Runs, FormatError> {
    let lengths = (a.len()?, b.len()?);
    let common = lengths.0.min(lengths.1);
    let (mut first, mut second) = (vec![0; PIECE as usize], vec![0; PIECE as usize]);
    let (mut runs, mut count): (Vec<(u64, u64)>, u64) = (Vec::new(), 0);
    let mut open: Option<(u64, u64)> = None;
    let mut offset = 0;
    while offset < common {
        let length = PIECE.min(common - offset) as usize;
        a.read_at(offset, &mut first[..length])?;
        b.read_at(offset, &mut second[..length])?;
        // Equal pieces, which most are, are not looked at byte by byte.
        if first[..length] != second[..length] {
            for at in (0..length).filter(|at| first[*at] != second[*at]) {
                let at = offset + at as u64;
                match &mut open {
                    Some((_, end)) if at < *end + GAP => *end = at + 1,
                    _ => {
                        if let Some(run) = open.replace((at, at + 1)) {
                            close(&mut runs, &mut count, run);
                        }
                    }
                }
            }
        }
        offset += length as u64;
    }
    if let Some(run) = open {
        close(&mut runs, &mut count, run);
    }
    Ok((lengths, runs, count))
}

fn close(runs: &mut Vec<(u64, u64)>, count: &mut u64, run: (u64, u64)) {
    *count += 1;
    if runs.len() < RUNS_MAX {
        runs.push(run);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn told(a: &[u8], b: &[u8]) -> (Likeness, Vec<String>) {
        let compared = compare(&a.to_vec(), &b.to_vec()).unwrap();
        (compared.likeness, compared.differences)
    }

    #[test]
    fn differences_are_told_by_offset() {
        let image = vec![7; 300_000];
        assert_eq!(told(&image, &image), (Likeness::Identical, vec![]));
        let mut other = image.clone();
        other[5] = 0;
        (other[131_071], other[131_073], other[200_000]) = (0, 0, 0);
        let (likeness, lines) = told(&image, &other);
        assert_eq!(likeness, Likeness::Different);
        assert_eq!(lines, ["byte 0x5", "bytes 0x1ffff to 0x20001 (3 bytes)", "byte 0x30d40"]);
        let (likeness, lines) = told(&image, &image[..299_999]);
        assert_eq!(likeness, Likeness::Different);
        assert!(lines.contains(&"length: 300000 bytes, and 299999".to_owned()), "{lines:?}");
        let every: Vec<u8> = (0..3000).map(|at| if at % 100 == 0 { 0 } else { 7 }).collect();
        let (_, lines) = told(&every, &image[..3000]);
        assert_eq!((lines.len(), lines[8].as_str()), (9, "22 more places"));
        assert_eq!(told(&[], &[]).0, Likeness::Identical);
        assert_eq!(told(&[], &[1]).0, Likeness::Different);
    }

    #[test]
    fn signatures_that_were_put_on_afterwards_do_not_count() {
        let fixture = |name: &str| {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/mcuboot").join(name);
            std::fs::read(path).unwrap()
        };
        let image = fixture("ed25519.bin");
        // The last bytes are the signature's.
        let mut resigned = image.clone();
        let last = resigned.len() - 1;
        resigned[last] ^= 1;
        let compared = compare(&image, &resigned).unwrap();
        assert_eq!(compared.likeness, Likeness::ButSignatures, "{compared:?}");
        // A byte of the image is no signature, whatever the file's own hash
        // still says.
        let mut changed = image.clone();
        changed[100] ^= 1;
        assert_eq!(compare(&image, &changed).unwrap().likeness, Likeness::Different);
        assert_eq!(compare(&image, &fixture("digest_only.bin")).unwrap().likeness, Likeness::Different);
    }
}
