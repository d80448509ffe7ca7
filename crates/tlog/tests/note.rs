//! Notes, keys, checkpoints and proofs as the specifications spell them.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Party, Strong, entry, grown};
use firmseal_core::Digest;
use firmseal_tlog::{
    Checkpoint, Error, Kind, LogProof, Note, NoteSignature, Policy, Prover, SIGNATURES_MAX, Subtree, Tile,
    VerifierKey, decode_bundle, empty_root, encode_bundle, leaf_hash,
};

/// signed-note, "Example".
const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const NOTE: &str = "This is an example message.\n\n\u{2014} example.com/foo \
     Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

#[test]
fn the_note_of_the_specification() {
    let key = VerifierKey::parse(VKEY).unwrap();
    assert_eq!((key.to_string(), key.id(), key.name()), (VKEY.to_owned(), 0x530d903a, "example.com/foo"));
    let note = Note::parse(NOTE.as_bytes()).unwrap();
    assert_eq!(note.to_string(), NOTE);
    assert_eq!(note.verify(std::slice::from_ref(&key)).unwrap().len(), 1);
    let mut other = NOTE.replace("example message", "Example message");
    let bad = Error::BadSignature { name: "example.com/foo".to_owned() };
    assert_eq!(Note::parse(other.as_bytes()).unwrap().verify(&[key]), Err(bad));
    other.pop();
    assert!(Note::parse(other.as_bytes()).is_err());
}

#[test]
fn strangers_are_ignored_and_liars_refuse_the_note() {
    let (log, liar) = (Party::log("example.org/log"), Party::new("liar", Kind::Ed25519, 2));
    let mut note = log.checkpoint(0, empty_root());
    let keys = [log.key.clone(), liar.key.clone()];
    // Under a known name with another id it is a stranger.
    let impostor = Party::new("example.org/log", Kind::Ed25519, 9);
    note.push(impostor.sign("anything")).unwrap();
    assert_eq!(note.verify(&keys).unwrap().len(), 1);
    assert_eq!(note.verify(&[]), Err(Error::Unsigned));
    assert_eq!(note.verify(&keys[1..]), Err(Error::Unsigned));
    note.push(log.sign(note.text())).unwrap();
    assert_eq!(note.verify(&keys).unwrap().len(), 1, "twice by one key is one");
    note.push(liar.sign("anything")).unwrap();
    assert_eq!(note.verify(&keys), Err(Error::BadSignature { name: "liar".to_owned() }));
    assert_eq!(note.verify(&keys[..1]).unwrap().len(), 1);
}

#[test]
fn a_cosignature_is_for_its_time_and_for_checkpoints_alone() {
    let (log, witness) = (Party::log("example.org/log"), Party::new("w1", Kind::Cosignature, 3));
    let note = log.checkpoint(0, empty_root());
    let keys = std::slice::from_ref(&witness.key);
    let with = |line: NoteSignature| {
        let mut note = note.clone();
        note.push(line).unwrap();
        note.verify(keys).map(|verified| verified[0].time)
    };
    let good = witness.cosign(note.text(), 1_700_000_000);
    assert_eq!(with(good.clone()), Ok(Some(1_700_000_000)));
    assert_eq!(good.to_string().len(), "\u{2014} w1 ".len() + 104);
    let refused = Err(Error::BadSignature { name: "w1".to_owned() });
    assert_eq!(with(witness.cosign(note.text(), 0)), refused);
    assert_eq!(with(witness.cosign(note.text(), 1 << 63)), refused);
    assert_eq!(with(witness.cosign("another\n", 5)), refused);
    assert_eq!(with(witness.sign(note.text())), refused, "no time, no cosignature");
    let mut later = good.bytes().to_vec();
    later[7] ^= 1;
    let later = NoteSignature::timed(
        &witness.key,
        u64::from_be_bytes(later[..8].try_into().unwrap()),
        later[8..].try_into().unwrap(),
    );
    assert_eq!(with(later), refused);
}

