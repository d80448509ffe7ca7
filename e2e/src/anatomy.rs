//! Anatomy: where the parts of an envelope lie, so that a bit of each can be
//! flipped.

use std::ops::Range;

use firmseal_manifest::bundle;
use firmseal_testkit::item;

/// The parts of an envelope with one signature and a severed install
/// sequence (draft-ietf-suit-manifest-37 §8.2).
pub struct Envelope {
    /// The CBOR tag 107.
    pub tag: Range<usize>,
    /// The digest of the manifest in the authentication wrapper.
    pub digest: Range<usize>,
    /// The protected header of the signature.
    pub protected: Range<usize>,
    /// The unprotected header: the key's id.
    pub key_id: Range<usize>,
    /// The signature's bytes.
    pub signature: Range<usize>,
    /// The manifest.
    pub manifest: Range<usize>,
    /// The facts in the manifest.
    pub facts: Range<usize>,
    /// The severed install sequence.
    pub install: Range<usize>,
}

/// Ranges of the items in an array or map, of what a tag is around, or of a
/// byte string's content.
fn inside(bytes: &[u8], outer: &Range<usize>) -> Vec<Range<usize>> {
    let own = &bytes[outer.clone()];
    match own[0] >> 5 {
        2 | 3 => Vec::from([Range { start: outer.end - item::content(own).len(), end: outer.end }]),
        6 => Vec::from([Range { start: outer.end - item::untag(own).len(), end: outer.end }]),
        _ => {
            let items = item::split(own);
            let mut at = outer.end - items.iter().map(Vec::len).sum::<usize>();
            let range = |item: &Vec<u8>| {
                at += item.len();
                at - item.len()..at
            };
            items.iter().map(range).collect()
        }
    }
}

fn member(bytes: &[u8], map: &Range<usize>, key: i64) -> Range<usize> {
    let items = inside(bytes, map);
    let found = items.chunks(2).find(|pair| bytes[pair[0].clone()] == item::int(key)[..]);
    found.unwrap_or_else(|| panic!("there is no member {key}"))[1].clone()
}

fn only(bytes: &[u8], outer: &Range<usize>) -> Range<usize> {
    inside(bytes, outer)[0].clone()
}

impl Envelope {
    /// Finds the parts.
    pub fn of(bytes: &[u8]) -> Envelope {
        let whole = 0..bytes.len();
        let map = only(bytes, &whole);
        let content = |key| only(bytes, &member(bytes, &map, key));
        // [digest, signature], each wrapped; a digest is [algorithm, bytes].
        let wrapper = inside(bytes, &content(2));
        let digest = inside(bytes, &only(bytes, &wrapper[0]))[1].clone();
        let block = inside(bytes, &only(bytes, &only(bytes, &wrapper[1])));
        let manifest = content(3);
        Envelope {
            tag: 0..map.start,
            digest: only(bytes, &digest),
            protected: only(bytes, &block[0]),
            key_id: block[1].clone(),
            signature: only(bytes, &block[3]),
            facts: only(bytes, &member(bytes, &manifest, -257)),
            manifest,
            install: content(20),
        }
    }
}

/// A bundle of one component.
#[derive(Clone)]
pub struct Bundle {
    /// The whole file.
    pub bytes: Vec<u8>,
    /// Where its envelope lies.
    pub envelope: Range<usize>,
    /// Where its hash blocks lie.
    pub tree: Range<usize>,
    /// Where its payload lies.
    pub payload: Range<usize>,
}

impl Bundle {
    /// Finds the parts.
    pub fn of(bytes: Vec<u8>) -> Bundle {
        let head = bundle::read_head(&mut &bytes[..]).unwrap();
        let mut at = head.offset as usize;
        let envelope = at - head.envelope.len()..at;
        let mut blob = || {
            let (own, size) = bundle::read_blob_size(&mut &bytes[at..]).unwrap();
            let start = at + own as usize;
            at = start + size as usize;
            start..at
        };
        let (tree, payload) = (blob(), blob());
        assert_eq!(payload.end, bytes.len(), "the bundle has one component");
        Bundle { bytes, envelope, tree, payload }
    }

    /// The bytes of a part.
    pub fn part(&self, range: &Range<usize>) -> Vec<u8> {
        self.bytes[range.clone()].to_vec()
    }

    /// The same bundle with another envelope in it.
    pub fn with_envelope(&self, envelope: &[u8]) -> Vec<u8> {
        let head = bundle::read_head(&mut &self.bytes[..]).unwrap();
        let mut out = bundle::BundleWriter::begin(Vec::new(), &head.news, envelope).unwrap();
        for part in [&self.tree, &self.payload] {
            out.blob_head(part.len() as u64).unwrap();
            out.blob_piece(&self.bytes[part.clone()]).unwrap();
        }
        out.finish().unwrap()
    }
}

/// The bytes with one bit flipped.
pub fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bad = bytes.to_vec();
    bad[at] ^= 1 << (at % 8);
    bad
}

/// First, middle and last index of a range.
pub fn ends_and_middle(range: &Range<usize>) -> [usize; 3] {
    [range.start, range.start.midpoint(range.end), range.end - 1]
}
