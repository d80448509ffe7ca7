//! `firmseal export tuf-root`: a root of a TUF repository, signed by one of
//! several people, on a machine that need not have a network.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use firmseal_keys::{DynLog, SecretSource, Signer};
use firmseal_tuf::{Document, Draft, Key, Role, Root};
use serde_json::{Value, json};

use super::signing::Keys;
use crate::error::{CliError, Kind, Result};
use crate::keys::KeyUri;
use crate::newfile;
use crate::output::Output;
use crate::own_key::open_log;
use crate::record::Record;
use crate::trust;
use crate::unechoed::unechoed;

/// Longest root that is read.
const ROOT_MAX: usize = 1 << 20;

/// Show the next root of a TUF repository, and sign it with a key of yours
///
/// `firmseal export tuf --root-draft` writes what people sign in turns, on
/// machines of their own; `--root` takes the copies that come back. Without
/// --key this shows what the root says and signs nothing.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal export tuf-root 2.draft.json --before 1.root.json
  firmseal export tuf-root 2.draft.json --before 1.root.json \\
      --key 'pkcs11:token=alice;object=tuf-root' --log alice-log -o 2.alice.json")]
pub struct SignRoot {
    /// The draft
    draft: PathBuf,
    /// The root before it, as the repository has it; its keys sign too
    #[arg(long, value_name = "FILE")]
    before: Option<PathBuf>,
    /// A key of the root role, `file:PATH` or `pkcs11:...`
    #[arg(long, value_name = "URI", value_parser = unechoed::<KeyUri>(), requires_all = ["log", "output"])]
    key: Option<KeyUri>,
    /// Where its passphrase or PIN comes from: `file:PATH`, `env:NAME` or
    /// `prompt`
    #[arg(long, value_name = "SOURCE", default_value = "prompt", value_parser = unechoed::<SecretSource>())]
    secret: SecretSource,
    /// The directory of the log in which this use of the key is entered
    /// first; made if it does not exist
    #[arg(long, value_name = "DIR", requires = "key")]
    log: Option<PathBuf>,
    /// The file to write, the draft with your signature; it must not exist
    #[arg(long, short, value_name = "FILE", requires = "key")]
    output: Option<PathBuf>,
}

impl SignRoot {
    /// Runs the command.
    pub async fn run(self, output: &Output) -> Result {
        let document = document(&self.draft)?;
        let root = root(document.clone(), &self.draft)?;
        let before = match &self.before {
            Some(path) => Some(self::root(self::document(path)?, path)?),
            None => None,
        };
        let version = document.version();
        let told = before.as_ref().map_or(0, |before| before.document().version());
        if told.checked_add(1) != Some(version) {
            let what = match told {
                0 => format!("root {version} follows another one"),
                told => format!("root {version} does not follow root {told}"),
            };
            return Err(CliError::new(Kind::Usage, what).about(self.draft.display()).hint(format!(
                "name the root before it with --before: {}.root.json of the repository",
                version.saturating_sub(1)
            )));
        }
        if let (Some(key), Some(log), Some(path)) = (&self.key, &self.log, &self.output) {
            newfile::free(path)?;
            let signer = crate::keys::open(key, &self.secret)?;
            let own = Key::new(signer.public_key().clone())?;
            let holds = |root: &Root| root.authority(Role::Root).key(own.id()).is_some();
            if !holds(&root) && !before.as_ref().is_some_and(holds) {
                let what = format!("key {} is no root key, there or before", own.public().id());
                return Err(CliError::new(Kind::Refused, what).about(self.draft.display()));
            }
            let log: Arc<dyn DynLog> = Arc::new(open_log(log)?);
            let draft = Draft::of(document, own);
            let mut signatures = Keys::new(vec![signer]).sign(&draft, &log).await?;
            let Some((own, signature)) = signatures.pop() else {
                return Err(CliError::new(Kind::Unexpected, "the key did not sign"));
            };
            newfile::write(path, newfile::PUBLIC, &draft.sealed(&own, &signature).encode())?;
        }
        self.say(&root, before.as_ref(), output)
    }

    fn say(&self, root: &Root, before: Option<&Root>, output: &Output) -> Result {
        let document = root.document();
        let ids = |role| -> Vec<String> {
            root.authority(role).keys.iter().map(|key| key.public().id().to_string()).collect()
        };
        let role = |role: Role| {
            let value = json!({ "threshold": root.authority(role).threshold, "keys": ids(role) });
            (role.to_string(), value)
        };
        let value = json!({
            "version": document.version(),
            "expires": document.expires().to_string(),
            "roles": Value::Object(Role::ALL.into_iter().map(role).collect()),
            "signed": self.output,
        });
        output.value(&value, || {
            let mut record = Record::new().row("root", document.version()).row("until", document.expires());
            for role in Role::ALL {
                let threshold = root.authority(role).threshold;
                record = record.row(role.name(), format_args!("{threshold} of"));
                for key in &root.authority(role).keys {
                    let known = before.is_none_or(|before| before.authority(role).key(key.id()).is_some());
                    let new = if known { "" } else { " (new)" };
                    record = record.row("", format_args!("{}{new}", key.public().id()));
                }
            }
            record.maybe("signed", self.output.as_ref().map(|path| path.display())).print()
        })
    }
}

/// Copies of one root, with the signatures of all.
pub fn gather(files: &[PathBuf]) -> Result<Option<Document>> {
    let mut whole: Option<Document> = None;
    for path in files {
        let copy = document(path)?;
        match &mut whole {
            None => whole = Some(copy),
            Some(whole) => whole.merge(copy).map_err(|error| CliError::from(error).about(path.display()))?,
        }
    }
    Ok(whole)
}

fn document(path: &Path) -> Result<Document> {
    let bytes = trust::read(path, ROOT_MAX)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    Ok(Document::decode(Role::Root, &name, &bytes)?)
}

fn root(document: Document, path: &Path) -> Result<Root> {
    Root::of(document)
        .ok_or_else(|| CliError::new(Kind::Refused, "is no root that Firmseal writes").about(path.display()))
}
