//! `firmseal audit verify`: an export, judged with nobody's word between.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use firmseal_monitor::{Audited, Trusted};
use firmseal_tlog::VerifierKey;

use super::files;
use crate::commands::monitor::{trusted, verifier};
use crate::error::{CliError, Kind, Result};
use crate::output::Output;
use crate::record::{Record, plain};

/// Judge an export, offline
///
/// Believes the log's key, and witnesses where they are named, and nothing
/// else: every entry must stand in the tree of the checkpoint, every record
/// must say what its entry says, every entry of the period must be on record,
/// and no record may be missing between the first and the last. Ends with 3
/// where something is wrong.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal audit verify november --vkey firmseal.invalid/1f0d0f3a9c2b4e58+5d6c7b8a+AQ…
  firmseal audit verify november --vkey … --witness w1.example+… --witness w2.example+… --quorum 2
  firmseal audit verify december --vkey … --open 83438")]
pub struct Verify {
    /// The export
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// The log's key, as `firmseal log show` prints it; once more for each
    /// key of another kind, which must then have signed as well
    #[arg(long, value_name = "KEY", value_parser = verifier, required = true)]
    vkey: Vec<VerifierKey>,
    /// A witness's key, as `firmseal witness show` prints it; may be repeated
    #[arg(long = "witness", value_name = "KEY", value_parser = verifier)]
    witnesses: Vec<VerifierKey>,
    /// How many witnesses must have cosigned; all of them if left out
    #[arg(long, value_name = "N")]
    quorum: Option<usize>,
    /// An entry that the export before this one left open; may be repeated
    #[arg(long, value_name = "INDEX")]
    open: Vec<u64>,
}

impl Verify {
    /// Runs the command.
    pub fn run(self, output: &Output) -> Result {
        // An export is as old as it is: cosignatures of then are good.
        let trusted: Trusted = trusted(&self.vkey, &self.witnesses, self.quorum, u64::MAX)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let export = files::read(&self.directory)?;
        let audited = firmseal_monitor::audit(&export, &trusted, &self.open, now);
        output.value(&audited, || text(&audited))?;
        match audited.findings.len() {
            0 => Ok(()),
            1 => Err(CliError::new(Kind::Refused, "the export is not what the log says")),
            count => {
                Err(CliError::new(Kind::Refused, format_args!("{count} things in the export are wrong")))
            }
        }
    }
}

fn text(audited: &Audited) -> String {
    let (first, end) = audited.entries;
    let mut record = Record::new()
        .row("records", audited.records)
        .row("log entries", format_args!("{first} to {end} of {}", audited.size));
    if let Some((first, last)) = audited.numbers {
        record = record.row("numbers", format_args!("{first} to {last}"));
    }
    for (action, count) in &audited.actions {
        record = record.row(*action, count);
    }
    let mut out = record.print();
    if !audited.open.is_empty() {
        let open: Vec<_> = audited.open.iter().map(u64::to_string).collect();
        let open = open.join(" --open ");
        out.push_str(&format!("still open: export and verify the next period with --open {open}\n"));
    }
    for finding in &audited.findings {
        let (kind, about, detail) = (finding.kind.as_str(), plain(&finding.about), plain(&finding.detail));
        out.push_str(&format!("{kind}: {about}: {detail}\n"));
    }
    out
}
