//! `firmseal init`: keys, trust, certificates and settings in a directory.

mod settings;

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use clap::{Args, ValueEnum};
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_core::limits::ROOT_MAX;
use firmseal_core::{Environment, Role, RoleEntry, Root};
use firmseal_fleet::Time;
use firmseal_fleet::operator::Role as OperatorRole;
use firmseal_keys::{DynSigner, FileKey, FileUri, Secret, SecretSource, Signer};
use firmseal_manifest::{Intent, KeyAlgorithm, PublicKey, Purpose};
use firmseal_server::{Pair, create_device_ca, create_server_certificate};
use firmseal_store_local::LocalStore;
use firmseal_trust::{DemandsSpec, Holder, RoleSpec, RootSpec};
use serde_json::json;
use uuid::Uuid;

use crate::error::{CliError, Kind, Result, file};
use crate::key_table::KeyRef;
use crate::keys::KeyUri;
use crate::operator;
use crate::output::Output;
use crate::place::{KeySet, Signing, layout};
use crate::profile::Profile;
use crate::random::random;
use crate::unechoed::unechoed;
use crate::validity::Validity;

/// Make keys, trust and settings for a server in a directory
///
/// For a test environment the keys are encrypted files in the directory.
/// For production they must be in tokens: name them.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal init
  firmseal init /srv/firmseal --host updates.example.com --port 8443
  firmseal init /srv/firmseal --environment production \\
      --root-key 'pkcs11:token=offline;object=root?module-path=/usr/lib/hsm.so&pin-source=prompt' \\
      --release-key \\
      'pkcs11:token=hsm;object=release?module-path=/usr/lib/hsm.so&pin-source=file:/etc/firmseal/hsm.pin'
  firmseal init /srv/firmseal --root root-1.cbor --release-key file:release.pem --secret file:passphrase")]
pub struct Init {
    /// The directory to make
    #[arg(default_value = "firmseal")]
    pub directory: PathBuf,
    /// Names and addresses of the server, for its certificate
    #[arg(long, value_name = "NAME", default_values_t = ["localhost".to_owned(), "127.0.0.1".to_owned()])]
    pub host: Vec<String>,
    /// Port for operators; devices and the public get the next two
    #[arg(long, default_value_t = 8443, value_parser = clap::value_parser!(u16).range(1..=65533))]
    pub port: u16,
    /// Test and production never mix: not their keys, builds or devices
    #[arg(long, value_enum, default_value = "test")]
    pub environment: World,
    /// A root document version 1 that a ceremony has made, instead of one
    /// signed here; the release key must be one of its release role's
    #[arg(long, value_name = "FILE", requires = "release_key", conflicts_with_all = ["root_key", "revocation_key"])]
    pub root: Option<PathBuf>,
    /// The key that signs the root document; made in a file for tests
    #[arg(long, value_name = "URI", value_parser = unechoed::<KeyUri>())]
    pub root_key: Option<KeyUri>,
    /// The key that signs releases; made in a file for tests. Give it again
    /// for more, where the root needs more holders or both kinds of keys
    #[arg(long, value_name = "URI", value_parser = unechoed::<KeyUri>())]
    pub release_key: Vec<KeyUri>,
    /// The key that signs revocations; one is made in a file in a test place,
    /// and a production root without it cannot take a stolen key away
    #[arg(long, value_name = "URI", value_parser = unechoed::<KeyUri>())]
    pub revocation_key: Option<KeyUri>,
    /// The key that signs images in formats with a signature of their own
    #[arg(long, value_name = "URI", value_parser = unechoed::<KeyUri>())]
    pub artifact_key: Option<KeyUri>,
    /// Where passphrases and PINs come from: `file:PATH`, `env:NAME` or
    /// `prompt`; a passphrase file is made if this is left out
    #[arg(long, value_name = "SOURCE", value_parser = unechoed::<SecretSource>())]
    pub secret: Option<SecretSource>,
    /// Where operators and devices reach the server: the loopback interface,
    /// unless --host names more than this machine itself; then every one
    #[arg(long, value_name = "IP")]
    pub address: Option<IpAddr>,
    /// How long the first operator's token is valid, or `never` for one that
    /// does not expire
    #[arg(long, value_name = "SPAN", default_value = "90d")]
    pub token_valid_for: Validity,
}

/// Test or production.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum World {
    /// For development and trial devices
    Test,
    /// For what customers have
    Production,
}

impl From<World> for Environment {
    fn from(world: World) -> Environment {
        match world {
            World::Test => Environment::Test,
            World::Production => Environment::Production,
        }
    }
}

