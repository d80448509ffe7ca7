//! A token that fails: sessions killed, module finalized, device gone,
//! signatures spoiled, PINs refused, calls that never return.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::time::Duration;

use common::{Bench, isolated, sign, until};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::object::Attribute;
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use firmseal_keys::conformance::{MemoryLog, covering};
use firmseal_keys::pool::wait;
use firmseal_keys::{Secret, SignError, Signer};
use firmseal_keys_pkcs11::{Options, Pkcs11Error, Pkcs11Key, generate};
use firmseal_manifest::{KeyAlgorithm, Tbs};

/// One thread, so that counts are exact; time enough for a slow machine.
const ONE: Options = Options { threads: 1, queue: 64, deadline: Duration::from_secs(60) };

/// Whether it signs, at least now and then: a machine may stall for longer than
/// a job has.
fn serves(key: &Pkcs11Key) -> bool {
    (0..30).any(|_| sign(key).is_ok())
}

/// The module itself, as other code in this process would use it.
fn beside(bench: &Bench) -> (Pkcs11, cryptoki::slot::Slot) {
    let context = Pkcs11::new(bench.dir.join("shim.so")).unwrap();
    let _ = context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK));
    let slot = context.get_slots_with_initialized_token().unwrap()[0];
    (context, slot)
}

#[test]
fn lost_sessions_come_back() {
    isolated("lost_sessions_come_back", |bench| {
        for algorithm in [KeyAlgorithm::P256, KeyAlgorithm::Ed25519] {
            let uri = bench.uri(&format!("token=test;object={algorithm}"));
            generate(&uri, bench.pin(), algorithm).unwrap();
            let key = Pkcs11Key::open(&uri, bench.pin(), ONE).unwrap();
            assert!(sign(&key).is_ok());
            for fault in ["closeall 1", "finalize 1", "fail b3 1", "fail 60 1", "fail 82 1", "fail 101 1"] {
                bench.fault("C_Sign", fault);
                bench.take_calls("C_Sign");
                assert!(sign(&key).is_ok(), "{fault}: {:?}", sign(&key));
                assert_eq!(bench.take_calls("C_Sign"), 2, "{fault}: tried once more");
                assert!(sign(&key).is_ok(), "and the new session stays");
                assert_eq!(bench.take_calls("C_Sign"), 1);
            }
        }
    });
}

#[test]
fn sessions_lost_under_many_threads_lose_no_request() {
    isolated("sessions_lost_under_many_threads_lose_no_request", |bench| {
        let key = bench.key(KeyAlgorithm::P256, Options { threads: 4, ..ONE });
        for round in 0..40 {
            // One loss a round, so that no request can meet two. The shim
            // reports it; truly closing sessions that other threads are
            // using crashes SoftHSM 2.6.1 itself.
            if round % 2 == 0 {
                bench.fault("C_Sign", "fail b3 1");
            }
            std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| sign(&key))).collect();
                for thread in threads {
                    let answer = thread.join().unwrap();
                    assert!(answer.is_ok(), "{answer:?}");
                }
            });
        }
        // Truly closed, all four of them, while only one is in use: each
        // thread finds out for itself and comes back.
        bench.fault("C_Sign", "closeall 1");
        for _ in 0..16 {
            let answer = sign(&key);
            assert!(answer.is_ok(), "{answer:?}");
        }
    });
}

#[test]
fn what_fails_twice_is_unavailable_and_comes_back() {
    isolated("what_fails_twice_is_unavailable_and_comes_back", |bench| {
        let key = bench.key(KeyAlgorithm::P256, ONE);
        for rv in ["b3", "60", "101"] {
            bench.take_calls("C_Sign");
            bench.fault("C_Sign", &format!("fail {rv} 99"));
            let answer = sign(&key);
            assert!(matches!(answer, Err(SignError::Unavailable(_))), "{rv}: {answer:?}");
            assert_eq!(bench.take_calls("C_Sign"), 2, "{rv}: no more than two tries");
            bench.clear("C_Sign");
            assert!(sign(&key).is_ok(), "{rv}: the device is back");
        }
    });
}

#[test]
fn what_may_have_signed_is_not_made_again() {
    isolated("what_may_have_signed_is_not_made_again", |bench| {
        let key = bench.key(KeyAlgorithm::P256, ONE);
        for rv in ["30", "32", "e0", "5", "6", "b0", "80000001"] {
            bench.take_calls("C_Sign");
            bench.fault("C_Sign", &format!("fail {rv} 1"));
            let answer = sign(&key);
            assert!(matches!(answer, Err(SignError::Unavailable(_))), "{rv}: {answer:?}");
            assert_eq!(bench.take_calls("C_Sign"), 1, "{rv}: one entry, one use");
            assert!(sign(&key).is_ok(), "{rv}: the device is back");
        }
    });
}

