//! What formats sign inside, and is no file.
//!
//! A signature beside a file is over the file's hash, and so is one in CMS over
//! the hash of its attributes: whoever hands in a file that *is* such a set of
//! attributes, for a product of format `raw`, holds a CMS signature over
//! whatever content the attributes name, one that no gate has seen. Nor does
//! Authenticode keep apart what CMS does: OpenSSL, and with it sbverify and
//! UEFI firmware, never compares the attribute that names the content's type,
//! so that a CMS signature over a file that is the content of an Authenticode
//! signature is one over the image whose digest stands in there.
//!
//! U-Boot verifies the hash of tokens of a devicetree, one behind the other,
//! which a file could be as well. SWUpdate signs the bare description of a
//! package: a signature beside a file that is one, or CMS beside it, goes into a
//! package as it is; Mender has the bare manifest of an artifact signed. RAUC's
//! CMS is over a manifest, which stands in it: one beside a file that is such a
//! manifest would make a bundle.
//!
//! The kernel takes CMS over two kinds of digests, which both say what they are:
//! fs-verity's by its first bytes, dm-verity's by its digits.
//!
//! Capsules are signed with CMS over a payload and its monotonic count. A CMS
//! signature over a file that *is* both is one in a capsule of any type, and
//! firmware takes attribute-less CMS, which a `raw` signature over that file
//! makes. edk2's payloads begin with a header of their own and are refused. A
//! payload without one cannot be told from any other file: its key is for
//! capsules alone (docs/formats.md says so).
//!
//! COSE has a structure signed that begins with its own name, and SUIT's are over
//! nothing else, releases of our own included: a signature beside a file that is
//! one would be one in any envelope.
//!
//! An envelope's signature (DSSE) is over a line that names its type and length,
//! and the statement behind it. A file that is both is refused, or a `raw`
//! signature over it would be one over whatever the statement says of others.
//!
//! A certificate's signature is over what stands in it before the signature
//! (TBSCertificate), and a boot stage that verifies certificates asks nothing but
//! that: a `raw` signature over a file that is one would make a certificate.
//!
//! One key may serve products of several formats, and what it has signed is
//! not taken back by a rule for later ones. So the content decides: no
//! firmware begins so, and nobody loses anything.
//!
//! Each format says itself what it signs inside ([`Format::signed_inside`]); here
//! all are asked.

use crate::FORMATS;
use crate::error::FormatError;
use crate::format::{Bare, Format};
use crate::source::Source;

/// Longest beginning that is looked at.
const HEAD: u64 = 64;

/// Refuses what formats sign inside, for every format that signs whatever it
/// is given.
pub(crate) fn refuse(source: &dyn Source) -> Result<(), FormatError> {
    refuse_of(source, FORMATS.iter().copied())
}

/// The same for what a format itself signs inside: that of all others.
pub(crate) fn refuse_others(source: &dyn Source, own: &str) -> Result<(), FormatError> {
    refuse_of(source, FORMATS.iter().copied().filter(|format| format.name() != own))
}

fn refuse_of(
    source: &dyn Source,
    formats: impl Iterator<Item = &'static dyn Format>,
) -> Result<(), FormatError> {
    let len = source.len()?;
    let mut head = vec![0; len.min(HEAD) as usize];
    source.read_at(0, &mut head)?;
    let mut tail = [0; 2];
    if len >= 4 {
        source.read_at(len - 2, &mut tail)?;
    }
    let file = Bare { source, len, head: &head, tail };
    for format in formats {
        if let Some(what) = format.signed_inside(&file)? {
            return Err(FormatError::Inner { what });
        }
    }
    Ok(())
}

/// Refuses what formats sign in CMS as its content: a signature beside such a
/// file is the one around it, with the content put in.
pub(crate) fn refuse_content(source: &dyn Source) -> Result<(), FormatError> {
    // RAUC reads no longer CMS, and no manifest without these two.
    const MANIFEST_MAX: u64 = 64 * 1024;
    let len = source.len()?;
    if len > MANIFEST_MAX {
        return Ok(());
    }
    let mut text = vec![0; len as usize];
    source.read_at(0, &mut text)?;
    // The root of a tree, of whatever hash from MD5 to SHA-512.
    if (32..=128).contains(&text.len()) && text.iter().all(u8::is_ascii_hexdigit) {
        return Err(FormatError::Inner { what: "a root hash as dm-verity has it signed" });
    }
    let holds = |word: &[u8]| text.windows(word.len()).any(|own| own == word);
    match holds(b"[bundle]") && holds(b"verity-hash") {
        true => Err(FormatError::Inner { what: "the manifest of a RAUC bundle" }),
        false => Ok(()),
    }
}

impl<'a> Bare<'a> {
    /// What the file begins with behind tag and length, if it is one element of
    /// this tag in whole. BER's lengths count too: some verifiers hash them as they
    /// stand.
    pub(crate) fn is_whole(&self, wanted: u8) -> Option<&'a [u8]> {
        let (tag, size, content) = header(self.head)?;
        let ends = match content {
            Some(content) => size.checked_add(content) == Some(self.len),
            // To the two zeros that end it.
            None => self.len >= 4 && self.tail == [0, 0],
        };
        (tag == wanted && ends).then(|| self.head.get(size as usize..).unwrap_or_default())
    }
}

