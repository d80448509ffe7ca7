//! Scans and evaluations, as a policy sees them: an entity for each file,
//! with a tag for each scanner and each evaluator.
//!
//! Cedar has no quantifiers, so no rule could look through a list for the
//! scan that it wants. It asks for the tag of that scanner instead.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cedar_policy::{Entities, Entity, EntityUid, RestrictedExpression as Value, Schema};
use firmseal_evidence::{Evaluation, Scan};
use firmseal_fleet::Time;
use firmseal_manifest::ArtifactId;
use firmseal_sign::{PolicyError, Question};

use crate::question::{Record, failed, fields, record, text, uid};

/// Types of the entities.
pub(crate) const SCANS: &str = "Scans";
pub(crate) const EVALUATIONS: &str = "Evaluations";

/// How far other people's clocks may be ahead. Without a bound, a scanner
/// whose clock is years ahead would never be out of date.
const AHEAD: Duration = Duration::from_secs(5 * 60);

/// The entity of a file.
pub(crate) fn uid_of(kind: &'static str, artifact: &ArtifactId) -> Result<EntityUid, PolicyError> {
    uid(kind, &artifact.0.to_string())
}

/// With the entities of each file of a question about which there is a report.
pub(crate) fn beside(
    entities: Arc<Entities>,
    question: &Question,
    schema: Option<&Schema>,
) -> Result<Arc<Entities>, PolicyError> {
    // Two components may be the same file.
    let files: BTreeSet<_> = question.artifacts.iter().map(|artifact| artifact.digest).collect();
    let mut more = Vec::new();
    for file in &files {
        more.extend(tagged(SCANS, file, scans(question, file))?);
        more.extend(tagged(EVALUATIONS, file, evaluations(question, file))?);
    }
    if more.is_empty() {
        return Ok(entities);
    }
    Arc::unwrap_or_clone(entities).add_entities(more, schema).map(Arc::new).map_err(failed)
}

fn tagged(
    kind: &'static str,
    file: &ArtifactId,
    tags: BTreeMap<String, Record>,
) -> Result<Option<Entity>, PolicyError> {
    if tags.is_empty() {
        return Ok(None);
    }
    let mut values = Vec::with_capacity(tags.len());
    for (name, fields) in tags {
        values.push((name, record(fields)?));
    }
    Entity::new_with_tags(uid_of(kind, file)?, [], [], values).map(Some).map_err(failed)
}

fn scans(question: &Question, file: &ArtifactId) -> BTreeMap<String, Record> {
    let mut worst: BTreeMap<&str, Scan> = BTreeMap::new();
    for scan in question.evidence.scans.iter().filter(|scan| scan.artifacts.contains(file)) {
        let own = Scan {
            updated: past(scan.updated, question.now),
            finished: past(scan.finished, question.now),
            ..scan.clone()
        };
        let both = match worst.remove(scan.scanner.as_str()) {
            Some(other) => worse(other, &own),
            None => own,
        };
        worst.insert(&scan.scanner, both);
    }
    worst.into_iter().map(|(scanner, scan)| (scanner.to_owned(), scan_fields(&scan))).collect()
}

fn worse(one: Scan, other: &Scan) -> Scan {
    let same = |of: fn(&Scan) -> &Option<String>| of(&one).clone().filter(|_| of(&one) == of(other));
    Scan {
        version: same(|scan| &scan.version),
        database: same(|scan| &scan.database),
        updated: one.updated.min(other.updated),
        finished: one.finished.min(other.finished),
        critical: one.critical.max(other.critical),
        high: one.high.max(other.high),
        medium: one.medium.max(other.medium),
        low: one.low.max(other.low),
        ..one
    }
}

fn scan_fields(scan: &Scan) -> Record {
    let counts = [scan.critical, scan.high, scan.medium, scan.low].map(i64::from);
    let [critical, high, medium, low] = counts.map(Value::new_long);
    fields([
        ("version", text(scan.version.clone().unwrap_or_default())),
        ("database", text(scan.database.clone().unwrap_or_default())),
        ("updated", datetime(scan.updated)),
        ("finished", datetime(scan.finished)),
        ("findings", Value::new_long(counts.iter().sum())),
        ("critical", critical),
        ("high", high),
        ("medium", medium),
        ("low", low),
    ])
}

fn evaluations(question: &Question, file: &ArtifactId) -> BTreeMap<String, Record> {
    let mut by: BTreeMap<&str, Vec<&Evaluation>> = BTreeMap::new();
    for own in question.evidence.evaluations.iter().filter(|own| own.artifacts.contains(file)) {
        by.entry(&own.evaluator).or_default().push(own);
    }
    by.into_iter().map(|(name, all)| (name.to_owned(), evaluation_fields(&all, question.now))).collect()
}

/// What several by one evaluator come to. Each says what was passed, and not
/// what was not: together they say all of it, but if one says that the file
/// failed.
fn evaluation_fields(all: &[&Evaluation], now: Time) -> Record {
    let failed = all.iter().any(|own| own.failed);
    let holds = |own: &&&Evaluation| !failed && own.until.is_none_or(|until| now < until);
    let holding: Vec<_> = all.iter().filter(holds).collect();
    let passed: BTreeSet<_> = holding.iter().flat_map(|own| &own.passed).collect();
    let evaluated = all.iter().map(|own| past(own.evaluated, now)).min().unwrap_or(Time::EPOCH);
    let mut told = fields([
        ("passed", Value::new_set(passed.into_iter().map(text))),
        ("failed", Value::new_bool(failed)),
        ("evaluated", datetime(evaluated)),
    ]);
    if let Some(until) = holding.iter().filter_map(|own| own.until).min() {
        told.insert("until".to_owned(), datetime(until));
    }
    told
}

/// A time that has passed. One that has not says nothing of when it was.
fn past(time: Time, now: Time) -> Time {
    if time <= now.plus(AHEAD) { time } else { Time::EPOCH }
}

fn datetime(time: Time) -> Value {
    Value::new_datetime(time.to_string())
}
