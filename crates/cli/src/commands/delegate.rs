//! `firmseal delegate`: a key of the release role certifies another, for a
//! while and for little.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use clap::Args;
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_core::{Covered, Environment, Refusal, Role, Root, Trust, foresee};
use firmseal_fleet::Time;
use firmseal_keys::{DynLog, DynSigner, SecretSource, Signer};
use firmseal_manifest::{
    Delegation, DelegationChain, Intent, KeyId, LinkSpec, ProductId, PublicKey, Purpose,
};
use firmseal_sign::{Chain, PipelineError};
use semver::Version;
use serde_json::json;

use crate::error::{CliError, Kind, Result, file};
use crate::keys::KeyUri;
use crate::newfile;
use crate::output::Output;
use crate::own_key::open_log;
use crate::place::{Place, delegation, in_files};
use crate::profile::Profile;
use crate::record::Record;
use crate::trust;
use crate::unechoed::unechoed;
use crate::units::Span;

/// How far the clocks of this machine and of witnesses may differ: so much
/// earlier than now a delegation begins.
const LEEWAY: u64 = 60;

/// Let another key sign releases, for a while and for little
///
/// A key of the release role, in a token that rarely leaves its safe,
/// certifies a key that a build signs with every day: for products, versions
/// and security epochs that are named, until a time. What is made here is a
/// file, and no secret: it goes beside the key, to `firmseal
/// sign-offline --delegation` or into signing.toml. A delegated key delegates on with
/// --under. This use of the key is logged before it happens: in the log of a
/// place, or in one of your own.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal delegate --place firmseal --key file:firmseal/keys/release.pem --to ci.pub \\
      --product gateway --versions 1.0.0..1.99.0 --epoch-max 3 --index 1 --for 8h -o ci.delegation
  firmseal delegate --log duty --key 'pkcs11:token=hsm;object=release' --to ci.pub \\
      --product gateway --versions 1.4.0..1.4.9 --epoch-max 3 --index 2 \\
      --until 2027-01-31T00:00:00Z -o ci.delegation
  firmseal delegate --log duty --under ci.delegation --key file:ci.pem --to job.pub \\
      --product gateway --versions 1.4.2..1.4.2 --epoch-max 3 --for 10m -o job.delegation")]
