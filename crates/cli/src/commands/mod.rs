//! The subcommands: one file each.

mod init;
mod inspect;
mod keys;
mod sign;
mod verify;

use std::path::Path;

use clap::Subcommand;

use crate::error::{CliError, Kind, Result};
use crate::output::Output;

/// What `firmseal` does.
#[derive(Subcommand)]
pub enum Command {
    /// Make keys, trust and settings for a server in a directory
    Init(init::Init),
    /// Make and list keys
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Sign firmware into a release, offline, without a server
    Sign(sign::Sign),
    /// Show what a firmware file, envelope or bundle says of itself
    Inspect(inspect::Inspect),
    /// Check a release offline, as a device would
    Verify(verify::Verify),
}

/// Runs a subcommand.
pub fn run(command: Command, profile: Option<&Path>, output: &Output) -> Result {
    let _ = profile;
    match command {
        Command::Init(command) => command.run(output),
        Command::Keys(command) => command.run(output),
        Command::Sign(command) => block_on(command.run(output)),
        Command::Inspect(command) => command.run(output),
        Command::Verify(command) => command.run(output),
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
