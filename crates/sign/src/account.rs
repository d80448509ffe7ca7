//! Accounting for what was not seen: entries of the log that an earlier
//! claim on a job may have made, and whose outcome nobody heard of.
//!
//! A worker that is killed between the log and the store leaves an intent
//! and no signature. Whoever claims the job next finds it here, by the bytes
//! that it was to sign, and the log is told that its outcome is unknown.

use firmseal_keys::Log;
use firmseal_manifest::{Intent, KeyId, Purpose, Tbs};

use crate::error::PipelineError;
use crate::pipeline::Pipeline;

/// Entries that are read at once.
const PAGE: usize = 1024;

impl Pipeline {
    /// Indexes of intents from `since` on, over these bytes under one of
    /// these keys, that came to no signature on record.
    pub(crate) async fn unseen(
        &self,
        since: u64,
        tbs: &Tbs,
        keys: &[KeyId],
    ) -> Result<Vec<u64>, PipelineError> {
        let subject = tbs.fingerprint();
        let is_it = |intent: &Intent| {
            intent.purpose == Purpose::Artifact
                && intent.subject == subject
                && intent.keys.iter().any(|key| keys.contains(key))
        };
        // Nobody else is at these bytes: whoever calls has their turn.
        let (mut found, mut from, end) = (Vec::new(), since, self.log().size());
        while from < end {
            let page = self.log().read(from, PAGE).await?;
            if page.is_empty() {
                break;
            }
            let intents = page.iter().zip(from..).take_while(|(_, index)| *index < end);
            found.extend(intents.filter_map(|(leaf, index)| {
                Intent::decode(leaf).filter(|intent| is_it(intent)).map(|_| index)
            }));
            from += page.len() as u64;
        }
        if found.is_empty() {
            return Ok(found);
        }
        for key in keys {
            if let Some(known) = self.store().signature_over(key.0, subject).await? {
                found.retain(|index| *index != known.log_index);
            }
        }
        Ok(found)
    }
}