#[test]
fn trouble_leaves_no_sessions_open() {
    isolated("trouble_leaves_no_sessions_open", |bench| {
        // One for each thread, and none to spare.
        bench.fault("sessions", "2");
        let key = bench.key(KeyAlgorithm::P256, Options { threads: 2, ..ONE });
        for rv in ["5", "6", "30", "60", "70", "101", "80000001"] {
            for _ in 0..8 {
                bench.fault("C_Sign", &format!("fail {rv} 1"));
                let answer = sign(&key);
                let is_full = matches!(&answer, Err(error) if error.to_string().contains("busy"));
                assert!(!is_full, "{rv}: {answer:?}");
                bench.fault("C_GetAttributeValue", &format!("fail {rv} 1"));
                let _ = wait(key.ready());
            }
            assert!(sign(&key).is_ok(), "{rv}");
        }
    });
}

#[test]
fn a_session_that_hangs_while_closing_does_not_hang_the_caller() {
    isolated("a_session_that_hangs_while_closing_does_not_hang_the_caller", |bench| {
        let options = Options { threads: 2, queue: 8, deadline: Duration::from_secs(2) };
        let key = bench.key(KeyAlgorithm::P256, options);
        bench.fault("C_CloseSession", "hang 1");
        bench.fault("C_Sign", "fail 5 1");
        assert!(matches!(bench.sign_into("C_Sign", &key), Err(SignError::Unavailable(_))));
        bench.wait_for("C_CloseSession");
        assert!(serves(&key), "the other session still serves");
        bench.open_gate();
    });
}

#[test]
fn readiness_asks_the_token_and_uses_no_key() {
    isolated("readiness_asks_the_token_and_uses_no_key", |bench| {
        let key = bench.key(KeyAlgorithm::P256, ONE);
        bench.take_calls("C_Sign");
        assert!(wait(key.ready()).is_ok());
        bench.fault("C_GetAttributeValue", "fail 32 1");
        assert!(wait(key.ready()).is_ok(), "a lost session comes back");
        bench.fault("C_GetAttributeValue", "fail 32 1");
        bench.fault("C_GetTokenInfo", "fail e0 99");
        let answer = wait(key.ready());
        assert!(matches!(answer, Err(SignError::Unavailable(_))), "{answer:?}");
        bench.clear("C_GetTokenInfo");
        assert!(wait(key.ready()).is_ok());
        assert_eq!(bench.take_calls("C_Sign"), 0);
        assert!(sign(&key).is_ok());
    });
}

#[test]
fn a_token_that_was_pulled_out_is_unavailable_until_it_returns() {
    isolated("a_token_that_was_pulled_out_is_unavailable_until_it_returns", |bench| {
        let key = bench.key(KeyAlgorithm::P256, ONE);
        // Gone: the operation fails and the slot shows no token.
        bench.fault("C_Sign", "fail 32 1");
        bench.fault("C_GetTokenInfo", "fail e0 99");
        assert!(matches!(sign(&key), Err(SignError::Unavailable(_))));
        let answer = sign(&key);
        let Err(SignError::Unavailable(why)) = &answer else { panic!("{answer:?}") };
        assert!(why.contains("no token matches"), "{why}");
        bench.clear("C_GetTokenInfo");
        assert!(sign(&key).is_ok());
    });
}

#[test]
fn a_refusal_is_not_repeated() {
    isolated("a_refusal_is_not_repeated", |bench| {
        let key = bench.key(KeyAlgorithm::P256, ONE);
        for (rv, is_input) in [("68", false), ("70", false), ("63", false), ("20", true), ("21", true)] {
            bench.fault("C_Sign", &format!("fail {rv} 1"));
            bench.take_calls("C_Sign");
            let answer = sign(&key);
            match is_input {
                true => assert!(matches!(answer, Err(SignError::Refused(_))), "{rv}: {answer:?}"),
                false => assert!(matches!(answer, Err(SignError::Unfit(_))), "{rv}: {answer:?}"),
            }
            assert_eq!(bench.take_calls("C_Sign"), 1, "{rv}");
            assert!(sign(&key).is_ok());
        }
    });
}