/// Tag, length of tag and length, and length of the content, unless that is
/// indefinite.
pub(crate) fn header(bytes: &[u8]) -> Option<(u8, u64, Option<u64>)> {
    let (&[tag, first], rest) = bytes.split_first_chunk()?;
    match first {
        0x80 => Some((tag, 2, None)),
        0x81..=0xfe => {
            let digits = rest.get(..usize::from(first & 0x7f))?;
            let zeros = digits.iter().take_while(|digit| **digit == 0).count();
            let digits = (digits.len() - zeros <= 8).then_some(digits)?;
            let content = digits.iter().fold(0, |len, digit| len << 8 | u64::from(*digit));
            Some((tag, 2 + u64::from(first & 0x7f), Some(content)))
        }
        _ => Some((tag, 2, Some(u64::from(first)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1.3.6.1.4.1.311.2.1, without the last number.
    const SPC: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x01];

    #[test]
    fn sets_in_whole_and_authenticode_contents_are_no_files() {
        let with = |head: &[u8], len: usize| {
            let mut file = head.to_vec();
            file.resize(len, 7);
            file
        };
        let long: Vec<u8> = [&[0x31, 0x80 | 40][..], &[0; 39], &[9]].concat();
        let tree = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3];
        let refused: [(&str, Vec<u8>); 20] = [
            ("of a certificate", with(&[0x30, 0x82, 1, 0, 0xa0, 3, 2, 1, 2, 2, 1, 9, 0x30], 260)),
            ("of a short one", with(&[0x30, 12, 0xa0, 3, 2, 1, 2, 2, 1, 9, 0x30, 2, 6, 0], 14)),
            ("of one in BER", [with(&[0x30, 0x80, 0xa0, 3, 2, 1, 2], 100), vec![0, 0]].concat()),
            ("of one whose version is something else", with(&[0x30, 0x81, 0x90, 0xa0, 0x81, 0x80, 4], 147)),
            ("what COSE_Sign1 signs", with(b"\x84\x6aSignature1\x43\xa1\x01\x26\x40\x58\x24", 55)),
            ("what COSE_Sign signs", with(b"\x85\x69Signature\x40", 60)),
            ("a countersignature", with(b"\x86\x72CounterSignatureV2\x40", 60)),
            ("what DSSE has signed", b"DSSEv1 28 application/vnd.in-toto+json 2 {}".to_vec()),
            ("what U-Boot hashes", with(&tree, 90)),
            ("short", with(&[0x31, 3], 5)),
            ("long form", with(&[0x31, 0x82, 1, 0], 260)),
            ("long form of a short length", with(&[0x31, 0x84, 0, 0, 0, 3], 9)),
            ("very long form", with(&long, 51)),
            ("indefinite", [with(&[0x31, 0x80, 0x30], 100), vec![0, 0]].concat()),
            ("large", with(&[0x31, 0x83, 1, 0, 0], 65_541)),
            ("content", with(&[&[0x30, 0x17, 0x06, 0x0a], SPC, &[15]].concat(), 90)),
            ("content with its tag", with(&[&[0x30, 0x4c, 0x30, 0x17, 0x06, 0x0a], SPC, &[15]].concat(), 90)),
            ("capsule's payload", with(b"MSS1\x14\0\0\0\x03", 40)),
            (
                "capsule's payload with dependencies",
                with(b"\x01\x0d\0\0\0\x02a b\0\x0a\x0dMSS1\x10\0\0\0\x03", 60),
            ),
            ("content in BER", with(&[&[0x30, 0x81, 0x17, 0x06, 0x81, 0x0a], SPC, &[15]].concat(), 90)),
        ];
        for (name, file) in refused {
            assert!(refuse(&file).is_err(), "{name}");
            assert!(crate::detect(&file).is_err(), "{name}");
        }
        let taken: [(&str, Vec<u8>); 13] = [
            ("a sequence and more", with(&[0x30, 0x82, 1, 0, 0xa0, 3, 2, 1, 2], 261)),
            ("a sequence of something else", with(&[0x30, 0x82, 1, 0, 0xa1, 3, 2, 1, 2], 260)),
            ("a text that is cut short", b"\x84\x6aSignatu".to_vec()),
            ("another text", with(b"\x84\x6asignature1", 60)),
            ("words", with(&tree[..8], 90)),
            ("nothing", Vec::new()),
            ("one byte", vec![0x31]),
            ("text", b"1.2.3: what has changed".to_vec()),
            ("another MSS1", with(b"MSS1 Manual", 40)),
            ("a set and more", with(&[0x31, 3], 6)),
            ("cut short", with(&[0x31, 4], 5)),
            ("words that begin so", with(&[0x31, 0x80, 0x30], 100)),
            ("a certificate", with(&[0x30, 0x82, 1, 0, 0x30, 0x82, 0, 0xf0, 0xa0, 3, 2, 1, 2], 260)),
        ];
        for (name, file) in taken {
            assert!(refuse(&file).is_ok(), "{name}");
        }
    }
}
