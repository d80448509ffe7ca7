//! Single CBOR items (RFC 8949), encoded and taken apart.
//!
//! It shares nothing with core's reader and refuses nothing: tests need to
//! write what no author would.

use firmseal_manifest::cbor::Writer;

/// One encoded item.
pub type Item = Vec<u8>;

fn write(body: impl FnOnce(&mut Writer)) -> Item {
    let mut writer = Writer::new();
    body(&mut writer);
    writer.finish()
}

/// An unsigned integer.
pub fn uint(value: u64) -> Item {
    write(|w| {
        w.uint(value);
    })
}

/// An integer.
pub fn int(value: i64) -> Item {
    write(|w| {
        w.int(value);
    })
}

/// A byte string.
pub fn bytes(value: &[u8]) -> Item {
    write(|w| {
        w.bytes(value);
    })
}

/// A text string.
pub fn text(value: &str) -> Item {
    write(|w| {
        w.text(value);
    })
}

/// An array.
pub fn array(items: &[Item]) -> Item {
    write(|w| {
        w.array(items.len()).raw(&items.concat());
    })
}

/// A map of pairs, in the order given.
pub fn map(pairs: &[(Item, Item)]) -> Item {
    write(|w| {
        w.map(pairs.len());
        for (key, value) in pairs {
            w.raw(key).raw(value);
        }
    })
}

/// A tag around an item.
pub fn tag(tag: u64, item: &[u8]) -> Item {
    write(|w| {
        w.tag(tag).raw(item);
    })
}

/// `true` or `false`.
pub fn boolean(value: bool) -> Item {
    vec![if value { 0xf5 } else { 0xf4 }]
}

/// `null`.
pub fn null() -> Item {
    vec![0xf6]
}

/// A `SUIT_Digest` of SHA-256.
pub fn suit_digest(digest: &firmseal_manifest::Digest) -> Item {
    array(&[int(-16), bytes(digest.as_bytes())])
}

/// Major type, argument and length of the head at the beginning.
fn head(item: &[u8]) -> (u8, u64, usize) {
    let (major, info) = (item[0] >> 5, item[0] & 31);
    let extra = match info {
        0..24 => return (major, u64::from(info), 1),
        24..28 => 1 << (info - 24),
        _ => panic!("an indefinite length in a test's own CBOR"),
    };
    let argument = item[1..1 + extra].iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
    (major, argument, 1 + extra)
}

/// The argument of the head at the beginning.
pub fn argument(item: &[u8]) -> u64 {
    head(item).1
}

/// Whether these bytes are exactly one item, without indefinite lengths.
pub fn well_formed(bytes: &[u8]) -> bool {
    fn end(bytes: &[u8], depth: usize) -> Option<usize> {
        let extra = match bytes.first()? & 31 {
            0..24 => 0,
            info @ 24..28 => 1 << (info - 24),
            _ => return None,
        };
        bytes.get(extra)?;
        let (major, argument, start) = head(bytes);
        let inner = match major {
            0 | 1 | 7 => 0,
            2 | 3 => {
                let end = start.checked_add(usize::try_from(argument).ok()?)?;
                return bytes.get(..end).map(|_| end);
            }
            4 => argument,
            5 => argument.checked_mul(2)?,
            _ => 1,
        };
        if depth > 32 || inner > bytes.len() as u64 {
            return None;
        }
        (0..inner).try_fold(start, |at, _| Some(at + end(&bytes[at..], depth + 1)?))
    }
    end(bytes, 0) == Some(bytes.len())
}

/// Length of the item at the beginning.
pub fn length(item: &[u8]) -> usize {
    let (major, argument, start) = head(item);
    let inner = match major {
        0 | 1 | 7 => 0,
        2 | 3 => return start + argument as usize,
        4 => argument,
        5 => 2 * argument,
        _ => 1,
    };
    (0..inner).fold(start, |at, _| at + length(&item[at..]))
}

/// The items of an array or map, one after another, without the head.
pub fn split(item: &[u8]) -> Vec<Item> {
    let (major, argument, mut at) = head(item);
    let count = if major == 5 { 2 * argument } else { argument };
    (0..count)
        .map(|_| {
            let start = at;
            at += length(&item[at..]);
            item[start..at].to_vec()
        })
        .collect()
}

/// What a tag is around.
pub fn untag(item: &[u8]) -> Item {
    item[head(item).2..].to_vec()
}

/// The content of a byte or text string.
pub fn content(item: &[u8]) -> Vec<u8> {
    item[head(item).2..].to_vec()
}

/// The value of an integer.
pub fn number(item: &[u8]) -> i64 {
    let (major, argument, _) = head(item);
    if major == 1 { !(argument as i64) } else { argument as i64 }
}
