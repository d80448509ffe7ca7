//! Root documents with LMS, ML-DSA and RSA keys, and roles that demand both kinds.

use super::{Draft, RELEASE_ROLE, ROOT_ROLE, holder, role};
use crate::craft::Members;
use crate::item::{self, Item};
use crate::keys::TestKey;
use crate::rsa::Private;

/// Adds one case: what is expected, name, description, change.
type Case<'c> = dyn FnMut(Result<(), u16>, &str, &str, &dyn Fn(&mut Draft)) + 'c;

pub(super) fn add(case: &mut Case<'_>) {
    case(Ok(()), "ok_signed_with_lms", "the custodian's key is an LMS tree", &|draft| {
        draft.roles(|roles| roles[ROOT_ROLE] = role(0, 1, &[holder("ann", &[TestKey::lms(100)])]));
        draft.keys = vec![TestKey::lms(100)];
    });
    for (name, about, at, value) in [
        ("lms_key_of_two_levels", "an HSS key with two levels", 3, 2),
        ("lms_key_of_an_unknown_tree", "an HSS key with the code of a SHAKE tree", 7, 15),
        ("lms_key_of_two_hashes", "a tree of SHA-256 over chains of SHA-256/192", 11, 7),
        ("lms_key_of_another_length", "the code of SHA-256/192 over a hash of 32 bytes", 7, 10),
    ] {
        case(Err(102), name, about, &|draft| {
            let mut encoded = TestKey::lms(9).public().bits();
            encoded[at] = value;
            let mut key = Members::default();
            key.set(1, item::uint(5));
            key.set(-1, item::bytes(&encoded));
            let holder = item::array(&[item::text("x"), item::array(&[key.encode()])]);
            draft.role(RELEASE_ROLE, |role| role.set(3, item::array(&[holder])));
        });
    }

    case(Ok(()), "ok_signed_with_ml_dsa", "the custodian's key is of ML-DSA-87", &|draft| {
        let key = || TestKey::ml_dsa(firmseal_core::mldsa::Set::MlDsa87, 100);
        draft.roles(|roles| roles[ROOT_ROLE] = role(0, 1, &[holder("ann", &[key()])]));
        draft.keys = vec![key()];
    });
    for (name, about, algorithm, length) in [
        ("ml_dsa_key_too_short", "an ML-DSA-65 key without its last byte", -49, 1951),
        ("ml_dsa_key_of_another_set", "an ML-DSA-65 key that says it is of ML-DSA-87", -50, 1952),
        ("ml_dsa_key_of_another_algorithm", "an AKP key of an algorithm that is none of ML-DSA", -51, 1952),
    ] {
        case(Err(102), name, about, &|draft| {
            let mut key = Members::default();
            key.set(1, item::uint(7));
            key.set(3, item::int(algorithm));
            key.set(-1, item::bytes(&vec![7; length]));
            let holder = item::array(&[item::text("x"), item::array(&[key.encode()])]);
            draft.role(RELEASE_ROLE, |role| role.set(3, item::array(&[holder])));
        });
    }

    case(Ok(()), "ok_signed_with_rsa", "the custodian's key is of RSA with 4096 bits", &|draft| {
        let key = || TestKey::rsa(4096, 0);
        draft.roles(|roles| roles[ROOT_ROLE] = role(0, 1, &[holder("ann", &[key()])]));
        draft.keys = vec![key()];
    });
    let modulus = Private::stored(4096, 0).modulus();
    let zero_first = [&[0], &modulus[..]].concat();
    let (mut even, mut short) = (modulus.clone(), modulus.clone());
    even[511] ^= 1;
    short[0] &= 0x7f;
    let e: &[u8] = &[1, 0, 1];
    for (name, about, n, e) in [
        ("rsa_key_of_2048_bits", "an RSA key that is too short", &modulus[256..], e),
        ("rsa_key_of_3584_bits", "an RSA key of a size between those that are taken", &modulus[..448], e),
        ("rsa_key_even", "an even modulus", &even, e),
        ("rsa_key_of_4095_bits", "a modulus whose first bit is zero", &short, e),
        ("rsa_key_zero_first", "a zero before the modulus", &zero_first, e),
        ("rsa_key_exponent_3", "an RSA key with the exponent 3", &modulus, &[3]),
        ("rsa_key_exponent_1", "an RSA key under which everything is its own signature", &modulus, &[1]),
        ("rsa_key_exponent_zero_first", "a zero before the exponent", &modulus, &[0, 1, 0, 1]),
        ("rsa_key_without_exponent", "an RSA key that lacks a member", &modulus, &[]),
    ] {
        case(Err(102), name, about, &|draft| {
            let mut key = Members::default();
            key.set(1, item::uint(3));
            key.set(-1, item::bytes(n));
            if !e.is_empty() {
                key.set(-2, item::bytes(e));
            }
            let holder = item::array(&[item::text("x"), item::array(&[key.encode()])]);
            draft.role(RELEASE_ROLE, |role| role.set(3, item::array(&[holder])));
        });
    }

    let pair = |seed| [TestKey::ed25519(seed), TestKey::lms(seed)];
    let both = |label, holders: &[Item]| {
        let mut own = Members::parse(&role(label, 1, holders));
        own.set(5, item::boolean(true));
        own.encode()
    };
    case(
        Ok(()),
        "ok_both_kinds",
        "the custodian signed with Ed25519 and with LMS, as is demanded",
        &|draft| {
            draft.roles(|roles| roles[ROOT_ROLE] = both(0, &[holder("ann", &pair(100))]));
            draft.keys = pair(100).into();
        },
    );
    case(Err(203), "both_kinds_classical_alone", "LMS is demanded beside Ed25519, and missing", &|draft| {
        draft.roles(|roles| roles[ROOT_ROLE] = both(0, &[holder("ann", &pair(100))]));
    });
    case(
        Err(203),
        "both_kinds_post_quantum_alone",
        "Ed25519 is demanded beside LMS, and missing",
        &|draft| {
            draft.roles(|roles| roles[ROOT_ROLE] = both(0, &[holder("ann", &pair(100))]));
            draft.keys = vec![TestKey::lms(100)];
        },
    );
    case(
        Err(203),
        "both_kinds_of_two_holders",
        "one holder signed with each kind, none with both",
        &|draft| {
            let holders = [holder("ann", &pair(100)), holder("ben", &pair(101))];
            draft.roles(|roles| roles[ROOT_ROLE] = both(0, &holders));
            draft.keys = vec![TestKey::ed25519(100), TestKey::lms(101)];
        },
    );
    case(Err(100), "both_kinds_without_a_second_key", "a holder that has keys of one kind only", &|draft| {
        draft.roles(|roles| roles.push(both(5, &[holder("x", &[TestKey::ed25519(55)])])));
    });
    case(Err(100), "both_kinds_of_a_witness", "both kinds are demanded of a witness", &|draft| {
        draft.roles(|roles| roles.push(both(4, &[holder("x", &pair(55))])));
    });
    case(Err(100), "both_kinds_false", "a role says that it does not demand both kinds", &|draft| {
        draft.role(RELEASE_ROLE, |role| role.set(5, item::boolean(false)));
    });
}
