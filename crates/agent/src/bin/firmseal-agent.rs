//! `firmseal-agent`: arguments, logging and exit codes around the library.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use firmseal_agent::{
    Agent, BootOutcome, Config, Deps, Enrolment, Error, Event, Installed, News, Reason, Refused,
    ServerEnrolment, Status, confine, enrol,
};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Installs what it can verify, and nothing else.
#[derive(Parser)]
#[command(name = "firmseal-agent", version, after_help = AFTER)]
struct Arguments {
    /// The configuration.
    #[arg(long, global = true, default_value = "/etc/firmseal/agent.toml")]
    config: PathBuf,
    /// Log lines as JSON.
    #[arg(long, global = true)]
    log_json: bool,
    #[command(subcommand)]
    command: Command,
}

const AFTER: &str = "\
Examples:
  firmseal-agent enrol --anchor root.cbor --server https://updates.example:8443 --ca ca.pem --token-file token
  firmseal-agent run
  firmseal-agent install /media/usb/gateway-4.2.0.bundle

Exit codes: 0 done, 2 usage, 3 configuration, 4 storage, 5 identity, 6 out of reach,
7 server refused, 8 release refused, 9 disk full, 10 unhealthy and reverted, 11 not now,
12 nothing bootable, 70 internal. FIRMSEAL_LOG sets what is logged (`info`, `debug`).";

#[derive(Subcommand)]
enum Command {
    /// Gives the device its trust anchor and, from a server, its certificate.
    #[command(
        after_help = "Example: firmseal-agent enrol --anchor root.cbor --server https://updates.example:8443 --ca ca.pem --token-file token"
    )]
    Enrol {
        /// Root document version 1.
        #[arg(long)]
        anchor: PathBuf,
        /// The server; without it the device installs bundles only.
        #[arg(long, requires = "ca", requires = "token_file")]
        server: Option<String>,
        /// The authorities that the server is checked against, in PEM.
        #[arg(long)]
        ca: Option<PathBuf>,
        /// File with the one-time token.
        #[arg(long)]
        token_file: Option<PathBuf>,
    },
    /// Polls, installs and confirms until it is stopped.
    #[command(after_help = "Example: firmseal-agent run --log-json")]
    Run,
    /// Settles a trial, asks the server once, and does what it offers.
    #[command(after_help = "Example: firmseal-agent poll-once")]
    PollOnce,
    /// Installs a bundle, with no network.
    #[command(after_help = "Example: firmseal-agent install /media/usb/gateway-4.2.0.bundle")]
    Install {
        /// The bundle that `firmseal release export` wrote.
        bundle: PathBuf,
    },
    /// Prints how the device stands.
    #[command(after_help = "Example: firmseal-agent status --json")]
    Status {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// The owner's own root, beside the vendor's.
    #[command(subcommand)]
    Owner(Owner),
    /// The boot stage for slots that are files: counts a try, verifies, and
    /// prints the slot to be run.
    #[command(after_help = "Example: slot=$(firmseal-agent boot)")]
    Boot,
    /// Confirms the image on trial if the health command succeeds, and ends
    /// the trial otherwise.
    #[command(after_help = "Example: firmseal-agent confirm")]
    Confirm {
        /// Without asking for its health.
        #[arg(long)]
        now: bool,
    },
    /// Ends the trial; the confirmed image boots next.
    #[command(after_help = "Example: firmseal-agent revert")]
    Revert,
}

#[derive(Subcommand)]
enum Owner {
    /// Takes the owner's first root document, or the ones that follow.
    #[command(after_help = "Example: firmseal-agent owner adopt owner-1.cbor owner-2.cbor")]
    Adopt {
        /// Root documents, oldest first.
        #[arg(required = true)]
        documents: Vec<PathBuf>,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(err) = confine() {
        eprintln!("error: {err}");
        return ExitCode::from(err.exit_code());
    }
    let filter = EnvFilter::try_from_env("FIRMSEAL_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if arguments.log_json {
        log.json().init()
    } else {
        log.init()
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(execute(arguments)),
        Err(source) => Err(Error::Storage { path: "the executor".into(), source }),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("error: {err}");
            if let Some(hint) = err.hint() {
                eprintln!("hint: {hint}");
            }
            ExitCode::from(err.exit_code())
        }
    }
}

