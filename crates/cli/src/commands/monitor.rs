//! `firmseal monitor`: watches a log, and compares it with the registry.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{ArgGroup, Args};
use firmseal_monitor::{Finding, Memory, MonitorError, Report, Trusted};
use firmseal_outbound::Endpoint;
use firmseal_tlog::{Kind as KeyKind, VerifierKey};
use tokio::signal::unix::{SignalKind, signal};

use super::key_records;
use crate::error::{CliError, Kind, Result, file};
use crate::output::Output;
use crate::profile::Profile;
use crate::record::plain;
use crate::units::Span;

/// Watch a public log, and compare it with the registry
///
/// Keeps a copy of the log in --state: what the log shows must grow from it.
/// With --registry, also compares with the server of the profile: every
/// signature has its release, every release its entry, every device a
/// release that is logged; with --root, releases have the approvals that the
/// root demands. With --uses, compares with what key hosts, AWS CloudTrail,
/// Vault and HSMs wrote down: every use of a key was announced, every signature that was
/// announced has its use. Ends with 3 where something is wrong, with 7 where it could
/// not look.
#[derive(Args)]
#[command(group = ArgGroup::new("when").args(["once", "every"]))]
#[command(after_help = "Examples:
  firmseal monitor --log https://updates.example.com:8445/log --authority server.pem \\
      --vkey firmseal.invalid/1f0d0f3a9c2b4e58+5d6c7b8a+AQ… --state /var/lib/monitor --once
  firmseal monitor --log http://mirror.example/log --vkey … --witness w1.example+… --witness w2.example+… \\
      --quorum 2 --state . --every 60s --metrics /var/lib/node_exporter/firmseal.prom
  firmseal monitor --log … --vkey … --state . --registry --root root.cbor
  firmseal monitor --log … --vkey … --state . --uses uses.toml --every 5m")]
pub struct Monitor {
    /// Where the log is: the address above `checkpoint` and `tile/`
    #[arg(long, value_name = "URL")]
    log: String,
    /// For https: certificate authorities, PEM
    #[arg(long, value_name = "FILE")]
    authority: Option<PathBuf>,
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
    /// The monitor's own memory
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// Compare with the registry of the profile's server, as an auditor
    #[arg(long)]
    registry: bool,
    /// The first root document: look for the approvals that roots demand
    #[arg(long, value_name = "FILE", requires = "registry")]
    root: Option<PathBuf>,
    /// Compare with what holds the keys: a file that says where what they
    /// wrote down is
    #[arg(long, value_name = "FILE")]
    uses: Option<PathBuf>,
    /// How long a release may be on its way, and the record of a key's use
    #[arg(long, value_name = "SPAN", default_value = "15m")]
    grace: Span,
    /// How old cosignatures may be
    #[arg(long, value_name = "SPAN", default_value = "1h")]
    stale: Span,
    /// Look once; this is what it does if nothing else is said
    #[arg(long)]
    once: bool,
    /// Look again and again
    #[arg(long, value_name = "SPAN")]
    every: Option<Span>,
    /// Write metrics for Prometheus to a file
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
}

pub fn verifier(text: &str) -> std::result::Result<VerifierKey, String> {
    VerifierKey::parse(text).map_err(|error| error.to_string())
}

impl Monitor {
    /// Runs the command.
    pub async fn run(self, profile: Option<&Path>, output: &Output) -> Result {
        let mut terminate = signal(SignalKind::terminate())?;
        let stale = self.stale.0.as_secs();
        let trusted = trusted(&self.vkey, &self.witnesses, self.quorum, stale)?;
        let authority = self.authority.as_ref().map(|path| std::fs::read(path).map_err(file(path)));
        let log = Endpoint::new(&self.log, authority.transpose()?.as_deref(), Duration::from_secs(30));
        let log = log.map_err(|error| CliError::new(Kind::Usage, error))?;
        let client = match self.registry {
            true => Some(Profile::read(profile)?.client()?),
            false => None,
        };
        let root = self.root.as_ref().map(|path| std::fs::read(path).map_err(file(path))).transpose()?;
        let mut memory = Memory::open(&self.state)?;
        let records = self.uses.as_ref().map(|path| key_records::read(path, &self.state));
        let mut records = records.transpose()?;
        loop {
            let look = firmseal_monitor::look(
                &log,
                &trusted,
                client.as_ref().map(|client| (client, root.as_deref())),
                records.as_mut(),
                &mut memory,
                (now(), self.grace.0.as_secs()),
            );
            let (report, trouble) = look.await;
            if let Some(path) = &self.metrics {
                write(path, &report.metrics())?;
            }
            output.value(&report, || text(&report))?;
            let Some(every) = &self.every else { return end(&report, trouble) };
            tokio::select! {
                _ = tokio::time::sleep(every.0.max(Duration::from_secs(1))) => {}
                result = tokio::signal::ctrl_c() => { result?; return end(&report, trouble) }
                _ = terminate.recv() => return end(&report, trouble),
            }
        }
    }
}

