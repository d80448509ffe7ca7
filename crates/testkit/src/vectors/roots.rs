//! Cases on root documents: form, thresholds, keys and their own signatures.

use firmseal_core::crypto::{Crypto, RustCrypto};

mod strong;

use super::format::RootVector;
use crate::craft::{Block, Members};
use crate::item::{self, Item};
use crate::keys::TestKey;
use crate::world::World;

/// A root document in pieces.
struct Draft {
    body: Members,
    keys: Vec<TestKey>,
    /// The finished document, where the case makes it itself.
    document: Option<Vec<u8>>,
    /// The document that the device holds, where the case is a rotation.
    held: Option<Vec<u8>>,
}

/// The order of a role's members.
const ROOT_ROLE: usize = 0;
const RELEASE_ROLE: usize = 1;

impl Draft {
    fn new(world: &World) -> Draft {
        let document = item::split(&world.root_document());
        let body = Members::parse(&item::content(&document[0]));
        Draft { body, keys: vec![TestKey::ed25519(100)], document: None, held: None }
    }

    /// Changes the list of roles.
    fn roles(&mut self, change: impl FnOnce(&mut Vec<Item>)) {
        let mut roles = item::split(&self.body.get(5));
        change(&mut roles);
        self.body.set(5, item::array(&roles));
    }

    /// Changes one role.
    fn role(&mut self, index: usize, change: impl FnOnce(&mut Members)) {
        self.roles(|roles| {
            let mut role = Members::parse(&roles[index]);
            change(&mut role);
            roles[index] = role.encode();
        });
    }

    fn block(&self, key: &TestKey, external_aad: &[u8]) -> Item {
        let mut block = Block::unsigned(key);
        block.sign(key, external_aad, &RustCrypto.digest(&self.body.encode()));
        block.encode()
    }

    fn seal(&self) -> Vec<u8> {
        let blocks: Vec<Item> = self.keys.iter().map(|key| self.block(key, b"firmseal/root")).collect();
        self.with(&blocks)
    }

    fn with(&self, blocks: &[Item]) -> Vec<u8> {
        let blocks: Vec<Item> = blocks.iter().map(|block| item::bytes(block)).collect();
        item::array(&[item::bytes(&self.body.encode()), item::array(&blocks)])
    }
}

fn holder(name: &str, keys: &[TestKey]) -> Item {
    let keys: Vec<Item> = keys.iter().map(|key| key.public().cose_key()).collect();
    item::array(&[item::text(name), item::array(&keys)])
}

fn role(role: u64, threshold: u64, holders: &[Item]) -> Item {
    let mut members = Members::default();
    members.set(1, item::uint(role));
    members.set(2, item::uint(threshold));
    members.set(3, item::array(holders));
    members.encode()
}

/// Demands of nothing under these labels, for these products.
fn demands(labels: &[i64], products: &[&str]) -> Item {
    let mut members = Members::default();
    labels.iter().for_each(|label| members.set(*label, item::boolean(false)));
    if !products.is_empty() {
        members.set(5, item::array(&products.iter().map(|product| item::text(product)).collect::<Vec<_>>()));
    }
    members.encode()
}

