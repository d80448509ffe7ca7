//! `firmseal keys`: make, list and show keys, and say what becomes of them.
//!
//! What has a colon is a URI and names a key where it lives; what has none
//! is the name of a server's signing key.

mod devicetree;
mod rotate;
mod service;
mod signed;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use clap::{Args, Subcommand, ValueEnum};
use firmseal_core::lms::Parameters;
use firmseal_core::mldsa::Set;
use firmseal_keys::{DynLog, FileKey, FileUri, KeysError, SecretSource, Signer};
use firmseal_manifest::{KeyAlgorithm, KeyId, PublicKey};
use firmseal_store_local::{IntentLog, LmsLeaves, LocalStore};
use serde::Serialize;

use crate::error::{CliError, Kind, Result, file};
use crate::key_table::KeyRef;
use crate::keys::KeyUri;
use crate::newfile::{self, NewFile};
use crate::output::Output;
use crate::own_key::{LOG, open_log};
use crate::place::{Place, layout};
use crate::unechoed::unechoed;

/// Make, list, rotate and disable keys
#[derive(Subcommand)]
#[command(after_help = "Examples:
  firmseal keys list
  firmseal keys disable router-boot-2025 --why 'the laptop is gone'
  firmseal keys generate file:dev.pem --secret prompt
  firmseal keys list \\
      'pkcs11:token=hsm?module-path=/usr/lib/hsm.so&pin-source=file:/etc/firmseal/hsm.pin'")]
pub enum Keys {
    /// Make a key: in a file for development, for everything else where it
    /// cannot be taken from
    #[command(after_help = "Examples:
  firmseal keys generate file:dev.pem --algorithm ed25519 --secret prompt
  firmseal keys generate file:root.pem --algorithm lms --lms-set sha256-h10-w8 \\
      --log custodian --unwatched
  firmseal keys generate --algorithm p256 \\
      'pkcs11:token=hsm;object=release?module-path=/usr/lib/hsm.so&pin-source=file:/etc/firmseal/hsm.pin'
  firmseal keys generate --algorithm p256 --secret file:/etc/firmseal/vault-token \\
      'vault:https://vault.example:8200/transit/keys/release?version=1&ca-file=/etc/firmseal/vault-ca.pem'")]
    Generate(Generate),
    /// Show a key: of a server by its name, or by its URI its public half
    #[command(after_help = "Examples:
  firmseal keys show router-boot-2026
  firmseal keys show file:dev.pem --secret file:passphrase --json
  firmseal keys show file:root.pem --log custodian")]
    Show(Show),
    /// Put a key into U-Boot's devicetree: FIT images have to be signed by it
    #[command(after_help = "Example:
  firmseal keys devicetree u-boot.dtb --public router.pub.pem --hint router -o u-boot.signed.dtb")]
    Devicetree(devicetree::Devicetree),
    /// List the signing keys of a server, or those in a token, a Vault, a TPM
    /// or a KMS
    #[command(after_help = "Examples:
  firmseal keys list
  firmseal keys list \\
      'pkcs11:token=hsm?module-path=/usr/lib/hsm.so&pin-source=file:/etc/firmseal/hsm.pin'
  firmseal keys list --secret file:/etc/firmseal/vault-token \\
      'vault:https://vault.example:8200/transit/keys/any?version=1&ca-file=/etc/firmseal/vault-ca.pem'
  firmseal keys list tpm:0x81000000
  firmseal keys list 'aws-kms:alias/any?region=eu-central-1'")]
    List(List),
    /// Show how often a server's key was used: by hour, product and caller
    #[command(after_help = "Example:
  firmseal keys usage router-boot-2026 --from 2026-11-01 --until 2026-12-01")]
    Usage(service::Usage),
    /// List what a server's key has signed that still counts: what its
    /// successor signs again before it ends
    #[command(after_help = "Example:
  firmseal keys signed router-boot-2026")]
    Signed(signed::Signed),
    /// Make the successor of a key; both sign until the old one is disabled
    #[command(after_help = "Example:
  firmseal keys rotate router-boot-2026 router-boot-2027 --place /srv/firmseal --rotate-by 2028-06-30 \\
      'pkcs11:token=hsm;object=router-boot-2027?module-path=/usr/lib/hsm.so&pin-source=file:/etc/firmseal/hsm.pin'")]
    Rotate(rotate::Rotate),
    /// End that a server's key signs, at once or from a day on
    #[command(after_help = "Examples:
  firmseal keys disable router-boot-2025 --why 'the laptop is gone'
  firmseal keys disable router-boot-2025 --at 2027-01-31 --why 'rotated to router-boot-2026'")]
    Disable(service::Disable),
    /// Let a server's key sign again that was disabled
    #[command(after_help = "Example:
  firmseal keys enable router-boot-2026 --why 'the laptop was found, sealed'")]
    Enable(service::Change),
    /// Have the private half of a disabled key destroyed, in some days
    #[command(after_help = "Example:
  firmseal keys destroy router-boot-2025 --in 30d --why 'no device trusts it any more'")]
    Destroy(service::Destroy),
    /// Cancel that a key is destroyed; it stays disabled
    #[command(after_help = "Example:
  firmseal keys keep router-boot-2025 --why 'a customer still has such devices'")]
    Keep(service::Change),
    /// Split a key among custodians, for the day it is lost
    Escrow(super::ceremony::Escrow),
}

