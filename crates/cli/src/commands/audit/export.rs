//! `firmseal audit export`: the records of a period, with their proofs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::Args;
use firmseal_api::audit::{AuditQuery, AuditRecord, LogEntry, LogQuery};
use firmseal_api::client::{Client, ClientError};
use firmseal_fleet::Time;
use firmseal_manifest::{Event, Leaf};
use firmseal_monitor::audited::Scope;
use serde_json::json;

use super::files;
use crate::commands::block_on;
use crate::commands::listing::all;
use crate::error::{CliError, Kind, Result};
use crate::output::Output;
use crate::profile::Profile;
use crate::record::Record;

/// Entries that are asked for at once.
const PAGE: u32 = 200;

/// Write the records of a period down, with proofs, for an auditor
///
/// Makes a directory with the records, the entries of the log that they name
/// and all others of the period, each with its inclusion proof, the checkpoint
/// that these lead to, and the records of decisions. `firmseal audit verify`
/// judges it without the server. Needs the role auditor for every
/// product.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal audit export november --from 2026-11-01T00:00:00Z --to 2026-12-01T00:00:00Z
  firmseal audit export december --from 2026-12-01T00:00:00Z --first 81712 --open 81709")]
pub struct Export {
    /// The directory; it must not exist
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// From this time on; from the first record that is kept if left out
    #[arg(long, value_name = "TIME")]
    from: Option<Time>,
    /// Until this time, not included; until now if left out
    #[arg(long, value_name = "TIME")]
    to: Option<Time>,
    /// Begin at this entry of the log, where the export before ended; at the
    /// first that a record of the period names if left out
    #[arg(long, value_name = "INDEX")]
    first: Option<u64>,
    /// An entry that the export before this one left open; may be repeated
    #[arg(long, value_name = "INDEX")]
    open: Vec<u64>,
}

impl Export {
    /// Runs the command.
    pub fn run(self, profile: Option<&Path>, output: &Output) -> Result {
        let client = Profile::read(profile)?.client()?;
        block_on(async {
            let export = self.gather(&client).await?;
            files::write(&self.directory, &export)?;
            self.say(&export, output)
        })
    }

    fn say(&self, export: &firmseal_monitor::Export, output: &Output) -> Result {
        let (scope, records) = (&export.scope, export.records.len());
        let value = json!({
            "directory": self.directory, "records": records, "entries": export.entries.len(),
            "decisions": export.decisions.len(), "first": scope.first, "end": scope.end,
        });
        output.value(&value, || {
            Record::new()
                .row("wrote", self.directory.display())
                .row("records", records)
                .row("log entries", format_args!("{} to {}", scope.first, scope.end))
                .row("decisions", export.decisions.len())
                .row("kept by the server", format_args!("{} days", scope.retention_days))
                .print()
        })
    }

    async fn gather(&self, client: &Client) -> Result<firmseal_monitor::Export> {
        let records = self.records(client).await?;
        let named: BTreeSet<u64> = records.iter().filter_map(|record| record.log_index).collect();
        let end = named.last().map_or(0, |last| last + 1);
        let first = self.first.or(named.first().copied()).unwrap_or(0).min(end);
        // One tree for all of it: the newest there is now.
        let newest = client.operator().log_entries(&LogQuery { from: 0, size: None, limit: Some(1) }).await?;
        let (size, retention_days) = (newest.size, newest.retention_days);
        let none = || CliError::new(Kind::Unavailable, "the server shows no checkpoint; try again soon");
        let checkpoint = newest.checkpoint.ok_or_else(none)?.into_bytes();
        if end > size {
            return Err(CliError::new(
                Kind::Unavailable,
                "the newest records are not under a checkpoint yet",
            )
            .hint("try again in some seconds, or end the period earlier with --to"));
        }
        let mut entries: BTreeMap<u64, LogEntry> = BTreeMap::new();
        let mut at = first;
        while at < end {
            let limit = u32::try_from(end - at).unwrap_or(PAGE).min(PAGE);
            let more = page(client, at, size, limit).await?;
            at += more.len() as u64;
            entries.extend(more.into_iter().map(|entry| (entry.index, entry)));
        }
        // What records and events of the period name, and stands before it;
        // and what was open then.
        let ended = entries.values().filter_map(|entry| match Leaf::decode(&entry.leaf.0)? {
            Leaf::Event(Event::Released { intent, .. } | Event::Attempt { intent, .. }) => Some(intent),
            _ => None,
        });
        let earlier: BTreeSet<u64> =
            named.into_iter().chain(ended).chain(self.open.iter().copied()).collect();
        for index in earlier.into_iter().take_while(|index| *index < first) {
            let one = page(client, index, size, 1).await?;
            entries.extend(one.into_iter().map(|entry| (entry.index, entry)));
        }
        let wanted: BTreeSet<_> = records.iter().filter_map(|record| record.decision).collect();
        let mut decisions = BTreeMap::new();
        for id in wanted {
            decisions.insert(id, client.operator().decision(&id).await?.to_vec());
        }
        let scope = Scope { from: self.from, to: self.to, retention_days, first, end };
        let entries = entries.into_values().collect();
        Ok(firmseal_monitor::Export { scope, checkpoint, records, entries, decisions })
    }

    /// The records of the period, oldest first, and those whose numbers lie
    /// between them: a record may be numbered later than it happened.
    async fn records(&self, client: &Client) -> Result<Vec<AuditRecord>> {
        let query = AuditQuery { from: self.from, before: self.to, ..AuditQuery::default() };
        let fetch = async |query: &AuditQuery| {
            let page = async |page: firmseal_api::encoding::PageQuery| {
                let query = AuditQuery { after: page.after, limit: page.limit, ..query.clone() };
                client.operator().audit(&query).await
            };
            all(page).await
        };
        let mut records = fetch(&query).await?;
        let numbers = || records.iter().map(|record| record.number);
        let (Some(oldest), Some(newest)) = (numbers().min(), numbers().max()) else { return Ok(records) };
        if newest - oldest + 1 != records.len() as u64 {
            let every = fetch(&AuditQuery::default()).await?;
            records = every.into_iter().filter(|record| (oldest..=newest).contains(&record.number)).collect();
        }
        records.sort_unstable_by_key(|record| record.number);
        Ok(records)
    }
}

async fn page(client: &Client, from: u64, size: u64, limit: u32) -> Result<Vec<LogEntry>> {
    let query = LogQuery { from, size: Some(size), limit: Some(limit) };
    let found = client.operator().log_entries(&query).await?.entries;
    match found.is_empty() {
        true => Err(ClientError::Broken(format!("the server has no entry {from}")).into()),
        false => Ok(found),
    }
}
