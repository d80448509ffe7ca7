//! A person's own key, with which they agree.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;
use firmseal_api::Base64;
use firmseal_api::requests::ApprovalSignature;
use firmseal_keys::{SecretSource, Signer};
use firmseal_manifest::{Agreement, Intent, Purpose, Statement};
use firmseal_sign::PipelineError;

use super::ssh;
use crate::error::{CliError, Kind, Result};
use crate::keys::KeyUri;
use crate::own_key::open_log;
use crate::unechoed::unechoed;

/// With which key a person agrees, and whether they are asked first.
#[derive(Args)]
pub struct Agreeing {
    /// Your key, `file:PATH` or `pkcs11:...`
    #[arg(long, value_name = "URI", value_parser = unechoed::<KeyUri>(), requires = "log", required_unless_present = "ssh")]
    key: Option<KeyUri>,
    /// Where its passphrase or PIN comes from: `file:PATH`, `env:NAME` or
    /// `prompt`
    #[arg(long, value_name = "SOURCE", default_value = "prompt", value_parser = unechoed::<SecretSource>())]
    secret: SecretSource,
    /// The directory of your log, in which this use of the key is entered
    /// first; made if it does not exist
    #[arg(long, value_name = "DIR", requires = "key")]
    log: Option<PathBuf>,
    /// Your SSH key: the private key, or the public one of a key in an agent
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    ssh: Option<PathBuf>,
    /// Agree without being asked
    #[arg(long)]
    yes: bool,
}

impl Agreeing {
    /// Asks whoever sits here, and has the key sign the Statement: one that is
    /// logged first, or an SSH key.
    pub async fn agree(&self, statement: &Statement) -> Result<(Agreement, ApprovalSignature)> {
        if !self.yes && !asked()? {
            return Err(CliError::new(Kind::Refused, "not agreed; nothing was signed"));
        }
        if let Some(path) = &self.ssh {
            let blob = ssh::sign(path, &statement.encode())?;
            return Ok((Agreement::Ssh(blob.clone()), ApprovalSignature::Ssh { signature: Base64(blob) }));
        }
        let (Some(uri), Some(log)) = (&self.key, &self.log) else {
            return Err(CliError::new(Kind::Usage, "name your key with --key and --log, or with --ssh"));
        };
        let signer = crate::keys::open(uri, &self.secret)?;
        let log = open_log(log)?;
        let intent = Intent {
            purpose: Purpose::Statement,
            subject: statement.digest(),
            keys: vec![signer.public_key().id()],
            delegation: None,
            statements: Vec::new(),
            requester: signer.public_key().id().0,
            policy: statement.policy,
            context: Vec::new(),
        };
        let key = signer.public_key().clone();
        let logged = crate::keys::logged(&log, intent, &key).await?;
        let tbs = statement.to_be_signed(&key).map_err(PipelineError::KeyUnfit)?;
        let signature = signer.sign(logged, tbs).await?;
        let bytes = Base64(signature.0.clone());
        Ok((Agreement::Cose { key, signature }, ApprovalSignature::Cose { signature: bytes }))
    }
}

/// Asks a person; without one there is --yes.
fn asked() -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Err(CliError::new(Kind::Usage, "nobody is there to be asked")
            .hint("look at the request first, then agree with --yes"));
    }
    eprint!("do you agree? Type yes: ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}
