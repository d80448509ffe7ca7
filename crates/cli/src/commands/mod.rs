//! The subcommands: one file each.

mod approve;
mod artifact;
mod assemble;
mod audit;
mod ceremony;
mod completions;
mod countersign;
mod delegate;
mod demo;
mod device;
mod drill;
mod export;
mod import;
mod init;
mod inspect;
mod keyhost;
mod keys;
mod label;
mod listing;
mod log;
mod login;
mod man;
mod monitor;
mod order;
pub mod policy;
mod product;
mod release;
mod reproduce;
mod request;
mod revoke;
mod rollback;
mod rollout;
mod root;
mod serve;
mod sign;
mod tally;
mod timestamp;
mod tls;
mod token;
mod tuf;
mod verify;
mod watch;
mod witness;

use std::path::Path;

use clap::Subcommand;

use crate::error::{CliError, Kind, Result};
use crate::output::Output;

/// What `firmseal` does.
#[derive(Subcommand)]
pub enum Command {
    /// Make keys, trust and settings for a server in a directory
    Init(init::Init),
    /// Start the server of a place
    Serve(serve::Serve),
    /// Watch the whole chain on this machine
    Demo(demo::Demo),
    /// Rehearse a bad day against devices on this machine
    #[command(subcommand)]
    Drill(drill::Drill),
    /// Make, list, rotate and disable keys
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Make and show a key host: a process that holds keys for a server
    #[command(subcommand)]
    Keyhost(keyhost::KeyHosts),
    /// Sign firmware into a release, offline, without a server
    Sign(sign::Sign),
    /// Write a release down that people will sign, without a server or a key
    Assemble(assemble::Assemble),
    /// Let another key sign releases, for a while and for little
    Delegate(delegate::Delegate),
    /// Read and try out policies in Cedar
    #[command(subcommand)]
    Policy(policy::Policies),
    /// Make, list and show products
    #[command(subcommand)]
    Product(product::Products),
    /// Upload, list and show artifacts
    #[command(subcommand)]
    Artifact(artifact::Artifacts),
    /// Make, show, export and withdraw releases, and prepare their roll-back
    #[command(subcommand)]
    Release(release::Releases),
    /// List, show and take back signing requests that wait for approvals
    #[command(subcommand)]
    Request(request::Requests),
    /// Show who signed what, when, with what, and who allowed it
    Audit(audit::Audit),
    /// Agree to a release that waits, after looking at its bytes
    Approve(approve::Approve),
    /// Agree to a release as the owner of devices, after looking at its bytes
    Countersign(countersign::Countersign),
    /// Enrol, list, show and revoke devices
    #[command(subcommand)]
    Device(device::Devices),
    /// Start, watch, halt and resume rollouts
    #[command(subcommand)]
    Rollout(rollout::Rollouts),
    /// Sign root documents, revocations and releases with several people, offline
    #[command(subcommand)]
    Ceremony(ceremony::Ceremonies),
    /// Publish and show root documents
    #[command(subcommand)]
    Root(root::Roots),
    /// Take keys and releases away from devices
    #[command(subcommand)]
    Revoke(revoke::Revoke),
    /// Sign in at the server's identity provider, with a browser anywhere
    Login(login::Login),
    /// Make, list and revoke operators' tokens
    #[command(subcommand)]
    Token(token::Tokens),
    /// Hand releases to clients of other systems
    #[command(subcommand)]
    Export(tuf::Exports),
    /// Show what a firmware file, envelope, bundle or delegation says of itself
    Inspect(inspect::Inspect),
    /// Check a release offline, as a device would
    Verify(verify::Verify),
    /// Compare two builds of the same source
    Reproduce(reproduce::Reproduce),
    /// Get and check timestamps (RFC 3161), and be a small authority
    #[command(subcommand)]
    Timestamp(timestamp::Timestamps),
    /// Show, convert and make certificates
    #[command(subcommand)]
    Tls(tls::Tls),
    /// Show the log of a place
    #[command(subcommand)]
    Log(log::Logs),
    /// Make, run and show a witness
    #[command(subcommand)]
    Witness(witness::Witnesses),
    /// Watch a public log, and compare it with the registry
    Monitor(monitor::Monitor),
    /// Print a shell's completions
    Completions(completions::Completions),
    /// Print or write manual pages
    Man(man::Man),
}

/// Runs a subcommand.
pub fn run(command: Command, profile: Option<&Path>, output: &Output) -> Result {
    match command {
        Command::Init(command) => command.run(output),
        Command::Serve(command) => command.run(output),
        Command::Demo(command) => block_on(command.run()),
        Command::Drill(command) => block_on(command.run(output)),
        Command::Keys(command) => block_on(command.run(profile, output)),
        Command::Keyhost(command) => command.run(output),
        Command::Sign(command) => block_on(command.run(output)),
        Command::Assemble(command) => command.run(output),
        Command::Delegate(command) => block_on(command.run(profile, output)),
        Command::Inspect(command) => command.run(output),
        Command::Policy(command) => block_on(command.run(profile, output)),
        Command::Product(command) => command.run(profile, output),
        Command::Artifact(command) => command.run(profile, output),
        Command::Release(command) => command.run(profile, output),
        Command::Request(command) => command.run(profile, output),
        Command::Audit(command) => command.run(profile, output),
        Command::Approve(command) => block_on(command.run(profile, output)),
        Command::Countersign(command) => block_on(command.run(output)),
        Command::Device(command) => command.run(profile, output),
        Command::Rollout(command) => command.run(profile, output),
        Command::Ceremony(command) => command.run(output),
        Command::Root(command) => command.run(profile, output),
        Command::Revoke(command) => command.run(profile, output),
        Command::Login(command) => block_on(command.run(profile, output)),
        Command::Token(command) => command.run(profile, output),
        Command::Export(command) => block_on(command.run(profile, output)),
        Command::Verify(command) => command.run(output),
        Command::Reproduce(command) => block_on(command.run(output)),
        Command::Timestamp(command) => block_on(command.run(output)),
        Command::Tls(command) => command.run(output),
        Command::Log(command) => command.run(output),
        Command::Witness(command) => block_on(command.run(output)),
        Command::Monitor(command) => block_on(command.run(profile, output)),
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
