//! `firmseal policy test`: what a policy says before it is in force.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use firmseal_policy::{CedarPolicy, Demand, Differs, again};
use serde_json::{Value, json};

use super::{files, past};
use crate::error::{CliError, Kind, Result};
use crate::output::Output;
use crate::profile::Profile;

/// Ask a policy the questions of its examples, or those of the past
///
/// Examples stand in files that end in `.test.toml` or `.test.json`, beside
/// the policy. With --past or --last, decisions that were recorded are made
/// again, and what would be decided otherwise is shown. Fails where anything
/// differs.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal policy test policies
  firmseal policy test policies --past decisions
  firmseal policy test policies --last 200

An example:
  [[case]]
  name = \"debug build\"
  expect = \"refuse\"                  # permit, refuse, approvals, hold or error
  rules = [\"no-debug\"]               # exactly these stand in the way
  question = { artifact = { debug = true } }")]
pub struct TryOut {
    /// The policy: a file, or a directory
    path: PathBuf,
    /// Recorded decisions instead of examples: files, or directories of
    /// files that end in `.json`
    #[arg(long, value_name = "PATH", num_args = 1..)]
    past: Vec<PathBuf>,
    /// The newest N decisions of the server instead of examples; needs the
    /// role auditor or officer
    #[arg(long, value_name = "N", conflicts_with = "past")]
    last: Option<u32>,
}

/// One answer.
struct Told {
    at: String,
    name: String,
    differs: Option<Differs>,
}

impl TryOut {
    /// Runs the command.
    pub async fn run(self, profile: Option<&Path>, output: &Output) -> Result {
        let policy = files::policy(&self.path)?;
        let told = match (self.last, self.past.is_empty()) {
            (Some(last), _) => of_server(profile, last, &policy).await?,
            (None, true) => self.examples(&policy, output)?,
            (None, false) => self.past(&policy)?,
        };
        let rows: Vec<Value> = told.iter().map(row).collect();
        output.value(&rows, || told.iter().map(print).collect())?;
        let differ = told.iter().filter(|told| told.differs.is_some()).count();
        let (all, past) = (told.len(), self.last.is_some() || !self.past.is_empty());
        match (differ, past) {
            (0, _) => {
                output.note(format_args!("{all} answers, all as they were meant"));
                Ok(())
            }
            (_, true) => Err(CliError::new(
                Kind::Refused,
                format_args!("{differ} of {all} decisions would be others under this policy"),
            )),
            (_, false) => Err(CliError::new(
                Kind::Refused,
                format_args!("{differ} of {all} answers are not those that were meant"),
            )),
        }
    }

    fn examples(&self, policy: &CedarPolicy, output: &Output) -> Result<Vec<Told>> {
        let (mut told, mut seen) = (Vec::new(), BTreeSet::new());
        for (path, examples) in files::examples(&self.path)? {
            for case in examples.cases {
                let (rules, differs) = case.ask(policy);
                seen.extend(rules);
                told.push(Told { at: path.display().to_string(), name: case.name, differs });
            }
        }
        if told.is_empty() {
            return Err(CliError::new(Kind::NotFound, "no examples are beside the policy")
                .about(self.path.display())
                .hint("write them into a file that ends in `.test.toml`; --help shows one"));
        }
        for rule in policy.rules().filter(|rule| rule.demand != Demand::Permit && !seen.contains(&rule.id)) {
            output.note(format_args!("note: no example tries the rule `{}`", rule.id));
        }
        Ok(told)
    }

    fn past(&self, policy: &CedarPolicy) -> Result<Vec<Told>> {
        let decisions = files::decisions(&self.past)?;
        if decisions.is_empty() {
            return Err(CliError::new(Kind::NotFound, "there are no decisions to make again"));
        }
        let told = decisions.iter().map(|(path, decision)| Told {
            at: path.display().to_string(),
            name: past::name(decision),
            differs: again(decision, policy),
        });
        Ok(told.collect())
    }
}

async fn of_server(profile: Option<&Path>, last: u32, policy: &CedarPolicy) -> Result<Vec<Told>> {
    let decisions = past::of_server(&Profile::read(profile)?.client()?, last).await?;
    if decisions.is_empty() {
        return Err(CliError::new(Kind::NotFound, "the server has recorded no decisions"));
    }
    let compared = past::compare(&decisions, None, policy).into_iter();
    Ok(compared.map(|one| Told { at: one.digest, name: one.name, differs: one.differs }).collect())
}

fn row(told: &Told) -> Value {
    match &told.differs {
        None => json!({ "file": told.at, "case": told.name, "ok": true }),
        Some(Differs { wanted, got }) => {
            json!({ "file": told.at, "case": told.name, "ok": false, "wanted": wanted, "got": got })
        }
    }
}

/// A line for each, and two more where the answer differs.
fn print(told: &Told) -> String {
    let name = crate::record::plain(&told.name);
    match &told.differs {
        None => format!("ok    {name}\n"),
        Some(Differs { wanted, got }) => format!(
            "FAIL  {name}\n      - {}\n      + {}\n",
            crate::record::plain(wanted),
            crate::record::plain(got)
        ),
    }
}
