//! `firmseal export tuf`: releases as a TUF repository, for clients that know
//! nothing of Firmseal.

mod catalogue;
mod custodian;
mod repository;
mod settings;
mod signing;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use clap::{Args, Subcommand};
use firmseal_core::{Environment, Root, Tree};
use firmseal_fleet::{Product, Time};
use firmseal_keys::{DynLog, SecretSource, Signer};
use firmseal_manifest::{ReleaseId, TreeBuilder};
use firmseal_sign::Chain;
use firmseal_tuf::{Content, Draft, Export, Held, Released, Role, Target, release};
use serde_json::{Value, json};

use self::catalogue::{Catalogue, Recorded, not_recorded};
use self::repository::Repository;
use self::settings::Settings;
use self::signing::Keys;
use crate::error::Result;
use crate::keys::KeyUri;
use crate::newfile;
use crate::output::Output;
use crate::own_key::open_log;
use crate::place::{Place, in_files};
use crate::profile::Profile;
use crate::record::Record;
use crate::trust;
use crate::unechoed::unechoed;

/// Hand releases to clients of other systems
#[derive(Subcommand)]
#[command(after_help = "Example:
  firmseal export tuf /srv/tuf --settings tuf.toml --place firmseal")]
pub enum Exports {
    /// Write a TUF 1.0 repository, or bring it up to date
    Tuf(Box<Tuf>),
    /// Show the next root of a TUF repository, and sign it with a key of yours
    TufRoot(custodian::SignRoot),
}

impl Exports {
    /// Runs the subcommand.
    pub async fn run(self, profile: Option<&Path>, output: &Output) -> Result {
        match self {
            Exports::Tuf(tuf) => tuf.run(profile, output).await,
            Exports::TufRoot(sign) => sign.run(output).await,
        }
    }
}

/// Write a TUF 1.0 repository, or bring it up to date
///
/// The repository has the payloads and envelopes of every verified release
/// that devices would install under the newest root document: core is asked
/// about each, and each payload is checked against the tree that was signed.
/// What is withdrawn or revoked leaves it. A run without a change signs a new
/// timestamp and no more. The keys are the repository's own, named in
/// tuf.toml; each use is logged before it happens. Clients begin with
/// metadata/1.root.json, which you give them.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal export tuf /srv/tuf --settings tuf.toml --place firmseal
  firmseal export tuf /srv/tuf --settings tuf.toml --log tuf-log --anchor root-1.cbor
  firmseal export tuf /srv/tuf --settings tuf.toml --place firmseal \\
      --key 'pkcs11:token=hsm;object=tuf-root' --key 'pkcs11:token=hsm;object=tuf-targets'