impl Init {
    /// A test place on this machine, for the demo.
    pub fn for_demo(directory: PathBuf) -> Init {
        Init {
            directory,
            host: vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
            port: 8443,
            environment: World::Test,
            root: None,
            root_key: None,
            release_key: Vec::new(),
            revocation_key: None,
            artifact_key: None,
            secret: None,
            address: None,
            token_valid_for: Validity::DEFAULT,
        }
    }

    /// Where the operators' and the devices' listener are.
    fn address(&self) -> IpAddr {
        let here = |name: &String| {
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        };
        match self.address {
            Some(address) => address,
            None if self.host.iter().all(here) => Ipv4Addr::LOCALHOST.into(),
            None => Ipv4Addr::UNSPECIFIED.into(),
        }
    }

    /// Runs the command.
    pub fn run(self, output: &Output) -> Result {
        let made = super::block_on_value(self.make())?;
        let value = json!({
            "directory": self.directory,
            "root": self.directory.join(layout::ROOT),
            "profile": self.directory.join(layout::OPERATOR),
            "release_keys": made.release.iter().map(|key| key.id().to_string()).collect::<Vec<_>>(),
            "address": self.address().to_string(),
            "token_expires": made.token_expires,
        });
        if self.environment == World::Test {
            output.note("keys are encrypted files: for development and tests, never for production");
        } else if self.root.is_none() && self.revocation_key.is_none() {
            output.note(
                "the root has no revocation role: a stolen key can then be taken away by a new root only; \
                 --revocation-key gives it one",
            );
        }
        let directory = self.directory.display();
        let expires = match made.token_expires {
            Some(time) => format!("valid until {time}; `firmseal token create` makes the next one"),
            None => {
                output.note("the first operator's token never expires: make others, then revoke it");
                "valid until it is revoked".to_owned()
            }
        };
        output.value(&value, || {
            format!(
                "made {directory}\n\
                 trust anchor   {directory}/{}   put this into devices\n\
                 release key    {}\n\
                 operators      https://{}:{}\n\
                 devices        https://{}:{}\n\
                 listens on     {}\n\
                 admin token    {expires}\n\
                 next           firmseal serve {directory}\n",
                layout::ROOT,
                made.release.iter().map(|key| key.id().to_string()).collect::<Vec<_>>().join(", "),
                self.host[0],
                self.port,
                self.host[0],
                self.port + 1,
                self.address(),
            )
        })
    }

    /// Makes the whole place beside its final name and renames it: there
    /// is never half a place.
    pub async fn make(&self) -> Result<Made> {
        let target = &self.directory;
        // Looked at without following it: a dangling link is taken as well.
        if std::fs::symlink_metadata(target).is_ok() {
            return Err(CliError::new(Kind::Conflict, "exists")
                .about(target.display())
                .hint("init never overwrites keys; choose another directory"));
        }
        self.check()?;
        let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let parent =
            target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let temporary = parent.join(format!(".{name}.{}", Uuid::new_v4().simple()));
        let result = self.fill(&temporary).await;
        match result {
            Ok(made) => match std::fs::rename(&temporary, target) {
                Ok(()) => Ok(made),
                Err(error) => {
                    let _ = std::fs::remove_dir_all(&temporary);
                    Err(file(target)(error))
                }
            },
            Err(error) => {
                // What was made so far is nobody's yet.
                let _ = std::fs::remove_dir_all(&temporary);
                Err(error)
            }
        }
    }

    fn check(&self) -> Result {
        if self.host.is_empty() {
            return Err(CliError::new(Kind::Usage, "the server needs a name: give --host"));
        }
        let in_files = |uri: &Option<KeyUri>| uri.as_ref().is_none_or(KeyUri::is_development_only);
        let revocation = self.revocation_key.as_ref().is_some_and(KeyUri::is_development_only);
        if self.environment == World::Production
            && ((self.root.is_none() && in_files(&self.root_key))
                || self.release_key.is_empty()
                || self.release_key.iter().any(KeyUri::is_development_only)
                || revocation)
        {
            return Err(CliError::new(Kind::Refused, "production keys live in tokens, not in files")
                .hint("name them with --root-key and --release-key as pkcs11: URIs"));
        }
        Ok(())
    }