/// Every case on root documents.
pub fn all() -> Vec<RootVector> {
    let world = World::default();
    let mut cases = Vec::new();
    let mut case = |expect: Result<(), u16>, name: &str, about: &str, change: &dyn Fn(&mut Draft)| {
        let mut draft = Draft::new(&world);
        change(&mut draft);
        let root = draft.document.clone().unwrap_or_else(|| draft.seal());
        cases.push(RootVector {
            name: name.to_owned(),
            about: about.to_owned(),
            expect,
            held: draft.held.clone(),
            root,
        });
    };
    case(Ok(()), "ok", "one custodian, one release holder", &|_| ());
    case(Ok(()), "ok_two_of_two", "a root role of two holders, of whom both have signed", &|draft| {
        let holders = [holder("ann", &[TestKey::ed25519(100)]), holder("ben", &[TestKey::p256(101)])];
        draft.roles(|roles| roles[ROOT_ROLE] = role(0, 2, &holders));
        draft.keys = vec![TestKey::p256(101), TestKey::ed25519(100)];
    });
    case(Ok(()), "ok_all_roles", "every role that is defined", &|draft| {
        draft.roles(|roles| {
            for label in 2..=6 {
                let key = |offset| [TestKey::ed25519(label as u8 + offset)];
                // Recovery takes two; the others take one.
                let holders = [holder("x", &key(10)), holder("y", &key(20))];
                roles.push(role(label, if label == 6 { 2 } else { 1 }, &holders));
            }
        });
    });
    case(
        Ok(()),
        "ok_roles_for_two_products",
        "a release role for each of two products and one for the rest",
        &|draft| {
            for (place, product) in ["gateway", "toaster"].into_iter().enumerate() {
                let mut own =
                    Members::parse(&role(1, 1, &[holder("x", &[TestKey::ed25519(20 + place as u8)])]));
                own.set(4, item::array(&[item::text(product)]));
                draft.roles(|roles| roles.push(own.encode()));
            }
        },
    );
    let approvers = |seed, channels: &[&str]| {
        let mut own = Members::parse(&role(2, 1, &[holder("x", &[TestKey::ed25519(seed)])]));
        if !channels.is_empty() {
            own.set(6, item::array(&channels.iter().map(|channel| item::text(channel)).collect::<Vec<_>>()));
        }
        own.encode()
    };
    case(Ok(()), "ok_approvers_of_channels", "approvers for two channels and for the rest", &|draft| {
        let entries = [approvers(20, &["nightly"]), approvers(21, &["beta", "stable"]), approvers(22, &[])];
        draft.roles(|roles| roles.extend(entries));
    });
    case(
        Err(100),
        "two_approver_roles_for_one_channel",
        "two approver roles that name one channel: which threshold counts?",
        &|draft| {
            let entries = [approvers(20, &["nightly"]), approvers(21, &["beta", "nightly"])];
            draft.roles(|roles| roles.extend(entries));
        },
    );
    case(Err(100), "release_role_of_a_channel", "a release role that is limited to a channel", &|draft| {
        let mut own = Members::parse(&role(1, 1, &[holder("x", &[TestKey::ed25519(20)])]));
        own.set(6, item::array(&[item::text("nightly")]));
        draft.roles(|roles| roles.push(own.encode()));
    });

    strong::add(&mut case);

    case(Err(205), "threshold_zero", "a threshold of zero", &|draft| {
        draft.role(RELEASE_ROLE, |role| role.set(2, item::uint(0)));
    });
    case(Err(205), "threshold_missing", "a role without a threshold", &|draft| {
        draft.role(RELEASE_ROLE, |role| role.remove(2));
    });
    case(Err(205), "threshold_above_holders", "two of one holder", &|draft| {
        draft.role(RELEASE_ROLE, |role| role.set(2, item::uint(2)));
    });
    case(Err(205), "threshold_counts_keys", "two of one holder that has two keys", &|draft| {
        let holders = [holder("alice", &[TestKey::ed25519(1), TestKey::ed25519(2)])];
        draft.roles(|roles| roles[RELEASE_ROLE] = role(1, 2, &holders));
    });
    case(Err(205), "threshold_of_2_to_the_32", "a threshold that is zero in 32 bits", &|draft| {
        draft.role(RELEASE_ROLE, |role| role.set(2, item::uint(1 << 32)));
    });
    case(Err(205), "holders_empty", "a role without a holder", &|draft| {
        draft.role(RELEASE_ROLE, |role| role.set(3, item::array(&[])));
    });
    case(Err(100), "holder_without_keys", "a holder without a key", &|draft| {
        draft.role(RELEASE_ROLE, |role| role.set(3, item::array(&[holder("alice", &[])])));
    });
    case(Err(100), "holder_without_a_name", "a holder without a name", &|draft| {
        let nameless = item::array(&[holder("", &[TestKey::ed25519(1)])]);
        draft.role(RELEASE_ROLE, |role| role.set(3, nameless));
    });
    case(
        Err(100),
        "holder_twice",
        "one holder twice in one role, with two keys, where two must sign",
        &|draft| {
            let holders = [holder("alice", &[TestKey::ed25519(1)]), holder("alice", &[TestKey::ed25519(2)])];
            draft.roles(|roles| roles[RELEASE_ROLE] = role(1, 2, &holders));
        },
    );
    case(Err(206), "key_of_two_holders", "one key with two holders of one role", &|draft| {
        let holders = [holder("alice", &[TestKey::ed25519(1)]), holder("bob", &[TestKey::ed25519(1)])];
        draft.roles(|roles| roles[RELEASE_ROLE] = role(1, 2, &holders));
    });
    case(Err(206), "key_in_two_roles", "the key of the root role signs releases as well", &|draft| {
        let holders = [holder("alice", &[TestKey::ed25519(100)])];
        draft.roles(|roles| roles[RELEASE_ROLE] = role(1, 1, &holders));
    });
    case(Err(206), "key_twice_with_one_holder", "one key twice with one holder", &|draft| {
        let holders = [holder("alice", &[TestKey::ed25519(1), TestKey::ed25519(1)])];
        draft.roles(|roles| roles[RELEASE_ROLE] = role(1, 1, &holders));
    });
    case(
        Err(100),
        "two_general_roles",
        "two release roles for all products: which threshold counts?",
        &|draft| {
            let other = role(1, 1, &[holder("mallory", &[TestKey::ed25519(66)])]);
            draft.roles(|roles| roles.push(other));
        },
    );
    case(Err(100), "two_roles_for_one_product", "two release roles that name one product", &|draft| {
        for seed in [66, 67] {
            let mut own = Members::parse(&role(1, 1, &[holder("x", &[TestKey::ed25519(seed)])]));
            own.set(4, item::array(&[item::text("gateway")]));
            draft.roles(|roles| roles.push(own.encode()));
        }
    });
    case(Err(100), "two_root_roles", "two root roles, the second signed by nobody of the first", &|draft| {
        let other = role(0, 1, &[holder("mallory", &[TestKey::ed25519(66)])]);
        draft.roles(|roles| roles.push(other));
        draft.keys = vec![TestKey::ed25519(66)];
    });
    case(Err(100), "root_role_for_a_product", "a root role that names products", &|draft| {
        draft.role(ROOT_ROLE, |role| role.set(4, item::array(&[item::text("")])));
    });
    case(Err(204), "root_role_missing", "nobody may sign root documents", &|draft| {
        draft.roles(|roles| drop(roles.remove(ROOT_ROLE)));
    });
    case(Err(102), "role_unknown", "a role that is not defined", &|draft| {
        draft.role(RELEASE_ROLE, |role| role.set(1, item::uint(7)));
    });
    case(Err(102), "role_unknown_member", "a member of a role that is not defined", &|draft| {
        draft.role(RELEASE_ROLE, |role| role.set(20, item::uint(7)));
    });
    case(Err(102), "unknown_member", "a member that is not defined", &|draft| {
        draft.body.set(20, item::uint(7));
    });
    case(Err(102), "another_format", "format 2", &|draft| {
        draft.body.set(1, item::uint(2));
    });
    case(Err(100), "version_zero", "version 0", &|draft| {
        draft.body.set(2, item::uint(0));
    });
    case(Err(100), "lineage_short", "a lineage of 15 bytes", &|draft| {
        draft.body.set(3, item::bytes(&[1; 15]));
    });
    case(Err(100), "environment_unknown", "environment 2", &|draft| {
        draft.body.set(4, item::uint(2));
    });
    case(Err(100), "demands_incomplete", "demands that are silent about approvals", &|draft| {
        draft.body.set(7, item::array(&[demands(&[1, 3, 4], &[])]));
    });
    case(Err(102), "demand_unknown", "a demand that is not defined", &|draft| {
        draft.body.set(7, item::array(&[demands(&[1, 2, 3, 4, 6], &[])]));
    });
    case(Err(102), "key_with_an_algorithm", "a key with more members than its id covers", &|draft| {
        let mut key = Members::parse(&TestKey::ed25519(1).public().cose_key());
        key.0.insert(1, (item::int(3), item::int(-19)));
        let alice = item::array(&[item::text("alice"), item::array(&[key.encode()])]);
        draft.role(RELEASE_ROLE, |role| role.set(3, item::array(&[alice])));
    });
    case(Err(102), "key_of_another_curve", "a key on X25519", &|draft| {
        let mut key = Members::parse(&TestKey::ed25519(1).public().cose_key());
        key.0[1].1 = item::uint(4);
        let alice = item::array(&[item::text("alice"), item::array(&[key.encode()])]);
        draft.role(RELEASE_ROLE, |role| role.set(3, item::array(&[alice])));
    });
    case(Err(101), "too_many_roles", "33 roles", &|draft| {
        draft.roles(|roles| roles.resize(33, roles[1].clone()));
    });
    case(Err(101), "too_many_holders", "33 holders of one role", &|draft| {
        let holders: Vec<Item> = (1..=33).map(|n| holder(&n.to_string(), &[TestKey::ed25519(n)])).collect();
        draft.roles(|roles| roles[RELEASE_ROLE] = role(1, 1, &holders));
    });
    case(Err(101), "too_many_keys", "65 keys in one document", &|draft| {
        let keys: Vec<TestKey> = (1..=64).map(TestKey::ed25519).collect();
        draft.roles(|roles| roles[RELEASE_ROLE] = role(1, 1, &[holder("alice", &keys)]));
    });
    case(Err(101), "too_large", "a document of more than 32 KiB", &|draft| {
        let texts: Vec<Item> = (0..140).map(|_| item::text(&"x".repeat(250))).collect();
        draft.role(RELEASE_ROLE, |role| role.set(4, item::array(&texts)));
    });

    case(Err(203), "unsigned", "nobody has signed", &|draft| draft.keys.clear());
    case(Err(202), "signed_by_the_release_key", "signed by the release role alone", &|draft| {
        draft.keys = vec![TestKey::ed25519(1)];
    });
    case(Err(203), "threshold_one_short", "one of two custodians has signed", &|draft| {
        let holders = [holder("ann", &[TestKey::ed25519(100)]), holder("ben", &[TestKey::p256(101)])];
        draft.roles(|roles| roles[ROOT_ROLE] = role(0, 2, &holders));
    });
    case(
        Err(203),
        "one_signature_twice",
        "one custodian's signature stands twice where two must sign",
        &|draft| {
            let holders = [holder("ann", &[TestKey::ed25519(100)]), holder("ben", &[TestKey::p256(101)])];
            draft.roles(|roles| roles[ROOT_ROLE] = role(0, 2, &holders));
            draft.keys = vec![TestKey::ed25519(100), TestKey::ed25519(100)];
        },
    );
    case(Err(201), "signed_as_a_manifest", "the signature was made for a manifest's purpose", &|draft| {
        draft.document = Some(draft.with(&[draft.block(&TestKey::ed25519(100), b"")]));
    });
    case(Err(201), "body_changed_after_signing", "the minimum epoch was lowered after signing", &|draft| {
        draft.body.set(6, item::uint(5));
        let block = draft.block(&TestKey::ed25519(100), b"firmseal/root");
        draft.body.set(6, item::uint(0));
        draft.document = Some(draft.with(&[block]));
    });
    case(Err(101), "too_many_signatures", "seventeen signatures", &|draft| {
        let block = draft.block(&TestKey::ed25519(100), b"firmseal/root");
        draft.document = Some(draft.with(&vec![block; 17]));
    });
    case(Err(100), "trailing_bytes", "a byte after the document", &|draft| {
        draft.document = Some([draft.seal(), vec![0]].concat());
    });
    case(Err(100), "empty", "no bytes at all", &|draft| draft.document = Some(Vec::new()));
    case(Err(100), "members_unordered", "members in another order", &|draft| draft.body.0.swap(0, 1));
    case(Err(100), "member_twice", "two versions", &|draft| {
        draft.body.0.insert(2, (item::int(2), item::uint(9)));
    });
    rotations(&mut case);
    demands_and_logs(&mut case);
    cases
}

