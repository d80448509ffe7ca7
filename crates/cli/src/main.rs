//! The `firmseal` command.
//!
//! One file per subcommand under `commands`; each prints and decides
//! nothing: what is trusted, signed or offered is decided by the crates
//! below. Data goes to stdout, everything else to stderr.
//!
//! Without the feature `full` it is a client for pipelines, which has files
//! signed and holds no key, no PKCS#11, no store and no server.

#![allow(unreachable_pub, reason = "a program has no outside; `pub` means outside its module")]

mod attached;
mod backoff;
mod commands;
mod confine;
mod error;
mod newfile;
mod output;
mod profile;
mod progress;
mod record;
mod units;
mod upload;
mod workload;

#[cfg(feature = "full")]
mod bundle_file;
#[cfg(feature = "full")]
mod certificate_file;
#[cfg(feature = "full")]
mod certificates;
#[cfg(feature = "full")]
mod download;
#[cfg(feature = "full")]
mod file_access;
#[cfg(feature = "full")]
mod key_hosts;
#[cfg(feature = "full")]
mod key_opening;
#[cfg(feature = "full")]
mod key_table;
#[cfg(feature = "full")]
mod keys;
#[cfg(feature = "full")]
mod opened;
#[cfg(feature = "full")]
mod operator;
#[cfg(feature = "full")]
mod own_key;
#[cfg(feature = "full")]
mod place;
#[cfg(feature = "full")]
mod product_file;
#[cfg(feature = "full")]
mod random;
#[cfg(feature = "full")]
mod root_file;
#[cfg(feature = "full")]
mod supervision;
#[cfg(feature = "full")]
mod timestamps;
#[cfg(feature = "full")]
mod trust;
#[cfg(feature = "full")]
mod unechoed;
#[cfg(feature = "full")]
mod validity;

use std::process::ExitCode;

use clap::Parser;

use crate::commands::Command;
use crate::output::Output;

#[cfg(feature = "full")]
macro_rules! examples {
    () => {
        "  firmseal demo                                   watch the whole chain on this machine
  firmseal init firmseal                          make keys, trust and settings in ./firmseal
  firmseal serve firmseal                         start the server
  firmseal verify --root root.cbor release.suit   check a release offline
"
    };
}

#[cfg(not(feature = "full"))]
macro_rules! examples {
    () => {
        "  firmseal sign firmware.bin --product gateway --version 1.4.0 --epoch 1 -o firmware.signed.bin
"
    };
}

/// Signs firmware, delivers it and proves what runs.
#[derive(Parser)]
#[command(
    name = "firmseal",
    version,
    max_term_width = 100,
    after_help = concat!("Examples:\n", examples!(), "
Exit codes:
  0  done
  1  unexpected: a bug of ours, please report it
  2  the command line is wrong
  3  refused: a signature, a rule or a limit says no
  4  there is no such thing
  5  not allowed: token, certificate, role or PIN
  6  conflict with something that exists
  7  out of reach for now: server, network or key; try again
  8  this machine: file, permission, space or port
  9  under way: it waits for people, or for its turn")
)]
struct Cli {
    /// Print JSON instead of tables
    #[arg(long, global = true)]
    json: bool,
    /// Which server and token to use: the file `operator.toml` that `init` wrote
    #[arg(long, global = true, value_name = "FILE", env = "FIRMSEAL_PROFILE")]
    profile: Option<std::path::PathBuf>,
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    // Before anything else: arguments and environment may name secrets.
    let confined = confine::confine();
    let cli = Cli::parse();
    let output = Output::new(cli.json);
    match confined.and_then(|()| commands::run(cli.command, cli.profile.as_deref(), &output)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&error);
            ExitCode::from(error.kind as u8)
        }
    }
}