#[test]
fn notes_that_are_not_notes() {
    let line = NOTE.lines().nth(2).unwrap();
    let cases = [
        String::new(),
        "\n".to_owned(),
        "text\n".to_owned(),
        format!("text\n{line}\n"),
        format!("text\n\n{line}"),
        "text\n\n".to_owned(),
        format!("text\n\n{line}\n\n"),
        format!("text\n\n{line}\nx\n"),
        format!("te\txt\n\n{line}\n"),
        format!("te\rxt\n\n{line}\n"),
        format!("text\n\n{}\n", line.replace('\u{2014}', "-")),
        format!("text\n\n{}\n", line.replace("foo U", "foo  U")),
        format!("text\n\n{}\n", line.replace("com/foo", "com+foo")),
        format!("text\n\n{}\n", line.replace("com/foo", "com\u{a0}foo")),
        format!("text\n\n{}\n", line.replace("aQM=", "aQN=")),
        format!("text\n\n{}\n", line.replace("aQM=", "aQM")),
        "text\n\n\u{2014} name AAAAAA==\n".to_owned(),
        format!("text\n\n{}", format!("{line}\n").repeat(SIGNATURES_MAX + 1)),
    ];
    for case in cases {
        assert!(matches!(Note::parse(case.as_bytes()), Err(Error::Malformed { .. })), "{case:?}");
    }
    assert!(Note::parse(b"te\xffxt\n\n").is_err());
    // A text may have empty lines, and the last one divides.
    let odd = format!("a\n\n\u{2014} b\n\n{line}\n");
    assert_eq!(Note::parse(odd.as_bytes()).unwrap().text(), "a\n\n\u{2014} b\n");
    assert!(
        Note::parse(format!("text\n\n{}", format!("{line}\n").repeat(SIGNATURES_MAX)).as_bytes()).is_ok()
    );
    for bad in
        ["", "a+b", "a+530d903a+", &VKEY[1..], &VKEY.replace("530d", "530D"), &VKEY.replace("+Aeky", "+Beky")]
    {
        assert!(VerifierKey::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn checkpoints() {
    let root = "qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqo=";
    let text = format!("example.org/log\n15368405\n{root}\nextension\n");
    let checkpoint = Checkpoint::parse(&text).unwrap();
    assert_eq!((checkpoint.size, checkpoint.root), (15_368_405, Digest([0xaa; 32])));
    assert_eq!(checkpoint.to_string(), text);
    for bad in [
        text.replace("15", "015"),
        text.replace("15", "+15"),
        text.replace("15368405", "9223372036854775808"),
        text.replace("15368405", "0"),
        text.replace("extension", ""),
        text.replace("example.org/log", ""),
        text.replace("qo=", "qp="),
        text.replace("qqqq", ""),
        text.trim_end().to_owned(),
        "a\n1\n".to_owned(),
    ] {
        assert!(Checkpoint::parse(&bad).is_err(), "{bad:?}");
    }
    let log = Party::log("example.org/log");
    let signed = log.checkpoint(1, Digest([0xaa; 32])).to_string();
    assert_eq!(Checkpoint::open(signed.as_bytes(), &log.key, "example.org/log").unwrap().0.size, 1);
    let error = Checkpoint::open(signed.as_bytes(), &log.key, "example.org/other");
    assert!(matches!(error, Err(Error::WrongLog { .. })));
    let smuggled = Checkpoint { origin: "a\n5".to_owned(), ..checkpoint };
    assert!(smuggled.to_note().is_err());
}

#[test]
fn paths_and_bundles() {
    let at = |index, width| Tile { level: 0, index, width };
    assert_eq!(at(1_234_067, 256).path(), "tile/0/x001/x234/067");
    assert_eq!(at(1_234_067, 8).entries_path(), "tile/entries/x001/x234/067.p/8");
    for bad in [
        "tile/0/x001/x234/67",
        "tile/0/1234",
        "tile/0/x000/001",
        "tile/0/x001",
        "tile/0/001.p/256",
        "tile/0/001.p/0",
        "tile/0/001.p/01",
        "tile/8/000",
        "tile/00/000",
        "tile/0/",
        "tile/0",
        "x",
        "",
        "tile/entries/00x",
        "tile/0/001/x002",
        "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
    ] {
        assert!(Tile::parse(bad).is_err(), "{bad}");
    }
    let entries = [&b"a"[..], b"", &[7; 65_535]];
    let bundle = encode_bundle(&entries).unwrap();
    assert_eq!(bundle[..6], [0, 1, b'a', 0, 0, 0xff]);
    assert_eq!(decode_bundle(&bundle).unwrap(), entries);
    assert!(decode_bundle(&bundle[..bundle.len() - 1]).is_err());
    assert!(decode_bundle(&[0]).is_err() && decode_bundle(&[0; 514]).is_err());
    assert_eq!(decode_bundle(&[0; 512]).unwrap().len(), 256);
    assert!(encode_bundle(&[[0u8; 65_536]]).is_err() && encode_bundle(&[[0u8; 1]; 257]).is_err());
}

#[test]
fn ml_dsa_44_cosignatures_have_their_layout() {
    let subtree =
        Subtree { cosigner: "w", time: 1, origin: "o/l", start: 0, end: 256, hash: Digest([9; 32]) };
    let mut expected = b"subtree/v1\n\0\x01w\0\0\0\0\0\0\0\x01\x03o/l".to_vec();
    expected.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    expected.extend([9; 32]);
    assert_eq!(subtree.message().unwrap(), expected);
    assert!(Subtree { start: 8, ..subtree }.message().is_err());
    assert!(Subtree { start: 300, time: 0, ..subtree }.message().is_err());
    let long = "x".repeat(256);
    assert!(Subtree { origin: &long, ..subtree }.message().is_err());
    assert!(Subtree { cosigner: "", ..subtree }.message().is_err());
}

#[test]
fn a_log_with_keys_of_two_kinds_signs_with_both() {
    let (log, strong) = (Party::log("example.org/log"), Strong::new("example.org/log", 4));
    let both = [log.key.clone(), strong.key.clone()];
    let mut note = log.checkpoint(1, Digest([0xaa; 32]));
    let open = |note: &Note, keys: &[VerifierKey]| {
        Checkpoint::open_all(note.to_string().as_bytes(), keys, "example.org/log").map(|(read, _)| read.size)
    };
    // Left out, it is missed by whoever knows it, and by nobody else.
    assert!(matches!(open(&note, &both), Err(Error::HalfSigned { .. })));
    assert_eq!(open(&note, &both[..1]), Ok(1));
    note.push(strong.sign(note.text(), 77)).unwrap();
    assert_eq!(note.signatures()[1].to_string().len(), "\u{2014} example.org/log ".len() + 3244);
    assert_eq!(open(&note, &both), Ok(1));
    assert_eq!(open(&note, &both[..1]), Ok(1), "for others it is the line of a stranger");
    let times: Vec<_> = note.verify(&both).unwrap().iter().map(|verified| verified.time).collect();
    assert_eq!(times, [None, Some(77)]);
    // Alone it does not speak for a log: it leaves extension lines out.
    assert!(matches!(open(&note, &both[1..]), Err(Error::Malformed { .. })));
    // An old key and a new one of one kind: either will do.
    let new = Strong::new("example.org/log", 5);
    assert_eq!(open(&note, &[both[0].clone(), new.key, both[1].clone()]), Ok(1));
}

#[test]
fn a_bit_of_an_ml_dsa_line_refuses_the_note() {
    let strong = Strong::new("w1", 4);
    let note = Party::log("example.org/log").checkpoint(1, Digest([0xaa; 32]));
    let keys = std::slice::from_ref(&strong.key);
    let with = |note: &Note, line: NoteSignature| {
        let mut note = note.clone();
        note.push(line).unwrap();
        note.verify(keys).map(|verified| verified[0].time)
    };
    let good = strong.sign(note.text(), 77);
    assert_eq!(with(&note, good.clone()), Ok(Some(77)));
    assert_eq!(with(&note, strong.sign(note.text(), 0)), Ok(None), "a tree without a time");
    let refused = Err(Error::BadSignature { name: "w1".to_owned() });
    assert_eq!(with(&note, strong.sign(note.text(), 1 << 63)), refused);
    // In the time, at the beginning, in the middle and at the end.
    for at in [7, 8, 1000, 8 + 2419] {
        let mut bytes = good.bytes().to_vec();
        bytes[at] ^= 1;
        let (time, signature) = bytes.split_first_chunk().unwrap();
        let line = NoteSignature::timed(&strong.key, u64::from_be_bytes(*time), signature);
        assert_eq!(with(&note, line), refused, "byte {at}");
    }
    for bytes in [&good.bytes()[8..2400], &[&good.bytes()[8..], &[0]].concat(), &[]] {
        assert_eq!(with(&note, NoteSignature::timed(&strong.key, 77, bytes)), refused);
    }
    // Over another tree, and under something that is no checkpoint.
    let other = Party::log("example.org/log").checkpoint(2, Digest([0xaa; 32]));
    assert_eq!(with(&other, good.clone()), refused);
    assert_eq!(with(&Note::new("three\nlines\nof text\n".to_owned()).unwrap(), good), refused);
}

#[test]
fn keys_of_every_kind_are_read_as_they_are_written() {
    for kind in Kind::ALL {
        let length = kind.ml_dsa().map_or(32, |set| set.key_len());
        let key = VerifierKey::new("example.org/log", kind, vec![7; length]).unwrap();
        assert_eq!(VerifierKey::parse(&key.to_string()), Ok(key.clone()));
        assert!(VerifierKey::new("example.org/log", kind, vec![7; length - 1]).is_err());
        assert_eq!(key.ed25519().is_some(), length == 32);
    }
}

#[test]
fn a_proof_to_carry() {
    let (tiles, edge) = grown(&[1000]);
    let (log, witness) = (Party::log("example.org/log"), Party::new("w1", Kind::Cosignature, 3));
    let mut checkpoint = log.checkpoint(1000, edge.root());
    checkpoint.push(witness.cosign(checkpoint.text(), 77)).unwrap();
    let hashes = Prover::new(&tiles, 1000).inclusion(321).unwrap();
    let proof = LogProof { extra: Some(b"note".to_vec()), index: 321, hashes, checkpoint };
    let text = proof.to_string();
    assert!(text.starts_with("c2sp.org/tlog-proof@v1\nextra bm90ZQ==\nindex 321\n"), "{text}");
    let read = LogProof::parse(text.as_bytes()).unwrap();
    assert_eq!((&read, read.to_string()), (&proof, text.clone()));
    let policy = Policy::parse(&format!("log {}\nwitness w {}\nquorum w\n", log.key, witness.key)).unwrap();
    let accepted = read.verify(&leaf_hash(&entry(321)), &policy).unwrap();
    assert_eq!((accepted.checkpoint.size, accepted.witnesses), (1000, vec![("w".to_owned(), 77)]));
    assert!(read.verify(&leaf_hash(&entry(322)), &policy).is_err());
    for (from, to) in [("@v1", "@v2"), ("index 321", "index 0321"), ("extra ", "Extra "), ("\n\n", "\n")] {
        assert!(LogProof::parse(text.replacen(from, to, 1).as_bytes()).is_err(), "{to}");
    }
}
