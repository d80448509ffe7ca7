//! The walk along trust documents: what a server or a bundle brings is
//! taken one by one, each under the one before it.
//!
//! Nothing here ends an update: a document that is refused is reported, the
//! device stays where it was, and what is offered is judged from there. A
//! carrier that holds a document back could as well not speak of it.

use std::future::Future;
use std::sync::PoisonError;
use std::time::Duration;

use bytes::Bytes;
use firmseal_api::client::ClientError;
use firmseal_api::updates::{Phase, PollAnswer};
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_manifest::bundle::News;
use tracing::{debug, warn};
use uuid::Uuid;

use crate::agent::Agent;
use crate::error::Error;
use crate::fetch::Counts;
use crate::floors::Reset;
use crate::release::Origin;
use crate::reports::Event;
use crate::state::State;
use crate::trust::Brought;

/// Root documents that are taken between two polls. A device that missed
/// more comes there by polling on; a server that has always one more keeps
/// it no longer than this.
const STEPS: usize = 128;
/// How long a document may take. A carrier that sends a byte now and then
/// keeps a connection alive and must not keep the agent.
const DOCUMENT_PATIENCE: Duration = Duration::from_secs(30);
/// How long a trial waits for what the server has to say about it.
const TRIAL_PATIENCE: Duration = Duration::from_secs(30);

/// How far a walk came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reached {
    /// As far as it leads.
    End,
    /// It goes on: more than this poll takes is to come.
    Underway,
}

impl Agent {
    /// Takes the trust documents that a server says are newer: first roots,
    /// since everything else is judged under them.
    pub(crate) async fn follow(&self, answer: &PollAnswer) -> Result<Reached, Error> {
        let reached = self.follow_roots(answer.root_version).await?;
        if reached == Reached::Underway {
            return Ok(reached);
        }
        let (held, stands) = self.state.profile.trust.now().held_revocation()?;
        let newer = if stands { answer.revocation_version > held } else { answer.revocation_version != held };
        if newer {
            self.fetch_revocation().await?;
        }
        if self.state.profile.config.max_age.is_some() {
            let client = self.client()?;
            if let Some(document) = some("news of the log", client.device().freshness()).await? {
                self.state.take_freshness(&document)?;
            }
        }
        Ok(reached)
    }

    /// Takes the trust documents that a server has, when it says nothing of
    /// them: a certificate that has expired opens them still, and whoever
    /// let it expire must not keep a stolen key alive.
    pub(crate) async fn follow_unasked(&self) -> Result<(), Error> {
        if self.follow_roots(u64::MAX).await? == Reached::End {
            self.fetch_revocation().await?;
        }
        Ok(())
    }

    /// Asks what became of the image on trial, before it is confirmed: it may
    /// have been revoked since it was installed. Without an answer the trial
    /// goes on.
    pub(crate) async fn hear(&self) {
        let heard = tokio::time::timeout(TRIAL_PATIENCE, self.follow_unasked()).await;
        match heard {
            Ok(Ok(())) => {}
            Ok(Err(why)) => debug!("no word on the image on trial: {why}"),
            Err(_) => debug!("no word on the image on trial in time"),
        }
    }

    async fn follow_roots(&self, newest: u64) -> Result<Reached, Error> {
        for _ in 0..STEPS {
            let held = self.state.profile.root_version()?;
            if held >= newest {
                return Ok(Reached::End);
            }
            let client = self.client()?;
            let device = client.device();
            let Some(document) = some("a root document", device.root(held + 1)).await? else {
                if newest != u64::MAX {
                    warn!("the server speaks of root document {newest} and has no {}", held + 1);
                }
                return Ok(Reached::End);
            };
            let taken = self.state.take("root document", &document, |state| state.take_root(&document))?;
            // Nor is there an end to one document that is sent for each.
            if !taken || self.state.profile.root_version()? == held {
                return Ok(Reached::End);
            }
        }
        Ok(if self.state.profile.root_version()? < newest { Reached::Underway } else { Reached::End })
    }

    async fn fetch_revocation(&self) -> Result<(), Error> {
        let client = self.client()?;
        if let Some(document) = some("a revocation", client.device().revocation()).await? {
            self.state.take_revocation(&document)?;
        }
        Ok(())
    }
}

/// Fetches a document that a server may not have.
async fn some(
    what: &str,
    fetching: impl Future<Output = Result<Bytes, ClientError>>,
) -> Result<Option<Bytes>, Error> {
    let late = || Error::Carrier {
        what: what.to_owned(),
        why: format!("it did not come in {} s", DOCUMENT_PATIENCE.as_secs()),
    };
    match tokio::time::timeout(DOCUMENT_PATIENCE, fetching).await.map_err(|_| late())? {
        Err(err) if err.status().is_some_and(|status| status.as_u16() == 404) => Ok(None),
        answer => Ok(Some(answer?)),
    }
}

impl State {
    /// Takes what a bundle brings beside its release.
    pub(crate) fn follow_bundle(&self, news: &News) -> Result<(), Error> {
        // Each lineage by itself: a gap in the owner's documents is no
        // reason to pass over the vendor's.
        let mut stopped = [false; 2];
        for document in &news.roots {
            let owners = self.profile.trust.is_owners(document);
            if stopped[usize::from(owners)] {
                continue;
            }
            let taken = match owners {
                true => self.take_owner(document)?,
                false => self.take("root document", document, |state| state.take_root(document))?,
            };
            stopped[usize::from(owners)] = !taken;
        }
        if let Some(document) = &news.revocation {
            self.take_revocation(document)?;
        }
        if let Some(document) = &news.freshness {
            self.take_freshness(document)?;
        }
        Ok(())
    }

    fn take_revocation(&self, document: &[u8]) -> Result<bool, Error> {
        self.take("revocation", document, |state| state.profile.trust.adopt_revocation(document))
    }

    fn take_freshness(&self, document: &[u8]) -> Result<bool, Error> {
        let product = self.profile.config.product.as_str();
        self.take("news of the log", document, |state| state.profile.trust.adopt_freshness(document, product))
    }

    fn take_owner(&self, document: &[u8]) -> Result<bool, Error> {
        self.take("owner's root document", document, |state| state.profile.trust.adopt_owner(document))
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
    /// reported, and not again while a server brings the same with each poll.
    pub(crate) fn take(
        &self,
        what: &'static str,
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
        let mut told = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if told.insert(what, id) == Some(id) {
            return Ok(false);
        }
        drop(told);
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
