//! Jcat files (libjcat's *Jcat file format*): gzip of JSON, an item for each
//! file, with its checksums and signatures.

use crate::cms::certificate::pem;
use crate::cms::read::Signed;
use crate::der::Bad;
use crate::error::FormatError;
use crate::gzip::{Gunzip, stored};
use crate::hash::{Hash, hex};
use crate::inspection::{Covered, ExistingSignature};
use crate::json;
use crate::source::Source;
use crate::tree::{self, Group, Value};

/// Longest text of one.
const TEXT_MAX: usize = 512 * 1024;
/// Most items, and most blobs in one.
const ITEMS_MAX: usize = 64;
const BLOBS_MAX: usize = 32;
/// Kinds of blobs (`JcatBlobKind`).
const SHA256: &str = "1";
const PKCS7: &str = "3";
const SHA1: &str = "4";
const SHA512: &str = "10";
pub(super) const LABEL: &str = "PKCS7";

/// A file of them, settings that are not known here included.
#[derive(Clone)]
pub(super) struct JcatFile(Group);

/// What it says of one file.
pub(super) struct Item<'a> {
    pub(super) id: &'a str,
    blobs: Vec<&'a Group>,
    /// Other names of the same.
    pub(super) has_aliases: bool,
}

impl JcatFile {
    pub(super) fn new() -> JcatFile {
        let number = |text: &str| Value::Number(text.to_owned());
        JcatFile(Group::from([
            ("JcatVersionMajor".to_owned(), number("0")),
            ("JcatVersionMinor".to_owned(), number("1")),
            ("Items".to_owned(), Value::List(Vec::new())),
        ]))
    }

    /// Reads one in whole.
    pub(super) fn read(format: &'static str, source: &dyn Source) -> Result<JcatFile, FormatError> {
        let mut stream = Gunzip::new(format, source, 0..source.len()?)?;
        let mut text = vec![0; TEXT_MAX];
        let len = stream.read(&mut text)?;
        if len == TEXT_MAX {
            return Err(FormatError::malformed(format, "its jcat is longer than 512 KiB"));
        }
        let parsed = tree::text(&text[..len]).and_then(json::read).map(JcatFile);
        let checked = parsed.and_then(|own| own.items().map(|_| ()).map(|()| own));
        checked.map_err(|why| FormatError::malformed(format, format!("its jcat: {why}")))
    }

    pub(super) fn items(&self) -> Result<Vec<Item<'_>>, Bad> {
        if !matches!(self.0.get("JcatVersionMajor"), Some(Value::Number(major)) if major == "0") {
            return Err("it is of another version than 0");
        }
        if !matches!(self.0.get("JcatVersionMinor"), Some(Value::Number(_))) {
            return Err("it has no minor version, which libjcat asks for");
        }
        let Some(Value::List(list)) = self.0.get("Items") else { return Err("it has no items") };
        if list.len() > ITEMS_MAX {
            return Err("it has more than 64 items");
        }
        let mut found: Vec<Item<'_>> = Vec::new();
        for item in list {
            let item = Item::read(item)?;
            // Readers take the first.
            if found.iter().any(|own| own.id == item.id) {
                return Err("two items are for one file");
            }
            found.push(item);
        }
        Ok(found)
    }

    /// Adds a signature of a file, in the place of any other: libjcat knows one
    /// of each kind.
    pub(super) fn add(&mut self, id: &str, sha256: &[u8], pkcs7: String) -> Result<(), Bad> {
        let Some(Value::List(items)) = self.0.get_mut("Items") else { return Err("it has no items") };
        let name = Value::Text(id.to_owned());
        let found =
            items.iter().position(|item| matches!(item, Value::Group(item) if item.get("Id") == Some(&name)));
        let index = found.unwrap_or(items.len());
        if found.is_none() {
            items.push(Value::Group(Group::from([("Id".to_owned(), name)])));
        }
        let Some(Value::Group(item)) = items.get_mut(index) else { return Err("an item is no group") };
        let blobs = item.entry("Blobs".to_owned()).or_insert_with(|| Value::List(Vec::new()));
        let Value::List(blobs) = blobs else { return Err("the blobs of an item are no list") };
        blobs.retain(|blob| match blob {
            Value::Group(blob) => !(is(blob, SHA256) || is(blob, PKCS7)),
            _ => true,
        });
        blobs.insert(0, blob(SHA256, hex(sha256)));
        blobs.push(blob(PKCS7, pkcs7));
        if blobs.len() > BLOBS_MAX || items.len() > ITEMS_MAX {
            return Err("it has more than 64 items, or an item more than 32 blobs");
        }
        Ok(())
    }

    pub(super) fn write(&self) -> Vec<u8> {
        stored(json::write(&self.0).as_bytes())
    }
}

/// A blob of text.
fn blob(kind: &str, data: String) -> Value {
    let number = |text: &str| Value::Number(text.to_owned());
    Value::Group(Group::from([
        ("Kind".to_owned(), number(kind)),
        // `is-utf8`: it is no base64.
        ("Flags".to_owned(), number("1")),
        ("Data".to_owned(), Value::Text(data)),
    ]))
}

