//! The file `tuf.toml`: whose keys sign a TUF repository, how many of them,
//! and how long that is good.

use std::path::{Path, PathBuf};
use std::time::Duration;

use firmseal_keys::SecretSource;
use firmseal_manifest::{ChannelName, ProductId, PublicKey};
use firmseal_tuf::{Authority, Key, Role, RoleSettings, TufError, Wanted};
use serde::{Deserialize, Deserializer};

use crate::error::{CliError, Kind, Result, file};
use crate::keys::KeyUri;
use crate::units::Span;

/// What is exported, and who signs for it. Paths are relative to the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    products: Vec<ProductId>,
    #[serde(default)]
    channels: Vec<ChannelName>,
    secret: Option<String>,
    #[serde(default)]
    sign: Vec<KeyUri>,
    root: WrittenRole,
    targets: WrittenRole,
    snapshot: WrittenRole,
    timestamp: WrittenRole,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRole {
    keys: Vec<PathBuf>,
    #[serde(default = "one")]
    threshold: u64,
    #[serde(default, deserialize_with = "span")]
    valid: Option<Duration>,
}

fn one() -> u64 {
    1
}

fn span<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse::<Span>().map(|Span(span)| Some(span)).map_err(serde::de::Error::custom)
}

/// How long metadata is good unless the file says otherwise: the oftener a
/// key is used, the shorter a client can be kept in the past.
const fn days(role: Role) -> u64 {
    match role {
        Role::Root => 365,
        Role::Targets => 90,
        Role::Snapshot => 7,
        Role::Timestamp => 1,
    }
}

/// The settings, read.
pub struct Settings {
    /// The roles, checked.
    pub wanted: Wanted,
    /// The keys that are opened at every export.
    pub sign: Vec<KeyUri>,
    /// Where their passphrases and PINs come from.
    pub secret: Option<SecretSource>,
    products: Vec<ProductId>,
    channels: Vec<ChannelName>,
}

impl Settings {
    /// Reads the file, and the public keys that it names.
    pub fn read(path: &Path) -> Result<Settings> {
        let text = std::fs::read_to_string(path).map_err(file(path))?;
        let about = |error: CliError| error.about(path.display());
        let written: Written = toml::from_str(&text).map_err(|error| {
            // By its number: the line itself may hold a PIN that somebody put
            // into a URI, and errors end in the logs of machines.
            let line = error.span().map_or(0, |span| text[..span.start].matches('\n').count() + 1);
            about(CliError::new(Kind::Usage, format_args!("line {line}: {}", error.message())))
        })?;
        let base = path.parent().unwrap_or(Path::new(""));
        let mut keys = Vec::new();
        for (role, own) in written.roles() {
            for key in &own.keys {
                keys.push((role, public_key(&base.join(key))?));
            }
        }
        let wanted = Wanted::new(|role| {
            let own = keys.iter().filter(|(of, _)| *of == role).map(|(_, key)| key.clone());
            let settings = written.role(role);
            let valid = settings.valid.unwrap_or(Duration::from_secs(days(role) * 86_400));
            RoleSettings { authority: Authority::new(own.collect(), settings.threshold), valid }
        });
        let wanted = wanted.map_err(|error| about(CliError::new(Kind::Usage, error)))?;
        let secret = written.secret.as_deref().map(str::parse::<SecretSource>).transpose()?;
        Ok(Settings {
            wanted,
            secret: secret.map(|secret| match secret {
                SecretSource::File(path) => SecretSource::File(base.join(path)),
                other => other,
            }),
            sign: written.sign.iter().map(|uri| uri.within(base)).collect(),
            products: written.products,
            channels: written.channels,
        })
    }

    /// Whether releases of this product and channel go into the repository.
    pub fn exports(&self, product: &ProductId, channel: &ChannelName) -> bool {
        (self.products.is_empty() || self.products.contains(product))
            && (self.channels.is_empty() || self.channels.contains(channel))
    }
}

impl Written {
    fn role(&self, role: Role) -> &WrittenRole {
        match role {
            Role::Root => &self.root,
            Role::Targets => &self.targets,
            Role::Snapshot => &self.snapshot,
            Role::Timestamp => &self.timestamp,
        }
    }

    fn roles(&self) -> impl Iterator<Item = (Role, &WrittenRole)> {
        Role::ALL.into_iter().map(|role| (role, self.role(role)))
    }
}

fn public_key(path: &Path) -> Result<Key> {
    let about = |error: CliError| error.about(path.display());
    let text = std::fs::read_to_string(path).map_err(file(path))?;
    let key = PublicKey::from_pem(&text)
        .map_err(|error| about(CliError::new(Kind::Usage, error).hint("`firmseal keys show` prints it")))?;
    Key::new(key).map_err(|error| about(error.into()))
}

impl From<TufError> for CliError {
    fn from(error: TufError) -> CliError {
        let hint = match &error {
            TufError::Malformed { .. }
            | TufError::Missing(_)
            | TufError::Unsigned(_)
            | TufError::Differs(_) => Some(
                "somebody else wrote there: put the repository back as it was published last; if that is lost, \
                 --renumber-from goes on behind what clients have seen",
            ),
            TufError::NotEnoughKeys { .. } => {
                Some("name more keys with --key; nothing was signed or written")
            }
            _ => None,
        };
        let out = CliError::new(Kind::Refused, error);
        match hint {
            Some(hint) => out.hint(hint),
            None => out,
        }
    }
}
