//! Room: whether a document fits its limit once it is signed. Asked before
//! anybody signs: signatures take 64 bytes to 9 kB.

use firmseal_core::crypto::RustCrypto;
use firmseal_core::{KeyId, PublicKey, RoleEntry};

/// What stands around a signature at least and at most: the heads, the tag,
/// the protected header and the key id of a COSE_Sign1 in a byte string.
const AROUND: (usize, usize) = (46, 54);

/// Most bytes that the signatures of as many holders as are needed take.
pub(crate) fn at_most(role: &RoleEntry<'_>) -> usize {
    let mut holders = of_holders(role, usize::max, |key| AROUND.1 + key.signature_len());
    holders.sort_unstable_by(|a, b| b.cmp(a));
    holders.iter().take(role.threshold()).sum()
}

/// Fewest bytes, where signatures of some keys are there anyway.
pub(crate) fn at_least(role: &RoleEntry<'_>, there: impl Fn(&KeyId) -> bool) -> usize {
    let mut holders = of_holders(role, usize::min, |key| match there(&key.id(&RustCrypto)) {
        true => 0,
        false => AROUND.0 + key.signature_len(),
    });
    holders.sort_unstable();
    holders.iter().take(role.threshold()).sum()
}

/// What each holder's signatures take: one, or one of each kind where both
/// are demanded.
fn of_holders(
    role: &RoleEntry<'_>,
    choose: impl Fn(usize, usize) -> usize,
    length: impl Fn(&PublicKey<'_>) -> usize,
) -> Vec<usize> {
    let mut holders = vec![[None; 2]; role.holders().count()];
    for (holder, key) in role.keys() {
        let kind = usize::from(role.both() && key.is_post_quantum());
        if let Some(kinds) = holders.get_mut(holder) {
            let length = length(&key);
            kinds[kind] = Some(kinds[kind].map_or(length, |other| choose(other, length)));
        }
    }
    holders.iter().map(|kinds| kinds.iter().flatten().sum()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use firmseal_manifest::{Signature, sign1};
    use firmseal_testkit::TestKey;

    #[test]
    fn what_stands_around_a_signature_is_between_the_bounds() {
        let set = firmseal_core::mldsa::Set::MlDsa87;
        for key in [TestKey::ed25519(1), TestKey::p256(1), TestKey::rsa(4096, 0), TestKey::ml_dsa(set, 1)] {
            let length = key.public().as_core().unwrap().signature_len();
            let encoded = sign1::encode(key.public(), &Signature(vec![0; length])).unwrap().len();
            // In the document it stands in a byte string.
            let around = encoded - length + if encoded < 256 { 2 } else { 3 };
            assert!((AROUND.0..=AROUND.1).contains(&around), "{} takes {around}", key.public().algorithm());
        }
    }
}
