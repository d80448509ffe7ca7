//! `firmseal device`: devices, their history, and how they enrol.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use clap::{Args, Subcommand};
use firmseal_api::enrolment::CreateToken;
use firmseal_api::fleet::{Device, DeviceReport, DeviceStatus, Equipment};
use firmseal_api::updates::{Bootloader, Report, Running};
use firmseal_fleet::Time;
use firmseal_manifest::{ArtifactId, DeviceId, ProductId, ReleaseId};
use serde::Serialize;

use super::block_on;
use super::label::{Label, labels};
use super::listing::Listing;
use super::tally::number;
use crate::error::Result;
use crate::output::Output;
use crate::profile::Profile;
use crate::record::Record;
use crate::units::Span;

/// Enrol, list, show and revoke devices
#[derive(Subcommand)]
#[command(after_help = "Examples:
  firmseal device token create --product gateway > device.token
  firmseal device list --product gateway
  firmseal device show dev-0197c0de-0000-7000-8000-000000000001")]
pub enum Devices {
    /// Make the tokens that devices enrol with
    #[command(subcommand)]
    Token(EnrolmentTokens),
    /// List devices, newest first
    #[command(after_help = "Examples:
  firmseal device list --product gateway
  firmseal device list --json | jq -r '.[] | select(.running.version != \"1.4.0\") | .id'")]
    List {
        /// Only those of this product
        #[arg(long, value_name = "NAME")]
        product: Option<ProductId>,
        #[command(flatten)]
        listing: Listing,
    },
    /// Show a device and its history of reports
    #[command(after_help = "Example:
  firmseal device show dev-0197c0de-0000-7000-8000-000000000001 --limit 20")]
    Show {
        /// The device
        device: DeviceId,
        #[command(flatten)]
        listing: Listing,
    },
    /// Revoke a device: it gets nothing from here on
    #[command(after_help = "Example:
  firmseal device revoke dev-0197c0de-0000-7000-8000-000000000001")]
    Revoke {
        /// The device
        device: DeviceId,
    },
    /// Offer a device a release again that it refused or reverted
    #[command(after_help = "Example:
  firmseal device retry dev-0197c0de-0000-7000-8000-000000000001 \\
      rel-0197c0de-0000-7000-8000-000000000002")]
    Retry {
        /// The device
        device: DeviceId,
        /// The release
        release: ReleaseId,
    },
}

/// Make the tokens that devices enrol with
#[derive(Subcommand)]
#[command(after_help = "Example:
  firmseal device token create --product gateway --uses 500 --valid-for 12h")]
pub enum EnrolmentTokens {
    /// Make an enrolment token; its secret is printed once and kept nowhere
    ///
    /// The secret alone goes to stdout.
    #[command(after_help = "Examples:
  firmseal device token create --product gateway > device.token
  firmseal device token create --product gateway --uses 500 --valid-for 12h --label site=berlin")]
    Create(Create),
    /// List enrolment tokens, without their secrets, newest first
    #[command(after_help = "Example:
  firmseal device token list")]
    List {
        #[command(flatten)]
        listing: Listing,
    },
    /// Revoke an enrolment token: it enrols nobody from here on
    #[command(after_help = "Example:
  firmseal device token revoke \\
      5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef")]
    Revoke {
        /// The token's id, as `device token list` shows it
        token: ArtifactId,
    },
}

/// Make an enrolment token
#[derive(Args)]
pub struct Create {
    /// The product that the devices will belong to
    #[arg(long, value_name = "NAME")]
    product: ProductId,
    /// How many devices it enrols
    #[arg(long, value_name = "N", default_value_t = 1)]
    uses: u32,
    /// How long it is valid: an hour unless told
    #[arg(long, value_name = "SPAN")]
    valid_for: Option<Span>,
    /// A label that each device gets; cohorts match it
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<Label>,
}

/// A device and what it reported.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    device: Device,
    reports: Vec<Report>,
}