type Case<'c> = dyn FnMut(Result<(), u16>, &str, &str, &dyn Fn(&mut Draft)) + 'c;

/// A document that follows the world's, for the same root role.
fn rotation(draft: &mut Draft) {
    draft.held = Some(draft.seal());
    draft.body.set(2, item::uint(2));
}

/// The same with other custodians, two of whom must sign.
fn new_custodians(draft: &mut Draft) {
    rotation(draft);
    let holders = [holder("ann", &[TestKey::ed25519(101)]), holder("ben", &[TestKey::p256(102)])];
    draft.roles(|roles| roles[ROOT_ROLE] = role(0, 2, &holders));
    draft.keys = vec![TestKey::ed25519(100), TestKey::ed25519(101), TestKey::p256(102)];
}

/// Documents that follow, or pretend to follow, one that is held.
fn rotations(case: &mut Case<'_>) {
    case(Ok(()), "ok_rotation", "the next number under the same root role", &rotation);
    case(
        Ok(()),
        "ok_rotation_of_custodians",
        "signed by the old custodian and by both new ones",
        &new_custodians,
    );
    case(Ok(()), "ok_rotation_of_the_release_key", "another release key in the next document", &|draft| {
        rotation(draft);
        draft.roles(|roles| roles[RELEASE_ROLE] = role(1, 1, &[holder("alice", &[TestKey::p256(9)])]));
    });
    case(Err(202), "rotation_by_the_new_custodians_alone", "the old custodian has not signed", &|draft| {
        new_custodians(draft);
        draft.keys.remove(0);
    });
    case(Err(202), "rotation_by_the_old_custodian_alone", "no new custodian has signed", &|draft| {
        new_custodians(draft);
        draft.keys.truncate(1);
    });
    case(
        Err(203),
        "rotation_below_the_new_threshold",
        "one of the two new custodians has signed",
        &|draft| {
            new_custodians(draft);
            draft.keys.pop();
        },
    );
    case(
        Err(203),
        "rotation_below_the_old_threshold",
        "one of the two old custodians has signed",
        &|draft| {
            let holders = [holder("ann", &[TestKey::ed25519(100)]), holder("ben", &[TestKey::p256(101)])];
            draft.roles(|roles| roles[ROOT_ROLE] = role(0, 2, &holders));
            rotation(draft);
            draft.roles(|roles| roles[ROOT_ROLE] = role(0, 1, &[holder("ann", &[TestKey::ed25519(100)])]));
        },
    );
    case(Err(202), "rotation_by_a_release_key", "a stolen release key makes itself the root", &|draft| {
        rotation(draft);
        draft.roles(|roles| {
            roles[ROOT_ROLE] = role(0, 1, &[holder("thief", &[TestKey::ed25519(1)])]);
            roles[RELEASE_ROLE] = role(1, 1, &[holder("thief", &[TestKey::ed25519(2)])]);
        });
        draft.keys = vec![TestKey::ed25519(1)];
    });
    for (name, about, version) in [
        ("rotation_gap", "number 3 after number 1", 3),
        ("rotation_fast_forward", "the highest number there is after number 1", u64::MAX),
        ("rotation_repeat", "number 1 again, with another minimum epoch", 1),
    ] {
        case(Err(207), name, about, &|draft| {
            rotation(draft);
            draft.body.set(2, item::uint(version));
            draft.body.set(6, item::uint(1));
        });
    }
    case(Err(207), "rotation_back", "number 1 where number 2 is held", &|draft| {
        let first = draft.seal();
        rotation(draft);
        (draft.held, draft.document) = (Some(draft.seal()), Some(first));
    });
    case(Err(207), "rotation_after_the_last", "number 1 after the highest number there is", &|draft| {
        let first = draft.seal();
        draft.body.set(2, item::uint(u64::MAX));
        (draft.held, draft.document) = (Some(draft.seal()), Some(first));
    });
    case(Err(208), "rotation_of_another_lineage", "the next number of another chain", &|draft| {
        rotation(draft);
        draft.body.set(3, item::bytes(b"another lineage!"));
    });
    case(Err(302), "rotation_to_production", "a test root that turns into one for production", &|draft| {
        rotation(draft);
        draft.body.set(4, item::uint(1));
    });
}

