//! The property every reader keeps on every input: no panic, and no token
//! holds that is over something else. Shared, by `#[path]`, between the
//! mutation test on stable and the fuzz target.

#![allow(unreachable_pub)]

use firmseal_manifest::{Digest, Scheme};
use firmseal_timestamp::{Authorities, Wanted, response, verify};

fn yes(_: Scheme, _: &[u8], _: &[u8], _: &[u8]) -> bool {
    true
}

/// Reads `bytes` as response and token, and as certificates that somebody
/// configured.
///
/// # Panics
/// If a reader panics, or a token holds without an authority.
pub fn run(bytes: &[u8]) {
    let digest = Digest([0xa5; 32]);
    let wanted = Wanted { digest: &digest, nonce: None, policy: None };
    let token = response(bytes).unwrap_or_else(|_| bytes.to_vec());
    let nobody = verify(&token, wanted, &Authorities::default(), &yes);
    assert!(nobody.is_err(), "{nobody:?}");
    if let Ok(authorities) = Authorities::from_pem(bytes) {
        let _ = verify(&token, wanted, &authorities, &yes);
    }
}