    async fn fill(&self, base: &Path) -> Result<Made> {
        for directory in ["", "trust", layout::KEYS, layout::TLS] {
            let path = base.join(directory);
            std::fs::DirBuilder::new().mode(0o700).create(&path).map_err(file(&path))?;
        }
        let secret = match &self.secret {
            Some(source) => source.clone(),
            None => {
                let path = base.join(layout::PASSPHRASE);
                write_secret(&path, &random()?)?;
                SecretSource::File(path)
            }
        };
        let one = |uri: Option<&KeyUri>| self.key(base, uri, "release", KeyAlgorithm::Ed25519, &secret);
        let signers = match &self.release_key[..] {
            [] => vec![one(None)?],
            named => named.iter().map(|uri| one(Some(uri))).collect::<Result<_>>()?,
        };
        let release: Vec<_> = signers.iter().map(|(key, _)| key.dyn_public_key().clone()).collect();
        let artifact = match (&self.artifact_key, self.environment) {
            (None, World::Production) => None,
            (uri, _) => Some(self.key(base, uri.as_ref(), "artifact", KeyAlgorithm::P256, &secret)?.1),
        };

        let store = LocalStore::open(&base.join(layout::STORE))?;
        let root = match &self.root {
            Some(path) => self.ceremony_root(path, &release)?,
            None => self.own_root(base, &store, &secret, &release).await?,
        };
        write(&base.join(layout::ROOT), &root)?;
        let rights =
            operator::Rights { roles: OperatorRole::ALL.into(), team: None, scope: Default::default() };
        let made = operator::create(&store, "admin", rights, self.token_valid_for).await?;
        write_secret(&base.join(layout::TOKEN), &made.secret)?;
        drop(store);

        self.certificates(base)?;
        let signing = Signing {
            root: layout::ROOT.into(),
            secret: match &self.secret {
                // What stands in the settings is relative to them; what was
                // named here is relative to whoever named it.
                Some(SecretSource::File(path)) => SecretSource::File(std::path::absolute(path)?).to_string(),
                Some(source) => source.to_string(),
                None => SecretSource::File(layout::PASSPHRASE.into()).to_string(),
            },
            policy: None,
            keys: KeySet {
                release: signers.into_iter().map(|(_, uri)| KeyRef::Uri(uri)).collect(),
                artifact: artifact.map(KeyRef::Uri),
                delegation: vec![],
            },
            log: None,
            hosts: Vec::new(),
            key: vec![],
            builders: Vec::new(),
            timestamps: Default::default(),
            timestamp: Vec::new(),
            products: Default::default(),
        };
        write_toml(&base.join(layout::SIGNING), SIGNING_HEAD, &signing)?;
        let profile = Profile {
            server: format!("https://{}:{}", self.host[0], self.port),
            authority: format!("{}/server.pem", layout::TLS).into(),
            token: Some(layout::TOKEN.into()),
            workload: None,
            certificate: None,
            key: None,
        };
        write_toml(&base.join(layout::OPERATOR), "# The first operator's profile.\n", &profile)?;
        write(&base.join(layout::SERVER), settings::server(self.address(), self.port).as_bytes())?;
        Ok(Made { release, token_expires: made.credential.expires })
    }

    /// Opens a named key, or makes one in a file.
    fn key(
        &self,
        base: &Path,
        uri: Option<&KeyUri>,
        name: &str,
        algorithm: KeyAlgorithm,
        secret: &SecretSource,
    ) -> Result<(Arc<dyn DynSigner>, KeyUri)> {
        match uri {
            Some(uri) => {
                // What stands in the settings is relative to them; what was
                // named here is relative to whoever named it.
                let uri = match uri.of::<FileUri>() {
                    Some(FileUri(path)) => KeyUri::file(std::path::absolute(path)?),
                    None => uri.clone(),
                };
                Ok((crate::keys::open(&uri, secret)?, uri))
            }
            None => {
                let relative = PathBuf::from(layout::KEYS).join(format!("{name}.pem"));
                let passphrase: Secret = secret.read("new passphrase of the key files")?;
                let key = FileKey::generate(&base.join(&relative), algorithm, &passphrase)?;
                Ok((Arc::new(key), KeyUri::file(relative)))
            }
        }
    }