/// What a document demands, and the logs it closes.
fn demands_and_logs(case: &mut Case<'_>) {
    const ALL: [i64; 4] = [1, 2, 3, 4];
    case(Ok(()), "ok_demands_for_a_product", "demands for one product and for the rest", &|draft| {
        draft.body.set(7, item::array(&[demands(&ALL, &["gateway"]), demands(&ALL, &[])]));
    });
    case(Err(100), "demands_twice", "two demands for one product", &|draft| {
        let twice = [demands(&ALL, &["gateway"]), demands(&ALL, &["toaster", "gateway"])];
        draft.body.set(7, item::array(&twice));
    });
    case(Err(100), "demands_twice_in_general", "two demands for every product", &|draft| {
        draft.body.set(7, item::array(&[demands(&ALL, &[]), demands(&ALL, &[])]));
    });
    case(Err(205), "recovery_by_one", "a recovery role that one holder can use alone", &|draft| {
        let holders = [holder("x", &[TestKey::ed25519(10)]), holder("y", &[TestKey::ed25519(11)])];
        draft.roles(|roles| roles.push(role(6, 1, &holders)));
    });
    let closed = |key: &TestKey| {
        let hash = item::bytes(&[7; 32]);
        let log = [item::text("log.example.com/1"), key.public().cose_key(), item::uint(9), hash];
        item::array(&[item::array(&log)])
    };
    case(Ok(()), "ok_closed_log", "a log that was closed at nine entries", &|draft| {
        draft.body.set(8, closed(&TestKey::ed25519(50)));
    });
    case(Err(206), "closed_log_key_in_a_role", "a closed log's key that signs releases", &|draft| {
        draft.body.set(8, closed(&TestKey::ed25519(1)));
    });
    let reset = |product: &str| item::array(&[item::text(product), item::uint(5)]);
    case(Ok(()), "ok_sequence_reset", "a product whose sequence floor is lowered", &|draft| {
        draft.body.set(9, item::array(&[reset("gateway")]));
    });
    case(Err(100), "sequence_reset_twice", "one product reset to two numbers", &|draft| {
        draft.body.set(9, item::array(&[reset("gateway"), reset("gateway")]));
    });
}
