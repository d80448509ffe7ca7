//! What is refused, each for its reason.

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_formats::{Covered, Likeness, find, inspect};
use firmseal_testkit::item::{self, Item};
use firmseal_testkit::{Craft, Members, TestKey};

use crate::common::accepted;
use crate::payloads::{A, command, digest, envelope, section, set};

fn plain() -> Craft {
    let fetch = [set(&[(21, item::text("#a"))]), command(21), command(3)];
    envelope(1, &[set(&[(3, digest(A)), (14, item::uint(9))])], &[(20, section(&fetch))], &[("#a", A)])
}

/// Refuses an envelope, with a reason that says this.
fn refused(name: &str, envelope: &[u8], why: &str) {
    let envelope = envelope.to_vec();
    assert_eq!(find("suit").unwrap().detect(&envelope).unwrap(), Likeness::Own, "{name}");
    let error = inspect(&envelope).map(|_| ()).expect_err(name).to_string();
    assert!(error.contains(why), "{name}: {error}");
}

fn changed(change: impl FnOnce(&mut Craft)) -> Vec<u8> {
    let mut craft = plain();
    change(&mut craft);
    craft.seal(&[&TestKey::ed25519(1)])
}

#[test]
fn the_outer_form() {
    let good = changed(|_| ());
    assert!(inspect(&good).is_ok());
    let body = item::untag(&good);
    let members = Members::parse(&body);
    let outer = |pairs: &[(Item, Item)]| item::tag(107, &item::map(pairs));
    refused("a byte behind it", &[&good[..], &[0]].concat(), "bytes behind its end");
    refused("a longer tag", &[&[0xd9, 0, 107][..], &body].concat(), "longer than it has to be");
    refused("two tags", &item::tag(107, &item::map(&[]))[..], "no map of 2 to 64");
    refused(
        "an indefinite map",
        &[&[0xd8, 107, 0xbf][..], &body[1..], &[0xff]].concat(),
        "indefinite length",
    );
    let mut turned = members.0.clone();
    turned.swap(0, 1);
    refused("members out of order", &outer(&turned), "out of order");
    let twice = [&members.0[..2], &members.0[1..]].concat();
    refused("the manifest twice", &outer(&twice), "there twice");
    refused("no manifest", &outer(&[members.0[0].clone(), members.0[2].clone()]), "no manifest");
    let text = changed(|craft| craft.envelope.set(99, item::text("x")));
    refused("a member that is no byte string", &text, "no byte string");
    let floating = changed(|craft| craft.envelope.set_key(item::boolean(true), item::bytes(b"")));
    refused("a key that is no number", &floating, "no number and no name");
    let many = changed(|craft| (100..170).for_each(|label| craft.envelope.set(label, item::bytes(b""))));
    refused("too many members", &many, "no map of 2 to 64");
    refused("cut short", &good[..good.len() - 1], "needs");
    let long = changed(|craft| craft.manifest.set(4, item::text(&"x".repeat(70_000))));
    refused("a manifest of 70 kB", &long, "longer than 65536 bytes");
}