    /// A root document that others have signed, if this place fits it.
    fn ceremony_root(&self, path: &Path, release: &[PublicKey]) -> Result<Vec<u8>> {
        let about = |error: CliError| error.about(path.display());
        let refused = |why: &str, hint: &str| about(CliError::new(Kind::Refused, why).hint(hint));
        let document = crate::trust::read(path, ROOT_MAX)?.to_vec();
        let root = Root::decode(&document).map_err(|error| about(error.into()))?;
        root.verify(&RustCrypto).map_err(|error| about(error.into()))?;
        if root.version() != 1 {
            let hint = "begin with version 1, and publish the later ones with `firmseal root publish`";
            return Err(refused("is not where its chain begins", hint));
        }
        if root.environment() != self.environment.into() {
            return Err(refused("is for another environment", "say it with --environment"));
        }
        let holds = |entry: &RoleEntry<'_>, own: &PublicKey| {
            entry.role() == Role::Release && entry.keys().any(|(_, key)| key.id(&RustCrypto) == own.id())
        };
        if !release.iter().all(|own| root.roles().any(|entry| holds(&entry, own))) {
            let hint = "`firmseal root show` names the keys; no device would take what this one signs";
            return Err(refused("gives the release role to other keys than --release-key", hint));
        }
        Ok(document)
    }

    /// A root document that the keys of this place sign.
    async fn own_root(
        &self,
        base: &Path,
        store: &LocalStore,
        secret: &SecretSource,
        release: &[PublicKey],
    ) -> Result<Vec<u8>> {
        let (root_key, _) = self.key(base, self.root_key.as_ref(), "root", KeyAlgorithm::Ed25519, secret)?;
        let revocation = match (&self.revocation_key, self.environment) {
            (None, World::Production) => None,
            (uri, _) => Some(self.key(base, uri.as_ref(), "revocation", KeyAlgorithm::Ed25519, secret)?.0),
        };
        let revocation = revocation.as_ref().map(|key| key.dyn_public_key());
        self.root(store, &*root_key, release, revocation).await
    }

    /// Writes and signs root document version 1. Its signing is the first
    /// entry of the log.
    async fn root(
        &self,
        store: &LocalStore,
        key: &dyn DynSigner,
        release: &[PublicKey],
        revocation: Option<&PublicKey>,
    ) -> Result<Vec<u8>> {
        for key in [key.public_key()].into_iter().chain(release).chain(revocation) {
            if let Some(name) = firmseal_keys::known::development_key(key)
                && self.environment == World::Production
            {
                return Err(CliError::new(
                    Kind::Refused,
                    format_args!("a published development key ({name})"),
                )
                .hint("production needs keys of its own"));
            }
        }
        let role = |role, name: &str, keys: &[PublicKey]| RoleSpec {
            role,
            threshold: 1,
            holders: vec![Holder { name: name.to_owned(), keys: keys.to_vec() }],
            products: Vec::new(),
            channels: vec![],
            both_kinds: false,
        };
        let unsigned = RootSpec {
            version: 1,
            lineage: *Uuid::new_v4().as_bytes(),
            environment: self.environment.into(),
            roles: [
                role(Role::Root, "root custodian", std::slice::from_ref(key.public_key())),
                role(Role::Release, "release signer", release),
            ]
            .into_iter()
            .chain(
                revocation.map(|key| role(Role::Revocation, "revocation officer", std::slice::from_ref(key))),
            )
            .collect(),
            minimum_epoch: 0,
            // Said in so many words, as a production root must.
            demands: vec![DemandsSpec::NOTHING],
            closed_logs: vec![],
            sequence_resets: vec![],
        }
        .assemble()?;
        let intent = Intent {
            purpose: Purpose::Root,
            subject: unsigned.digest(),
            keys: vec![key.public_key().id()],
            delegation: None,
            statements: Vec::new(),
            requester: RustCrypto.digest(b"firmseal init"),
            policy: firmseal_sign::gate::policy(),
            context: Vec::new(),
        };
        let logged = crate::keys::logged(store.intents(), intent, key.public_key()).await?;
        let tbs = unsigned.to_be_signed(key.public_key()).map_err(firmseal_trust::RootError::Key)?;
        let signature = key.sign(logged, tbs).await?;
        Ok(unsigned.seal(&[(key.public_key(), signature)])?)
    }

    /// The server's self-signed certificate and the device CA.
    fn certificates(&self, base: &Path) -> Result {
        let tls = base.join(layout::TLS);
        let now = Time::from(SystemTime::now());
        for (name, pair) in [
            ("server", create_server_certificate(&self.host, 365, now)),
            ("device-ca", create_device_ca(now)),
        ] {
            let Pair { certificate, key } = pair.map_err(|error| CliError::new(Kind::Usage, error))?;
            write(&tls.join(format!("{name}.pem")), certificate.as_bytes())?;
            write_secret(&tls.join(format!("{name}.key")), key.trim_end())?;
        }
        Ok(())
    }
}

const SIGNING_HEAD: &str = "# What signs here, and under which root document.\n\
    # Keys: `file:PATH` for development, `pkcs11:...` (RFC 7512) for everything else.\n";

/// What `init` made.
pub struct Made {
    /// The release keys.
    pub release: Vec<PublicKey>,
    /// When the first operator's token expires, if ever.
    pub token_expires: Option<Time>,
}

fn write(path: &Path, content: &[u8]) -> Result {
    std::fs::write(path, content).map_err(file(path))
}

fn write_secret(path: &Path, secret: &str) -> Result {
    let open = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    open.and_then(|mut out| writeln!(out, "{secret}")).map_err(file(path))
}

fn write_toml(path: &Path, head: &str, value: &impl serde::Serialize) -> Result {
    let body = toml::to_string(value).map_err(|error| CliError::new(Kind::Unexpected, error))?;
    write(path, format!("{head}{body}").as_bytes())
}
