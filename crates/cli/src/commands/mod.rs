//! The subcommands: one file each.
//!
//! Those of the client are what a pipeline needs to have files signed: no
//! key, no store and no server comes with them. The feature `full` adds the
//! others.

mod artifact;
mod assignment;
mod attach;
mod completions;
mod content;
mod digest;
mod listing;
mod man;
mod request_record;
mod sign;

#[cfg(feature = "full")]
mod approve;
#[cfg(feature = "full")]
mod assemble;
#[cfg(feature = "full")]
mod attest;
#[cfg(feature = "full")]
mod audit;
#[cfg(feature = "full")]
mod ceremony;
#[cfg(feature = "full")]
mod countersign;
#[cfg(feature = "full")]
mod delegate;
#[cfg(feature = "full")]
mod demo;
#[cfg(feature = "full")]
mod device;
#[cfg(feature = "full")]
mod drill;
#[cfg(feature = "full")]
mod export;
#[cfg(feature = "full")]
mod full;
#[cfg(feature = "full")]
mod import;
#[cfg(feature = "full")]
mod init;
#[cfg(feature = "full")]
mod inspect;
#[cfg(feature = "full")]
mod key_records;
#[cfg(feature = "full")]
mod keyhost;
#[cfg(feature = "full")]
mod keys;
#[cfg(feature = "full")]
mod label;
#[cfg(feature = "full")]
mod log;
#[cfg(feature = "full")]
mod login;
#[cfg(feature = "full")]
mod monitor;
#[cfg(feature = "full")]
mod oci;
#[cfg(feature = "full")]
mod order;
#[cfg(feature = "full")]
pub mod policy;
#[cfg(feature = "full")]
mod product;
#[cfg(feature = "full")]
mod release;
#[cfg(feature = "full")]
mod reproduce;
#[cfg(feature = "full")]
mod request;
#[cfg(feature = "full")]
mod revoke;
#[cfg(feature = "full")]
mod rollback;
#[cfg(feature = "full")]
mod rollout;
#[cfg(feature = "full")]
mod root;
#[cfg(feature = "full")]
mod serve;
#[cfg(feature = "full")]
mod sign_offline;
#[cfg(feature = "full")]
mod tally;
#[cfg(feature = "full")]
mod timestamp;
#[cfg(feature = "full")]
mod tls;
#[cfg(feature = "full")]
mod token;
#[cfg(feature = "full")]
mod tuf;
#[cfg(feature = "full")]
mod verify;
#[cfg(feature = "full")]
mod verify_file;
#[cfg(feature = "full")]
mod watch;
#[cfg(feature = "full")]
mod witness;

use std::path::Path;

use clap::Subcommand;

use crate::error::{CliError, Kind, Result};
use crate::output::Output;

/// What `firmseal` does.
#[derive(Subcommand)]
#[allow(clippy::large_enum_variant, reason = "there is one, made when the command line is read")]
pub enum Command {
    /// The rest of the program.
    #[cfg(feature = "full")]
    #[command(flatten)]
    Full(full::Full),
    /// Have the service sign a file, and wait for it
    Sign(Box<sign::Sign>),
    /// Derive what a key signs of a file, without a server
    Digest(digest::Digest),
    /// Write a signature into its file, without a server
    Attach(attach::Attach),
    /// Upload, list and show artifacts
    #[command(subcommand)]
    Artifact(artifact::Artifacts),
    /// Print a shell's completions
    Completions(completions::Completions),
    /// Print or write manual pages
    Man(man::Man),
}

/// Runs a subcommand.
pub fn run(command: Command, profile: Option<&Path>, output: &Output) -> Result {
    match command {
        Command::Sign(command) => block_on(command.run(profile, output)),
        Command::Digest(command) => command.run(output),
        Command::Attach(command) => command.run(output),
        Command::Artifact(command) => command.run(profile, output),
        #[cfg(feature = "full")]
        Command::Full(command) => full::run(command, profile, output),
        Command::Completions(command) => command.run(output),
        Command::Man(command) => command.run(output),
    }
}

/// Runs a command that waits for the store or the network.
pub fn block_on(work: impl Future<Output = Result>) -> Result {
    block_on_value(work)
}

/// The same, for commands that go on with a value.
pub fn block_on_value<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::new(Kind::Local, error))?
        .block_on(work)
}
