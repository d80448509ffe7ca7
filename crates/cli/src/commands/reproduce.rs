//! `firmseal reproduce`: two builds of one source, compared.

use std::fs::File;
use std::path::{Path, PathBuf};

use clap::Args;
use firmseal_evidence::Reproduction;
use firmseal_formats::compare::Likeness;
use firmseal_keys::SecretSource;
use firmseal_manifest::ArtifactId;
use serde_json::json;

use crate::error::{CliError, Kind, Result, file};
use crate::keys::KeyUri;
use crate::newfile;
use crate::output::Output;
use crate::own_key::{KeyAndLog, sha256};
use crate::unechoed::unechoed;

/// Compare two builds of the same source
///
/// Says whether they are the same, byte for byte or in everything that
/// their own signatures cover, and else where they differ first. With a key
/// it writes the result down as a signed in-toto statement about the first
/// file, to be handed in with `--evidence`. Exit code 0: the same; 3: they
/// differ.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal reproduce firmware.bin rebuilt/firmware.bin
  firmseal reproduce firmware.bin rebuilt/firmware.bin --commit \"$(git rev-parse HEAD)\" \\
      --key file:rebuilder.key --secret file:rebuilder.pass --log rebuilder-log -o reproduction.json")]
pub struct Reproduce {
    /// The build that is to be signed
    first: PathBuf,
    /// The other build of the same source
    second: PathBuf,
    /// The commit that both were built from
    #[arg(long, value_name = "ID")]
    commit: Option<String>,
    /// The key that signs the result, `file:PATH` or `pkcs11:...`
    #[arg(long, value_name = "URI", value_parser = unechoed::<KeyUri>(), requires = "log", requires = "output")]
    key: Option<KeyUri>,
    /// Where its passphrase or PIN comes from: `file:PATH`, `env:NAME` or
    /// `prompt`
    #[arg(long, value_name = "SOURCE", default_value = "prompt", value_parser = unechoed::<SecretSource>())]
    secret: SecretSource,
    /// Your own log, a directory: every use of the key is written there first
    #[arg(long, value_name = "DIR", requires = "key")]
    log: Option<PathBuf>,
    /// The signed statement to write
    #[arg(long, short, value_name = "FILE", requires = "key")]
    output: Option<PathBuf>,
}

impl Reproduce {
    /// Runs the command.
    pub async fn run(self, output: &Output) -> Result {
        if let Some(path) = &self.output {
            newfile::free(path)?;
        }
        let open = |path: &Path| File::open(path).map_err(file(path));
        let (first, second) = (open(&self.first)?, open(&self.second)?);
        let (artifact, other) = (digest(&first, &self.first)?, digest(&second, &self.second)?);
        let compared = firmseal_formats::compare(&first, &second)?;
        let same = compared.likeness != Likeness::Different;
        if let (Some(path), Some(key), Some(log)) = (&self.output, self.key, self.log) {
            let name = self.first.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let reproduction = Reproduction {
                artifact,
                name,
                other,
                same,
                commit: self.commit.clone(),
                differences: compared.differences.clone(),
            };
            let statement = reproduction.statement();
            let key = KeyAndLog { key, secret: self.secret, log }.open()?;
            newfile::write(path, newfile::PUBLIC, &key.attest(&statement).await?)?;
        }
        let word = match compared.likeness {
            Likeness::Identical => "identical",
            Likeness::ButSignatures => "the same but for their signatures",
            Likeness::Different => "different",
        };
        let value = json!({
            "same": same,
            "likeness": word,
            "artifact": artifact,
            "other": other,
            "differences": compared.differences,
            "statement": self.output,
        });
        output.value(&value, || {
            let mut text = format!("{word}\n");
            for difference in &compared.differences {
                text.push_str(&crate::record::plain(difference));
                text.push('\n');
            }
            text
        })?;
        match same {
            true => Ok(()),
            false => Err(CliError::new(Kind::Refused, "the two builds differ")
                .hint("look for time stamps, paths and the order of files in the build")),
        }
    }
}

fn digest(mut source: &File, path: &Path) -> Result<ArtifactId> {
    sha256(&mut source).map(ArtifactId).map_err(file(path))
}