/// Key types that can be made.
#[derive(Clone, Copy, ValueEnum)]
pub enum Algorithm {
    /// Ed25519 (RFC 8032)
    Ed25519,
    /// ECDSA on NIST P-256
    P256,
    /// ECDSA on NIST P-384; for images, not for releases
    P384,
    /// RSA with 3072 bits, PSS with SHA-256
    Rsa3072,
    /// RSA with 4096 bits, PSS with SHA-256
    Rsa4096,
    /// ML-DSA-44 (FIPS 204); in files, and in tokens whose module has it
    #[value(name = "ml-dsa-44", alias = "ml-dsa44")]
    MlDsa44,
    /// ML-DSA-65; in files, and in tokens whose module has it
    #[value(name = "ml-dsa-65", alias = "ml-dsa65")]
    MlDsa65,
    /// ML-DSA-87; in files, and in tokens whose module has it
    #[value(name = "ml-dsa-87", alias = "ml-dsa87")]
    MlDsa87,
    /// LMS (RFC 8554); in files, with --place or --log: a log counts how
    /// often it has signed
    Lms,
}

impl Algorithm {
    /// The key type; `set` is that of LMS keys.
    fn with(self, set: LmsSet) -> KeyAlgorithm {
        match self {
            Algorithm::Ed25519 => KeyAlgorithm::Ed25519,
            Algorithm::P256 => KeyAlgorithm::P256,
            Algorithm::P384 => KeyAlgorithm::P384,
            Algorithm::Rsa3072 => KeyAlgorithm::Rsa(3072),
            Algorithm::Rsa4096 => KeyAlgorithm::Rsa(4096),
            Algorithm::MlDsa44 => KeyAlgorithm::MlDsa(Set::MlDsa44),
            Algorithm::MlDsa65 => KeyAlgorithm::MlDsa(Set::MlDsa65),
            Algorithm::MlDsa87 => KeyAlgorithm::MlDsa(Set::MlDsa87),
            Algorithm::Lms => KeyAlgorithm::Lms(set.0),
        }
    }
}

/// Parameters of an LMS key, as its algorithm is printed.
#[derive(Clone, Copy)]
pub struct LmsSet(Parameters);

impl FromStr for LmsSet {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<LmsSet, String> {
        // The type codes of trees up to the tallest that is made, and of
        // chains (RFC 8554 §4.1 and §5.1, SP 800-208 §4).
        let all = (5..=7).chain(10..=12).flat_map(|tree| (1..=8).map(move |chains| (tree, chains)));
        all.filter_map(|(tree, chains)| Parameters::from_codes(tree, chains))
            .find(|set| KeyAlgorithm::Lms(*set).to_string().strip_prefix("lms-") == Some(text))
            .map(LmsSet)
            .ok_or_else(|| {
                "write HASH-HEIGHT-WIDTH: sha256 or sha256-192, h5, h10 or h15, w1, w2, w4 or w8".to_owned()
            })
    }
}

