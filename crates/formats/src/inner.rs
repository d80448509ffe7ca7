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
//! package as it is; Mender has the bare manifest of an artifact signed. RAUC's CMS is over a manifest, which stands in it: one
//! beside a file that is such a manifest would make a bundle.
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

mod description;

use crate::capsule;
use crate::error::FormatError;
use crate::mender;
use crate::source::Source;

/// Longest beginning that is looked at.
const HEAD: u64 = 64;
/// 1.3.6.1.4.1.311.2.1, without the last number: what the contents of
/// Authenticode signatures begin with.
const SPC: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x01];
/// How far an FMP payload header is looked for behind an expression of
/// dependencies.
const EXPRESSION: u64 = 64 * 1024;

/// Refuses what formats sign inside, for every format that signs whatever it
/// is given.
pub(crate) fn refuse(source: &dyn Source) -> Result<(), FormatError> {
    refuse_signed_inside(source)?;
    if is_fmp(source)? {
        let what = "the payload of a firmware capsule with its header (hand it in without, for a capsule)";
        return Err(FormatError::Inner { what });
    }
    Ok(())
}

/// The same for formats that sign payloads of capsules.
pub(crate) fn refuse_signed_inside(source: &dyn Source) -> Result<(), FormatError> {
    let len = source.len()?;
    let mut head = vec![0; len.min(HEAD) as usize];
    source.read_at(0, &mut head)?;
    let mut tail = [0; 2];
    if len >= 4 {
        source.read_at(len - 2, &mut tail)?;
    }
    if is_whole(0x31, &head, tail, len).is_some() {
        return Err(FormatError::Inner { what: "a set of attributes, as CMS signs them" });
    }
    if is_tbs_certificate(&head, tail, len) {
        return Err(FormatError::Inner { what: "what is signed of a certificate (a TBSCertificate)" });
    }
    if is_spc(&head) {
        return Err(FormatError::Inner { what: "the content of an Authenticode signature" });
    }
    if is_structure(&head) {
        return Err(FormatError::Inner { what: "the structure of a devicetree, as U-Boot verifies it" });
    }
    if head.starts_with(b"FSVerity") {
        return Err(FormatError::Inner { what: "a digest as fs-verity has it signed" });
    }
    if is_sig_structure(&head) {
        return Err(FormatError::Inner { what: "a Sig_structure, as COSE has it signed" });
    }
    if head.starts_with(b"DSSEv1 ") {
        return Err(FormatError::Inner { what: "an envelope's content, as DSSE has it signed" });
    }
    if description::is_one(source)? {
        return Err(FormatError::Inner { what: "an sw-description, as SWUpdate has it signed" });
    }
    if mender::is_manifest(source)? {
        return Err(FormatError::Inner { what: "the manifest of a Mender artifact" });
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

/// Whether a file begins as edk2's payloads do: with their header, or with an
/// expression before it (UEFI 2.10 §23.2).
fn is_fmp(source: &dyn Source) -> Result<bool, FormatError> {
    let len = source.len()?;
    let mut head = vec![0; len.min(EXPRESSION) as usize];
    source.read_at(0, &mut head)?;
    let behind = expression(&head).unwrap_or_default();
    Ok(head.get(behind..).is_some_and(|head| capsule::begins_payload(head, len)))
}

/// Where an expression ends, if bytes begin with one.
fn expression(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let operand = match *bytes.get(at)? {
            // A GUID, a version, a name to its zero, operators, a length.
            0x00 => 16,
            0x01 | 0x0e => 4,
            0x02 => bytes.get(at + 1..)?.iter().position(|byte| *byte == 0)? + 1,
            0x03..=0x0c => 0,
            0x0d => return Some(at + 1),
            _ => return None,
        };
        at += 1 + operand;
    }
}

/// What a file that is one element of this tag in whole begins with, behind tag
/// and length. BER's lengths count too: some verifiers hash them as they stand.
fn is_whole(wanted: u8, head: &[u8], tail: [u8; 2], len: u64) -> Option<&[u8]> {
    let (tag, size, content) = header(head)?;
    let ends = match content {
        Some(content) => size.checked_add(content) == Some(len),
        // To the two zeros that end it.
        None => len >= 4 && tail == [0, 0],
    };
    (tag == wanted && ends).then(|| head.get(size as usize..).unwrap_or_default())
}

/// Whether a file is one SEQUENCE in whole that begins with `[0]`, as certificates
/// of version 2 and 3 do (RFC 5280 §4.1), where their version stands. TF-A's
/// parser does not look at what is in that.
fn is_tbs_certificate(head: &[u8], tail: [u8; 2], len: u64) -> bool {
    is_whole(0x30, head, tail, len).is_some_and(|inner| inner.first() == Some(&0xa0))
}

/// Whether a file begins as SpcIndirectDataContent, with its tag or without:
/// what is hashed of it is without.
fn is_spc(head: &[u8]) -> bool {
    let mut rest = head;
    for _ in 0..2 {
        let Some((0x30, size, _)) = header(rest) else { return false };
        rest = rest.get(size as usize..).unwrap_or_default();
        if let Some((0x06, size, _)) = header(rest) {
            return rest.get(size as usize..).is_some_and(|oid| oid.starts_with(SPC));
        }
    }
    false
}

/// Whether a file begins as what is hashed of a FIT: the token of a root,
/// which has no name, and that of a property or of a node in it.
fn is_structure(head: &[u8]) -> bool {
    let words: Vec<&[u8]> = head.chunks_exact(4).take(3).collect();
    matches!(words.as_slice(), [[0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 1 | 3]])
}

/// Whether a file begins as what COSE signs or authenticates: an array whose
/// first item says what the rest is (RFC 9052 §4.4 and §6.3, RFC 9338 §3.3).
fn is_sig_structure(head: &[u8]) -> bool {
    let [0x83..=0x86, text, context @ ..] = head else { return false };
    // Their verifiers build it themselves, deterministically.
    let context = match text {
        0x60..=0x77 => context.get(..usize::from(text & 31)),
        _ => None,
    };
    context.is_some_and(|context| {
        let named =
            [&b"Signature"[..], b"CounterSignature", b"MAC"].iter().any(|name| context.starts_with(name));
        named && context.iter().all(u8::is_ascii_alphanumeric)
    })
}

/// Tag, length of tag and length, and length of the content, unless that is
/// indefinite.
fn header(bytes: &[u8]) -> Option<(u8, u64, Option<u64>)> {
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
