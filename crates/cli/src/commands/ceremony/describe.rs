//! A request in words: all that a custodian must read before signing.

use firmseal_core::{Environment, Root};
use firmseal_manifest::ReleaseSpec;
use firmseal_trust::ceremony::{Authority, warnings};
use firmseal_trust::change::{Entry, changes, demands, of_both, of_products};
use firmseal_trust::{Request, RootSpec};
use serde::Serialize;

use crate::error::Result;
use crate::record::Record;

/// What a request says, computed from its bytes.
#[derive(Serialize)]
pub struct Described {
    kind: &'static str,
    title: String,
    environment: &'static str,
    lineage: String,
    number: u64,
    /// What every signature vouches for.
    subject: String,
    /// What the words are of.
    request: String,
    words: String,
    says: Vec<(String, String)>,
    changes: Vec<String>,
    must_sign: Vec<(String, String)>,
    warnings: Vec<String>,
}

impl Described {
    /// Reads a request's bytes.
    pub fn of(request: &Request) -> Result<Described> {
        let (number, _) = request.number();
        let lineage = request.lineage().unwrap_or_default();
        let mut says = Vec::new();
        if let Some(root) = request.root() {
            root_says(root, request.document(), &mut says)?;
        }
        if let Some(revocation) = request.revocation() {
            for entry in &revocation.keys {
                says.push(("takes away key".to_owned(), entry.key.to_string()));
                for (log, index) in &entry.last_good {
                    says.push(("  keeps up to".to_owned(), format!("{index} in {log}")));
                }
                says.extend(entry.allowed.iter().map(|kept| ("  keeps".to_owned(), kept.to_string())));
            }
            let releases = revocation.releases.iter();
            says.extend(releases.map(|release| ("takes away release".to_owned(), release.to_string())));
        }
        if let Some(release) = request.release() {
            release_says(release, &mut says);
        }
        let changed = match (request.root(), request.under()) {
            (Some(new), Some(before)) => changes(&RootSpec::of(&Root::decode(before)?)?, new),
            _ => Vec::new(),
        };
        Ok(Described {
            kind: request.kind().word(),
            title: request.title().to_owned(),
            environment: match request.environment() {
                Environment::Test => "test",
                Environment::Production => "production",
            },
            lineage: lineage.iter().map(|byte| format!("{byte:02x}")).collect(),
            number,
            subject: request.subject().to_string(),
            request: request.digest().to_string(),
            words: request.words().to_string(),
            says,
            changes: changed.iter().map(ToString::to_string).collect(),
            must_sign: request.authorities().iter().map(needed).collect(),
            warnings: warnings(request)?,
        })
    }

    /// For people.
    pub fn print(&self) -> String {
        self.record().row("words", &self.words).print()
    }

    /// The same for whoever shall say the words, not read them here.
    pub fn print_without_words(&self) -> String {
        self.record().print()
    }

    /// Warnings come last, where the eye rests.
    fn record(&self) -> Record {
        let mut record = Record::new()
            .row("ceremony", format_args!("{}: {}", self.kind, self.title))
            .row("environment", self.environment)
            .row("lineage", &self.lineage)
            .row("number", self.number)
            .row("signs over", &self.subject)
            .row("request", &self.request);
        for (name, said) in &self.says {
            record = record.row(name, said);
        }
        for change in &self.changes {
            record = record.row("changes", change);
        }
        for (authority, needed) in &self.must_sign {
            record = record.row("must sign", format_args!("{needed}: {authority}"));
        }
        for warning in &self.warnings {
            record = record.row("WARNING", warning);
        }
        record
    }
}

fn needed(authority: &Authority) -> (String, String) {
    let names: Vec<&str> = authority.holders.iter().map(|holder| holder.name.as_str()).collect();
    let kinds = of_both(authority.both_kinds);
    let needed = format!("{} of {} ({}){kinds}", authority.threshold, names.len(), names.join(", "));
    (authority.name.clone(), needed)
}

fn release_says(release: &ReleaseSpec, says: &mut Vec<(String, String)>) {
    let mut say = |name: &str, value: String| says.push((name.to_owned(), value));
    say("product", release.product.to_string());
    say("vendor, class", format!("{}, {}", release.vendor, release.class));
    say("version", format!("{} on {}", release.version, release.channel));
    say("sequence", release.sequence.to_string());
    say("epoch", release.epoch.to_string());
    for component in &release.components {
        say(&format!("component {}", component.name), format!("{} bytes", component.size));
        say("  sha-256", component.digest.to_string());
    }
    if let Some(before) = &release.rollback_of {
        say("rolls back", format!("{before}, once that is revoked"));
    }
    if let Some(description) = &release.description {
        say("description", description.clone());
    }
}

fn root_says(root: &RootSpec, document: &[u8], says: &mut Vec<(String, String)>) -> Result {
    let mut say = |name: String, value: String| says.push((name, value));
    for role in &root.roles {
        let (count, kinds) = (role.holders.len(), of_both(role.both_kinds));
        say(format!("role {}", Entry::of(role)), format!("{} of {count} holders{kinds}", role.threshold));
        for holder in &role.holders {
            for key in &holder.keys {
                say(format!("  {}", holder.name), format!("{} ({})", key.id(), key.algorithm()));
            }
        }
    }
    say("lowest epoch".to_owned(), root.minimum_epoch.to_string());
    // What holds for products that no entry names, said or not.
    say("demands".to_owned(), demands(&Root::decode(document)?.demands("")));
    for own in root.demands.iter().filter(|own| !own.products.is_empty()) {
        say("demands".to_owned(), format!("{}{}", demands(&own.demands), of_products(&own.products)));
    }
    for log in &root.closed_logs {
        say("closed log".to_owned(), format!("{} at {} entries, hash {}", log.origin, log.size, log.hash));
    }
    for (product, sequence) in &root.sequence_resets {
        say("sequence reset".to_owned(), format!("{product} to {sequence}"));
    }
    Ok(())
}
