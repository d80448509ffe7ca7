//! The subcommands of the whole program: everything but what a pipeline
//! needs to have files signed.

use std::path::Path;

use clap::Subcommand;

use super::block_on;
use super::{
    approve, assemble, attest, audit, ceremony, countersign, delegate, demo, device, drill, init, inspect,
    keyhost, keys, log, login, monitor, oci, policy, product, release, reproduce, request, revoke, rollout,
    root, serve, sign_offline, timestamp, tls, token, tuf, verify, witness,
};
use crate::error::Result;
use crate::output::Output;

/// What the whole program does besides.
#[derive(Subcommand)]
pub enum Full {
    /// Make keys, trust and settings for a server in a directory
    Init(init::Init),
    /// Start the server of a place
    Serve(serve::Serve),
    /// Watch the whole chain on this machine
    Demo(demo::Demo),
    /// Rehearse a bad day against devices on this machine
    #[command(subcommand)]
    Drill(drill::Drill),
    /// Make and show a key host: a process that holds keys for a server
    #[command(subcommand)]
    Keyhost(keyhost::KeyHosts),
    /// Make, list, rotate and disable keys
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Sign firmware into a release, offline, without a server
    SignOffline(sign_offline::SignOffline),
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
    /// Make, show, export and withdraw releases, and prepare their roll-back
    #[command(subcommand)]
    Release(release::Releases),
    /// List, show and take back signing requests that wait for approvals
    #[command(subcommand)]
    Request(request::Requests),
    /// Show who signed what, when, with what, and who allowed it
    Audit(audit::Audit),
    /// Agree to a release or a signature that waits, after looking at its bytes
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
    /// Sign what is known about files: that they were scanned, or anything else
    #[command(subcommand)]
    Attest(attest::Attest),
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
    /// Bring signatures to container and node images, and verify them there
    #[command(subcommand)]
    Oci(oci::Oci),
}

/// Runs one of them.
pub fn run(command: Full, profile: Option<&Path>, output: &Output) -> Result {
    match command {
        Full::Init(command) => command.run(output),
        Full::Serve(command) => command.run(output),
        Full::Keyhost(command) => command.run(output),
        Full::Demo(command) => block_on(command.run()),
        Full::Drill(command) => block_on(command.run(output)),
        Full::Keys(command) => block_on(command.run(profile, output)),
        Full::SignOffline(command) => block_on(command.run(output)),
        Full::Assemble(command) => command.run(output),
        Full::Delegate(command) => block_on(command.run(profile, output)),
        Full::Policy(command) => block_on(command.run(profile, output)),
        Full::Product(command) => command.run(profile, output),
        Full::Release(command) => command.run(profile, output),
        Full::Request(command) => command.run(profile, output),
        Full::Audit(command) => command.run(profile, output),
        Full::Approve(command) => block_on(command.run(profile, output)),
        Full::Countersign(command) => block_on(command.run(output)),
        Full::Device(command) => command.run(profile, output),
        Full::Rollout(command) => command.run(profile, output),
        Full::Ceremony(command) => command.run(output),
        Full::Root(command) => command.run(profile, output),
        Full::Revoke(command) => command.run(profile, output),
        Full::Login(command) => block_on(command.run(profile, output)),
        Full::Token(command) => command.run(profile, output),
        Full::Export(command) => block_on(command.run(profile, output)),
        Full::Inspect(command) => command.run(output),
        Full::Verify(command) => command.run(output),
        Full::Reproduce(command) => block_on(command.run(output)),
        Full::Attest(command) => block_on(command.run(output)),
        Full::Timestamp(command) => block_on(command.run(output)),
        Full::Tls(command) => command.run(output),
        Full::Log(command) => command.run(output),
        Full::Witness(command) => block_on(command.run(output)),
        Full::Oci(command) => command.run(output),
        Full::Monitor(command) => block_on(command.run(profile, output)),
    }
}
