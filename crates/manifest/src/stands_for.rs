//! What stands for names and texts in the log: digests, never themselves.

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_core::{Digest, evidence};

use crate::cbor::Writer;

/// What stands for somebody who is known by name.
pub fn holder_id(name: &str) -> Digest {
    evidence::holder_id(name, &RustCrypto)
}

/// What stands for a text.
pub fn digest_of(text: &[u8]) -> Digest {
    RustCrypto.digest(text)
}

/// What stands for that which a credential is confined to: its products,
/// channels and keys, each in the order of their bytes.
pub fn scope_id(confined_to: [Vec<&str>; 3]) -> Digest {
    let mut out = Writer::new();
    out.array(confined_to.len());
    for names in confined_to {
        out.array(names.len());
        for name in names {
            out.text(name);
        }
    }
    digest_of(&out.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_scope_stands_for_another() {
        let scopes = [
            [vec![], vec![], vec![]],
            [vec!["a"], vec![], vec![]],
            [vec![], vec!["a"], vec![]],
            [vec!["a", "b"], vec![], vec![]],
            [vec!["a"], vec!["b"], vec![]],
            [vec!["ab"], vec![], vec![]],
        ];
        let mut seen: Vec<Digest> = scopes.into_iter().map(scope_id).collect();
        seen.sort_by_key(|digest| *digest.as_bytes());
        seen.dedup();
        assert_eq!(seen.len(), 6);
    }
}