/// Make a key
#[derive(Args)]
pub struct Generate {
    #[arg(value_parser = unechoed::<KeyUri>(), help = format!("Where it will live: {}", crate::keys::written()))]
    key: KeyUri,
    /// Key type
    #[arg(long, value_enum, default_value = "ed25519")]
    algorithm: Algorithm,
    /// Hash, height and width of an LMS tree: it signs 2^height times, wider
    /// chains make signatures shorter and take longer
    #[arg(long, value_name = "SET", default_value = "sha256-h10-w8")]
    lms_set: LmsSet,
    #[command(flatten)]
    counts: Counts,
    /// Let an LMS key sign where no witnesses stand behind the log. Such a
    /// log must never be restored from a backup
    #[arg(long)]
    unwatched: bool,
    /// Where the passphrase of a file, the PIN of a TPM's key or the token
    /// for a service comes from: `file:PATH`, `env:NAME` or `prompt`
    #[arg(long, default_value = "prompt", value_parser = unechoed::<SecretSource>())]
    secret: SecretSource,
    /// In a token: the token may wrap the key, until `keys escrow` has split
    /// it
    #[arg(long)]
    escrowable: bool,
    /// Write the public key there as PEM
    #[arg(long, value_name = "FILE")]
    public: Option<PathBuf>,
}

/// The log that counts an LMS key's signatures.
#[derive(Args)]
struct Counts {
    /// The place whose log counts the signatures of an LMS key; to make one,
    /// its server must not be running
    #[arg(long, value_name = "DIR", conflicts_with = "log")]
    place: Option<PathBuf>,
    /// The directory of a log of your own that counts them, made if it does
    /// not exist
    #[arg(long, value_name = "DIR")]
    log: Option<PathBuf>,
}

impl Counts {
    /// Opens it, to make a key, and says whether a majority of witnesses
    /// stands behind it.
    fn open(&self) -> Result<Option<(Arc<dyn DynLog>, bool)>> {
        Ok(match (&self.place, &self.log) {
            (Some(place), _) => {
                let place = Place::open(place)?;
                let log = place.log(&place.store()?)?;
                let watched = log.has_majority();
                Some((Arc::new(log), watched))
            }
            (None, Some(directory)) => Some((Arc::new(open_log(directory)?), false)),
            (None, None) => None,
        })
    }

    /// What it says of a key, while others may have it open.
    fn leaves(&self, key: &KeyId) -> Result<Option<LmsLeaves>> {
        let leaves = match (&self.place, &self.log) {
            (Some(place), _) => LocalStore::leaves_at(&Place::open(place)?.path(layout::STORE), key)?,
            (None, Some(directory)) => IntentLog::leaves_at(&directory.join(LOG), key)?,
            (None, None) => return Ok(None),
        };
        match leaves {
            Some(leaves) => Ok(Some(leaves)),
            None => Err(CliError::new(Kind::NotFound, format_args!("key {key} was not made for this log"))),
        }
    }
}

/// Show a key's public half
#[derive(Args)]
pub struct Show {
    #[arg(value_parser = unechoed::<KeyRef>(),
        help = format!("The name of a server's key, or where a key is: {}", crate::keys::written()))]
    key: KeyRef,
    /// Where the passphrase, PIN or token comes from: `file:PATH`, `env:NAME` or `prompt`
    #[arg(long, default_value = "prompt", value_parser = unechoed::<SecretSource>())]
    secret: SecretSource,
    #[command(flatten)]
    counts: Counts,
}

/// List keys
#[derive(Args)]
pub struct List {
    /// Where: the URI of any key there, whether it exists or not, or of a
    /// whole token; without one, the server of the profile
    #[arg(value_parser = unechoed::<KeyUri>())]
    place: Option<KeyUri>,
    /// Where the PIN or token comes from that the URI does not name: `file:PATH`, `env:NAME` or `prompt`
    #[arg(long, value_parser = unechoed::<SecretSource>(), requires = "place")]
    secret: Option<SecretSource>,
}

/// A key as it is printed.
#[derive(Serialize)]
struct Shown {
    key: String,
    id: String,
    algorithm: String,
    /// SubjectPublicKeyInfo, PEM.
    public: String,
    /// Signs releases and root documents, which devices verify.
    for_devices: bool,
    /// How often an LMS key can still sign, if its log was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    signatures_left: Option<u32>,
    /// How often it could when it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    signatures: Option<u32>,
}

impl Shown {
    fn new(uri: &KeyUri, key: &PublicKey, counts: &Counts) -> Result<Shown> {
        let leaves = match key.algorithm() {
            KeyAlgorithm::Lms(_) => counts.leaves(&key.id())?,
            _ => None,
        };
        Ok(Shown {
            key: uri.to_string(),
            id: key.id().to_string(),
            algorithm: key.algorithm().to_string(),
            public: key.to_pem()?,
            for_devices: key.as_core().is_some(),
            signatures_left: leaves.map(|leaves| leaves.left()),
            signatures: match key.algorithm() {
                KeyAlgorithm::Lms(set) => Some(1 << set.height()),
                _ => None,
            },
        })
    }

