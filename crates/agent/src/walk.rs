//! The walk along trust documents: what a server or a bundle brings is
//! taken one by one, each under the one before it.
//!
//! Nothing here ends an update: a document that is refused is reported, the
//! device stays where it was, and what is offered is judged from there.

use firmseal_api::updates::{Phase, PollAnswer};
use firmseal_core::crypto::{Crypto, RustCrypto};
use tracing::warn;
use uuid::Uuid;

use crate::agent::Agent;
use crate::error::Error;
use crate::fetch::Counts;
use crate::floors::Reset;
use crate::release::Origin;
use crate::reports::Event;
use crate::source::bundle::News;
use crate::state::State;
use crate::trust::Brought;

/// Root documents that are taken between two polls. A device that missed
/// more comes there by polling on; a server that has always one more keeps
/// it no longer than this.
const STEPS: usize = 64;

impl Agent {
    /// Takes the trust documents that a server says are newer.
    pub(crate) async fn follow(&self, answer: &PollAnswer) -> Result<(), Error> {
        let trust = &self.state.profile.trust;
        for _ in 0..STEPS {
            let next = self.state.profile.root_version()? + 1;
            if next > answer.root_version {
                break;
            }
            let document = self.client()?.device().root(next).await?;
            if !self.state.take("root document", &document, |state| state.take_root(&document))? {
                break;
            }
        }
        if answer.revocation_version > trust.now().revocation_version()? {
            let document = self.client()?.device().revocation().await?;
            self.state
                .take("revocation", &document, |state| state.profile.trust.adopt_revocation(&document))?;
        }
        Ok(())
    }
}

impl State {
    /// Takes what a bundle brings beside its release.
    pub(crate) fn follow_bundle(&self, news: &News) -> Result<(), Error> {
        for document in &news.roots {
            if !self.take("root document", document, |state| state.take_root(document))? {
                break;
            }
        }
        if let Some(document) = &news.revocation {
            self.take("revocation", document, |state| state.profile.trust.adopt_revocation(document))?;
        }
        if let Some(document) = &news.freshness {
            let product = self.profile.config.product.as_str();
            self.take("news", document, |state| state.profile.trust.adopt_freshness(document, product))?;
        }
        Ok(())
    }

    fn take_root(&self, document: &[u8]) -> Result<Brought, Error> {
        let brought = self.profile.trust.adopt_root(document)?;
        if brought == Brought::Adopted {
            let confirmed = self.control.active()?.confirmed;
            let kept = confirmed.map(|slot| self.shelf(slot).read()).transpose()?.flatten();
            self.reset_floors(kept.map(|kept| kept.head.install))?;
        }
        Ok(brought)
    }

    /// Does what the root document in force says of sequence numbers, once.
    /// After a cut behind its adoption the next start comes here first.
    pub(crate) fn reset_floors(&self, confirmed: Option<Uuid>) -> Result<(), Error> {
        let trusted = self.profile.trust.now();
        let root = trusted.root()?;
        match root.sequence_reset(self.profile.config.product.as_str()) {
            Some(to) => self.counters.reset_sequence(to, Reset { root: root.version(), spared: confirmed }),
            None => Ok(()),
        }
    }

    /// Takes one document; whether it may go on behind it. A refusal is
    /// reported, once for the same document.
    fn take(
        &self,
        what: &str,
        document: &[u8],
        adopt: impl FnOnce(&State) -> Result<Brought, Error>,
    ) -> Result<bool, Error> {
        let refused = match adopt(self) {
            Ok(_) => return Ok(true),
            Err(Error::Refused(refused)) => refused,
            Err(other) => return Err(other),
        };
        let code = refused.reason.code();
        warn!(code, "{what} refused: {}", refused.reason);
        const NAMESPACE: Uuid = Uuid::from_u128(0x51c7_0f0e_2b35_4d0a_8f0b_6a92_04c1_77de);
        let id = Uuid::new_v5(&NAMESPACE, RustCrypto.digest(document).as_bytes());
        self.reports.keep(Event {
            id,
            origin: &Origin::default(),
            phase: Phase::Refused,
            code: Some(code),
            message: Some(format!("{what}: {}", refused.reason)),
            counts: Counts::default(),
            at: self.now(),
        })?;
        Ok(false)
    }
}
