//! `firmseal rollout watch`: until every device is through.

use std::time::{Duration, Instant};

use clap::Args;
use firmseal_api::client::Client;
use firmseal_api::fleet::{Cohort, Device, DeviceStatus, Rollout, RolloutState};
use firmseal_api::updates::Phase;
use firmseal_manifest::RolloutId;

use super::listing::all;
use super::rollout::{Shown, state};
use crate::error::{CliError, Kind, Result};
use crate::output::Output;
use crate::progress::Progress;
use crate::units::Span;

/// Wait until every device of a rollout is through
///
/// Through means confirmed, reverted, refused or isolated; a device in
/// trouble tries again and is not. The command succeeds if
/// every device confirmed, ends with exit code 3 if one did not, and with 7
/// if some are still on their way when time is up.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal rollout watch rol-0197c0de-0000-7000-8000-000000000001
  firmseal rollout watch rol-0197c0de-0000-7000-8000-000000000001 --timeout 30m --json")]
pub struct Watch {
    /// The rollout
    rollout: RolloutId,
    /// Give up after this long; wait for ever if left out
    #[arg(long, value_name = "SPAN")]
    timeout: Option<Span>,
    /// Ask again after this long
    #[arg(long, value_name = "SPAN", default_value = "2s")]
    every: Span,
}

impl Watch {
    /// Runs the command.
    pub async fn run(self, client: &Client, output: &Output) -> Result {
        let began = Instant::now();
        let progress = Progress::waiting(output, "waiting for devices");
        let mut shown = Shown::fetch(client, self.rollout, true).await?;
        let mut expected = expected(client, &shown).await?;
        let mut said = String::new();
        loop {
            let line = format!(
                "{} of {expected} through ({}): {}",
                shown.outcomes.finished(),
                state(shown.rollout.state),
                shown.outcomes.line()
            );
            // On a terminal the line changes in place; a log gets a line
            // only when there is news.
            if line != said && !progress.is_visible() {
                output.note(&line);
            }
            progress.say(line.clone());
            said = line;
            if shown.rollout.state == RolloutState::Finished {
                break;
            }
            if shown.outcomes.finished() >= expected {
                // Devices may have enrolled since they were counted, so they
                // are counted once more before it is called done.
                expected = self::expected(client, &shown).await?;
                if shown.outcomes.finished() >= expected {
                    break;
                }
            }
            let left = self.timeout.map_or(Duration::MAX, |span| span.0.saturating_sub(began.elapsed()));
            if left.is_zero() {
                break;
            }
            tokio::time::sleep(self.every.0.min(left)).await;
            shown = match Shown::fetch(client, self.rollout, true).await {
                Ok(shown) => shown,
                // A server that restarts ends no watch; the next round asks
                // it again, until time is up.
                Err(error) if error.kind == Kind::Unavailable && self.has_time(began) => {
                    progress.say(error.message);
                    continue;
                }
                Err(error) => return Err(error),
            };
        }
        drop(progress);
        if expected == 0 {
            output.note("no device is in the rollout's cohort, or all of them run something newer");
        }
        shown.devices = None;
        output.value(&shown, || shown.print())?;
        self.verdict(&shown, expected)
    }

    fn has_time(&self, began: Instant) -> bool {
        self.timeout.is_none_or(|span| began.elapsed() < span.0)
    }

    fn verdict(&self, shown: &Shown, expected: u64) -> Result {
        let (finished, held) = (shown.outcomes.finished(), shown.outcomes.held());
        if finished < expected && shown.rollout.state != RolloutState::Finished {
            let message = format!("{} of {expected} devices are still on their way", expected - finished);
            return Err(CliError::new(Kind::Unavailable, message)
                .hint(format!("`firmseal rollout watch {}` goes on waiting", self.rollout)));
        }
        if held > 0 {
            let confirmed = shown.outcomes.count(Phase::Confirmed);
            let message = format!("{held} devices refused or reverted, {confirmed} confirmed");
            return Err(CliError::new(Kind::Refused, message)
                .hint(format!("`firmseal rollout show {} --devices` says which and why", self.rollout)));
        }
        Ok(())
    }
}

/// Devices that the rollout concerns: those that reported to it, and those
/// it still can offer something to.
async fn expected(client: &Client, shown: &Shown) -> Result<u64> {
    let rollout = &shown.rollout;
    let sequence = client.operator().release(rollout.release).await?.sequence;
    let devices = all(async |page| client.operator().devices(Some(&rollout.product), &page).await).await?;
    let reported: std::collections::BTreeSet<_> =
        shown.devices.iter().flatten().map(|outcome| outcome.device).collect();
    let waiting =
        devices.iter().filter(|device| !reported.contains(&device.id) && concerns(rollout, sequence, device));
    Ok((reported.len() + waiting.count()) as u64)
}

/// Whether a device that has not reported is yet to be heard of: the same
/// conditions under which the server makes it an offer.
fn concerns(rollout: &Rollout, sequence: u64, device: &Device) -> bool {
    let in_cohort = match &rollout.cohort {
        Cohort::All => true,
        Cohort::Devices(devices) => devices.contains(&device.id),
        Cohort::Labels(labels) => labels.iter().all(|(key, value)| device.labels.get(key) == Some(value)),
    };
    in_cohort
        && device.state == DeviceStatus::Active
        && !device.held.contains(&rollout.release)
        && device.running.as_ref().is_none_or(|running| running.sequence < sequence)
}
