//! `firmseal drill`: rehearsals of bad days, on this machine.

mod compromise;
mod roots;
mod timeline;

use clap::Subcommand;

use crate::error::Result;
use crate::output::Output;

/// Rehearse a bad day against devices on this machine
#[derive(Subcommand)]
#[command(after_help = "Example:
  firmseal drill compromise --devices 10 --json")]
pub enum Drill {
    /// A release key is stolen: from the alarm to the last device protected
    Compromise(compromise::Compromise),
}

impl Drill {
    /// Runs the subcommand.
    pub async fn run(self, output: &Output) -> Result {
        match self {
            Drill::Compromise(compromise) => compromise.run(output).await,
        }
    }
}
