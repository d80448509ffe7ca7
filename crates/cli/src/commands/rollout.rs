//! `firmseal rollout`: releases on their way to devices.

use std::path::Path;

use clap::{Args, Subcommand};
use firmseal_api::client::Client;
use firmseal_api::fleet::{Cohort, CreateRollout, Outcome, Rollout, RolloutState};
use firmseal_fleet::Time;
use firmseal_manifest::{DeviceId, ReleaseId, RolloutId};
use serde::Serialize;

use super::block_on;
use super::label::{Label, labels};
use super::listing::{Listing, all};
use super::tally::{Tally, number};
use super::watch::Watch;
use crate::error::Result;
use crate::output::Output;
use crate::profile::Profile;
use crate::record::Record;

/// Start, watch, halt and resume rollouts
#[derive(Subcommand)]
#[command(after_help = "Examples:
  firmseal rollout create rel-0197c0de-0000-7000-8000-000000000001
  firmseal rollout watch rol-0197c0de-0000-7000-8000-000000000002 --timeout 30m
  firmseal rollout halt rol-0197c0de-0000-7000-8000-000000000002")]
pub enum Rollouts {
    /// Offer a release to devices
    #[command(after_help = "Examples:
  firmseal rollout create rel-0197c0de-0000-7000-8000-000000000001
  firmseal rollout create rel-0197c0de-0000-7000-8000-000000000001 --label site=berlin
  firmseal rollout create rel-0197c0de-0000-7000-8000-000000000001 --starts 2026-01-31T22:00:00Z")]
    Create(Create),
    /// List rollouts, newest first
    #[command(after_help = "Example:
  firmseal rollout list --limit 10")]
    List(Listing),
    /// Show a rollout: devices by phase, refusals and trouble by number
    #[command(after_help = "Examples:
  firmseal rollout show rol-0197c0de-0000-7000-8000-000000000001
  firmseal rollout show rol-0197c0de-0000-7000-8000-000000000001 --devices --json")]
    Show {
        /// The rollout
        rollout: RolloutId,
        /// List each device as well
        #[arg(long)]
        devices: bool,
    },
    /// Wait until every device of a rollout is through
    Watch(Watch),
    /// Stop a rollout's offers; devices that install already go on
    #[command(after_help = "Example:
  firmseal rollout halt rol-0197c0de-0000-7000-8000-000000000001")]
    Halt {
        /// The rollout
        rollout: RolloutId,
    },
    /// Let a halted rollout go on
    #[command(after_help = "Example:
  firmseal rollout resume rol-0197c0de-0000-7000-8000-000000000001")]
    Resume {
        /// The rollout
        rollout: RolloutId,
    },
}

/// Offer a release to devices
#[derive(Args)]
pub struct Create {
    /// The release
    release: ReleaseId,
    /// Only this device; give it again for more
    #[arg(long, value_name = "ID", conflicts_with = "label")]
    device: Vec<DeviceId>,
    /// Only devices with this label; of several, all must be there
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<Label>,
    /// No offers before this time, as in 2026-01-31T22:00:00Z
    #[arg(long, value_name = "TIME")]
    starts: Option<Time>,
}

impl Create {
    fn wish(self) -> CreateRollout {
        let cohort = if !self.device.is_empty() {
            Cohort::Devices(self.device.into_iter().collect())
        } else if !self.label.is_empty() {
            Cohort::Labels(labels(self.label))
        } else {
            Cohort::All
        };
        CreateRollout { release: self.release, cohort, starts: self.starts }
    }
}

/// A rollout and how far it is.
#[derive(Serialize)]
pub struct Shown {
    /// The rollout.
    #[serde(flatten)]
    pub rollout: Rollout,
    /// How many devices stand where.
    pub outcomes: Tally,
    /// Where each device stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub devices: Option<Vec<Outcome>>,
}

impl Rollouts {
    /// Runs the subcommand.
    pub fn run(self, profile: Option<&Path>, output: &Output) -> Result {
        let client = Profile::read(profile)?.client()?;
        block_on(async {
            let operator = client.operator();
            let rollout = match self {
                Rollouts::Create(create) => operator.create_rollout(&create.wish()).await?,
                Rollouts::Halt { rollout } => operator.halt_rollout(rollout).await?,
                Rollouts::Resume { rollout } => operator.resume_rollout(rollout).await?,
                Rollouts::Watch(watch) => return watch.run(&client, output).await,
                Rollouts::Show { rollout, devices } => {
                    let shown = Shown::fetch(&client, rollout, devices).await?;
                    return output.value(&shown, || shown.print());
                }
                Rollouts::List(listing) => {
                    let rollouts = listing.fetch(output, async |page| operator.rollouts(&page).await).await?;
                    let headings = ["ROLLOUT", "PRODUCT", "RELEASE", "COHORT", "STATE", "STARTS"];
                    return output.table(&rollouts, &headings, |rollout| {
                        vec![
                            rollout.id.to_string(),
                            rollout.product.to_string(),
                            rollout.release.to_string(),
                            cohort(&rollout.cohort),
                            state(rollout.state).to_owned(),
                            rollout.starts.to_string(),
                        ]
                    });
                }
            };
            output.value(&rollout, || record(&rollout).print())
        })
    }
}

impl Shown {
    /// Fetches a rollout and its outcomes.
    pub async fn fetch(client: &Client, id: RolloutId, devices: bool) -> Result<Shown> {
        let rollout = client.operator().rollout(id).await?;
        let outcomes = all(async |page| client.operator().outcomes(id, &page).await).await?;
        Ok(Shown { rollout, outcomes: Tally::of(&outcomes), devices: devices.then_some(outcomes) })
    }

    /// The text for people.
    pub fn print(&self) -> String {
        let mut out = self.outcomes.print(record(&self.rollout));
        for outcome in self.devices.iter().flatten() {
            let code = number(&outcome.report);
            let message = outcome.report.message.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
            out = out
                .row("device", format_args!("{} {}{code}{message}", outcome.device, outcome.phase.as_str()));
        }
        out.print()
    }
}

/// Whether it makes offers, in a word.
pub fn state(state: RolloutState) -> &'static str {
    match state {
        RolloutState::Active => "active",
        RolloutState::Halted => "halted",
        RolloutState::Finished => "finished",
    }
}

fn cohort(cohort: &Cohort) -> String {
    match cohort {
        Cohort::All => "all devices".to_owned(),
        Cohort::Devices(devices) => format!("{} named devices", devices.len()),
        Cohort::Labels(labels) => {
            let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            labels.join(",")
        }
    }
}

fn record(rollout: &Rollout) -> Record {
    Record::new()
        .row("rollout", rollout.id)
        .row("release", rollout.release)
        .row("product", &rollout.product)
        .row("cohort", cohort(&rollout.cohort))
        .row("state", state(rollout.state))
        .row("starts", rollout.starts)
        .row("made", format_args!("{} by {}", rollout.created, rollout.created_by))
}
