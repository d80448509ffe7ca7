//! Writing a revocation: a request for others to sign, or a document that
//! keys at hand have signed.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use firmseal_api::client::Client;
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_core::{Root, Trust};
use firmseal_keys::{DynSigner, SecretSource, Signer};
use firmseal_manifest::{Intent, PublicKey, Purpose, Signature};
use firmseal_sign::Chain;
use firmseal_store_local::IntentLog;
use firmseal_trust::{RevocationSpec, RevokeError, RootError};
use serde_json::{Value, json};

use crate::error::{CliError, Kind, Result};
use crate::keys::KeyUri;
use crate::newfile;
use crate::output::Output;
use crate::own_key::open_log;
use crate::record::Record;
use crate::trust;
use crate::unechoed::unechoed;

/// Who signs, and where it is written.
#[derive(Args)]
pub struct Author {
    /// The file to write; it must not exist
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// A key of the revocation role, `file:PATH` or `pkcs11:...`; give it
    /// again for more. Without one, a request is written for others to sign
    #[arg(long, value_name = "URI", value_parser = unechoed::<KeyUri>(), requires_all = ["log", "anchor"])]
    key: Vec<KeyUri>,
    /// Where passphrases and PINs come from: `file:PATH`, `env:NAME` or
    /// `prompt`
    #[arg(long, value_name = "SOURCE", default_value = "prompt", value_parser = unechoed::<SecretSource>())]
    secret: SecretSource,
    /// Root document version 1 as devices hold it, from where you keep it:
    /// the server's must begin with it
    #[arg(long, value_name = "FILE")]
    anchor: Option<PathBuf>,
    /// The directory of the log in which this use of the keys is entered
    /// first; made if it does not exist
    #[arg(long, value_name = "DIR", requires = "key")]
    log: Option<PathBuf>,
}

/// The next revocation, before it is signed.
pub struct Draft {
    /// The trust in force.
    pub chain: Chain,
    /// What it will say.
    pub spec: RevocationSpec,
}

impl Author {
    /// The next revocation of a server, which must begin with the anchor.
    pub async fn draft(&self, client: &Client) -> Result<Draft> {
        Draft::after(trust::served_behind(client, self.anchor.as_deref()).await?)
    }
}

impl Draft {
    /// One that carries every entry of the newest on.
    pub fn after(chain: Chain) -> Result<Draft> {
        let mut spec = Err(RevokeError::NoRole(chain.root_version()));
        chain.ask(|trust: Trust<'_>| {
            spec = RevocationSpec::after(trust.root, trust.revocation);
            Ok(())
        })?;
        Ok(Draft { spec: spec?, chain })
    }
}

impl Author {
    /// Writes the request or the signed document, and says what it says.
    /// `more` is printed with it for programs.
    pub async fn write(&self, draft: Draft, more: Value, output: &Output) -> Result {
        let Draft { chain, spec } = draft;
        newfile::free(&self.output)?;
        let root = Root::decode(chain.root())?;
        let document = match &self.log {
            None => {
                spec.check(&root, &[])?;
                spec.assemble().unsigned()
            }
            Some(log) => {
                let open = |uri: &KeyUri| crate::keys::open(uri, &self.secret);
                let signers = self.key.iter().map(open).collect::<Result<Vec<_>>>()?;
                let ids: Vec<_> = signers.iter().map(|signer| signer.public_key().id()).collect();
                spec.check_signers(&root, &ids)?;
                sign(&spec, &root, &signers, &open_log(log)?).await?
            }
        };
        newfile::write(&self.output, newfile::PUBLIC, &document)?;
        let signed = self.log.is_some();
        let mut value = json!({
            "file": self.output,
            "signed": signed,
            "version": spec.version,
            "keys": spec.keys.iter().map(|entry| entry.key.to_string()).collect::<Vec<_>>(),
            "releases": spec.releases.iter().map(ToString::to_string).collect::<Vec<_>>(),
        });
        if let (Some(value), Value::Object(more)) = (value.as_object_mut(), more) {
            value.extend(more);
        }
        output.value(&value, || {
            let path = self.output.display();
            let next = match signed {
                true => format!("firmseal revoke publish {path}"),
                false => "have it signed by the revocation role, then publish it".to_owned(),
            };
            Record::new()
                .row(if signed { "signed" } else { "unsigned" }, format_args!("revocation {}", spec.version))
                .row("takes away", format_args!("{} keys, {} releases", spec.keys.len(), spec.releases.len()))
                .row("file", path)
                .row("next", next)
                .print()
        })
    }
}

/// Logs each use of a key, then signs, and verifies the outcome as devices
/// do.
pub async fn sign(
    spec: &RevocationSpec,
    root: &Root<'_>,
    signers: &[Arc<dyn DynSigner>],
    log: &IntentLog,
) -> Result<Vec<u8>> {
    let unsigned = spec.assemble();
    let mut keys: Vec<_> = signers.iter().map(|signer| signer.public_key().id()).collect();
    keys.sort();
    let intent = Intent {
        purpose: Purpose::Revocation,
        subject: unsigned.digest(),
        keys,
        delegation: None,
        statements: Vec::new(),
        requester: RustCrypto.digest(b"firmseal revoke"),
        policy: firmseal_sign::gate::policy(),
        context: Vec::new(),
    };
    let mut signatures: Vec<(&PublicKey, Signature)> = Vec::new();
    for signer in signers {
        // Every use of a key has an entry of its own.
        let key = signer.public_key();
        let logged = crate::keys::logged(log, intent.clone(), key).await?;
        let tbs = unsigned.to_be_signed(key).map_err(RootError::Key)?;
        signatures.push((key, signer.sign(logged, tbs).await?));
    }
    Ok(unsigned.seal(root, &signatures)?)
}

impl From<RevokeError> for CliError {
    fn from(error: RevokeError) -> CliError {
        let kind = match &error {
            RevokeError::Widens { .. } => Kind::Conflict,
            RevokeError::NoRole(_) => Kind::NotFound,
            _ => Kind::Refused,
        };
        CliError::new(kind, error)
    }
}
