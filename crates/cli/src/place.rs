//! A place: the directory that `init` makes and `serve` runs in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use firmseal_core::crypto::RustCrypto;
use firmseal_core::{Environment, Root};
use firmseal_evidence::{Attests, Builder, Builders};
use firmseal_keys::SecretSource;
use firmseal_keys::known::development_key;
use firmseal_manifest::chain::CHAIN_MAX;
use firmseal_manifest::{DelegationChain, KeyName, ProductId, PublicKey};
use firmseal_sign::{Chain, Pipeline, TrustError};
use firmseal_store::{Store, TrustDocuments, TrustKind};
use firmseal_store_local::{LocalStore, Successor};
use firmseal_witness::{PublicLog, Quorum, QuorumSettings};
use serde::{Deserialize, Serialize};

use crate::commands::policy;
use crate::error::{CliError, Kind, Result, file};
use crate::key_hosts::{KeyHostRow, KeyHosts};
use crate::key_opening::{Absent, Opening};
use crate::key_table::{self, KeyRef, KeyTable};
use crate::keys::{self, KeyUri};
use crate::timestamps::{Demand, Sources, TimestampRow};
use crate::trust;

/// Files of a place, relative to it.
pub mod layout {
    /// Listeners, limits and the device CA.
    pub const SERVER: &str = "server.toml";
    /// Root document and keys.
    pub const SIGNING: &str = "signing.toml";
    /// Profile of the first operator.
    pub const OPERATOR: &str = "operator.toml";
    /// Token of the first operator.
    pub const TOKEN: &str = "operator.token";
    /// The root document, version 1.
    pub const ROOT: &str = "trust/root.cbor";
    /// Database, blobs and intent log.
    pub const STORE: &str = "store";
    /// Key files.
    pub const KEYS: &str = "keys";
    /// Which key was found under which URI.
    pub const SEEN: &str = "keys-seen.toml";
    /// Passphrase of the key files.
    pub const PASSPHRASE: &str = "keys/passphrase";
    /// Certificates of the server.
    pub const TLS: &str = "tls";
}

/// The file `signing.toml`: what signs here, and under which root.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signing {
    /// The root document that releases must satisfy.
    pub root: PathBuf,
    /// Where passphrases and PINs come from: `file:PATH`, `env:NAME`,
    /// `prompt`.
    pub secret: String,
    /// The policy that is asked beside the gate until people have agreed to
    /// one (`firmseal policy propose`): a directory of `.cedar` files, or one
    /// file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PathBuf>,
    /// The keys of every product without keys of its own.
    pub keys: KeySet,
    /// The witnesses of the log, and how many must have seen it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<QuorumSettings>,
    /// Key hosts, which hold keys of this place.
    #[serde(default, rename = "keyhost", skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<KeyHostRow>,
    /// Keys with names and rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<KeyTable>,
    /// Builders whose statements about builds count.
    #[serde(default, rename = "builder", skip_serializing_if = "Vec::is_empty")]
    pub builders: Vec<BuilderRow>,
    /// Whether signatures of artifacts leave without a timestamp.
    #[serde(default)]
    pub timestamps: Demand,
    /// Authorities that give timestamps, in the order in which they are
    /// asked.
    #[serde(default, rename = "timestamp", skip_serializing_if = "Vec::is_empty")]
    pub timestamp: Vec<TimestampRow>,
    /// Keys for single products.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub products: BTreeMap<ProductId, KeySet>,
}

/// The keys of a product.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeySet {
    /// Sign releases: as many holders as the root's threshold demands.
    pub release: Vec<KeyRef>,
    /// Signs images in formats with a signature of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<KeyRef>,
    /// Delegations under which release keys sign that are not the role's
    /// own: files that `firmseal delegate` wrote.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub delegation: Vec<PathBuf>,
}

impl KeySet {
    fn uris(&self) -> impl Iterator<Item = &KeyUri> {
        self.release.iter().chain(&self.artifact).filter_map(KeyRef::uri)
    }
}

impl Signing {
    /// Every key that is named.
    pub fn uris(&self) -> impl Iterator<Item = &KeyUri> {
        let sets = std::iter::once(&self.keys).chain(self.products.values());
        sets.flat_map(KeySet::uris).chain(self.key.iter().map(|table| &table.uri))
    }

