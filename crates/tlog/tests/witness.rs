//! Witnesses and policies: each answer of the specification, and what a
//! dishonest log cannot get.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Memory, Party, Strong, grown};
use firmseal_core::Digest;
use firmseal_tlog::{
    Answer, Decision, Edge, Error, Kind, KnownLog, Policy, Prover, Refusal, Request, Seen, decide, empty_root,
};

const ORIGIN: &str = "example.org/log";

fn request(log: &Party, tiles: &Memory, old: u64, size: u64) -> Request {
    let prover = Prover::new(tiles, size);
    Request {
        old,
        proof: if old <= size { prover.consistency(old).unwrap() } else { vec![] },
        checkpoint: log.checkpoint(size, prover.root().unwrap()),
    }
}

fn asked(request: &Request, log: &Party, seen: Seen) -> Decision {
    let known = [KnownLog { origin: ORIGIN.to_owned(), keys: vec![log.key.clone()] }];
    let body = request.to_string();
    assert_eq!(Request::parse(body.as_bytes()).as_ref(), Ok(request));
    decide(body.as_bytes(), &known, |_| seen)
}

fn refused(request: &Request, log: &Party, seen: Seen) -> u16 {
    match asked(request, log, seen) {
        Decision::Refuse(refusal) => refusal.status(),
        Decision::Cosign { .. } => 200,
    }
}

fn seen(tiles: &Memory, size: u64) -> Seen {
    Seen { size, root: Prover::new(tiles, size).root().unwrap() }
}

#[test]
fn a_log_that_grows_is_cosigned() {
    let log = Party::log(ORIGIN);
    let sizes = [0, 1, 7, 7, 256, 300, 513];
    let (tiles, _) = grown(&sizes);
    let mut state = Seen::default();
    for size in sizes {
        let request = request(&log, &tiles, state.size, size);
        let Decision::Cosign { origin, seen: next, text } = asked(&request, &log, state) else {
            unreachable!("from {} to {size}", state.size)
        };
        assert_eq!((origin.as_str(), text.as_str()), (ORIGIN, request.checkpoint.text()));
        assert_eq!(next, seen(&tiles, size));
        state = next;
    }
}

/// A witness that knows both keys of a log takes no checkpoint with one
/// signature: whoever can forge the weaker would leave the other out.
#[test]
fn a_log_of_two_keys_is_asked_for_both() {
    let (log, strong) = (Party::log(ORIGIN), Strong::new(ORIGIN, 4));
    let (tiles, _) = grown(&[9, 10]);
    let keys = vec![log.key.clone(), strong.key.clone()];
    let known = [KnownLog { origin: ORIGIN.to_owned(), keys }];
    let status = |request: &Request| match decide(request.to_string().as_bytes(), &known, |_| Seen::default())
    {
        Decision::Refuse(refusal) => refusal.status(),
        Decision::Cosign { .. } => 200,
    };
    let half = request(&log, &tiles, 0, 10);
    assert_eq!(status(&half), 403);
    let with = |line| {
        let mut whole = half.clone();
        whole.checkpoint.push(line).unwrap();
        whole
    };
    let good = strong.sign(half.checkpoint.text(), 77);
    assert_eq!(status(&with(good)), 200);
    assert_eq!(
        status(&with(strong.sign(request(&log, &tiles, 0, 9).checkpoint.text(), 77))),
        403,
        "over another tree"
    );
    assert_eq!(status(&with(Strong::new(ORIGIN, 5).sign(half.checkpoint.text(), 77))), 403, "a stranger's");
    // Who knows the first key alone takes the line for a stranger's.
    assert_eq!(refused(&with(strong.sign(half.checkpoint.text(), 77)), &log, Seen::default()), 200);
}

#[test]
fn each_refusal() {
    let log = Party::log(ORIGIN);
    let (tiles, _) = grown(&[10, 12, 20]);
    let at_ten = seen(&tiles, 10);
    let good = request(&log, &tiles, 10, 20);
    assert_eq!(refused(&good, &log, at_ten), 200);
    // 400: nonsense, and an old size beyond the checkpoint.
    for body in ["", "old 1\n", "old x\n\n", "old 01\n\n"] {
        assert_eq!(decide(body.as_bytes(), &[], |_| at_ten), Decision::Refuse(Refusal::BadRequest));
    }
    let beyond = Request { old: 21, ..good.clone() };
    assert_eq!(refused(&beyond, &log, Seen { size: 21, ..at_ten }), 400);
    let long = Request { proof: vec![empty_root(); 64], ..good.clone() };
    assert!(Request::parse(long.to_string().as_bytes()).is_err());
    // 403: another key, also under the log's name.
    assert_eq!(refused(&good, &Party::new(ORIGIN, Kind::Ed25519, 8), at_ten), 403);
    let mut liar = good.clone();
    liar.checkpoint.push(log.sign("something else\n")).unwrap();
    assert_eq!(refused(&liar, &log, at_ten), 403);
    let cosigner = Party::new(ORIGIN, Kind::Cosignature, 1);
    assert_eq!(refused(&good, &cosigner, at_ten), 403, "a cosigner does not speak for a log");
    // 404.
    let elsewhere = request(&Party::log("example.org/other"), &tiles, 10, 20);
    assert_eq!(refused(&elsewhere, &log, at_ten), 404);
    // 409, with the size in the body.
    let Decision::Refuse(conflict) = asked(&good, &log, seen(&tiles, 12)) else { unreachable!() };
    assert_eq!((conflict.status(), conflict.body()), (409, Some(("text/x.tlog.size", "12\n".to_owned()))));
    // 422: a fork, at the same size and further on; and proofs that are
    // not empty where they must be.
    let fork = Seen { root: Digest([5; 32]), ..at_ten };
    assert_eq!(refused(&good, &log, fork), 422);
    assert_eq!(refused(&request(&log, &tiles, 10, 10), &log, fork), 422);
    let padded = |old| Request { proof: vec![empty_root()], ..request(&log, &tiles, old, 10) };
    assert_eq!(refused(&padded(10), &log, at_ten), 422);
    assert_eq!(refused(&padded(0), &log, Seen::default()), 422);
    let mut zero = request(&log, &tiles, 0, 10);
    let text = zero.checkpoint.text().replacen("\n10\n", "\n0\n", 1);
    zero.checkpoint = firmseal_tlog::Note::new(text.clone()).unwrap();
    zero.checkpoint.push(log.sign(&text)).unwrap();
    assert_eq!(refused(&zero, &log, Seen::default()), 422);
}

