//! Bech32 (BIP 173) without its limit of 90 characters, as age writes
//! recipients and identities. Lower case only; callers fold.

use zeroize::Zeroizing;

const LETTERS: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// Decodes a text with this prefix; `None` where it is not one.
pub(crate) fn decode(prefix: &str, text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let data = text.strip_prefix(prefix)?.strip_prefix('1')?;
    let mut values = Zeroizing::new(Vec::with_capacity(data.len()));
    for letter in data.bytes() {
        values.push(LETTERS.iter().position(|known| *known == letter)? as u8);
    }
    if values.len() < 6 || checksum(prefix, &values) != 1 {
        return None;
    }
    let mut out = Zeroizing::new(Vec::with_capacity(values.len()));
    let (mut bits, mut held) = (0u32, 0u32);
    for value in &values[..values.len() - 6] {
        (held, bits) = ((held << 5 | u32::from(*value)) & 0xfff, bits + 5);
        if bits >= 8 {
            bits -= 8;
            out.push((held >> bits & 0xff) as u8);
        }
    }
    // What is left over is padding: fewer than five bits, all zero.
    (bits < 5 && held & ((1 << bits) - 1) == 0).then_some(out)
}

/// Encodes bytes.
pub(crate) fn encode(prefix: &str, bytes: &[u8]) -> String {
    let mut values = Vec::with_capacity(bytes.len() * 2);
    let (mut bits, mut held) = (0u32, 0u32);
    for byte in bytes {
        (held, bits) = ((held << 8 | u32::from(*byte)) & 0xfff, bits + 8);
        while bits >= 5 {
            bits -= 5;
            values.push((held >> bits & 31) as u8);
        }
    }
    if bits > 0 {
        values.push((held << (5 - bits) & 31) as u8);
    }
    let mut whole = values.clone();
    whole.extend([0; 6]);
    let sum = checksum(prefix, &whole) ^ 1;
    values.extend((0..6).map(|index| (sum >> (5 * (5 - index)) & 31) as u8));
    let letters = values.iter().map(|value| char::from(LETTERS[usize::from(*value)]));
    format!("{prefix}1{}", letters.collect::<String>())
}

fn checksum(prefix: &str, values: &[u8]) -> u32 {
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let high = prefix.bytes().map(|byte| byte >> 5);
    let low = prefix.bytes().map(|byte| byte & 31);
    let all = high.chain([0]).chain(low).chain(values.iter().copied());
    all.fold(1, |sum, value| {
        let top = sum >> 25;
        let next = (sum & 0x1ff_ffff) << 5 ^ u32::from(value);
        (0..5).filter(|bit| top >> bit & 1 == 1).fold(next, |sum, bit| sum ^ GENERATOR[bit])
    })
}
