//! `firmseal oci`: container and node images in registries.

mod attach;
mod inspect;
mod trust_store;
mod verify;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use firmseal_oci::{Credentials, Reference, Registry, Settings};

use super::block_on;
use crate::error::{CliError, Kind, Result, file};
use crate::output::Output;

/// Longest file of credentials.
const CREDENTIALS_MAX: u64 = 1024 * 1024;

/// Bring signatures to container and node images, and verify them there
#[derive(Subcommand)]
#[command(after_help = "Examples:
  firmseal sign image.tar --product worker --version 1.4.0 --epoch 3 -o image.sigstore.json
  firmseal oci attach registry.example.com/nodes/worker:1.4.0 --bundle image.sigstore.json --authority ca.pem
  firmseal oci verify registry.example.com/nodes/worker:1.4.0 --key release.pub.pem --authority ca.pem")]
pub enum Oci {
    /// Bring a bundle to its image
    Attach(attach::Attach),
    /// Verify an image, and print the digest to run
    Verify(Box<verify::Verify>),
    /// Show an image and what refers to it
    Inspect(inspect::Inspect),
}

/// How a registry is reached.
#[derive(Args)]
pub struct Access {
    /// Certificate authorities of the registry, PEM; without them registries on
    /// this machine alone are reached, without TLS
    #[arg(long, value_name = "FILE")]
    authority: Option<PathBuf>,
    /// Credentials by registry, as skopeo and docker keep them
    #[arg(long, value_name = "FILE", env = "REGISTRY_AUTH_FILE")]
    auth_file: Option<PathBuf>,
}

impl Access {
    fn authorities(&self) -> Result<Option<Vec<u8>>> {
        self.authority.as_deref().map(|path| std::fs::read(path).map_err(file(path))).transpose()
    }

    fn registry(&self, image: &Reference) -> Result<Registry> {
        let credentials = match &self.auth_file {
            None => Credentials::default(),
            Some(path) => {
                let text = text(path, CREDENTIALS_MAX)?;
                Credentials::read(&text).map_err(|error| CliError::from(error).about(path.display()))?
            }
        };
        let settings = Settings { authorities: self.authorities()?, credentials, timeout: None };
        let registry = Registry::new(image, settings);
        registry.map_err(|error| CliError::from(error).hint("name its authorities with --authority"))
    }
}

/// A text file that may be so long.
fn text(path: &std::path::Path, max: u64) -> Result<String> {
    use std::io::Read;

    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|opened| opened.take(max + 1).read_to_string(&mut text));
    read.map_err(file(path))?;
    match text.len() as u64 > max {
        true => Err(CliError::new(Kind::Usage, "is longer than such a file is").about(path.display())),
        false => Ok(text),
    }
}

impl Oci {
    /// Runs the command.
    pub fn run(self, output: &Output) -> Result {
        match self {
            Oci::Attach(command) => block_on(command.run(output)),
            Oci::Verify(command) => block_on(command.run(output)),
            Oci::Inspect(command) => block_on(command.run(output)),
        }
    }
}