pub struct Delegate {
    /// The key that delegates: `file:PATH` or `pkcs11:...`
    #[arg(long, value_name = "URI", value_parser = unechoed::<KeyUri>())]
    key: KeyUri,
    /// Where its passphrase or PIN comes from: `file:PATH`, `env:NAME` or
    /// `prompt`
    #[arg(long, value_name = "SOURCE", default_value = "prompt", value_parser = unechoed::<SecretSource>())]
    secret: SecretSource,
    /// The public key that may sign, as PEM; `firmseal keys show` prints it
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// A product whose releases it may sign; give it again for more
    #[arg(long = "product", value_name = "NAME", required = true)]
    products: Vec<ProductId>,
    /// The lowest and the highest version, both included
    #[arg(long, value_name = "A..B")]
    versions: Versions,
    /// The highest security epoch
    #[arg(long, value_name = "N")]
    epoch_max: u64,
    /// The delegation index, from 1: devices take none below the highest
    /// that they have confirmed. Under another delegation it is that one's
    #[arg(long, value_name = "I", value_parser = clap::value_parser!(u64).range(1..))]
    #[arg(required_unless_present = "under", conflicts_with = "under")]
    index: Option<u64>,
    /// How long it holds
    #[arg(long = "for", value_name = "SPAN", required_unless_present = "until", conflicts_with = "until")]
    span: Option<Span>,
    /// The time until which it holds, in UTC
    #[arg(long, value_name = "TIME")]
    until: Option<Time>,
    /// The delegation of the key that delegates on
    #[arg(long, value_name = "FILE")]
    under: Option<PathBuf>,
    /// The place whose log and root document are used; its server must not
    /// be running
    #[arg(long, value_name = "DIR", required_unless_present = "log", conflicts_with = "log")]
    place: Option<PathBuf>,
    /// The directory of a log of your own, made if it does not exist; the
    /// root document is then the one of the server in the profile
    #[arg(long, value_name = "DIR")]
    log: Option<PathBuf>,
    /// Root document version 1 as devices hold it: the server's must begin
    /// with it
    #[arg(long, value_name = "FILE", requires = "log")]
    anchor: Option<PathBuf>,
    /// The file to write; it must not exist
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

/// A range of versions, both ends included.
#[derive(Clone)]
struct Versions(Version, Version);

impl FromStr for Versions {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Versions, String> {
        let (lowest, highest) = text.split_once("..").unwrap_or_default();
        match (lowest.parse(), highest.parse()) {
            (Ok(lowest), Ok(highest)) if lowest <= highest => Ok(Versions(lowest, highest)),
            (Ok(_), Ok(_)) => Err("the lowest version comes first".to_owned()),
            _ => Err("write it as LOWEST..HIGHEST, as in 1.4.0..1.4.9".to_owned()),
        }
    }
}

/// Where the use of the key is logged, and what is trusted there.
struct Ground {
    chain: Chain,
    log: Arc<dyn DynLog>,
}

impl Delegate {
    /// Runs the command.
    pub async fn run(self, profile: Option<&Path>, output: &Output) -> Result {
        newfile::free(&self.output)?;
        let now = Time::from(SystemTime::now());
        let until = match (self.until, self.span) {
            (Some(until), _) => until,
            (None, span) => now.plus(span.map(|Span(span)| span).unwrap_or_default()),
        };
        if until <= now {
            return Err(CliError::new(Kind::Usage, format_args!("{until} is over; give a time to come")));
        }
        let under = self.under.as_deref().map(delegation).transpose()?;
        let to = public_key(&self.to)?;
        let ground = self.ground(profile).await?;
        let document = ground.chain.root().clone();
        let root = Root::decode(&document)?;
        if root.environment() == Environment::Production && self.key.is_development_only() {
            return Err(in_files());
        }
        let signer = crate::keys::open(&self.key, &self.secret)?;
        let now = now.millis() / 1000;
        let link = LinkSpec {
            not_before: now.saturating_sub(LEEWAY),
            expiry: until.millis() / 1000,
            key: to,
            environment: root.environment(),
            lineage: *root.lineage(),
            products: self.products.clone(),
            versions: (self.versions.0.clone(), self.versions.1.clone()),
            epoch: self.epoch_max,
            // One of the two is there: clap has seen to it.
            index: under.as_ref().map(DelegationChain::index).or(self.index).unwrap_or_default(),
        };
        let plan = Plan { link, by: signer.public_key().clone(), under, now };
        plan.check(&ground.chain)?;
        let chain = plan.sign(&*signer, &ground).await?;
        newfile::write(&self.output, newfile::PUBLIC, &chain.encode())?;
        self.say(&plan, &chain, until, output)
    }

    async fn ground(&self, profile: Option<&Path>) -> Result<Ground> {
        if let Some(directory) = &self.log {
            let client = Profile::read(profile)?.client()?;
            let chain = trust::served_behind(&client, self.anchor.as_deref()).await?;
            let log = Arc::new(open_log(directory)?);
            return Ok(Ground { chain, log });
        }
        let place = Place::open(self.place.as_deref().unwrap_or(Path::new("firmseal")))?;
        let store = place.store()?;
        let chain = place.trust(&store).await?;
        let log = Arc::new(place.log(&store)?);
        Ok(Ground { chain, log })
    }