/// Whom somebody believes who names these keys.
pub fn trusted(
    vkey: &[VerifierKey],
    witnesses: &[VerifierKey],
    quorum: Option<usize>,
    stale: u64,
) -> Result<Trusted> {
    let usage = |why: &str| Err(CliError::new(Kind::Usage, why));
    if vkey.iter().any(|key| key.kind() == KeyKind::Cosignature) {
        return usage("--vkey takes a log's key; a witness's goes to --witness");
    }
    let (mut log, beside): (Vec<_>, Vec<_>) =
        vkey.iter().cloned().partition(|key| key.kind() == KeyKind::Ed25519);
    let (Some(log), true) = (log.pop(), log.is_empty()) else {
        return usage("of the log's keys, exactly one is of Ed25519; the others stand beside it");
    };
    if beside.iter().any(|key| key.name() != log.name()) {
        return usage("the keys of one log have one name");
    }
    if witnesses.iter().any(|key| key.kind() != KeyKind::Cosignature) {
        return usage("--witness takes a witness's key; the log's goes to --vkey");
    }
    let quorum = quorum.unwrap_or(witnesses.len());
    if quorum > witnesses.len() {
        return usage("--quorum is more than there are witnesses");
    }
    let witnesses = witnesses.to_vec();
    Ok(Trusted { log, beside, witnesses, quorum, stale })
}

/// How the command ends after its last look.
fn end(report: &Report, trouble: Option<MonitorError>) -> Result {
    match (report.findings.len(), trouble) {
        (0, None) => Ok(()),
        (0, Some(error)) => Err(error.into()),
        (1, _) => Err(CliError::new(Kind::Refused, "the monitor found something wrong")),
        (count, _) => {
            Err(CliError::new(Kind::Refused, format_args!("the monitor found {count} things wrong")))
        }
    }
}

fn text(report: &Report) -> String {
    let mut out = format!("{}: {} entries", report.origin, report.entries);
    let counts = (report.releases, report.signatures, report.devices);
    if let (Some(releases), Some(signatures), Some(devices)) = counts {
        out += &format!(", {releases} releases, {signatures} signatures of files, {devices} devices");
    }
    if let Some(uses) = report.uses {
        out += &format!(", {uses} uses of keys");
    }
    out += match (&report.trouble, report.findings.is_empty()) {
        (None, true) => ": nothing wrong\n",
        _ => "\n",
    };
    for Finding { kind, about, detail } in &report.findings {
        out += &format!("{}  {}: {}\n", kind.as_str(), plain(about), plain(detail));
    }
    if let Some(trouble) = &report.trouble {
        out += &format!("could not look: {}\n", plain(trouble));
    }
    out
}

/// Whole or not at all: whoever collects metrics reads at any time.
fn write(path: &Path, text: &str) -> Result {
    let temporary = path.with_extension("new");
    std::fs::write(&temporary, text).map_err(file(&temporary))?;
    std::fs::rename(&temporary, path).map_err(file(path))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl From<MonitorError> for CliError {
    fn from(error: MonitorError) -> CliError {
        match error {
            MonitorError::Registry(error) => CliError::from(error).about("the registry"),
            MonitorError::Log { .. } | MonitorError::Status { .. } => CliError::new(Kind::Unavailable, error),
            MonitorError::InUse(_) => CliError::new(Kind::Conflict, error),
            MonitorError::Root { .. } | MonitorError::Damaged { .. } | MonitorError::NoTrail { .. } => {
                CliError::new(Kind::Refused, error)
            }
            MonitorError::File { .. } => CliError::new(Kind::Local, error),
        }
    }
}
