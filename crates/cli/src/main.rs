//! The `firmseal` command.
//!
//! One file per subcommand under `commands`; each prints and decides
//! nothing: what is trusted, signed or offered is decided by the crates
//! below. Data goes to stdout, everything else to stderr.

#![allow(unreachable_pub, reason = "a program has no outside; `pub` means outside its module")]

mod backoff;
mod bundle_file;
mod certificate_file;
mod certificates;
mod commands;
mod confine;
mod download;
mod error;
mod key_hosts;
mod key_table;
mod keys;
mod newfile;
mod operator;
mod output;
mod own_key;
mod place;
mod product_file;
mod profile;
mod progress;
mod random;
mod record;
mod root_file;
mod timestamps;
mod trust;
mod unechoed;
mod units;
mod upload;

use std::process::ExitCode;

use clap::Parser;

use crate::commands::Command;
use crate::output::Output;

/// Signs firmware, delivers it and proves what runs.
#[derive(Parser)]
#[command(
    name = "firmseal",
    version,
    max_term_width = 100,
    after_help = "Examples:
  firmseal demo                                   watch the whole chain on this machine
  firmseal init firmseal                          make keys, trust and settings in ./firmseal
  firmseal serve firmseal                         start the server
  firmseal verify --root root.cbor release.suit   check a release offline

Exit codes:
  0  done
  1  unexpected: a bug of ours, please report it
  2  the command line is wrong
  3  refused: a signature, a rule or a limit says no
  4  there is no such thing
  5  not allowed: token, certificate, role or PIN
  6  conflict with something that exists
  7  out of reach for now: server, network or key; try again
  8  this machine: file, permission, space or port"
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