#[test]
fn authentication() {
    let craft = plain();
    let key = TestKey::ed25519(1);
    let own = item::bytes(&item::suit_digest(&craft.digest()));
    let sealed = |items: &[Item]| craft.assemble_wrapper(&item::array(items));
    refused("an empty wrapper", &sealed(&[]), "no digest");
    let other = item::bytes(&item::suit_digest(&RustCrypto.digest(b"other")));
    refused("another digest", &sealed(&[other]), "does not match the file's own digest");
    let short = item::bytes(&item::array(&[item::int(-16), item::bytes(&[0; 31])]));
    refused("a short digest", &sealed(&[short]), "another length than its function's");
    let shake = item::bytes(&item::array(&[item::int(-18), item::bytes(&[0; 32])]));
    refused("another function", &sealed(&[shake]), "a function other than SHA-256");
    // SHA-256 over the manifest without its head, as one could read it.
    let bare = item::bytes(&item::suit_digest(&RustCrypto.digest(&craft.manifest.encode())));
    refused("a digest of the bare manifest", &sealed(&[bare]), "does not match");
    let block = craft.sign(&key).encode();
    refused(
        "seventeen",
        &sealed(&[vec![own.clone()], vec![item::bytes(&block); 17]].concat()),
        "more than 16",
    );
    let with = |change: &dyn Fn(&mut firmseal_testkit::Block)| {
        let mut block = craft.sign(&key);
        change(&mut block);
        sealed(&[own.clone(), item::bytes(&block.encode())])
    };
    assert!(accepted(&with(&|_| ()), key.public()));
    refused("no tag", &sealed(&[own.clone(), item::bytes(&item::untag(&block))]), "something without a tag");
    refused("encrypted", &with(&|block| block.tag = 96), "no COSE_Sign1, Sign, Mac0 or Mac");
    refused(
        "a byte behind it",
        &sealed(&[own.clone(), item::bytes(&[&block[..], &[0]].concat())]),
        "bytes behind",
    );
    let both = with(&|block| block.unprotected.set(1, item::int(-8)));
    refused("an algorithm in both headers", &both, "in both buckets");
    refused(
        "an empty protected map",
        &with(&|block| block.protected.0.clear()),
        "protected header of nothing",
    );
    let long = with(&|block| block.protected.set(99, item::bytes(&[0; 9000])));
    refused("a long header", &long, "more than 8192 bytes");
    // Read, and believed by nobody.
    let unbelieved = |name: &str, envelope: &Vec<u8>, count: usize| {
        let read = inspect(envelope).expect(name);
        assert_eq!(read.signatures.len(), count, "{name}");
        assert!(read.signatures.iter().all(|own| matches!(own.covered, Covered::Unknown(_))), "{name}");
        assert!(!accepted(envelope, key.public()), "{name}");
    };
    let attached = item::bytes(&item::suit_digest(&craft.digest()));
    unbelieved("an attached payload", &with(&|block| block.payload = attached.clone()), 1);
    let critical = with(&|block| block.protected.set(2, item::array(&[item::int(99)])));
    unbelieved("critical parameters", &critical, 1);
    let unprotected = with(&|block| {
        block.protected.0.clear();
        block.protected.set(99, item::uint(0));
        block.unprotected.set(1, item::int(-19));
    });
    unbelieved("an algorithm that nothing covers", &unprotected, 0);
    unbelieved("a short signature", &with(&|block| block.signature.truncate(63)), 0);
    unbelieved("another algorithm", &with(&|block| block.protected.set(1, item::int(-47))), 0);
    // A curve is what the signature's length says, and not what somebody wishes.
    let swapped = with(&|block| block.protected.set(1, item::int(-9)));
    assert!(!accepted(&swapped, key.public()));
}

#[test]
fn the_manifest() {
    let set_member = |label: i64, value: Item| changed(|craft| craft.manifest.set(label, value));
    refused("another version", &set_member(1, item::uint(2)), "another version than 1");
    refused("no sequence number", &changed(|craft| craft.manifest.remove(2)), "no sequence number");
    refused("a negative one", &set_member(2, item::int(-1)), "sequence number");
    refused("no common section", &changed(|craft| craft.manifest.remove(3)), "no common section");
    refused(
        "a text key",
        &changed(|craft| craft.manifest.set_key(item::text("x"), item::uint(0))),
        "than a number",
    );
    refused("a float", &set_member(99, vec![0xf9, 0, 0]), "no item of deterministic CBOR");
    let common = |change: &dyn Fn(&mut Members)| {
        changed(|craft| {
            craft.common(change);
        })
    };
    refused("no components", &common(&|common| common.set(2, item::array(&[]))), "names no components");
    let one = item::array(&[item::bytes(b"x")]);
    refused(
        "a component twice",
        &common(&|common| common.set(2, item::array(&[one.clone(), one.clone()]))),
        "there twice",
    );
    let many: Vec<Item> = (0..65).map(|index| item::array(&[item::bytes(&[index])])).collect();
    refused("65 components", &common(&|common| common.set(2, item::array(&many))), "more than 64");
    refused("facts of ours", &set_member(-257, item::bytes(b"")), "a release of Firmseal's own");
    // What was severed.
    let mut craft = plain();
    craft.sever(23, item::bytes(&item::map(&[])));
    let severed = craft.clone();
    assert!(inspect(&severed.seal(&[])).is_ok());
    craft.envelope.set(23, item::bytes(&item::map(&[(item::text("en"), item::map(&[]))])));
    refused("another text", &craft.seal(&[]), "is another one here");
    refused(
        "a text by itself",
        &changed(|own| own.envelope.set(23, item::bytes(b"\xa0"))),
        "has no digest of it",
    );
    let install = section(&[command(23)]);
    refused("a second install", &changed(|own| own.envelope.set(20, install.clone())), "has no digest of it");
    let shake = item::array(&[item::int(-18), item::bytes(&[0; 32])]);
    let mut other = severed;
    other.manifest.set(23, shake);
    refused("another function", &other.seal(&[]), "a function other than");
}

