//! Integrated payloads: which of them the manifest's digests decide, and what is
//! said of the others.

use std::slice::from_ref;

use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_formats::{FormatError, Inspection, inspect};
use firmseal_testkit::item::{self, Item};
use firmseal_testkit::{Commands, Craft, Members};

/// Content of the payload `#a`.
pub(crate) const A: &[u8] = b"payload a";

pub(crate) fn digest(content: &[u8]) -> Item {
    item::bytes(&item::suit_digest(&RustCrypto.digest(content)))
}

pub(crate) fn set(pairs: &[(i64, Item)]) -> (i64, Item) {
    (
        20,
        item::map(&pairs.iter().map(|(label, value)| (item::int(*label), value.clone())).collect::<Vec<_>>()),
    )
}

pub(crate) fn command(label: i64) -> (i64, Item) {
    (label, item::uint(2))
}

/// An envelope with these components, sequences and payloads.
pub(crate) fn envelope(
    components: u8,
    shared: &[(i64, Item)],
    sections: &[(i64, Item)],
    payloads: &[(&str, &[u8])],
) -> Craft {
    let mut common = Members::default();
    let paths: Vec<Item> = (0..components).map(|index| item::array(&[item::bytes(&[index])])).collect();
    common.set(2, item::array(&paths));
    if !shared.is_empty() {
        common.set(4, item::bytes(&Commands::of(shared)));
    }
    let (mut manifest, mut members) = (Members::default(), Members::default());
    manifest.set(1, item::uint(1));
    manifest.set(2, item::uint(7));
    manifest.set(3, item::bytes(&common.encode()));
    for (label, section) in sections {
        manifest.set(*label, section.clone());
    }
    for (name, content) in payloads {
        members.set_key(item::text(name), item::bytes(content));
    }
    Craft { manifest, envelope: members }
}

pub(crate) fn section(commands: &[(i64, Item)]) -> Item {
    item::bytes(&Commands::of(commands))
}

fn read(craft: &Craft) -> Result<Inspection, FormatError> {
    inspect(&craft.seal(&[]))
}

/// What is said of `#a`, or why the file is refused.
fn said(craft: &Craft) -> String {
    match read(craft) {
        Ok(read) => {
            let own = read.notes.iter().find(|note| note.name == "payload \"#a\"");
            own.map_or_else(|| "nothing".to_owned(), |note| note.value.clone())
        }
        Err(error) => error.to_string(),
    }
}

const MATCHES: &str = "9 bytes, as the manifest's image digest says";
const OPEN: &str = "9 bytes, which digest it must have is for the device to decide";
const REFUSED: &str = "which is not the manifest's image digest";