#[test]
fn a_mechanism_that_only_one_input_needs_says_nothing_of_the_key() {
    isolated("a_mechanism_that_only_one_input_needs_says_nothing_of_the_key", |bench| {
        let key = bench.key(KeyAlgorithm::Rsa(2048), ONE);
        let log = MemoryLog::default();
        let answer = |tbs: Tbs| {
            bench.fault("C_Sign", "fail 70 1");
            wait(async { key.sign(covering(&log, key.public_key(), &tbs).await, tbs.clone()).await })
        };
        let padded = answer(Tbs::Pkcs1([7; 32]));
        assert!(matches!(padded, Err(SignError::Refused(_))), "{padded:?}");
        let usual = answer(Tbs::Sha256([7; 32]));
        assert!(matches!(usual, Err(SignError::Unfit(_))), "{usual:?}");
    });
}

#[test]
fn an_expired_pin_is_not_offered_again() {
    isolated("an_expired_pin_is_not_offered_again", |bench| {
        let key = bench.key(KeyAlgorithm::P256, ONE);
        let (context, slot) = beside(bench);
        context.open_rw_session(slot).unwrap().logout().unwrap();
        bench.fault("C_Login", "fail a3 1");
        bench.take_calls("C_Login");
        for _ in 0..3 {
            let answer = sign(&key);
            assert!(matches!(answer, Err(SignError::WrongPin)), "{answer:?}");
        }
        let other = bench.open(ONE);
        assert!(matches!(other, Err(Pkcs11Error::WrongPin)), "{other:?}");
        assert_eq!(bench.take_calls("C_Login"), 1);
    });
}

#[test]
fn a_spoiled_signature_never_leaves() {
    isolated("a_spoiled_signature_never_leaves", |bench| {
        for algorithm in [KeyAlgorithm::P256, KeyAlgorithm::Ed25519, KeyAlgorithm::Rsa(2048)] {
            let uri = bench.uri(&format!("token=test;object={algorithm}"));
            generate(&uri, bench.pin(), algorithm).unwrap();
            let key = Pkcs11Key::open(&uri, bench.pin(), ONE).unwrap();
            bench.fault("C_Sign", "spoil 1");
            bench.take_calls("C_Sign");
            let answer = sign(&key);
            assert!(matches!(answer, Err(SignError::BadSignature)), "{answer:?}");
            assert_eq!(bench.take_calls("C_Sign"), 1, "not tried again: a person should look");
            assert!(sign(&key).is_ok());
        }
    });
}

#[test]
fn a_token_that_hangs_does_not_hang_the_caller() {
    isolated("a_token_that_hangs_does_not_hang_the_caller", |bench| {
        let options = Options { threads: 2, queue: 8, deadline: Duration::from_secs(2) };
        let key = bench.key(KeyAlgorithm::P256, options);
        assert!(serves(&key));
        bench.fault("C_Sign", "hang 1");
        let answer = bench.sign_into("C_Sign", &key);
        assert!(matches!(answer, Err(SignError::Unavailable(_))), "{answer:?}");
        // The other session still serves.
        assert!(serves(&key));
        bench.open_gate();
        let back = (0..100).any(|_| sign(&key).is_ok());
        assert!(back, "the threads come back when the token does");
    });
}

#[test]
fn calls_that_never_return_cost_no_more_than_their_sessions() {
    isolated("calls_that_never_return_cost_no_more_than_their_sessions", |bench| {
        let options = Options { threads: 2, queue: 8, deadline: Duration::from_secs(1) };
        let key = bench.key(KeyAlgorithm::P256, options);
        let hang = |count: usize| {
            for _ in 0..count {
                bench.fault("C_Sign", "hang 1");
                assert!(matches!(bench.sign_into("C_Sign", &key), Err(SignError::Unavailable(_))));
            }
        };
        bench.take_calls("C_Sign");
        hang(2);
        assert!(serves(&key), "two other sessions took the place of those that hang");
        assert_eq!(key.hanging(), 2);
        // Those hang as well, and the next is a minute off.
        hang(2);
        assert_eq!(key.hanging(), 4);
        let calls = bench.take_calls("C_Sign");
        for _ in 0..4 {
            assert!(matches!(sign(&key), Err(SignError::Unavailable(_))));
        }
        assert_eq!(bench.take_calls("C_Sign"), 0, "nobody is left to call: {calls} before");
        // It comes back by itself, with nothing that hangs.
        bench.open_gate();
        assert!(serves(&key), "it is back when the token is");
        until("all are back", || key.hanging() == 0);
    });
}