    /// The same, but for those with tables of these names.
    fn uris_beside(&self, gone: &BTreeSet<KeyName>) -> impl Iterator<Item = &KeyUri> {
        let of_gone =
            |uri: &&KeyUri| self.key.iter().any(|table| gone.contains(&table.name) && table.uri == **uri);
        self.uris().filter(move |uri| !of_gone(uri))
    }
}

/// A builder: `[[builder]]`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuilderRow {
    /// Its id, as its provenance spells it.
    pub id: String,
    /// Its public key, PEM or a line of OpenSSH, or the file that holds it.
    pub key: String,
    /// The products that it builds; all, if none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub products: Vec<ProductId>,
    /// What it may say: provenance, tests, sbom, reproduction, scan,
    /// evaluation.
    #[serde(default = "usual")]
    pub attests: Vec<Attests>,
}

fn usual() -> Vec<Attests> {
    Builder::USUAL.to_vec()
}

/// An existing place.
pub struct Place {
    directory: PathBuf,
}

impl Place {
    /// The place in a directory.
    pub fn open(directory: &Path) -> Result<Place> {
        if !directory.join(layout::SERVER).is_file() {
            return Err(CliError::new(
                Kind::NotFound,
                format_args!("{} is no place of Firmseal's", directory.display()),
            )
            .hint(format!("`firmseal init {}` makes one", directory.display())));
        }
        Ok(Place { directory: directory.to_owned() })
    }

    /// A path in the place.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.directory.join(relative)
    }

    /// A key's URI as it stands in the settings, seen from here.
    pub fn own(&self, uri: &KeyUri) -> KeyUri {
        uri.within(&self.directory)
    }

    /// Opens the store. One process has it at a time.
    pub fn store(&self) -> Result<LocalStore> {
        Ok(LocalStore::open(&self.path(layout::STORE))?)
    }

    /// Waits for the store, which another process has.
    pub fn successor(&self) -> Result<Successor> {
        Ok(Successor::of(&self.path(layout::STORE))?)
    }

    /// Reads `signing.toml`.
    pub fn signing(&self) -> Result<Signing> {
        let path = self.path(layout::SIGNING);
        let text = std::fs::read_to_string(&path).map_err(file(&path))?;
        toml::from_str(&text)
            .map_err(|error| CliError::new(Kind::Usage, error.message()).about(path.display()))
    }

    /// The root document. It is checked here: a server with a broken one
    /// would start, and refuse every release.
    pub fn root(&self) -> Result<Vec<u8>> {
        let path = self.path(self.signing()?.root);
        let document = std::fs::read(&path).map_err(file(&path))?;
        Root::decode(&document)
            .and_then(|root| root.verify(&RustCrypto))
            .map_err(|refusal| CliError::from(refusal).about(path.display()))?;
        Ok(document)
    }

    /// Where secrets come from.
    pub fn secret(&self, signing: &Signing) -> Result<SecretSource> {
        Ok(match signing.secret.parse::<SecretSource>()? {
            SecretSource::File(path) => SecretSource::File(self.path(path)),
            other => other,
        })
    }

    /// The log of this store, with the witnesses that `signing.toml` names.
    /// They are asked from now on.
    pub fn log(&self, store: &LocalStore) -> Result<PublicLog> {
        let log = store.intents().clone();
        let Some(settings) = self.signing()?.log else { return Ok(PublicLog::alone(log)) };
        let quorum = Quorum::new(&settings, &self.directory)
            .map_err(|error| CliError::new(Kind::Usage, error).about(self.path(layout::SIGNING).display()))?;
        Ok(PublicLog::watched(log, quorum))
    }

    /// The trust in force, without opening a key: what was published here,
    /// or the root document of the settings where nothing was.
    pub async fn trust(&self, store: &LocalStore) -> Result<Chain> {
        let anchor = Bytes::from(self.root()?);
        let documents = store.trust_documents(TrustKind::Root).await?;
        let mut roots: Vec<_> = documents.into_iter().map(|document| document.bytes).collect();
        if roots.is_empty() {
            roots.push(anchor.clone());
        }
        let version = Root::decode(&anchor)?.version();
        let revocation = store.newest_trust_document(TrustKind::Revocation).await?;
        match Chain::verify(roots, revocation.map(|document| document.bytes))? {
            Some(chain) if chain.version(version) == Some(&anchor) => Ok(chain),
            _ => Err(TrustError::OtherAnchor(version).into()),
        }
    }

    /// The signing pipeline over this store and its log, its keys open, or
    /// waited for.
    pub async fn pipeline(&self, store: &LocalStore, log: &PublicLog, absent: Absent) -> Result<Pipeline> {
        let signing = self.signing()?;
        let secret = self.secret(&signing)?;
        let root = self.root()?;
        let environment = match Root::decode(&root)?.environment() {
            Environment::Test => firmseal_fleet::Environment::Test,
            Environment::Production => firmseal_fleet::Environment::Production,
        };
        let mut uris = signing.uris();
        let production = environment == firmseal_fleet::Environment::Production;
        if production && uris.any(KeyUri::is_development_only) {
            return Err(in_files().about(self.path(layout::SIGNING).display()));
        }
        let opener = KeyHosts::of(self, &signing, store.intents(), environment)?.opener(secret.clone());
        let gone = keys::gone(self, store, &signing.key, &secret).await?;
        let opening = Opening::begin(self, opener, signing.uris_beside(&gone), absent)?;
        let keyring = key_table::keyring(self, &signing, &opening, environment, &gone)?;
        if absent == Absent::Awaited {
            opening.remember()?;
        }
        let shared: Arc<dyn Store> = Arc::new(store.clone());
        let builders = self.builders(&signing.builders, production)?;
        let mut pipeline =
            Pipeline::new(shared, Arc::new(log.clone()), root, keyring).with_builders(builders);
        if let Some(sources) = Sources::of(self, &signing.timestamp, signing.timestamps)? {
            pipeline = pipeline.with_timestamps(Arc::new(sources));
        }
        if log.is_watched() {
            pipeline = pipeline.with_proofs(Arc::new(log.clone()));
        }
        pipeline = pipeline.with_policy_reader(Arc::new(firmseal_policy::Reader));
        if let Some(policy) = &signing.policy {
            // In force until people have agreed to one, and never again. One that cannot be read stops the start: without it more would
            // be signed than anybody wanted.
            pipeline = pipeline.with_policy(Arc::new(policy::files::policy(&self.path(policy))?));
        }
        Ok(pipeline)
    }
}