#[test]
fn answers_are_read() {
    let witness = Party::new("w", Kind::Cosignature, 3);
    let line = witness.cosign("text\n", 9);
    let body = format!("{line}\n");
    assert_eq!(Answer::read(200, None, body.as_bytes()), Ok(Answer::Cosigned(vec![line])));
    let size = Some("text/x.tlog.size");
    assert_eq!(Answer::read(409, size, b"12\n"), Ok(Answer::Conflict(12)));
    assert_eq!(Answer::read(409, None, b"12\n"), Ok(Answer::Refused(409)));
    for (status, body) in [(200, &b""[..]), (200, b"x\n"), (409, b"12"), (409, b"012\n"), (200, b"\xff\n")] {
        assert!(Answer::read(status, size, body).is_err(), "{status} {body:?}");
    }
    assert!(Answer::read(200, None, body.repeat(101).as_bytes()).is_err());
    assert_eq!(Answer::read(503, None, b"\xff"), Ok(Answer::Refused(503)));
}

#[test]
fn a_quorum_counts_witnesses() {
    let log = Party::log(ORIGIN);
    let witnesses: Vec<Party> =
        (0..4).map(|n| Party::new(&format!("w{n}.example"), Kind::Cosignature, 10 + n)).collect();
    let mut text = format!("# a policy\n\nlog {} https://log.example/\n", log.key);
    for (n, witness) in witnesses.iter().enumerate() {
        text += &format!("witness w{n} {}\n", witness.key);
    }
    let inner = text + "group inner 2 w0 w1 w2\ngroup outer all inner w3\n";
    let policy = Policy::parse(&format!("{inner}quorum outer\n")).unwrap();
    assert_eq!(policy.url(&log.key), Some("https://log.example/"));
    assert_eq!(policy.witnesses().count(), 4);
    let evaluate = |who: &[usize]| {
        let mut note = log.checkpoint(3, Edge::new().root());
        for n in who {
            note.push(witnesses[*n].cosign(note.text(), 100 + *n as u64)).unwrap();
        }
        policy.evaluate(&note).map(|accepted| accepted.witnesses.len())
    };
    let missing = Err(Error::NoQuorum { quorum: "outer".to_owned() });
    assert_eq!(evaluate(&[0, 2, 3]), Ok(3));
    for short in [&[][..], &[0, 1, 2], &[0, 3], &[3], &[0, 0, 3]] {
        assert_eq!(evaluate(short), missing, "{short:?}");
    }
    let other = Party::new("example.org/other", Kind::Ed25519, 6);
    assert_eq!(policy.evaluate(&other.checkpoint(0, empty_root())), Err(Error::Unsigned));
    // A log of the policy that speaks for another.
    let both = Policy::parse(&format!("log {}\nlog {}\nquorum none\n", log.key, other.key)).unwrap();
    let mut note = firmseal_tlog::Note::new(log.checkpoint(0, empty_root()).text().to_owned()).unwrap();
    note.push(other.sign(note.text())).unwrap();
    assert_eq!(both.evaluate(&note), Err(Error::Unsigned));
    for bad in [
        "".to_owned(),
        "\n".to_owned(),
        inner.clone(),
        format!("{inner}quorum outer"),
        format!("{inner}quorum outer\r\n"),
        format!("{inner}# \u{7f}\nquorum outer\n"),
        format!("{inner}log {}\nquorum outer\n", Party::log("example.org/again").key),
        format!("{inner}group more any none\nquorum outer\n"),
        format!("{inner}quorum nobody\n"),
        format!("{inner}quorum outer\nquorum outer\n"),
        format!("{inner}group again any w0\nquorum again\n"),
        format!("{inner}witness w0 {}\nquorum none\n", Party::new("w9", Kind::Cosignature, 99).key),
        format!("{inner}witness w9 {}\nquorum none\n", witnesses[0].key),
        format!("{inner}witness w9 {}\nquorum none\n", log.key),
        format!("{inner}witness none {}\nquorum none\n", Party::new("w9", Kind::Cosignature, 99).key),
        inner.replace("inner 2", "inner 4") + "quorum outer\n",
        inner.replace("inner 2", "inner 0") + "quorum outer\n",
        inner.replace("outer all inner", "outer all outer") + "quorum outer\n",
        inner.replace("log ", "ledger ") + "quorum outer\n",
    ] {
        assert!(Policy::parse(&bad).is_err(), "{bad}");
    }
}