#[test]
fn commands() {
    let install = |item: Item| changed(|craft| craft.manifest.set(20, item));
    let commands = |all: &[(i64, Item)]| install(section(all));
    refused("none", &install(item::bytes(&item::array(&[]))), "without commands");
    refused("an odd number", &install(item::bytes(&item::array(&[item::int(3)]))), "without its argument");
    refused("not in a byte string", &install(item::uint(3)), "something else than a byte string");
    refused("a policy above 15", &commands(&[(3, item::uint(16))]), "above 15");
    refused("a component that there is not", &commands(&[(12, item::uint(1))]), "that there is not");
    refused("an index of false", &commands(&[(12, item::boolean(false))]), "not true");
    refused("no indices", &commands(&[(12, item::array(&[]))]), "empty");
    refused("one alternative", &commands(&[(15, item::array(&[section(&[command(3)])]))]), "fewer than two");
    let nil = item::array(&[item::null(), section(&[command(3)])]);
    refused("nil first", &commands(&[(15, nil)]), "nil before the last");
    for (name, label, value, why) in [
        ("a vendor of 15 bytes", 1, item::bytes(&[0; 15]), "no UUID"),
        ("a digest that is none", 3, item::bytes(&[0x80]), "a function and a value"),
        ("a digest with more behind it", 3, item::bytes(&[0x82, 0x2f, 0x40, 0]), "another length"),
        ("a size that is a text", 14, item::text("9"), "a number from 0"),
        ("a soft failure of 1", 13, item::uint(1), "neither true nor false"),
        ("a uri in bytes", 21, item::bytes(b"#a"), "something else than a text"),
        ("a source that there is not", 22, item::uint(9), "that there is not"),
    ] {
        refused(name, &commands(&[set(&[(label, value)])]), why);
    }
    let unordered = item::map(&[(item::int(21), item::text("#a")), (item::int(14), item::uint(9))]);
    refused("parameters out of order", &commands(&[(20, unordered)]), "out of order");
    let mut deep = section(&[command(3)]);
    for _ in 0..8 {
        deep = section(&[(32, deep)]);
    }
    refused("nine deep", &install(deep), "nested deeper than 8");
    refused("too many", &commands(&vec![command(3); 600]), "more than 512");
    // Commands and members of other makers are shown.
    let read = inspect(&commands(&[(-5, item::text("x")), (3, item::uint(2))])).unwrap();
    assert!(read.fields.iter().any(|own| own.value == "command -5 \"x\""));
}

#[test]
fn what_is_no_envelope_is_not_taken_for_one() {
    let suit = find("suit").unwrap();
    let envelope = changed(|_| ());
    let bare = item::untag(&envelope);
    for (name, bytes, likeness) in [
        ("an envelope", envelope.clone(), Likeness::Own),
        ("one without its tag", bare.clone(), Likeness::Own),
        ("a damaged one", [&envelope[..40], &[0xff; 9]].concat(), Likeness::Own),
        ("the tag alone", vec![0xd8, 107], Likeness::No),
        ("the tag of something else", vec![0xd8, 107, 0x43, 0, 0, 0], Likeness::No),
        ("another tag", item::tag(18, &bare), Likeness::No),
        ("a map", vec![0xa2, 2, 0x40, 3, 0x40], Likeness::No),
        ("a map of other things", vec![0xa2, 1, 1, 2, 2], Likeness::No),
        ("the manifest by itself", plain().manifest.encode(), Likeness::No),
        ("nothing", Vec::new(), Likeness::No),
    ] {
        assert_eq!(suit.detect(&bytes).unwrap(), likeness, "{name}");
    }
}
