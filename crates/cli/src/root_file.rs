//! Root files: what a root document will say, as people write it in TOML.

use std::ops::Range;
use std::path::Path;

use firmseal_core::Environment;
use firmseal_core::limits::ROOT_MAX;
use firmseal_keys::known::development_key;
use firmseal_manifest::ids::parse_digest;
use firmseal_manifest::{ChannelName, ProductId, PublicKey};
use firmseal_trust::change::Entry;
use firmseal_trust::{ClosedLogSpec, Demands, DemandsSpec, Holder, Role, RoleSpec, RootSpec, revoke};
use serde::Deserialize;
use toml::Spanned;
use uuid::Uuid;

use crate::error::{CliError, Kind, Result};
use crate::trust;

const ROLES: [Role; 7] =
    [Role::Root, Role::Release, Role::Approver, Role::Log, Role::Witness, Role::Revocation, Role::Recovery];

const NOT_BOTH: &str =
    "the role demands both kinds of keys, so each holder has a classical and a post-quantum one";

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Written {
    environment: Option<Spanned<String>>,
    lineage: Option<Spanned<String>>,
    version: Option<Spanned<u64>>,
    minimum_epoch: Option<u64>,
    #[serde(default)]
    role: Vec<WrittenRole>,
    #[serde(default)]
    remove_role: Vec<RemovedRole>,
    demands: Option<Vec<WrittenDemands>>,
    #[serde(default)]
    closed_log: Vec<WrittenLog>,
    #[serde(default)]
    sequence_reset: Vec<WrittenReset>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRole {
    role: Spanned<String>,
    threshold: u64,
    #[serde(default)]
    products: Vec<ProductId>,
    #[serde(default)]
    channels: Vec<ChannelName>,
    #[serde(default, rename = "both-kinds")]
    both_kinds: bool,
    holder: Vec<WrittenHolder>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenHolder {
    name: String,
    keys: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RemovedRole {
    role: Spanned<String>,
    #[serde(default)]
    products: Vec<ProductId>,
    #[serde(default)]
    channels: Vec<ChannelName>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenDemands {
    proof: bool,
    approvals: bool,
    delegation: bool,
    owner: bool,
    #[serde(default)]
    products: Vec<ProductId>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenLog {
    origin: String,
    key: Spanned<String>,
    size: u64,
    hash: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenReset {
    product: ProductId,
    sequence: u64,
}

/// A file, its text at hand for errors that name a line.
struct File<'a> {
    path: &'a Path,
    text: String,
    current: Option<&'a RootSpec>,
}

/// Reads a whole specification: of a first root document, or of the one
/// that follows `current`.
pub fn whole(path: &Path, current: Option<&RootSpec>) -> Result<RootSpec> {
    let (file, written) = File::read(path, current)?;
    if let Some(removed) = written.remove_role.first() {
        return Err(file.wrong(
            removed.role.span(),
            "`remove-role` belongs to a change; a whole specification leaves the role out",
        ));
    }
    let environment = match (&written.environment, current) {
        (Some(word), _) => file.environment(word)?,
        (None, Some(current)) => current.environment,
        (None, None) => return Err(file.wrong(0..0, "say `environment = \"test\"` or `\"production\"`")),
    };
    let lineage = match (&written.lineage, current) {
        (Some(lineage), _) => file.lineage(lineage)?,
        (None, Some(current)) => current.lineage,
        (None, None) => *Uuid::new_v4().as_bytes(),
    };
    let spec = RootSpec {
        version: file.version(&written)?,
        lineage,
        environment,
        roles: written.role.iter().map(|role| file.role(role)).collect::<Result<_>>()?,
        minimum_epoch: written.minimum_epoch.unwrap_or_default(),
        demands: written.demands.iter().flatten().map(demands).collect(),
        closed_logs: written.closed_log.iter().map(|log| file.closed_log(log)).collect::<Result<_>>()?,
        sequence_resets: resets(&written),
    };
    file.check(spec)
}

/// Reads what changes against `current`. A role that is named replaces the
/// one of the same products and channels; demands replace all demands; closed logs are
/// added. Resets are not carried on: devices would lower their floors again.
pub fn changed(path: &Path, current: &RootSpec) -> Result<RootSpec> {
    let (file, written) = File::read(path, Some(current))?;
    let mut spec = RootSpec { version: file.version(&written)?, ..current.clone() };
    if let Some(word) = &written.environment {
        spec.environment = file.environment(word)?;
    }
    if let Some(lineage) = &written.lineage {
        spec.lineage = file.lineage(lineage)?;
    }
    for removed in &written.remove_role {
        let role = file.role_name(&removed.role)?;
        let gone = Entry::new(role, removed.products.clone(), removed.channels.clone());
        let before = spec.roles.len();
        spec.roles.retain(|own| Entry::of(own) != gone);
        if spec.roles.len() == before {
            let why = "there is no such role to remove; check its products and channels";
            return Err(file.wrong(removed.role.span(), why));
        }
    }
    for role in &written.role {
        let role = file.role(role)?;
        match spec.roles.iter_mut().find(|own| Entry::of(own) == Entry::of(&role)) {
            Some(own) => *own = role,
            None => spec.roles.push(role),
        }
    }
    if let Some(epoch) = written.minimum_epoch {
        spec.minimum_epoch = epoch;
    }
    if let Some(said) = &written.demands {
        spec.demands = said.iter().map(demands).collect();
    }
    for log in &written.closed_log {
        spec.closed_logs.push(file.closed_log(log)?);
    }
    spec.sequence_resets = resets(&written);
    file.check(spec)
}

fn demands(written: &WrittenDemands) -> DemandsSpec {
    let WrittenDemands { proof, approvals, delegation, owner, products } = written;
    let demands = Demands { proof: *proof, approvals: *approvals, delegation: *delegation, owner: *owner };
    DemandsSpec { demands, products: products.clone() }
}

fn resets(written: &Written) -> Vec<(ProductId, u64)> {
    written.sequence_reset.iter().map(|reset| (reset.product.clone(), reset.sequence)).collect()
}

impl<'a> File<'a> {
    fn read(path: &'a Path, current: Option<&'a RootSpec>) -> Result<(File<'a>, Written)> {
        let bytes = trust::read(path, 16 * ROOT_MAX)?;
        let text = String::from_utf8(bytes.into())
            .map_err(|_| CliError::new(Kind::Usage, "is not text").about(path.display()))?;
        let file = File { path, text, current };
        match toml::from_str(&file.text) {
            Ok(written) => Ok((file, written)),
            Err(error) => Err(file.wrong(error.span().unwrap_or_default(), error.message())),
        }
    }

    /// An error that names the line.
    fn wrong(&self, at: Range<usize>, why: impl std::fmt::Display) -> CliError {
        let line = self.text.get(..at.start).unwrap_or_default().matches('\n').count() + 1;
        CliError::new(Kind::Usage, format_args!("{}: line {line}: {why}", self.path.display()))
            .hint("docs/how-to/ceremony.md shows a whole file; `firmseal ceremony spec` writes one of a root")
    }

    fn environment(&self, word: &Spanned<String>) -> Result<Environment> {
        match word.get_ref().as_str() {
            "test" => Ok(Environment::Test),
            "production" => Ok(Environment::Production),
            _ => Err(self.wrong(word.span(), "an environment is \"test\" or \"production\"")),
        }
    }

    fn lineage(&self, text: &Spanned<String>) -> Result<[u8; 16]> {
        let bad = || self.wrong(text.span(), "a lineage is 32 hexadecimal digits; leave it out to draw one");
        match Uuid::try_parse(text.get_ref()) {
            Ok(bytes) => Ok(*bytes.as_bytes()),
            Err(_) => Err(bad()),
        }
    }

    fn version(&self, written: &Written) -> Result<u64> {
        let next = self.current.map_or(1, |current| current.version.saturating_add(1));
        match &written.version {
            Some(said) if *said.get_ref() != next => {
                Err(self
                    .wrong(said.span(), format_args!("this document will be version {next}; leave it out")))
            }
            _ => Ok(next),
        }
    }

    fn role_name(&self, word: &Spanned<String>) -> Result<Role> {
        ROLES.into_iter().find(|role| revoke::name(*role) == word.get_ref()).ok_or_else(|| {
            let names: Vec<&str> = ROLES.into_iter().map(revoke::name).collect();
            self.wrong(
                word.span(),
                format_args!("no role `{}`; roles are {}", word.get_ref(), names.join(", ")),
            )
        })
    }

    fn role(&self, written: &WrittenRole) -> Result<RoleSpec> {
        let role = self.role_name(&written.role)?;
        let count = written.holder.len() as u64;
        if written.threshold == 0 || written.threshold > count {
            let why =
                format!("{} of {count} holders cannot agree: a threshold is 1 to {count}", written.threshold);
            return Err(self.wrong(written.role.span(), why));
        }
        let holder = |holder: &WrittenHolder| {
            let keys = holder.keys.iter().map(|key| self.key(key)).collect::<Result<_>>()?;
            let own = Holder { name: holder.name.clone(), keys };
            if written.both_kinds && !own.has_both_kinds() {
                let at = holder.keys.first().unwrap_or(&written.role).span();
                return Err(self.wrong(at, NOT_BOTH));
            }
            Ok(own)
        };
        Ok(RoleSpec {
            role,
            threshold: written.threshold,
            holders: written.holder.iter().map(holder).collect::<Result<_>>()?,
            products: written.products.clone(),
            channels: written.channels.clone(),
            both_kinds: written.both_kinds,
        })
    }

    fn closed_log(&self, written: &WrittenLog) -> Result<ClosedLogSpec> {
        let hash = parse_digest(written.hash.get_ref())
            .ok_or_else(|| self.wrong(written.hash.span(), "a hash is 64 hexadecimal digits"))?;
        let (origin, size) = (written.origin.clone(), written.size);
        Ok(ClosedLogSpec { origin, key: self.key(&written.key)?, size, hash })
    }

    /// A key: as text (PEM, or a line of OpenSSH), a file with such text, or
    /// the id of one that the current document has.
    fn key(&self, written: &Spanned<String>) -> Result<PublicKey> {
        let text = written.get_ref().as_str();
        let wrong = |why: &dyn std::fmt::Display| self.wrong(written.span(), why);
        if let Some(id) = parse_digest(text) {
            let all = self.current.into_iter().flat_map(|root| &root.roles).flat_map(|role| &role.holders);
            let mut keys = all.flat_map(|holder| &holder.keys);
            return keys
                .find(|key| key.id().0 == id)
                .cloned()
                .ok_or_else(|| wrong(&"the current root document has no key of this id"));
        }
        if text.contains("-----BEGIN") || PublicKey::from_openssh(text).is_ok() {
            return PublicKey::from_text(text).map_err(|why| wrong(&why));
        }
        let path = self.path.parent().unwrap_or(Path::new("")).join(text);
        let content = trust::read(&path, ROOT_MAX).map_err(|error| wrong(&error.message))?;
        let content = String::from_utf8_lossy(&content);
        PublicKey::from_text(&content).map_err(|why| wrong(&format_args!("{}: {why}", path.display())))
    }

    /// What is asked of every root before anybody is asked to sign it.
    fn check(&self, spec: RootSpec) -> Result<RootSpec> {
        let keys = spec.roles.iter().flat_map(|role| &role.holders).flat_map(|holder| &holder.keys);
        if spec.environment == Environment::Production {
            for key in keys {
                if let Some(name) = development_key(key) {
                    let what = format!("key {} is a published development key ({name})", key.id());
                    return Err(CliError::new(Kind::Refused, what)
                        .about(self.path.display())
                        .hint("everybody can sign with it; production needs keys of its own"));
                }
            }
        }
        spec.assemble().map_err(|error| CliError::from(error).about(self.path.display()))?;
        Ok(spec)
    }
}

/// A specification as a file, for the next one to begin with.
pub fn write(spec: &RootSpec) -> Result<String> {
    let mut root = toml::Table::new();
    let text = |text: &str| toml::Value::String(text.to_owned());
    let number = |value: u64| {
        i64::try_from(value)
            .map(toml::Value::Integer)
            .map_err(|_| CliError::new(Kind::Usage, format_args!("{value} is no number of TOML's")))
    };
    let named = |products: &[ProductId]| {
        toml::Value::Array(products.iter().map(|product| text(product.as_str())).collect())
    };
    let production = spec.environment == Environment::Production;
    root.insert("environment".into(), text(if production { "production" } else { "test" }));
    root.insert("lineage".into(), text(&Uuid::from_bytes(spec.lineage).simple().to_string()));
    root.insert("minimum-epoch".into(), number(spec.minimum_epoch)?);
    let mut roles = Vec::new();
    for role in &spec.roles {
        let mut table = toml::Table::new();
        table.insert("role".into(), text(revoke::name(role.role)));
        table.insert("threshold".into(), number(role.threshold)?);
        if role.both_kinds {
            table.insert("both-kinds".into(), toml::Value::Boolean(true));
        }
        if !role.products.is_empty() {
            table.insert("products".into(), named(&role.products));
        }
        if !role.channels.is_empty() {
            let channels = role.channels.iter().map(|channel| text(channel.as_str())).collect();
            table.insert("channels".into(), toml::Value::Array(channels));
        }
        let mut holders = Vec::new();
        for holder in &role.holders {
            let keys = holder.keys.iter().map(|key| Ok(text(&key.to_pem()?))).collect::<Result<_>>()?;
            let holder = [("name".into(), text(&holder.name)), ("keys".into(), toml::Value::Array(keys))];
            holders.push(toml::Value::Table(holder.into_iter().collect()));
        }
        table.insert("holder".into(), toml::Value::Array(holders));
        roles.push(toml::Value::Table(table));
    }
    root.insert("role".into(), toml::Value::Array(roles));
    let demands = spec.demands.iter().map(|own| {
        let Demands { proof, approvals, delegation, owner } = own.demands;
        let mut table = toml::Table::new();
        for (name, demanded) in
            [("proof", proof), ("approvals", approvals), ("delegation", delegation), ("owner", owner)]
        {
            table.insert(name.into(), toml::Value::Boolean(demanded));
        }
        if !own.products.is_empty() {
            table.insert("products".into(), named(&own.products));
        }
        toml::Value::Table(table)
    });
    root.insert("demands".into(), toml::Value::Array(demands.collect()));
    let mut logs = Vec::new();
    for log in &spec.closed_logs {
        let table = [
            ("origin".into(), text(&log.origin)),
            ("key".into(), text(&log.key.to_pem()?)),
            ("size".into(), number(log.size)?),
            ("hash".into(), text(&log.hash.to_string())),
        ];
        logs.push(toml::Value::Table(table.into_iter().collect()));
    }
    root.insert("closed-log".into(), toml::Value::Array(logs));
    toml::to_string(&root).map_err(|error| CliError::new(Kind::Unexpected, error))
}