    fn print(&self) -> String {
        let signs = match (self.signatures, self.signatures_left) {
            (None, _) => String::new(),
            (Some(all), Some(left)) if left < all.div_ceil(10) => {
                format!("signs      {left} more times of {all}: make the next key and rotate to it\n")
            }
            (Some(all), Some(left)) => format!("signs      {left} more times of {all}\n"),
            (Some(all), None) => format!("signs      {all} times; how often it has, its log knows (--log)\n"),
        };
        format!(
            "key        {}\nid         {}\nalgorithm  {}{}\n{signs}{}",
            self.key,
            self.id,
            self.algorithm,
            if self.for_devices { "" } else { " (for images only: devices do not verify releases with it)" },
            self.public
        )
    }
}

impl Keys {
    /// Runs the subcommand.
    pub async fn run(self, profile: Option<&Path>, output: &Output) -> Result {
        match self {
            Keys::Generate(command) => command.run(output).await,
            Keys::Show(Show { key: KeyRef::Name(name), .. }) => service::show(&name, profile, output).await,
            Keys::Show(Show { key: KeyRef::Uri(key), secret, counts }) => {
                let signer = crate::keys::open(&key, &secret)?;
                let shown = Shown::new(&key, signer.dyn_public_key(), &counts)?;
                output.value(&shown, || shown.print())
            }
            Keys::Devicetree(command) => command.run(output),
            Keys::List(List { place: None, .. }) => service::list(profile, output).await,
            Keys::List(List { place: Some(place), secret }) => at(&place, secret.as_ref(), output),
            Keys::Usage(command) => command.run(profile, output).await,
            Keys::Signed(command) => command.run(profile, output).await,
            Keys::Rotate(command) => command.run(output).await,
            Keys::Disable(command) => command.run(profile, output).await,
            Keys::Enable(command) => command.enable(profile, output).await,
            Keys::Destroy(command) => command.run(profile, output).await,
            Keys::Keep(command) => command.keep(profile, output).await,
            Keys::Escrow(command) => command.run(output),
        }
    }
}

impl Generate {
    async fn run(self, output: &Output) -> Result {
        let algorithm = self.algorithm.with(self.lms_set);
        let public = match (algorithm, self.key.of::<FileUri>()) {
            (KeyAlgorithm::Lms(set), Some(file)) if !self.escrowable => self.with_log(&file.0, set).await?,
            _ => crate::keys::generate(&self.key, algorithm, self.escrowable, &self.secret)?,
        };
        if self.key.is_development_only() {
            output.note(format_args!(
                "made {} key {} in {}, for development only",
                public.algorithm(),
                public.id(),
                self.key
            ));
        }
        if self.escrowable {
            output.note(
                "whoever has the PIN can take the key out until `firmseal keys escrow` has ended that: \
                 do it now",
            );
        }
        let shown = Shown::new(&self.key, &public, &self.counts)?;
        if let Some(path) = &self.public {
            let mut new = NewFile::create(path, newfile::PUBLIC)?;
            new.write_all(shown.public.as_bytes()).map_err(file(path))?;
            new.finish()?;
        }
        output.value(&shown, || shown.print())
    }

    /// Makes an LMS key, in a file and for a log.
    async fn with_log(&self, path: &Path, set: Parameters) -> Result<PublicKey> {
        let passphrase = self.secret.read(&format!("new passphrase of {}", path.display()))?;
        let (log, watched) = self.counts.open()?.ok_or(KeysError::NeedsLog)?;
        if !watched && !self.unwatched {
            let what = "no majority of witnesses stands behind this log, so nobody can tell when it was restored \
                        from a backup and signs twice with one leaf";
            return Err(CliError::new(Kind::Refused, what)
                .hint("name witnesses in signing.toml, or say --unwatched and never restore the log"));
        }
        let key = FileKey::generate_lms(path, set, &passphrase, &log, !self.unwatched).await?;
        Ok(key.public_key().clone())
    }
}

fn at(place: &KeyUri, secret: Option<&SecretSource>, output: &Output) -> Result {
    let rows = crate::keys::list(place, secret)?;
    output.table(&rows, &["ALGORITHM", "ID", "KEPT", "KEY"], |row| {
        vec![row.algorithm.clone(), row.id.clone(), row.kept.clone(), row.key.clone()]
    })
}