#[test]
fn a_login_that_never_returns_keeps_nobody_from_another() {
    isolated("a_login_that_never_returns_keeps_nobody_from_another", |bench| {
        let key = bench.key(KeyAlgorithm::P256, Options { deadline: Duration::from_secs(2), ..ONE });
        assert!(serves(&key));
        bench.take_calls("C_Login");
        // Everybody is logged out, and the login that mends it hangs.
        bench.fault("C_Login", "hang 1");
        bench.fault("C_Sign", "closeall 1");
        assert!(matches!(bench.sign_into("C_Sign", &key), Err(SignError::Unavailable(_))));
        bench.wait_for("C_Login");
        assert!(serves(&key), "another login was made");
        assert_eq!(bench.take_calls("C_Login"), 2, "one that hangs, and one");
        assert_eq!(key.hanging(), 1);
        bench.open_gate();
    });
}

#[test]
fn a_token_that_has_no_more_sessions_gives_none_in_place_of_one_that_hangs() {
    isolated("a_token_that_has_no_more_sessions_gives_none_in_place_of_one_that_hangs", |bench| {
        bench.fault("sessions", "1");
        let key = bench.key(KeyAlgorithm::P256, Options { deadline: Duration::from_secs(1), ..ONE });
        bench.fault("C_Sign", "hang 1");
        for _ in 0..4 {
            assert!(matches!(sign(&key), Err(SignError::Unavailable(_))));
        }
        assert_eq!(key.hanging(), 1);
        bench.open_gate();
        assert!((0..30).any(|_| sign(&key).is_ok()));
    });
}

#[test]
fn a_module_that_hangs_while_opening_does_not_hang_start_up() {
    isolated("a_module_that_hangs_while_opening_does_not_hang_start_up", |bench| {
        let _ = bench.key(KeyAlgorithm::P256, ONE);
        bench.fault("C_OpenSession", "hang 1");
        let answer = bench.open(Options { deadline: Duration::from_millis(200), ..ONE });
        assert!(matches!(answer, Err(Pkcs11Error::TimedOut)), "{answer:?}");
        bench.wait_for("C_OpenSession");
        assert!(bench.open(ONE).is_ok());
        bench.open_gate();
    });
}

#[test]
fn a_wrong_pin_is_tried_once() {
    isolated("a_wrong_pin_is_tried_once", |bench| {
        generate(&bench.uri("token=test;object=release"), bench.pin(), KeyAlgorithm::P256).unwrap();
        bench.take_calls("C_Login");
        let wrong = || Some(Secret::new(b"000000".to_vec()));
        let uri = bench.uri("token=test;object=release");
        for _ in 0..5 {
            let answer = Pkcs11Key::open(&uri, wrong(), ONE);
            assert!(matches!(answer, Err(Pkcs11Error::WrongPin)), "{answer:?}");
        }
        assert_eq!(bench.take_calls("C_Login"), 1, "the token was asked once");
        let (context, slot) = beside(bench);
        assert!(context.get_token_info(slot).unwrap().user_pin_count_low(), "and counted it");
        // Another URI of the same token does not get to try it either.
        let answer = Pkcs11Key::open(&bench.uri("token=test;type=private"), wrong(), ONE);
        assert!(matches!(answer, Err(Pkcs11Error::WrongPin)), "{answer:?}");
        assert_eq!(bench.take_calls("C_Login"), 0);
        // A person puts the right one in place.
        assert!(sign(&bench.open(ONE).unwrap()).is_ok());
        // Closed again, nobody is logged in.
        let none = Pkcs11Key::open(&uri, None, ONE);
        assert!(matches!(none, Err(Pkcs11Error::NoPin)), "{none:?}");
    });
}

#[test]
fn a_pin_that_changed_under_us_is_tried_once_and_latches() {
    isolated("a_pin_that_changed_under_us_is_tried_once_and_latches", |bench| {
        let key = bench.key(KeyAlgorithm::P256, Options { threads: 3, ..ONE });
        assert!(sign(&key).is_ok());
        let (context, slot) = beside(bench);
        let session = context.open_rw_session(slot).unwrap();
        session.set_pin(&AuthPin::from(common::PIN), &AuthPin::from("654321")).unwrap();
        session.logout().unwrap();
        bench.take_calls("C_Login");
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| sign(&key))).collect();
            for thread in threads {
                let answer = thread.join().unwrap();
                assert!(matches!(answer, Err(SignError::WrongPin)), "{answer:?}");
            }
        });
        assert_eq!(bench.take_calls("C_Login"), 1, "three sessions, eight requests, one try");
        // Even with the token open again: it takes a person to say so.
        session.login(UserType::User, Some(&AuthPin::from("654321"))).unwrap();
        assert!(matches!(sign(&key), Err(SignError::WrongPin)));
        drop(key);
        let fresh = Pkcs11Key::open(
            &bench.uri("token=test;object=release"),
            Some(Secret::new(b"654321".to_vec())),
            ONE,
        );
        assert!(sign(&fresh.unwrap()).is_ok());
    });
}

