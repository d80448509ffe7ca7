//! `firmseal release prepare-rollback`: the way back, before it is needed.

use clap::Args;
use firmseal_api::client::Client;
use firmseal_api::signing::PrepareRollback as Wish;
use firmseal_manifest::ReleaseId;

use super::order::told;
use crate::error::Result;
use crate::output::Output;

/// Have a roll-back of the newest release signed ahead
///
/// An earlier release's payloads, under the next sequence number and the
/// epoch of the release that they would replace. Devices take it only beside
/// a revocation of that release, so it can lie ready in the registry and in
/// bundles; no rollout offers it before. It is possible as long as no other
/// release of the product came after.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal release prepare-rollback rel-0197c0de-0000-7000-8000-000000000002
  firmseal release prepare-rollback rel-0197c0de-0000-7000-8000-000000000002 \\
      --to rel-0197c0de-0000-7000-8000-000000000001")]
pub struct PrepareRollback {
    /// The release that may have to be rolled back
    release: ReleaseId,
    /// The release to go back to; the newest one before that may still be
    /// offered if left out
    #[arg(long, value_name = "RELEASE")]
    to: Option<ReleaseId>,
    /// Makes repeating safe; derived from the releases if left out
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

impl PrepareRollback {
    /// Runs the command.
    pub async fn run(self, client: &Client, output: &Output) -> Result {
        let key = self.idempotency_key.unwrap_or_else(|| match self.to {
            Some(to) => format!("rollback {} to {to}", self.release),
            None => format!("rollback {}", self.release),
        });
        let wish = Wish { to: self.to };
        let ordered = client.operator().prepare_rollback(self.release, &key, &wish).await?;
        output.note(format_args!("it installs once {} is revoked, and not before", self.release));
        told(ordered, &key, false, output)
    }
}
