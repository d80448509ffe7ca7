//! Escrow: a key in shares, each for one custodian, so that some of them
//! together can bring it back and fewer learn nothing.
//!
//! Shamir's scheme over GF(256), byte by byte (crate `vsss-rs`, which was audited).
//! It has no integrity of its own: any shares make some bytes. So every
//! share carries the digests of all shares and the id of the key, and what
//! comes out is a key only if its public half has that id.
//!
//! Of a key that lives in a token the shares are those of the key under which
//! the token has wrapped it; the wrapped key stands in each of them.

use std::path::Path;

use aws_lc_rs::digest;
use base64ct::{Base64, Encoding};
use firmseal_manifest::PublicKey;
use firmseal_manifest::ids::parse_digest;
use firmseal_manifest::{Digest, KeyId};
use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;
use vsss_rs::Gf256;
use zeroize::Zeroizing;

use crate::create::create;
use crate::error::KeysError;
use crate::file::FileKey;
use crate::pair::Pair;
use crate::secret::Secret;
use crate::signer::Signer;
use crate::wrapped::{Wrapped, WrappingKey};
use crate::{private, sealed};

/// Most custodians of one key.
pub const SHARES_MAX: usize = 32;
/// What a share of a key begins with.
const HEAD: &str = "firmseal-share 1";
/// And one of the key under which a token's key is wrapped.
const WRAPPING_HEAD: &str = "firmseal-share 2";

/// Why there are no shares, or no key.
#[derive(Debug, thiserror::Error)]
pub enum EscrowError {
    /// The key file.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// One share would be the key, or nobody could bring it back.
    #[error(
        "a key is split into 2 to {SHARES_MAX} shares of which 2 or more are needed, not {need} of {count}"
    )]
    Threshold {
        /// How many are needed.
        need: usize,
        /// How many there would be.
        count: usize,
    },
    /// Not a share.
    #[error("share {0} is none, or damaged")]
    NotAShare(usize),
    /// Shares of different keys, or of different splittings.
    #[error("share {0} belongs to another splitting than the first; bring shares that were made together")]
    Another(usize),
    /// A custodian brought something else than they were given.
    #[error("share {0} is not what its custodian was given: it was changed since")]
    Changed(usize),
    /// The same one twice.
    #[error("share {0} was brought before; each counts once")]
    Twice(usize),
    /// Too few.
    #[error("{need} shares bring the key back, here are {have}")]
    TooFew {
        /// How many there are.
        have: usize,
        /// How many are needed.
        need: usize,
    },
    /// What came out is not the key.
    #[error("the shares make no key with id {0}")]
    NotTheKey(KeyId),
    /// The shares are those of a token's key.
    #[error("these are shares of a key that lived in a token; it comes back in a token, not in a file")]
    OfAToken,
    /// The shares are those of a key file's key.
    #[error("these are shares of a key that lived in a file; it comes back in a file, not in a token")]
    OfAFile,
    /// The scheme failed at something that cannot fail.
    #[error("the key could not be split: {0}")]
    Failed(String),
}

/// Splits a key file's key. The shares are in the clear: encrypt each.
pub fn split(
    path: &Path,
    passphrase: &Secret,
    need: usize,
    count: usize,
) -> Result<(PublicKey, Vec<Zeroizing<String>>), EscrowError> {
    check(need, count)?;
    // Opened as a signer would: what is no usable key is not kept for later.
    let public = FileKey::open(path, passphrase)?.public_key().clone();
    let pkcs8 = sealed::open(path, &private::read(path)?, passphrase)?;
    let about = format!("{HEAD}\nkey {}\nneed {need}\n", public.id());
    let shares = shares(&about, "", pkcs8.as_bytes(), need, count)?;
    Ok((public, shares))
}

/// Splits the key under which a token has wrapped one of its keys. The shares
/// are in the clear: encrypt each.
pub fn split_wrapping(
    key: &WrappingKey,
    wrapped: &Wrapped,
    need: usize,
    count: usize,
) -> Result<Vec<Zeroizing<String>>, EscrowError> {
    check(need, count)?;
    let about = format!("{WRAPPING_HEAD}\nkey {}\nneed {need}\n", wrapped.public.id());
    let [public, bytes] = [wrapped.public.spki(), &wrapped.bytes].map(Base64::encode_string);
    shares(&about, &format!("public {public}\nwrapped {bytes}\n"), key.expose(), need, count)
}

/// Whether a key can be split like this.
pub fn check(need: usize, count: usize) -> Result<(), EscrowError> {
    match need < 2 || need > count || count > SHARES_MAX {
        true => Err(EscrowError::Threshold { need, count }),
        false => Ok(()),
    }
}

fn shares(
    about: &str,
    more: &str,
    secret: &[u8],
    need: usize,
    count: usize,
) -> Result<Vec<Zeroizing<String>>, EscrowError> {
    let made = Gf256::split_bytes(need, count, secret, UnwrapErr(SysRng));
    let shares: Vec<Zeroizing<Vec<u8>>> = made
        .map_err(|error| EscrowError::Failed(error.to_string()))?
        .into_iter()
        .map(Zeroizing::new)
        .collect();
    let digests: Vec<String> = shares.iter().map(|share| sha256(share).to_string()).collect();
    let head = format!("{about}all {}\n{more}", digests.join(" "));
    let text = |share: &Zeroizing<Vec<u8>>| {
        let data = Zeroizing::new(Base64::encode_string(share));
        let mut out = Zeroizing::new(String::with_capacity(head.len() + data.len() + 16));
        out.push_str(&head);
        out.push_str("data ");
        out.push_str(&data);
        out.push('\n');
        out
    };
    Ok(shares.iter().map(text).collect())
}

