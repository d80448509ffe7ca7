//! Notes: the text that a log and its witnesses sign, rebuilt from numbers.
//!
//! A checkpoint travels in an envelope as CBOR; what was signed is the text
//! of C2SP tlog-checkpoint 1.0.0. Building the text, instead of parsing one,
//! leaves nothing in it that was not checked.

use crate::digest::Digest;
use crate::limits::TEXT_MAX;

/// Opening of a witness's signed message (C2SP tlog-cosignature 1.0.1), and
/// the longest decimal of a u64.
const COSIGNATURE: &[u8] = b"cosignature/v1\ntime ";
const DECIMAL_MAX: usize = 20;

const NOTE_MAX: usize = TEXT_MAX + 1 + DECIMAL_MAX + 1 + 44 + 1;
const BUFFER: usize = COSIGNATURE.len() + DECIMAL_MAX + 1 + NOTE_MAX;

/// The body of a checkpoint, with room for a cosignature's opening.
pub(crate) struct Note {
    buffer: [u8; BUFFER],
    end: usize,
}

/// Where the body begins: behind the longest opening.
const BODY: usize = COSIGNATURE.len() + DECIMAL_MAX + 1;

impl Note {
    /// `<origin>\n<size>\n<base64 of the hash>\n`.
    pub(crate) fn checkpoint(origin: &str, size: u64, hash: &Digest) -> Note {
        let mut note = Note { buffer: [0; BUFFER], end: BODY };
        // The reader has bounded the origin by TEXT_MAX.
        note.push(origin.as_bytes());
        note.push(b"\n");
        let (digits, from) = decimal(size);
        note.push(&digits[from..]);
        note.push(b"\n");
        note.push(&base64(hash));
        note.push(b"\n");
        note
    }

    /// What the log signs.
    pub(crate) fn body(&self) -> &[u8] {
        &self.buffer[BODY..self.end]
    }

    /// What a witness signs: `cosignature/v1\ntime <time>\n` and the body.
    pub(crate) fn cosigned_at(&mut self, time: u64) -> &[u8] {
        let (digits, from) = decimal(time);
        let opening = COSIGNATURE.len() + digits.len() - from + 1;
        let start = BODY - opening;
        let mut at = start;
        for part in [COSIGNATURE, &digits[from..], b"\n"] {
            self.buffer[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        &self.buffer[start..self.end]
    }

    #[inline(never)]
    fn push(&mut self, bytes: &[u8]) {
        self.buffer[self.end..self.end + bytes.len()].copy_from_slice(bytes);
        self.end += bytes.len();
    }
}

/// Decimal digits without leading zeros, at the end of the array.
#[inline(never)]
fn decimal(mut number: u64) -> ([u8; DECIMAL_MAX], usize) {
    let mut digits = [b'0'; DECIMAL_MAX];
    let mut at = DECIMAL_MAX;
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return (digits, at);
        }
    }
}

/// Base64 (RFC 4648 §4) of a digest: 42 digits of 3 bytes, one of 2, and a pad.
#[inline(never)]
fn base64(digest: &Digest) -> [u8; 44] {
    let mut out = [b'='; 44];
    encode(digest, |value| ALPHABET[usize::from(value)], &mut out);
    out
}

/// Base64url without padding (RFC 4648 §5) of a digest.
pub(crate) fn base64url(digest: &Digest) -> [u8; 43] {
    let mut out = [0; 43];
    let url = |value| match value {
        62 => b'-',
        63 => b'_',
        _ => ALPHABET[usize::from(value)],
    };
    encode(digest, url, &mut out);
    out
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn encode(digest: &Digest, digit: impl Fn(u8) -> u8, out: &mut [u8]) {
    for (chunk, out) in digest.as_bytes().chunks(3).zip(out.chunks_mut(4)) {
        let bits =
            chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for (place, out) in out.iter_mut().enumerate().take(chunk.len() + 1) {
            *out = digit((bits >> (18 - 6 * place)) as u8 & 63);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Note, base64url};
    use crate::digest::Digest;

    #[test]
    fn texts_are_those_of_the_specification() {
        let mut hash = Digest([0xfb; 32]);
        hash.0[31] = 0xff;
        let mut note = Note::checkpoint("log.example.com/1", 0, &hash);
        const BODY: &str =
            concat!("log.example.com/1\n0\n", "+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/8=", "\n");
        assert_eq!(note.body(), BODY.as_bytes());
        let cosigned = note.cosigned_at(1_679_315_147);
        let (opening, body) = cosigned.split_at(cosigned.len() - BODY.len());
        assert_eq!((opening, body), (b"cosignature/v1\ntime 1679315147\n".as_slice(), BODY.as_bytes()));
        let mut longest = Note::checkpoint(core::str::from_utf8(&[b'x'; 256]).unwrap_or(""), u64::MAX, &hash);
        assert_eq!(longest.cosigned_at(u64::MAX).len(), 15 + 5 + 20 + 1 + 256 + 1 + 20 + 1 + 45);
        assert_eq!(&base64url(&hash)[..4], b"-_v7");
        assert_eq!(&base64url(&hash)[40..], b"-_8");
    }
}
