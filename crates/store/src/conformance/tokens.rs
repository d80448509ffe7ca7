//! Used tokens: each is good for one purpose, over restarts, until it ends.

use firmseal_fleet::Time;
use firmseal_manifest::Digest;

use super::{Engine, samples};
use crate::TokenUsed;

/// Runs the group.
pub async fn all(engine: &dyn Engine) {
    a_token_is_good_for_one_purpose(engine).await;
    one_of_many_at_once_uses_a_token(engine).await;
    a_token_is_forgotten_with_its_end(engine).await;
}

fn used(token: u8, purpose: Option<u8>) -> TokenUsed {
    let digest = |number| Digest([number; 32]);
    TokenUsed { token: digest(token), purpose: purpose.map(digest), ends: samples::later(60) }
}

async fn a_token_is_good_for_one_purpose(engine: &dyn Engine) {
    let mut store = engine.fresh().await;
    for restarted in [false, true] {
        if restarted {
            store = engine.reopen(store).await;
        }
        assert!(store.use_token(used(1, Some(1))).await.unwrap(), "an answer may be lost");
        assert!(store.use_token(used(1, Some(1))).await.unwrap());
        assert!(!store.use_token(used(1, Some(2))).await.unwrap());
        assert!(!store.use_token(used(1, None)).await.unwrap());
        assert_eq!(store.use_token(used(2, None)).await.unwrap(), !restarted, "once");
        assert!(!store.use_token(used(2, None)).await.unwrap(), "nobody knows that it is the same");
        assert!(!store.use_token(used(2, Some(1))).await.unwrap());
    }
    assert!(store.use_token(used(3, Some(2))).await.unwrap(), "one that nobody used");
}

async fn one_of_many_at_once_uses_a_token(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let asked = (0..8).map(|number| store.use_token(used(1, Some(number))));
    let mut good = 0;
    for answer in futures_util::future::join_all(asked).await {
        good += u32::from(answer.unwrap());
    }
    assert_eq!(good, 1);
}

async fn a_token_is_forgotten_with_its_end(engine: &dyn Engine) {
    let store = engine.fresh().await;
    let ends = |token, ends: Time| TokenUsed { ends, ..used(token, None) };
    for (token, seconds) in [(1, 10), (2, 20), (3, 30)] {
        assert!(store.use_token(ends(token, samples::later(seconds))).await.unwrap());
    }
    assert_eq!(store.forget_tokens(samples::later(9), 99).await.unwrap(), 0);
    assert_eq!(store.forget_tokens(samples::later(20), 1).await.unwrap(), 1, "a few at a time");
    assert_eq!(store.forget_tokens(samples::later(20), 99).await.unwrap(), 1, "the end itself is over");
    assert!(!store.use_token(ends(3, samples::later(30))).await.unwrap(), "one that goes on is known");
    assert!(store.use_token(ends(1, samples::later(40))).await.unwrap());
}