impl Place {
    /// The builders of a configuration, their keys read.
    fn builders(&self, rows: &[BuilderRow], production: bool) -> Result<Builders> {
        let mut builders = Vec::new();
        for row in rows {
            let wrong = |error: String| {
                CliError::new(Kind::Usage, format_args!("builder `{}`: {error}", row.id))
                    .about(self.path(layout::SIGNING).display())
            };
            let given = row.key.contains("-----BEGIN ") || row.key.contains(' ');
            let text = match given {
                true => row.key.clone(),
                false => {
                    let path = self.path(&row.key);
                    std::fs::read_to_string(&path).map_err(file(&path))?
                }
            };
            let key = PublicKey::from_text(&text).map_err(|error| wrong(error.to_string()))?;
            if let Some(published) = development_key(&key).filter(|_| production) {
                return Err(wrong(format!("its key is {published}, with which everybody can sign")));
            }
            builders.push(Builder {
                id: row.id.clone(),
                key,
                products: row.products.clone(),
                attests: row.attests.clone(),
            });
        }
        Builders::new(builders)
            .map_err(|error| CliError::new(Kind::Usage, error).about(self.path(layout::SIGNING).display()))
    }
}

/// Reads a delegation's file.
pub fn delegation(path: &Path) -> Result<DelegationChain> {
    let bytes = trust::read(path, CHAIN_MAX)?;
    DelegationChain::decode(&bytes).map_err(|error| CliError::new(Kind::Usage, error).about(path.display()))
}

/// Production keys live in tokens.
pub fn in_files() -> CliError {
    CliError::new(Kind::Refused, "a production root is never served with keys in files")
        .hint("name keys in tokens, as pkcs11: URIs")
}