#[test]
fn the_last_try_is_left_to_a_person() {
    isolated("the_last_try_is_left_to_a_person", |bench| {
        generate(&bench.uri("token=test;object=release"), bench.pin(), KeyAlgorithm::P256).unwrap();
        bench.take_calls("C_Login");
        bench.fault("flags", "20000"); // CKF_USER_PIN_FINAL_TRY
        let answer = bench.open(ONE);
        assert!(matches!(answer, Err(Pkcs11Error::FinalTry)), "{answer:?}");
        bench.fault("flags", "40000"); // CKF_USER_PIN_LOCKED
        let answer = bench.open(ONE);
        assert!(matches!(answer, Err(Pkcs11Error::PinLocked)), "{answer:?}");
        assert_eq!(bench.take_calls("C_Login"), 0);
        bench.clear("flags");
        assert!(bench.open(ONE).is_ok());
    });
}

#[test]
fn a_key_that_was_replaced_is_not_used() {
    isolated("a_key_that_was_replaced_is_not_used", |bench| {
        let key = bench.key(KeyAlgorithm::P256, ONE);
        let (context, slot) = beside(bench);
        let session = context.open_rw_session(slot).unwrap();
        for object in session.find_objects(&[]).unwrap() {
            session.destroy_object(object).unwrap();
        }
        let gone = sign(&key);
        assert!(matches!(gone, Err(SignError::Unfit(_))), "{gone:?}");
        generate(&bench.uri("token=test;object=release"), bench.pin(), KeyAlgorithm::P256).unwrap();
        bench.take_calls("C_Sign");
        for answer in [sign(&key).map(drop), wait(key.ready())] {
            let Err(SignError::Unfit(why)) = &answer else { panic!("{answer:?}") };
            assert!(why.contains("replaced"), "{why}");
        }
        assert_eq!(bench.take_calls("C_Sign"), 0, "nothing was signed with the other one");
    });
}

#[test]
fn a_key_that_is_gone_for_a_while_signs_when_it_is_back() {
    isolated("a_key_that_is_gone_for_a_while_signs_when_it_is_back", |bench| {
        let key = bench.key(KeyAlgorithm::P256, ONE);
        let (context, slot) = beside(bench);
        let session = context.open_rw_session(slot).unwrap();
        let call = |label: &str| {
            for object in session.find_objects(&[]).unwrap() {
                let label = Attribute::Label(label.as_bytes().to_vec());
                session.update_attributes(object, &[label]).unwrap();
            }
        };
        call("elsewhere");
        bench.fault("C_Sign", "fail 60 1");
        let gone = sign(&key);
        assert!(matches!(&gone, Err(SignError::Unfit(why)) if why.contains("no private key")), "{gone:?}");
        assert!(matches!(wait(key.ready()), Err(SignError::Unfit(_))));
        call("release");
        assert!(wait(key.ready()).is_ok());
        assert!(sign(&key).is_ok());
    });
}

#[test]
fn a_full_queue_refuses_at_once() {
    isolated("a_full_queue_refuses_at_once", |bench| {
        let key = bench.key(KeyAlgorithm::P256, Options { threads: 1, queue: 2, ..ONE });
        bench.fault("C_Sign", "hang 1");
        let log = MemoryLog::default();
        let tbs = Tbs::Message(b"firmware".to_vec());
        let answers = std::thread::scope(|scope| {
            let request = || {
                let tbs = tbs.clone();
                wait(async { key.sign(covering(&log, key.public_key(), &tbs).await, tbs.clone()).await })
            };
            let mut threads = vec![scope.spawn(request)];
            bench.wait_for("C_Sign");
            // One hangs. Of seven more two wait, and five are refused before
            // anything is let go.
            threads.extend((0..7).map(|_| scope.spawn(request)));
            while threads.iter().filter(|thread| thread.is_finished()).count() < 5 {
                std::thread::yield_now();
            }
            bench.open_gate();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        let signed = answers.iter().filter(|answer| answer.is_ok()).count();
        assert_eq!(signed, 3, "{answers:?}");
        assert!(answers.iter().all(|answer| matches!(answer, Ok(_) | Err(SignError::Unavailable(_)))));
    });
}
