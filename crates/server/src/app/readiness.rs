//! Readiness: whether a release could be signed, witnessed and kept right now.

use std::time::{Duration, Instant};

use firmseal_store::Page;
use tokio::sync::Mutex;

use super::App;

/// Longest wait for the store or a key.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long an answer is given again. Anybody may ask, and a token is not
/// there for everybody who asks.
const FRESH: Duration = Duration::from_secs(5);

/// The last answer. Whoever comes while it is being found waits for it.
#[derive(Default)]
pub(crate) struct Readiness(Mutex<Option<(Instant, Result<(), &'static str>)>>);

impl App {
    /// Asks store and keys, or repeats a fresh answer. What is wrong goes to
    /// the log in full, and to the caller in a word.
    pub(crate) async fn ready(&self) -> Result<(), &'static str> {
        let mut last = self.readiness.0.lock().await;
        if let Some((at, answer)) = *last
            && at.elapsed() < FRESH
        {
            return answer;
        }
        let answer = self.look().await;
        *last = Some((Instant::now(), answer));
        answer
    }

    async fn look(&self) -> Result<(), &'static str> {
        match tokio::time::timeout(PATIENCE, self.store.products(Page::first(1))).await {
            Ok(Ok(products)) => {
                let keyless = |id| self.pipeline.keys(id).release.is_empty();
                if products.first().is_some_and(|product| keyless(&product.id)) {
                    return Err("no release key is configured");
                }
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "the store is not ready");
                return Err("the store is not ready");
            }
            Err(_) => return Err("the store does not answer"),
        }
        if let Some(Err(why)) = self.published.status().map(|status| status.stands) {
            tracing::error!(why, "no key is used");
            return Err("the log's witnesses do not stand behind it");
        }
        if let Some(why) = self.pipeline.policy_trouble() {
            tracing::error!(why, "nothing is signed");
            return Err("the policy in force does not verify");
        }
        for key in self.pipeline.keyring().all() {
            match tokio::time::timeout(PATIENCE, key.ready()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::error!(key = %key.name(), %error, "a key is not ready");
                    return Err("a key is out of reach");
                }
                Err(_) => {
                    tracing::error!(key = %key.name(), "a key does not answer");
                    return Err("a key is out of reach");
                }
            }
        }
        Ok(())
    }
}