#[test]
fn a_payload_is_held_against_the_digest_that_decides_it() {
    let uri = |name: &str| (21, item::text(name));
    let install = |commands: &[(i64, Item)]| [(20, section(commands))];
    let fetch = [set(&[uri("#a")]), command(21), command(3)];
    let right = set(&[(3, digest(A)), (14, item::uint(9))]);
    let wrong = set(&[(3, digest(b"another"))]);
    let a: &[(&str, &[u8])] = &[("#a", A)];
    let check = |name: &str, craft: &Craft, expected: &str| {
        let said = said(craft);
        assert!(said.contains(expected), "{name}: {said}");
    };
    check("shared digest", &envelope(1, from_ref(&right), &install(&fetch), a), MATCHES);
    check("another digest", &envelope(1, from_ref(&wrong), &install(&fetch), a), REFUSED);
    let size = set(&[(3, digest(A)), (14, item::uint(10))]);
    check(
        "another size",
        &envelope(1, &[size], &install(&fetch), a),
        "has 9 bytes, the manifest's image size says 10",
    );
    // The digest that counts is the one when it is matched.
    let late = [set(&[uri("#a")]), command(21), right.clone(), command(3)];
    check("set after the fetch", &envelope(1, from_ref(&wrong), &install(&late), a), MATCHES);
    let unmatched = [set(&[uri("#a")]), command(21)];
    check("never matched", &envelope(1, from_ref(&wrong), &install(&unmatched), a), OPEN);
    // Fetched into one component, copied to the other and matched there.
    let index = |index: u64| (12, item::uint(index));
    let copied = [
        index(1),
        set(&[uri("#a")]),
        command(21),
        index(0),
        set(&[(22, item::uint(1))]),
        command(22),
        command(3),
    ];
    check("copied", &envelope(2, &[index(0), right.clone()], &install(&copied), a), MATCHES);
    check("copied, another digest", &envelope(2, &[index(0), wrong.clone()], &install(&copied), a), REFUSED);
    // Fetched in one section, matched in the next.
    let sections = [(16, section(&unmatched)), (20, section(&[command(3)]))];
    check("two sections", &envelope(1, from_ref(&wrong), &sections, a), REFUSED);
    // What the device decides, nobody else does.
    let either = (15, item::array(&[section(from_ref(&wrong)), section(from_ref(&right))]));
    check("either digest", &envelope(1, &[either], &install(&fetch), a), OPEN);
    let perhaps = (32, section(from_ref(&wrong)));
    let shared = [right.clone(), perhaps];
    check("a sequence that may fail softly", &envelope(1, &shared, &install(&fetch), a), OPEN);
    let sealed = [set(&[(19, item::bytes(&[0x80])), uri("#a")]), command(21), command(3)];
    let craft = envelope(1, from_ref(&wrong), &install(&sealed), a);
    check("decrypted on its way", &craft, OPEN);
    assert!(read(&craft).unwrap().encrypted);
    let unknown = [set(&[uri("#a")]), command(21), (-7, item::null()), command(3)];
    check("a command of somebody's own", &envelope(1, from_ref(&wrong), &install(&unknown), a), OPEN);
    // Whether an index outlives the shared sequence the draft leaves open.
    let craft = envelope(2, &[wrong.clone(), index(1), right.clone()], &install(&fetch), a);
    check("an index from before", &craft, OPEN);
    check("not fetched", &envelope(1, from_ref(&right), &install(&[command(3)]), a), "fetched by no command");
    let other = read(&envelope(1, &[right], &install(&fetch), &[])).unwrap();
    assert_eq!(
        (other.notes[0].name.as_str(), other.notes[0].value.as_str()),
        ("payload \"#a\"", "not in the envelope")
    );
    let nested = envelope(1, &[], &install(&fetch), &[("#a", &[0xd8, 107, 0xa0])]);
    let notes = read(&nested).unwrap().notes;
    assert_eq!(notes[1].value, "an envelope itself, which is not read here");
}

#[test]
fn whom_it_is_for_is_what_is_compared_whatever_the_device_decides() {
    let vendor = |byte: u8| (1, item::bytes(&[byte; 16]));
    let target = |shared: &[(i64, Item)]| read(&envelope(1, shared, &[], &[])).unwrap().target;
    let first = "01010101-0101-0101-0101-010101010101";
    assert_eq!(target(&[set(&[vendor(1)]), command(1)]), Some(format!("vendor {first}")));
    assert_eq!(target(&[set(&[vendor(1)])]), None, "set and not compared");
    assert_eq!(target(&[command(1), set(&[vendor(1)])]), None, "compared before it is set");
    let either =
        (15, item::array(&[section(&[set(&[vendor(1)]), command(1)]), section(&[set(&[vendor(2)])])]));
    assert_eq!(target(from_ref(&either)), None, "compared in some case");
    assert_eq!(target(&[either, command(1)]), None, "compared with either");
    let pen = set(&[(1, item::tag(112, &item::bytes(&[7]))), (2, item::bytes(&[2; 16]))]);
    let read = target(&[pen, command(1), command(2)]);
    assert_eq!(read.as_deref(), Some("vendor 112(h'07'), class 02020202-0202-0202-0202-020202020202"));
}
