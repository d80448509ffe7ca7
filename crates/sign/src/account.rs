//! Accounting for what was not seen: entries of the log that an earlier
//! claim on a job may have made, and whose outcome nobody heard of.
//!
//! A worker that is killed between the log and the store leaves an intent
//! and no signature. Whoever claims the job next finds it by the mark of the
//! request before doing anything else, and the log is told that its outcome
//! is unknown. Of a job that ends without being claimed again, because it is
//! taken back or too late, the dispatcher accounts.

use std::collections::{BTreeMap, BTreeSet};

use firmseal_keys::Log;
use firmseal_manifest::{Digest, Event, Intent, Leaf, Outcome, Purpose, RequestId};
use firmseal_store::Unaccounted;

use crate::error::PipelineError;
use crate::events::EventError;
use crate::pipeline::Pipeline;

/// Entries that are read at once.
const PAGE: usize = 1024;

impl Pipeline {
    /// Indexes of intents of a request from `since` on that came to nothing
    /// on record, and of which the log does not tell yet.
    pub(crate) async fn unseen(&self, request: RequestId, since: u64) -> Result<Vec<u64>, PipelineError> {
        // What is known of attempts already stands in the log after this,
        // and whoever calls is alone with the request.
        self.enter_events().await.map_err(|error| match error {
            EventError::Store(error) => PipelineError::from(error),
            EventError::Log(error) => PipelineError::from(error),
        })?;
        let mark = Intent::mark(&request);
        let (mut found, mut told) = (BTreeMap::new(), BTreeSet::new());
        let (mut from, end) = (since, self.log().size());
        while from < end {
            let page = self.log().read(from, PAGE).await?;
            if page.is_empty() {
                break;
            }
            for (leaf, index) in page.iter().zip(from..) {
                match Leaf::decode(leaf) {
                    Some(Leaf::Intent(intent)) if intent.context.contains(&mark) => {
                        found.insert(index, intent);
                    }
                    Some(Leaf::Event(Event::Attempt { request: of, intent, .. })) if of == request => {
                        told.insert(intent);
                    }
                    _ => {}
                }
            }
            from += page.len() as u64;
        }
        found.retain(|index, _| !told.contains(index));
        if !found.is_empty() {
            self.strike_what_is_on_record(request, &mut found).await?;
        }
        Ok(found.into_keys().collect())
    }

    /// Takes out the intents whose signatures are on record.
    async fn strike_what_is_on_record(
        &self,
        request: RequestId,
        found: &mut BTreeMap<u64, Intent>,
    ) -> Result<(), PipelineError> {
        if let Some(signature) = self.store().signature(request).await? {
            found.remove(&signature.log_index);
        }
        // The leaves of images that a release, or a request for approvals,
        // is made of.
        let mut images: Vec<Digest> = Vec::new();
        if let Some(waiting) = self.store().signing_request(request).await? {
            images.extend(waiting.leaves);
        }
        if let Some(release) = self.store().release_of_request(request).await?
            && let Some(sealed) = found.get(&release.log_index).cloned()
        {
            // Each of its keys has an entry, one after the other, and all are
            // the same leaf.
            let own: Vec<u64> = found
                .range(release.log_index..)
                .filter(|(_, intent)| **intent == sealed)
                .map(|(index, _)| *index)
                .take(sealed.keys.len())
                .collect();
            own.iter().for_each(|index| drop(found.remove(index)));
            images.extend(sealed.context);
        }
        for leaf in images {
            // Of two with the same leaf the later one is in it: what came
            // before was cut.
            let is_it = |intent: &Intent| intent.purpose == Purpose::Artifact && intent.leaf_hash() == leaf;
            let last = found.iter().rev().find(|(_, intent)| is_it(intent)).map(|(index, _)| *index);
            if let Some(index) = last {
                found.remove(&index);
            }
        }
        Ok(())
    }

    /// Accounts for a job that has ended without a word about its last
    /// claim.
    pub async fn account_for(&self, ended: &Unaccounted) -> Result<(), PipelineError> {
        let Unaccounted { job, since } = ended;
        let unseen = self.unseen(job.id, *since).await?;
        let failures = u32::try_from(unseen.len()).unwrap_or(u32::MAX);
        let unknown = |intent| Event::Attempt { request: job.id, intent, outcome: Outcome::Unknown };
        let events = unseen.into_iter().map(unknown).collect();
        Ok(self.store().account_for_job(job.id, *since, failures, events).await?)
    }
}
