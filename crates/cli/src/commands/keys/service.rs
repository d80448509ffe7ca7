//! `firmseal keys` about a server's signing keys, by name.

use std::path::Path;

use clap::Args;
use firmseal_api::keys::{ChangeKey, DestroyKey, DisableKey, KeyUsage, SigningKey};
use firmseal_fleet::Time;
use firmseal_manifest::KeyName;

use crate::error::{CliError, Kind, Result};
use crate::key_table::Date;
use crate::output::Output;
use crate::profile::Profile;
use crate::record::Record;
use crate::units::Span;

/// Show how often a key was used
#[derive(Args)]
pub struct Usage {
    /// The key's name
    key: KeyName,
    /// From this day on; a week ago unless told
    #[arg(long, value_name = "DATE")]
    from: Option<Date>,
    /// Until this day; until now unless told
    #[arg(long, value_name = "DATE")]
    until: Option<Date>,
}

/// End that a key signs
#[derive(Args)]
pub struct Disable {
    /// The key's name
    key: KeyName,
    /// Why, for whoever reads it later
    #[arg(long, value_name = "TEXT")]
    why: String,
    /// From this day on; at once unless told
    #[arg(long, value_name = "DATE")]
    at: Option<Date>,
}

/// Let a key sign again, or keep a key that was to be destroyed
#[derive(Args)]
pub struct Change {
    /// The key's name
    key: KeyName,
    /// Why, for whoever reads it later
    #[arg(long, value_name = "TEXT")]
    why: String,
}

/// Have the private half of a disabled key destroyed
#[derive(Args)]
pub struct Destroy {
    /// The key's name
    key: KeyName,
    /// Why, for whoever reads it later
    #[arg(long, value_name = "TEXT")]
    why: String,
    /// In how many days: until then `keys keep` cancels it
    #[arg(long, value_name = "SPAN", default_value = "30d")]
    r#in: Span,
}

/// Lists a server's keys.
pub async fn list(profile: Option<&Path>, output: &Output) -> Result {
    let client = Profile::read(profile)?.client()?;
    let keys = client.operator().keys().await?.items;
    let headings = ["NAME", "PURPOSE", "ENVIRONMENT", "ALGORITHM", "STATE", "ROTATE BY", "OWNER"];
    output.table(&keys, &headings, |key| {
        vec![
            key.name.to_string(),
            key.purpose.clone(),
            key.environment.clone(),
            key.algorithm.clone(),
            state(key),
            key.rotate_by.map(day).unwrap_or_else(|| "-".to_owned()),
            if key.owner.is_empty() { "-".to_owned() } else { key.owner.clone() },
        ]
    })?;
    for key in &keys {
        for warning in &key.warnings {
            output.note(format_args!("warning: key `{}`: {warning}", key.name));
        }
    }
    Ok(())
}

/// Shows a server's key.
pub async fn show(name: &KeyName, profile: Option<&Path>, output: &Output) -> Result {
    let client = Profile::read(profile)?.client()?;
    let usage = client.operator().key(name, None, None).await?;
    output.value(&usage, || print(&usage.key))
}

impl Usage {
    pub async fn run(self, profile: Option<&Path>, output: &Output) -> Result {
        let client = Profile::read(profile)?.client()?;
        let time = |date: Option<Date>| date.map(|Date(time)| time);
        let usage = client.operator().key(&self.key, time(self.from), time(self.until)).await?;
        output.value(&usage, || print_usage(&usage))
    }
}

impl Disable {
    pub async fn run(self, profile: Option<&Path>, output: &Output) -> Result {
        let client = Profile::read(profile)?.client()?;
        let change = DisableKey { why: self.why, at: self.at.map(|Date(time)| time) };
        let key = client.operator().disable_key(&self.key, &change).await?;
        output.value(&key, || print(&key))
    }
}

impl Change {
    pub async fn enable(self, profile: Option<&Path>, output: &Output) -> Result {
        let client = Profile::read(profile)?.client()?;
        let key = client.operator().enable_key(&self.key, &ChangeKey { why: self.why }).await?;
        output.value(&key, || print(&key))
    }

    pub async fn keep(self, profile: Option<&Path>, output: &Output) -> Result {
        let client = Profile::read(profile)?.client()?;
        let key = client.operator().keep_key(&self.key, &ChangeKey { why: self.why }).await?;
        output.value(&key, || print(&key))
    }
}

impl Destroy {
    pub async fn run(self, profile: Option<&Path>, output: &Output) -> Result {
        let client = Profile::read(profile)?.client()?;
        let days = u16::try_from(self.r#in.0.as_secs().div_ceil(86_400))
            .map_err(|_| CliError::new(Kind::Usage, "--in is at most a year"))?;
        let change = DestroyKey { why: self.why, days: Some(days) };
        let key = client.operator().destroy_key(&self.key, &change).await?;
        output.value(&key, || print(&key))
    }
}

fn day(time: Time) -> String {
    time.to_string().chars().take(10).collect()
}

fn state(key: &SigningKey) -> String {
    let state = match key.due.filter(|_| matches!(key.state.as_str(), "ending" | "destroying")) {
        Some(due) => format!("{} {}", key.state, day(due)),
        None => key.state.clone(),
    };
    if key.held { state } else { format!("{state} (not in signing.toml)") }
}

fn print(key: &SigningKey) -> String {
    let products: Vec<_> = key.products.iter().map(|product| product.to_string()).collect();
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let limit = |left: Option<u64>, all: Option<u64>| Some(format!("{} of {}", left?, all?));
    let mut record = Record::new()
        .row("name", &key.name)
        .row("id", &key.id)
        .row("algorithm", &key.algorithm)
        .row("purpose", &key.purpose)
        .row("environment", &key.environment)
        .row("products", if products.is_empty() { "all".to_owned() } else { products.join(", ") })
        .maybe("owner", some(&key.owner))
        .row("state", state(key))
        .row("since", format_args!("{} by {}", key.since, key.by))
        .maybe("why", some(&key.why))
        .maybe("rotate by", key.rotate_by.map(day))
        .maybe("left this hour", limit(key.left_in_hour, key.per_hour))
        .maybe("left in all", limit(key.left, key.total))
        .maybe("fallback", key.fallback.as_ref())
        .maybe("replaces", key.replaces.as_ref());
    if key.blind {
        record = record.row("blind", "it signs digests that nobody derived");
    }
    for warning in &key.warnings {
        record = record.row("warning", warning);
    }
    record.print() + &key.public
}

fn print_usage(usage: &KeyUsage) -> String {
    let mut out = Record::new()
        .row("name", &usage.key.name)
        .row("from", usage.from)
        .row("until", usage.until)
        .row("uses", usage.uses)
        .maybe("last", usage.last)
        .print();
    let groups = [("product", &usage.by_product), ("caller", &usage.by_caller)];
    for (what, uses) in groups {
        for own in uses {
            out.push_str(&Record::new().row(what, format_args!("{}  {}", own.uses, own.name)).print());
        }
    }
    for own in &usage.by_hour {
        out.push_str(&Record::new().row("hour", format_args!("{}  {}", own.hour, own.uses)).print());
    }
    out
}