/// A share that was read.
struct Share<'a> {
    head: &'a str,
    key: KeyId,
    need: usize,
    all: Vec<Digest>,
    /// Of a token's key.
    wrapped: Option<Wrapped>,
    data: Zeroizing<Vec<u8>>,
}

fn read(text: &str) -> Option<Share<'_>> {
    let (head, data) = text.split_once("data ")?;
    let mut lines = head.lines();
    let of_token = match lines.next()? {
        HEAD => false,
        WRAPPING_HEAD => true,
        _ => return None,
    };
    let key = KeyId(parse_digest(lines.next()?.strip_prefix("key ")?)?);
    let need = lines.next()?.strip_prefix("need ")?.parse().ok()?;
    let all = lines.next()?.strip_prefix("all ")?.split(' ').map(parse_digest).collect::<Option<Vec<_>>>()?;
    let mut bytes = |name: &str| Base64::decode_vec(lines.next()?.strip_prefix(name)?).ok();
    let wrapped = match of_token {
        true => {
            let public = PublicKey::from_spki(&bytes("public ")?).ok()?;
            // Who brings the shares brings this, too: it must be of the key
            // that they name.
            (public.id() == key).then_some(())?;
            Some(Wrapped { public, bytes: bytes("wrapped ")? })
        }
        false => None,
    };
    let data = Zeroizing::new(Base64::decode_vec(data.strip_suffix('\n')?).ok()?);
    (lines.next().is_none() && all.len() <= SHARES_MAX && need >= 2).then_some(Share {
        head,
        key,
        need,
        all,
        wrapped,
        data,
    })
}

/// Brings a key back into a new key file under a new passphrase, and says
/// which it is. Errors number the shares from 1, as they were given.
pub fn recover(
    shares: &[Zeroizing<Vec<u8>>],
    path: &Path,
    passphrase: &Secret,
) -> Result<PublicKey, EscrowError> {
    let Combined { key, wrapped, secret } = combine(shares)?;
    if wrapped.is_some() {
        return Err(EscrowError::OfAToken);
    }
    let pair = Pair::from_pkcs8(&secret).map_err(|_| EscrowError::NotTheKey(key))?;
    let public = pair.public_key().map_err(|_| EscrowError::NotTheKey(key))?;
    if public.id() != key {
        return Err(EscrowError::NotTheKey(key));
    }
    let document = pair.to_pkcs8().map_err(|_| KeysError::Crypto("encoding of the key"))?;
    create(path, sealed::seal(&document, passphrase)?.as_bytes())?;
    Ok(public)
}

/// Brings back what a token needs to unwrap a key: whether that is the key
/// that the shares name, only the token can tell. Errors number the shares
/// from 1, as they were given.
pub fn recover_wrapping(shares: &[Zeroizing<Vec<u8>>]) -> Result<(WrappingKey, Wrapped), EscrowError> {
    let Combined { key, wrapped, secret } = combine(shares)?;
    let wrapped = wrapped.ok_or(EscrowError::OfAFile)?;
    let wrapping = WrappingKey::from_bytes(&secret).ok_or(EscrowError::NotTheKey(key))?;
    Ok((wrapping, wrapped))
}

/// What was split.
struct Combined {
    key: KeyId,
    wrapped: Option<Wrapped>,
    secret: Zeroizing<Vec<u8>>,
}

/// Puts shares together, if they are enough.
fn combine(shares: &[Zeroizing<Vec<u8>>]) -> Result<Combined, EscrowError> {
    let mut read_shares: Vec<Share<'_>> = Vec::new();
    for (index, bytes) in shares.iter().enumerate() {
        let number = index + 1;
        let text = std::str::from_utf8(bytes).map_err(|_| EscrowError::NotAShare(number))?;
        let share = read(text).ok_or(EscrowError::NotAShare(number))?;
        if read_shares.first().is_some_and(|first| first.head != share.head) {
            return Err(EscrowError::Another(number));
        }
        if !share.all.contains(&sha256(&share.data)) {
            return Err(EscrowError::Changed(number));
        }
        if read_shares.iter().any(|earlier| earlier.data == share.data) {
            return Err(EscrowError::Twice(number));
        }
        read_shares.push(share);
    }
    let have = read_shares.len();
    let Some(first) = read_shares.first() else {
        return Err(EscrowError::TooFew { have, need: 2 });
    };
    let (key, need, wrapped) = (first.key, first.need, first.wrapped.clone());
    if have < need {
        return Err(EscrowError::TooFew { have, need });
    }
    let data = Zeroizing::new(read_shares.iter().map(|share| share.data.to_vec()).collect::<Vec<_>>());
    let secret = Gf256::combine_bytes(&*data).map_err(|_| EscrowError::NotTheKey(key))?;
    Ok(Combined { key, wrapped, secret: Zeroizing::new(secret) })
}

fn sha256(bytes: &[u8]) -> Digest {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    Digest(out)
}