fn is(blob: &Group, kind: &str) -> bool {
    matches!(blob.get("Kind"), Some(Value::Number(own)) if own == kind)
}

/// Whether two blobs are of one kind, over the same.
fn is_same(one: &Group, other: &Group) -> bool {
    ["Kind", "Target", "AppstreamId"].iter().all(|name| one.get(*name) == other.get(*name))
}

fn text<'a>(group: &'a Group, name: &str) -> Result<&'a str, Bad> {
    match group.get(name) {
        Some(Value::Text(text)) => Ok(text),
        _ => Err("an item or a blob lacks a text"),
    }
}

impl<'a> Item<'a> {
    fn read(item: &'a Value) -> Result<Item<'a>, Bad> {
        let Value::Group(item) = item else { return Err("an item is no group") };
        let Some(Value::List(list)) = item.get("Blobs") else { return Err("an item has no blobs") };
        let blobs: Option<Vec<&Group>> =
            list.iter().map(|blob| if let Value::Group(blob) = blob { Some(blob) } else { None }).collect();
        let blobs = blobs
            .filter(|blobs| blobs.len() <= BLOBS_MAX)
            .ok_or("an item has something else than up to 32 blobs")?;
        for (index, blob) in blobs.iter().enumerate() {
            // libjcat keeps the last of a kind, and kept them all once.
            if blobs[..index].iter().any(|own| is_same(own, blob)) {
                return Err("an item has two blobs of one kind");
            }
            text(blob, "Data")?;
            let Some(Value::Number(kind)) = blob.get("Kind") else { return Err("a blob has no kind") };
            // What libjcat reads as no number is kind 0 there.
            let plain = kind.len() <= 2 && kind.bytes().all(|digit| digit.is_ascii_digit());
            let is_text = matches!(blob.get("Flags"), Some(Value::Number(flags)) if flags == "1");
            if !plain || !is_text && [SHA256, SHA512, SHA1, PKCS7].contains(&kind.as_str()) {
                return Err("a blob is of an unknown kind, or no text where it should be one");
            }
        }
        let has_aliases = item.get("AliasIds").is_some_and(|own| *own != Value::List(Vec::new()));
        Ok(Item { id: text(item, "Id")?, blobs, has_aliases })
    }

    /// Whether there are checksums, and all of them right: what libjcat asks
    /// for before it looks at signatures.
    pub(super) fn checksums<E>(
        &self,
        mut digest: impl FnMut(Hash) -> Result<Vec<u8>, E>,
    ) -> Result<Checksums, E> {
        let mut found = Checksums::None;
        for blob in &self.blobs {
            let hash = match () {
                () if is(blob, SHA256) => Hash::Sha256,
                () if is(blob, SHA512) => Hash::Sha512,
                // It would have to be right as well, and nobody writes it any more.
                () if is(blob, SHA1) => return Ok(Checksums::Wrong),
                () => continue,
            };
            if text(blob, "Data") != Ok(hex(&digest(hash)?).as_str()) {
                return Ok(Checksums::Wrong);
            }
            found = Checksums::Right;
        }
        Ok(found)
    }

    /// The text of its signature in CMS that is over the file itself.
    fn pkcs7(&self) -> Option<&'a str> {
        let mut own = self.blobs.iter().filter(|blob| is(blob, PKCS7));
        let own = own.find(|blob| !blob.contains_key("Target") && !blob.contains_key("AppstreamId"));
        own.and_then(|blob| text(blob, "Data").ok())
    }

    /// That one if it can be read, over a file with the digests that `digest`
    /// computes.
    pub(super) fn signature<E>(
        &self,
        digest: impl FnMut(Hash) -> Result<Vec<u8>, E>,
    ) -> Result<Option<ExistingSignature>, E> {
        self.pkcs7().map_or(Ok(None), |text| signature(text, digest))
    }

    /// How many others there are, of whatever kind.
    pub(super) fn others(&self, is_read: bool) -> usize {
        let sums = self.blobs.iter().filter(|blob| is(blob, SHA256) || is(blob, SHA512)).count();
        self.blobs.len() - sums - usize::from(is_read)
    }
}

/// What an item's checksums say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Checksums {
    None,
    Right,
    Wrong,
}

/// A signature in PEM; `None` where it has more than one signer, all of whom
/// libjcat wants to know, names none by a certificate in it, or is no CMS.
fn signature<E>(
    text: &str,
    digest: impl FnMut(Hash) -> Result<Vec<u8>, E>,
) -> Result<Option<ExistingSignature>, E> {
    let block = pem(text, LABEL).and_then(|blocks| <[Vec<u8>; 1]>::try_from(blocks).ok());
    let Some([der]) = block else { return Ok(None) };
    let Ok(signed) = Signed::read(&der) else { return Ok(None) };
    if signed.content_type != crate::cms::DATA || signed.content.is_some() {
        return Ok(None);
    }
    let one = <[ExistingSignature; 1]>::try_from(signed.signatures(digest)?);
    Ok(one.ok().map(|[one]| one))
}

/// The same signature, of which nothing is believed for this reason.
pub(super) fn unknown(signature: ExistingSignature, why: &'static str) -> ExistingSignature {
    ExistingSignature { covered: Covered::Unknown(why), ..signature }
}