impl Devices {
    /// Runs the subcommand.
    pub fn run(self, profile: Option<&Path>, output: &Output) -> Result {
        let client = Profile::read(profile)?.client()?;
        block_on(async {
            let operator = client.operator();
            let device = match self {
                Devices::Token(EnrolmentTokens::Create(create)) => {
                    let wish = CreateToken {
                        product: create.product,
                        labels: labels(create.label),
                        uses: Some(create.uses),
                        valid_for: create.valid_for.map(|span| span.0.as_secs()),
                    };
                    let token = operator.create_enrolment_token(&wish).await?;
                    output.note(format_args!(
                        "enrols {} of {} until {}; the secret follows and is shown this once",
                        create.uses, token.product, token.expires
                    ));
                    return output.value(&token, || token.token.clone());
                }
                Devices::Token(EnrolmentTokens::List { listing }) => {
                    let page = async |page| operator.enrolment_tokens(&page).await;
                    let tokens = listing.fetch(output, page).await?;
                    let columns = ["TOKEN", "PRODUCT", "USES LEFT", "EXPIRES", "MADE BY", "LABELS"];
                    return output.table(&tokens, &columns, |token| {
                        vec![
                            token.id.to_string(),
                            token.product.to_string(),
                            token.uses.to_string(),
                            token.expires.to_string(),
                            token.created_by.clone(),
                            text(&token.labels),
                        ]
                    });
                }
                Devices::Token(EnrolmentTokens::Revoke { token }) => {
                    let token = operator.revoke_enrolment_token(token).await?;
                    return output.value(&token, || {
                        Record::new()
                            .row("token", token.id)
                            .row("product", &token.product)
                            .row("uses left", token.uses)
                            .row("expired", token.expires)
                            .print()
                    });
                }
                Devices::List { product, listing } => {
                    let page = async |page| operator.devices(product.as_ref(), &page).await;
                    let devices = listing.fetch(output, page).await?;
                    return output.table(
                        &devices,
                        &[
                            "DEVICE",
                            "PRODUCT",
                            "STATE",
                            "RUNS",
                            "HARDWARE",
                            "BOOTLOADER",
                            "LAST SEEN",
                            "LABELS",
                        ],
                        row,
                    );
                }
                Devices::Show { device, listing } => {
                    let found = operator.device(device).await?;
                    let page = async |page| operator.device_reports(device, &page).await;
                    let reports: Vec<DeviceReport> = listing.fetch(output, page).await?;
                    let reports = reports.into_iter().map(|report| report.report).collect();
                    let shown = Shown { device: found, reports };
                    return output.value(&shown, || shown.print());
                }
                Devices::Revoke { device } => operator.revoke_device(device).await?,
                Devices::Retry { device, release } => operator.retry_release(device, release).await?,
            };
            output.value(&device, || record(&device).print())
        })
    }
}

fn row(device: &Device) -> Vec<String> {
    let equipment = |of: &dyn Fn(&Equipment) -> Option<String>| {
        device.equipment.as_ref().and_then(of).filter(|text| !text.is_empty()).unwrap_or("-".to_owned())
    };
    vec![
        device.id.to_string(),
        device.product.to_string(),
        state(device.state).to_owned(),
        device.running.as_ref().map_or("-".to_owned(), running),
        equipment(&|equipment| equipment.hardware.clone()),
        equipment(&|equipment| Some(equipment.bootloader.name.clone())),
        device.last_seen.map_or("never".to_owned(), |time| time.to_string()),
        text(&device.labels),
    ]
}

fn state(state: DeviceStatus) -> &'static str {
    match state {
        DeviceStatus::Active => "active",
        DeviceStatus::Revoked => "revoked",
    }
}

fn running(running: &Running) -> String {
    let trial = if running.confirmed { "" } else { " on trial" };
    format!("{}{trial}", running.version)
}

/// What a boot chain can do, in words.
fn abilities(bootloader: &Bootloader) -> String {
    let abilities = [
        (bootloader.verifies, "verifies at boot"),
        (bootloader.trial, "boots on trial"),
        (bootloader.epoch_counter, "counts epochs"),
    ];
    let abilities: Vec<&str> = abilities.into_iter().filter_map(|(can, what)| can.then_some(what)).collect();
    if abilities.is_empty() { "nothing of its own".to_owned() } else { abilities.join(", ") }
}

fn text(labels: &BTreeMap<String, String>) -> String {
    let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    labels.join(",")
}

fn record(device: &Device) -> Record {
    let mut out = Record::new()
        .row("device", device.id)
        .row("product", &device.product)
        .row("state", state(device.state));
    if let Some(runs) = &device.running {
        out = out
            .row("runs", running(runs))
            .row("  sequence", runs.sequence)
            .row("  epoch", runs.epoch)
            .row("  slot", &runs.slot);
    }
    if let Some(has) = &device.equipment {
        out = out
            .maybe("hardware", has.hardware.as_ref())
            .row("agent", &has.agent)
            .row("root version", has.root_version)
            .row("bootloader", &has.bootloader.name)
            .row("  does", abilities(&has.bootloader));
    }
    if !device.labels.is_empty() {
        out = out.row("labels", text(&device.labels));
    }
    for release in &device.held {
        out = out.row("held back", release);
    }
    out.row("certificate", &device.certificate_serial)
        .row("  expires", device.certificate_expires)
        .row("enrolled", device.created)
        .row("last seen", device.last_seen.map_or("never".to_owned(), |time| time.to_string()))
}

impl Shown {
    fn print(&self) -> String {
        let mut out = record(&self.device);
        if self.reports.is_empty() {
            return out.row("reports", "none").print();
        }
        for report in &self.reports {
            let at = report.at.map(|millis| Time::from(UNIX_EPOCH + Duration::from_millis(millis)));
            let at = at.map_or("no clock".to_owned(), |time| time.to_string());
            let release = report.release.map(|release| format!(" {release}")).unwrap_or_default();
            let code = number(report);
            let message = report.message.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
            out = out.row("report", format_args!("{at} {}{release}{code}{message}", report.phase.as_str()));
        }
        out.print()
    }
}
