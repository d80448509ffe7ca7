//! `firmseal completions`: for shells.

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::Shell;

use crate::error::Result;
use crate::output::Output;

/// Print a shell's completions
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal completions bash > ~/.local/share/bash-completion/completions/firmseal
  firmseal completions zsh > ~/.zfunc/_firmseal
  firmseal completions fish > ~/.config/fish/completions/firmseal.fish")]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shells,
}

/// Shells that have completions.
#[derive(Clone, Copy, ValueEnum)]
enum Shells {
    Bash,
    Elvish,
    Fish,
    Powershell,
    Zsh,
}

impl Completions {
    /// Runs the command.
    pub fn run(self, output: &Output) -> Result {
        let shell = match self.shell {
            Shells::Bash => Shell::Bash,
            Shells::Elvish => Shell::Elvish,
            Shells::Fish => Shell::Fish,
            Shells::Powershell => Shell::PowerShell,
            Shells::Zsh => Shell::Zsh,
        };
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut crate::Cli::command(), "firmseal", &mut script);
        let script = String::from_utf8_lossy(&script);
        output.value(&script, || script.to_string())
    }
}
