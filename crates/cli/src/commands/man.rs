//! `firmseal man`: manual pages, made from the command line itself.

use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory};
use serde_json::json;

use crate::error::{CliError, Kind, Result, file};
use crate::output::Output;

/// Print or write manual pages
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal man | man -l -
  firmseal man release create | man -l -
  firmseal man -o ~/.local/share/man/man1")]
pub struct Man {
    /// The command whose page is printed
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
    /// Write every page into this directory, which is made where needed
    #[arg(long, short, value_name = "DIR", conflicts_with = "command")]
    output: Option<PathBuf>,
}

impl Man {
    /// Runs the command.
    pub fn run(self, output: &Output) -> Result {
        let mut root = crate::Cli::command();
        // Names, versions and inherited options of all commands.
        root.build();
        match &self.output {
            Some(directory) => {
                std::fs::create_dir_all(directory).map_err(file(directory))?;
                let mut pages = Vec::new();
                write_all(&root, "firmseal", directory, &mut pages)?;
                output.note(format_args!("{} pages in {}", pages.len(), directory.display()));
                if output.is_json() { output.value(&json!({ "pages": pages }), String::new) } else { Ok(()) }
            }
            None => {
                let mut command = &root;
                let mut name = "firmseal".to_owned();
                for word in &self.command {
                    command = command.find_subcommand(word).ok_or_else(|| {
                        CliError::new(Kind::NotFound, format_args!("`{name}` has no command `{word}`"))
                            .hint(format!("`{name} --help` lists them"))
                    })?;
                    name = format!("{name} {word}");
                }
                let page = page(command)?;
                let text = String::from_utf8_lossy(&page);
                output.value(&text, || text.to_string())
            }
        }
    }
}

fn write_all(command: &clap::Command, name: &str, directory: &Path, pages: &mut Vec<String>) -> Result {
    // `help` repeats what the pages themselves say.
    if command.get_name() == "help" {
        return Ok(());
    }
    let page_name = format!("{}.1", name.replace(' ', "-"));
    let path = directory.join(&page_name);
    std::fs::write(&path, page(command)?).map_err(file(&path))?;
    pages.push(page_name);
    for subcommand in command.get_subcommands() {
        write_all(subcommand, &format!("{name} {}", subcommand.get_name()), directory, pages)?;
    }
    Ok(())
}

fn page(command: &clap::Command) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    Ok(page)
}
