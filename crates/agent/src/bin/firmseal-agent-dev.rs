//! `firmseal-agent-dev`: the development build, which installs images that
//! fail verification.
//!
//! It is a program of its own and shares no such code with the agent: what
//! is here cannot be switched on there. It works under a root document of
//! the test environment only and says loudly what it does. Even so, the
//! boot stage refuses what it installs: it is for boards whose bootloader
//! does not verify yet.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use firmseal_agent::files::OsFiles;
use firmseal_agent::{Agent, BootControl, Config, Deps, Error, FileBootControl, Reason, confine, exit};
use firmseal_core::{Environment, Root};
use firmseal_manifest::bundle::read_head;

/// Installs a bundle even if it fails verification. Never ship this.
#[derive(Parser)]
#[command(
    name = "firmseal-agent-dev",
    version,
    after_help = "Example: firmseal-agent-dev --config agent.toml broken.bundle"
)]
struct Arguments {
    /// The configuration.
    #[arg(long, default_value = "/etc/firmseal/agent.toml")]
    config: PathBuf,
    /// The bundle.
    bundle: PathBuf,
}

/// An image that was refused, and that this program writes all the same.
/// Nothing of the agent takes or makes this type.
struct Unverified {
    reason: Reason,
    input: BufReader<File>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(err) = confine() {
        eprintln!("error: {err}");
        return ExitCode::from(err.exit_code());
    }
    eprintln!(
        "WARNING: this is the development build of the agent. It installs images that fail verification."
    );
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(err) => {
            eprintln!("error: {err}");
            return ExitCode::from(exit::INTERNAL);
        }
    };
    match runtime.block_on(install(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("error: {err}");
            ExitCode::from(err.exit_code())
        }
    }
}

async fn install(arguments: &Arguments) -> Result<(), Error> {
    let config = Config::load(&arguments.config)?;
    require_test_root(&config)?;
    let agent = Agent::new(config.clone(), Deps::new(&config))?;
    // The true agent goes first: what verifies is installed as ever, and
    // what does not is reported as refused.
    let reason = match agent.install_bundle(&arguments.bundle).await {
        Ok(installed) => {
            println!("verified; installed {} into slot {}", installed.version, installed.slot);
            return Ok(());
        }
        Err(Error::Refused(refused)) => refused.reason,
        Err(err) => return Err(err),
    };
    let fail = |err: io::Error| Error::Bundle { path: arguments.bundle.clone(), why: err.to_string() };
    let mut input = BufReader::new(File::open(&arguments.bundle).map_err(fail)?);
    read_head(&mut input).map_err(fail)?;
    Unverified { reason, input }.write(&config, &arguments.bundle)
}

/// Refuses to start unless the device's trust anchor is for tests.
fn require_test_root(config: &Config) -> Result<(), Error> {
    let path = config.state.join("root.cbor");
    let bytes = std::fs::read(&path).map_err(|source| Error::Storage { path: path.clone(), source })?;
    let root = Root::decode(&bytes).map_err(Error::Anchor)?;
    if root.environment() == Environment::Test {
        return Ok(());
    }
    let why = "the trust anchor is for production: this program runs under a test root only".to_owned();
    Err(Error::Config { path, why })
}

impl Unverified {
    /// Writes each component's payload into the inactive slot and asks for
    /// a trial boot.
    fn write(mut self, config: &Config, bundle: &Path) -> Result<(), Error> {
        let fail = |err: io::Error| Error::Bundle { path: bundle.to_owned(), why: err.to_string() };
        let control = FileBootControl::new(Arc::new(OsFiles), &config.state);
        let slot = control.active()?.inactive();
        eprintln!("WARNING: UNVERIFIED: {} (code {})", self.reason, self.reason.code());
        for component in &config.components {
            let tree = blob_len(&mut self.input).map_err(fail)?;
            io::copy(&mut self.input.by_ref().take(tree), &mut io::sink()).map_err(fail)?;
            let size = blob_len(&mut self.input).map_err(fail)?;
            if size > component.capacity {
                return Err(fail(io::Error::other("a payload is larger than its slot")));
            }
            let path = component.slot(slot);
            let storage = |source| Error::Storage { path: path.to_owned(), source };
            let mut out =
                OpenOptions::new().write(true).create(true).truncate(false).open(path).map_err(storage)?;
            io::copy(&mut self.input.by_ref().take(size), &mut out).map_err(storage)?;
            out.flush().and_then(|()| out.sync_all()).map_err(storage)?;
            eprintln!("WARNING: UNVERIFIED image of {} is in {}", component.name, path.display());
        }
        control.set_trial(slot, config.tries)?;
        println!("UNVERIFIED; installed into slot {slot}");
        Ok(())
    }
}

/// Length of the next byte string (RFC 8949 §3.1).
fn blob_len(input: &mut impl Read) -> io::Result<u64> {
    let mut first = [0];
    input.read_exact(&mut first)?;
    let more = match first[0] {
        short @ 0x40..=0x57 => return Ok(u64::from(short - 0x40)),
        0x58 => 1,
        0x59 => 2,
        0x5a => 4,
        0x5b => 8,
        _ => return Err(io::Error::other("a blob is a byte string")),
    };
    let mut argument = [0; 8];
    input.read_exact(&mut argument[8 - more..])?;
    Ok(u64::from_be_bytes(argument))
}