async fn execute(arguments: Arguments) -> Result<(), Error> {
    let config = Config::load(&arguments.config)?;
    let deps = Deps::new(&config);
    let agent = || Agent::new(config.clone(), deps.clone());
    match arguments.command {
        Command::Enrol { anchor, server, ca, token_file } => {
            let anchor = read(&anchor)?;
            let (ca, token) =
                (ca.as_deref().map(read).transpose()?, token_file.as_deref().map(token).transpose()?);
            let server = server.as_deref().map(|url| ServerEnrolment {
                url,
                token: token.as_deref().unwrap_or_default(),
                authority: ca.as_deref().unwrap_or_default(),
            });
            match enrol(&config, &deps, &Enrolment { anchor: &anchor, server }).await? {
                Some(device) => println!("{device}"),
                None => eprintln!("the trust anchor is set; there is no server"),
            }
            Ok(())
        }
        Command::Run => agent()?.run(stopped()).await,
        Command::PollOnce => tell(agent()?.poll_once().await?),
        Command::Install { bundle } => {
            let Installed { slot, version, .. } = agent()?.install_bundle(&bundle).await?;
            println!("installed {version} into slot {slot}; it boots next, on trial");
            Ok(())
        }
        Command::Status { json } => print_status(&Status::read(config, &deps)?, json),
        Command::Owner(Owner::Adopt { documents }) => {
            let agent = agent()?;
            for path in &documents {
                agent.adopt_owner(&read(path)?)?;
            }
            let version = agent.status()?.owner_root_version;
            println!("the owner's root document {} is in force", version.unwrap_or_default());
            Ok(())
        }
        Command::Boot => {
            let BootOutcome { slot, trial, version, refused, .. } = agent()?.boot_stage()?;
            for (slot, why) in refused {
                eprintln!("slot {slot} was refused: {why}");
            }
            eprintln!("{version} runs{}", if trial { ", on trial" } else { "" });
            println!("{slot}");
            Ok(())
        }
        Command::Confirm { now: true } => agent()?.confirm(),
        Command::Confirm { now: false } => match agent()?.settle().await? {
            Some(event) => tell(event),
            None => Err(Error::NoTrial),
        },
        Command::Revert => agent()?.revert(),
    }
}

/// Resolves when the service manager or a person says so.
async fn stopped() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Storage { path: path.to_owned(), source })
}

fn token(path: &Path) -> Result<String, Error> {
    let text =
        std::fs::read_to_string(path).map_err(|source| Error::Storage { path: path.to_owned(), source })?;
    Ok(text.trim().to_owned())
}

fn tell(event: Event) -> Result<(), Error> {
    match event {
        Event::Idle { poll_after } => println!("nothing to do; ask again in {poll_after} s"),
        Event::Installed(Installed { slot, version, .. }) => {
            println!("installed {version} into slot {slot}; it boots next, on trial");
        }
        Event::RebootNeeded => println!("an installed image waits for its trial boot"),
        Event::Confirmed => println!("the running image is confirmed"),
        Event::Reverted { why } => return Err(Error::Unhealthy(why)),
        Event::Refused { reason, .. } => return Err(refused(reason)),
    }
    Ok(())
}

fn refused(reason: Reason) -> Error {
    Error::Refused(Refused { reason, evidence: None })
}

fn print_status(status: &Status, json: bool) -> Result<(), Error> {
    if json {
        let text = serde_json::to_string_pretty(status)
            .map_err(|err| Error::Corrupt { what: "the status", why: err.to_string() })?;
        println!("{text}");
        return Ok(());
    }
    let Status { product, boot, floors, slots, install, reports, certificate_expires_at, .. } = status;
    println!("product      {product}");
    println!("active       slot {}{}", boot.active, if boot.on_trial() { ", on trial" } else { "" });
    if let Some(slot) = boot.confirmed {
        println!("confirmed    slot {slot}");
    }
    if let Some(trial) = boot.trial {
        println!("trial        slot {}, {} tries left", trial.slot, trial.tries);
    }
    for slot in slots {
        println!("slot {}       {} (sequence {})", slot.slot, slot.version, slot.sequence);
    }
    if let Some(install) = install {
        println!("installing   {} into slot {}", install.version, install.slot);
    }
    println!("epoch        {}", floors.epoch);
    let broken = if status.root_broken { "; a later one is kept and cannot be used" } else { "" };
    println!("root         version {}{broken}", status.root_version);
    if let Some(version) = status.owner_root_version {
        println!("owner        root version {version}");
    }
    if status.revocation_version > 0 {
        println!("revocation   version {}", status.revocation_version);
    }
    if status.time_floor > 0 {
        println!("time floor   {} s after 1970", status.time_floor);
    }
    if let Some(News { at, age, .. }) = status.freshness {
        let age = age.map_or_else(|| format!("at {at} s after 1970"), |age| format!("{age} s old"));
        println!("freshness    {age}");
    }
    if status.stranded {
        println!("stranded     a recovery image may come in");
    }
    println!("reports      {reports} waiting");
    if let Some(seconds) = certificate_expires_at {
        println!("certificate  expires {seconds} s after 1970");
    }
    Ok(())
}
