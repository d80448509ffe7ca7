//! `firmseal policy`: what is demanded of signatures beyond the gate's rules.

pub mod files;
mod past;
mod stored;
mod try_out;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use firmseal_manifest::ArtifactId;
use firmseal_policy::{CedarPolicy, Demand, NUMBER, SCHEMA};
use serde_json::json;

use self::stored::{Approve, Diff, Propose};
use self::try_out::TryOut;
use crate::error::{CliError, Kind, Result};
use crate::output::Output;

/// Read and try out policies in Cedar, and have people agree to them
#[derive(Subcommand)]
#[command(after_help = "Examples:
  firmseal policy check policies
  firmseal policy test policies
  firmseal policy propose policies --why 'nightly builds need provenance'
  firmseal policy list")]
pub enum Policies {
    /// Read a policy and say what is wrong with it, or which rules it has
    ///
    /// A directory's policy is all of its files that end in `.cedar`.
    #[command(after_help = "Examples:
  firmseal policy check policies
  firmseal policy check policy.cedar --json")]
    Check {
        /// A file, or a directory
        path: PathBuf,
    },
    /// Ask a policy the questions of its examples, or those of the past
    Test(TryOut),
    /// Print what a policy may speak of, as a Cedar schema
    #[command(after_help = "Example:
  firmseal policy schema > firmseal.cedarschema")]
    Schema,
    Propose(Propose),
    Approve(Approve),
    /// Put a policy in force that enough people have agreed to
    ///
    /// It decides from the next request on. Releases that wait for approvals
    /// are superseded. Needs the role officer.
    #[command(after_help = "Example:
  firmseal policy activate 4f2a...c1")]
    Activate {
        /// The policy's digest
        policy: ArtifactId,
    },
    /// Take a proposal back
    #[command(after_help = "Example:
  firmseal policy withdraw 4f2a...c1")]
    Withdraw {
        /// The policy's digest
        policy: ArtifactId,
    },
    /// List the policy in force, those before it, and what is proposed
    #[command(after_help = "Example:
  firmseal policy list")]
    List,
    /// Show a policy's text, and who agreed to it
    #[command(after_help = "Example:
  firmseal policy show 4f2a...c1")]
    Show {
        /// Its digest, or that of the rules that a record of a signature has
        policy: ArtifactId,
    },
    Diff(Diff),
}

impl Policies {
    /// Runs the subcommand.
    pub async fn run(self, profile: Option<&Path>, output: &Output) -> Result {
        match self {
            Policies::Check { path } => {
                let policy = files::policy(&path)?;
                check(&policy, output)
            }
            Policies::Test(command) => command.run(profile, output).await,
            Policies::Propose(command) => command.run(profile, output).await,
            Policies::Approve(command) => command.run(profile, output).await,
            Policies::Activate { policy } => stored::activate(profile, policy, output).await,
            Policies::Withdraw { policy } => stored::withdraw(profile, policy, output).await,
            Policies::List => stored::list(profile, output).await,
            Policies::Show { policy } => stored::show(profile, policy, output).await,
            Policies::Diff(command) => command.run(profile, output).await,
            Policies::Schema => {
                output.value(&json!({ "schema": NUMBER, "text": SCHEMA }), || SCHEMA.to_owned())
            }
        }
    }
}

/// What a rule asks for, in a word.
fn word(demand: Demand) -> String {
    match demand {
        Demand::Permit => "permit".to_owned(),
        Demand::Refuse => "refuse".to_owned(),
        Demand::Approvals(need) => format!("{need} approvals"),
        Demand::Hold => "hold".to_owned(),
    }
}

fn check(policy: &CedarPolicy, output: &Output) -> Result {
    let rules: Vec<_> = policy
        .rules()
        .map(|rule| json!({ "rule": rule.id, "asks": word(rule.demand), "reason": rule.reason }))
        .collect();
    output.table(&rules, &["RULE", "ASKS", "REASON"], |rule| {
        ["rule", "asks", "reason"]
            .iter()
            .map(|key| rule[key].as_str().unwrap_or_default().to_owned())
            .collect()
    })
}

/// A policy that cannot be read, one problem in a line.
pub fn unreadable(error: firmseal_policy::LoadError) -> CliError {
    CliError::new(Kind::Refused, format_args!("the policy cannot be read\n{error}"))
        .hint("`firmseal policy schema` prints what a policy may speak of")
}