A settings file:
  sign = [\"file:snapshot.pem\", \"file:timestamp.pem\"]   # keys that every export opens
  secret = \"file:passphrase\"                           # of those keys, or env:NAME
  channels = [\"stable\"]                                # and products = [...]; all if left out
  root = { keys = [\"root-1.pub\", \"root-2.pub\"], threshold = 2, valid = \"365d\" }
  targets = { keys = [\"targets.pub\"], valid = \"90d\" }
  snapshot = { keys = [\"snapshot.pub\"], valid = \"7d\" }
  timestamp = { keys = [\"timestamp.pub\"], valid = \"1d\" }")]
pub struct Tuf {
    /// The repository's directory: `metadata` and `targets` are made in it
    repository: PathBuf,
    /// Its settings, `tuf.toml`: the public keys of each role, thresholds,
    /// and how long metadata is good
    #[arg(long, value_name = "FILE")]
    settings: PathBuf,
    /// A key of the repository's, `file:PATH` or `pkcs11:...`, beside those
    /// that the settings open; give it again for more
    #[arg(long, value_name = "URI", value_parser = unechoed::<KeyUri>())]
    key: Vec<KeyUri>,
    /// Where passphrases and PINs come from: `file:PATH`, `env:NAME` or
    /// `prompt`; what the settings say if left out
    #[arg(long, value_name = "SOURCE", value_parser = unechoed::<SecretSource>())]
    secret: Option<SecretSource>,
    /// The place whose releases are exported, and whose log is used; its
    /// server must not be running
    #[arg(long, value_name = "DIR", required_unless_present = "log", conflicts_with = "log")]
    place: Option<PathBuf>,
    /// The directory of a log of your own, made if it does not exist; the
    /// releases are then those of the server in the profile
    #[arg(long, value_name = "DIR", requires = "anchor")]
    log: Option<PathBuf>,
    /// Root document version 1 as devices hold it: the server's must begin
    /// with it
    #[arg(long, value_name = "FILE", requires = "log")]
    anchor: Option<PathBuf>,
    /// Write the next root there, for people to sign in turns with `firmseal
    /// export tuf-root`, and do nothing else; the file must not exist
    #[arg(long, value_name = "FILE", conflicts_with = "root")]
    root_draft: Option<PathBuf>,
    /// The next root as somebody has signed it; give every copy
    #[arg(long, value_name = "FILE")]
    root: Vec<PathBuf>,
    /// Look at every target that is there already, and write anew what is
    /// damaged
    #[arg(long)]
    check: bool,
    /// Give metadata this version or a higher one, and go on where what is
    /// there cannot be read: for a repository that was lost or put back from
    /// a backup. Choose a number above all that clients have seen
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(2..1 << 53))]
    renumber_from: Option<u64>,
}

/// Where releases and trust come from, and where uses of keys are logged.
struct Ground {
    chain: Chain,
    catalogue: Catalogue,
    log: Arc<dyn DynLog>,
}

/// A release that is exported, with the trees over its payloads.
struct Admitted {
    said: Released,
    envelope: Vec<u8>,
    trees: Vec<Tree>,
}

/// Releases that could have been exported, and why they are not.
type LeftOut = Vec<(ReleaseId, String)>;

impl Tuf {
    /// Runs the command.
    pub async fn run(self, profile: Option<&Path>, output: &Output) -> Result {
        let settings = Settings::read(&self.settings)?;
        let given = custodian::gather(&self.root)?;
        let ground = self.ground(profile).await?;
        let production = Root::decode(ground.chain.root())?.environment() == Environment::Production;
        apart(&settings, &ground.chain, production)?;
        let repository = Repository::open(&self.repository)?;
        let verify = signing::verifies;
        let held = Held::read(|name| repository.metadata(name), self.renumber_from.is_some(), &verify)?;

        let now = Time::from(SystemTime::now());
        if let Some(path) = &self.root_draft {
            let draft = Draft::root(&held, &settings.wanted, now);
            newfile::write(path, newfile::PUBLIC, &draft.encode())?;
            let value = json!({ "root": draft.version(), "draft": path });
            return output
                .value(&value, || format!("root {} to be signed: {}\n", draft.version(), path.display()));
        }
        let keys = self.keys(&settings, &ground.chain, production)?;
        let (releases, left_out) = releases(&ground, &settings).await?;
        for (id, why) in &left_out {
            output.note(format_args!("{id} is left out: {why}"));
        }
        let said: Vec<_> = releases.iter().map(|release| release.said.clone()).collect();
        let offered = release::offered(&said)?;
        let targets = offered.iter().map(|(name, target, _)| (name.clone(), target.clone()));
        let wanted = settings.wanted.with(targets.collect::<BTreeMap<_, _>>());
        let from = self.renumber_from.unwrap_or_default();
        // From here on it is known that the keys are enough.
        let mut export = Export::begin(&held, &wanted, keys.ids(), now, from, given, &verify)?;

        for (name, target, content) in &offered {
            let stands = held.target(name).as_ref() == Some(target)
                && repository.has_target(&target.file(name), target.length);
            if self.check || !stands {
                write_target(&repository, &ground.catalogue, &releases, name, target, content).await?;
            }
        }
        while let Some(draft) = export.draft() {
            let signatures = keys.sign(&draft, &ground.log).await?;
            export.signed(draft, &signatures)?;
        }
        if !export.is_smooth() {
            output.note(
                "the former root's keys have not signed everything: clients that look right now may have to look again",
            );
        }
        let files = export.publication();
        for file in &files {
            repository.write(&format!("metadata/{}", file.name), &file.bytes)?;
        }
        let written: Vec<_> = files.iter().map(|file| format!("metadata/{}", file.name)).collect();
        self.say(&export, &written, releases.len(), wanted.targets().len(), &left_out, output)
    }

    async fn ground(&self, profile: Option<&Path>) -> Result<Ground> {
        if let Some(directory) = &self.log {
            let client = Profile::read(profile)?.client()?;
            let chain = trust::served_behind(&client, self.anchor.as_deref()).await?;
            let log = Arc::new(open_log(directory)?);
            return Ok(Ground { chain, catalogue: Catalogue::Server(Box::new(client)), log });
        }
        let place = Place::open(self.place.as_deref().unwrap_or(Path::new("firmseal")))?;
        let store = place.store()?;
        let chain = place.trust(&store).await?;
        let log = Arc::new(place.log(&store)?);
        Ok(Ground { chain, catalogue: Catalogue::Place(store), log })
    }

    /// Opens the keys.
    fn keys(&self, settings: &Settings, chain: &Chain, production: bool) -> Result<Keys> {
        let uris = || settings.sign.iter().chain(&self.key);
        if production && uris().any(KeyUri::is_development_only) {
            return Err(in_files());
        }
        let secret = self.secret.as_ref().or(settings.secret.as_ref()).unwrap_or(&SecretSource::Prompt);
        let mut signers = Vec::new();
        for uri in uris() {
            let signer = crate::keys::open(uri, secret)?;
            let id = signer.public_key().id();
            if let Some(version) = chain.revokes_key(&id) {
                return Err(firmseal_sign::PipelineError::KeyRevoked { key: id, version }.into());
            }
            signers.push(signer);
        }
        Ok(Keys::new(signers))
    }

    fn say(
        &self,
        export: &Export<'_>,
        written: &[String],
        releases: usize,
        targets: usize,
        left_out: &LeftOut,
        output: &Output,
    ) -> Result {
        let expires = |role| export.expires(role).map(|time| time.to_string()).unwrap_or_default();
        let role = |role: Role| {
            let value = json!({ "version": export.version(role), "expires": expires(role) });
            (role.to_string(), value)
        };
        let left: Vec<Value> =
            left_out.iter().map(|(id, why)| json!({ "release": id.to_string(), "why": why })).collect();
        let value = json!({
            "repository": self.repository,
            "releases": releases,
            "targets": targets,
            "roles": Value::Object(Role::ALL.into_iter().map(role).collect()),
            "written": written,
            "left_out": left,
        });
        output.value(&value, || {
            let mut record = Record::new()
                .row("repository", self.repository.display())
                .row("releases", releases)
                .row("targets", targets);
            for role in Role::ALL {
                let line = format!("version {}, until {}", export.version(role), expires(role));
                record = record.row(role.name(), line);
            }
            record.row("written", written.join(", ")).print()
        })
    }
}

/// None of the repository's keys is one of Firmseal's own.
fn apart(settings: &Settings, chain: &Chain, production: bool) -> Result {
    Role::ALL.into_iter().try_for_each(|role| {
        let mut keys = settings.wanted.authority(role).keys.iter();
        keys.try_for_each(|key| signing::stands_apart(key, role, chain, production))
    })
}

/// The releases that go into the repository: those that core admits as they
/// were recorded. A registry that says otherwise is not believed: clients
/// that know nothing of envelopes install what the metadata names.
async fn releases(ground: &Ground, settings: &Settings) -> Result<(Vec<Admitted>, LeftOut)> {
    let (mut admitted, mut left_out) = (Vec::new(), LeftOut::new());
    let mut recorded = ground.catalogue.releases().await?;
    recorded.retain(|release| settings.exports(&release.said.product, &release.said.channel));
    let products = ground.catalogue.products(&recorded).await?;
    for mut release in recorded {
        let envelope = ground.catalogue.envelope(&mut release).await?;
        let Some(product) = products.get(&release.said.product) else { continue };
        match judge(&ground.chain, product, &release, &envelope) {
            Ok(trees) => admitted.push(Admitted { said: release.said, envelope: envelope.to_vec(), trees }),
            Err(why) => left_out.push((release.id, why)),
        }
    }
    Ok((admitted, left_out))
}

/// Asks core about a release; the trees over its payloads if it stands.
fn judge(
    chain: &Chain,
    product: &Product,
    release: &Recorded,
    envelope: &[u8],
) -> std::result::Result<Vec<Tree>, String> {
    let said = &release.said;
    let standing = chain
        .standing(product, envelope)
        .map_err(|refusal| format!("devices refuse it: {refusal} (refusal {})", refusal.code()))?;
    let numbers = standing.manifest == said.manifest
        && standing.channel == said.channel.as_str()
        && standing.version == said.version.to_string()
        && (standing.sequence, standing.epoch) == (said.sequence, said.epoch);
    let components = standing.components.iter().map(|(name, tree)| (name.as_str(), tree.size()));
    let same = components.eq(said.components.iter().map(|own| (own.name.as_str(), own.size)));
    if !numbers || !same {
        return Err("its record is not what was signed".to_owned());
    }
    said.files(0).map_err(|error| error.to_string())?;
    Ok(standing.components.into_iter().map(|(_, tree)| tree).collect())
}

/// Writes a target, checked on its way: a payload against the tree that was
/// signed and against the digest that the metadata will name.
async fn write_target(
    repository: &Repository,
    catalogue: &Catalogue,
    releases: &[Admitted],
    name: &str,
    target: &Target,
    content: &Content,
) -> Result {
    let mut staged = repository.stage()?;
    match content {
        Content::Bytes(bytes) => staged.write(bytes)?,
        Content::Envelope(release) => staged.write(&releases[*release].envelope)?,
        Content::Payload(release, place) => {
            let release = &releases[*release];
            let (component, tree) = (&release.said.components[*place], &release.trees[*place]);
            let mut builder = TreeBuilder::new(tree.block());
            let write = |piece: &[u8]| {
                builder.update(piece);
                staged.write(piece)
            };
            catalogue.payload(component, write).await?;
            if builder.finish()?.tree != *tree {
                return Err(not_recorded(&component.payload));
            }
        }
    }
    staged.place(&format!("targets/{}", target.file(name)))
}