    fn say(&self, plan: &Plan, chain: &DelegationChain, until: Time, output: &Output) -> Result {
        let products: Vec<_> = self.products.iter().map(ProductId::to_string).collect();
        let (lowest, highest) = &plan.link.versions;
        let (by, to) = (plan.by.id().to_string(), chain.key().to_string());
        let value = json!({
            "file": self.output,
            "key": to,
            "by": by,
            "products": products,
            "versions": [lowest.to_string(), highest.to_string()],
            "epoch_max": self.epoch_max,
            "index": chain.index(),
            "until": until.to_string(),
            "links": chain.links().len(),
        });
        output.value(&value, || {
            Record::new()
                .row("delegated to", &to)
                .row("by", &by)
                .row("products", products.join(", "))
                .row("versions", format_args!("{lowest} to {highest}"))
                .row("epoch", format_args!("up to {}", self.epoch_max))
                .row("index", chain.index())
                .row("until", until)
                .row("file", self.output.display())
                .print()
        })
    }
}

/// A link that is about to be made.
struct Plan {
    link: LinkSpec,
    by: PublicKey,
    under: Option<DelegationChain>,
    now: u64,
}

impl Plan {
    /// Refuses what devices would refuse, as far as it can be known before
    /// the key is used.
    fn check(&self, chain: &Chain) -> Result {
        for key in [self.by.id(), self.link.key.id()] {
            if let Some(version) = chain.revokes_key(&key) {
                return Err(PipelineError::KeyRevoked { key, version }.into());
            }
        }
        let under = self.under.as_ref().map(|chain| vec![chain.links().to_vec()]);
        match under {
            Some(chains) => {
                let member = Delegation { chains }.encode();
                self.foresee(chain, &member, self.by.id()).map_err(|error| {
                    error.hint("a delegation under another one allows no more, and not for longer, than that")
                })
            }
            None => chain
                .ask(|trust| {
                    self.link.products.iter().try_for_each(|product| {
                        let role = trust.root.role(Role::Release, product.as_str())?;
                        let known = role.keys().any(|(_, key)| key.id(&RustCrypto) == self.by.id());
                        if known { Ok(()) } else { Err(Refusal::UnknownSigner) }
                    })?;
                    let taken =
                        |key: &firmseal_core::PublicKey<'_>| key.id(&RustCrypto) == self.link.key.id();
                    let reused = trust.root.roles().any(|role| role.keys().any(|(_, key)| taken(&key)));
                    if reused { Err(Refusal::KeyReused) } else { Ok(()) }
                })
                .map_err(|refusal| {
                    CliError::from(refusal).hint("`firmseal root show` names the keys of each role")
                }),
        }
    }

    /// Asks core of the least and the most that the link promises. That more
    /// holders have to sign beside this one is no fault of the link.
    fn foresee(&self, chain: &Chain, member: &[u8], signer: KeyId) -> Result {
        let (lowest, highest) = (self.link.versions.0.to_string(), self.link.versions.1.to_string());
        let asked = chain.ask(|trust| {
            for product in &self.link.products {
                for (version, now) in [(&lowest, self.now), (&highest, self.link.expiry)] {
                    let covered = Covered {
                        product: product.as_str(),
                        version,
                        epoch: self.link.epoch,
                        index: self.link.index,
                    };
                    let time = firmseal_core::Time { clock: Some(now), ..trust.time };
                    let trust = Trust { time, ..trust };
                    match foresee(&covered, Some(member), &[signer], &trust, 0, &RustCrypto) {
                        Ok(()) | Err(Refusal::ThresholdNotMet { .. }) => {}
                        Err(refusal) => return Err(refusal),
                    }
                }
            }
            Ok(())
        });
        Ok(asked?)
    }

    /// Logs the use of the key, then signs, then asks as devices would.
    async fn sign(&self, signer: &dyn DynSigner, ground: &Ground) -> Result<DelegationChain> {
        // Too long for a device is found here, before anything is logged.
        let tbs = self.link.to_be_signed(&self.by)?;
        let under = self.under.as_ref().map(|chain| Delegation { chains: vec![chain.links().to_vec()] });
        let intent = Intent {
            purpose: Purpose::Delegation,
            subject: self.link.digest(),
            keys: vec![self.by.id()],
            delegation: under.map(|delegation| delegation.digest()),
            statements: Vec::new(),
            requester: RustCrypto.digest(b"firmseal delegate"),
            policy: firmseal_sign::gate::policy(),
            context: Vec::new(),
        };
        // With witnesses, the entry counts once a quorum has seen it.
        let logged = crate::keys::logged(&ground.log, intent, &self.by).await?;
        let signature = signer.sign(logged, tbs).await?;
        let link = self.link.seal(&self.by, &signature)?;
        let chain = match &self.under {
            Some(under) => under.extend(link),
            None => DelegationChain::new(vec![link]),
        };
        let chain = chain.map_err(|error| CliError::new(Kind::Refused, error))?;
        let member = Delegation { chains: vec![chain.links().to_vec()] }.encode();
        self.foresee(&ground.chain, &member, chain.key())?;
        Ok(chain)
    }
}

/// Reads a public key that devices can verify with.
fn public_key(path: &Path) -> Result<PublicKey> {
    let text = std::fs::read_to_string(path).map_err(file(path))?;
    let key = PublicKey::from_text(&text)
        .map_err(|error| CliError::new(Kind::Usage, error).about(path.display()))?;
    match key.as_core() {
        Some(_) => Ok(key),
        None => {
            let what = format!("devices do not verify releases with {}", key.algorithm());
            Err(CliError::new(Kind::Refused, what).about(path.display()))
        }
    }
}
