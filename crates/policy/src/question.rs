//! Questions in Cedar's terms: a request and its entities for each artifact
//! with each key.
//!
//! Cedar has no quantifiers: a rule cannot say "each of the keys". So it is
//! asked about each, and every answer counts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression as Value,
    Schema,
};
use firmseal_evidence::{Facts, TestRun};
use firmseal_fleet::{Environment, Time};
use firmseal_manifest::ArtifactId;
use firmseal_sign::{Action, ArtifactFacts, KeyFacts, PolicyError, Question};
use semver::Version;

use crate::known::Known;
use crate::reads::Reads;
use crate::reports;
use crate::schema::{actions, schema};

/// Most pairs of artifacts and keys of one question.
const PAIRS_MAX: usize = 256;
/// Most entries of a list in a question, and longest text in bytes.
const LIST_MAX: usize = 1024;
const VALUE_MAX: usize = 4096;

/// A question, ready to be asked.
pub(crate) struct Asked {
    pub(crate) entities: Arc<Entities>,
    pub(crate) requests: Vec<Request>,
}

pub(crate) type Record = BTreeMap<String, Value>;

/// Translates a question, as far as rules read it. One that asks about nothing
/// has no answer: an empty list of files must not come through because each
/// of them would.
pub(crate) fn translate(question: &Question, reads: &Reads, known: &Known) -> Result<Asked, PolicyError> {
    let pairs = question.artifacts.len().saturating_mul(question.keys.len());
    if pairs == 0 {
        return Err(failed("the question names no artifact or no key"));
    }
    if pairs > PAIRS_MAX {
        return Err(failed("the question names more artifacts and keys than may be asked about at once"));
    }
    check(question)?;
    // Every field gets its type from the code, whatever it holds, and only
    // which fields are there varies: what does not fit the schema is a fault
    // of ours, and tests, which are built so that they ask, have every one of
    // those shapes. Asked for each signature it costs more than the rules of
    // a large policy.
    if cfg!(debug_assertions) {
        let schema = Some(schema().map_err(PolicyError)?);
        reports::beside(entities(question, schema)?.into(), question, schema)?;
        requests(question, &Reads::Everything, schema)?;
    }
    let entities = known.of(question, || entities(question, None))?;
    let entities = match reads.has("evidence") {
        true => reports::beside(entities, question, None)?,
        false => entities,
    };
    Ok(Asked { entities, requests: requests(question, reads, None)? })
}

fn entities(question: &Question, schema: Option<&Schema>) -> Result<Entities, PolicyError> {
    let entities = [caller_entity(question)?, product_entity(question)?];
    let actions = actions().map_err(PolicyError)?.clone();
    actions.add_entities(entities, schema).map_err(failed)
}

fn requests(
    question: &Question,
    reads: &Reads,
    schema: Option<&Schema>,
) -> Result<Vec<Request>, PolicyError> {
    let (caller, product) = (caller_uid(question)?, product_uid(question)?);
    let action = uid("Action", action(question.action))?;
    let common = common(question, reads)?;
    let mut requests = Vec::with_capacity(question.artifacts.len() * question.keys.len());
    for artifact in &question.artifacts {
        let own = common.clone().and("artifact", || record(artifact_fields(artifact)?))?;
        let own = own.and("evidence", || evidence(&question.evidence, &artifact.digest))?;
        for key in &question.keys {
            let own = own.clone().and("key", || record(key_fields(key)?))?;
            let context = Context::from_pairs(own.fields).map_err(failed)?;
            let request = Request::new(caller.clone(), action.clone(), product.clone(), context, schema);
            requests.push(request.map_err(failed)?);
        }
    }
    Ok(requests)
}

fn caller_uid(question: &Question) -> Result<EntityUid, PolicyError> {
    uid("Caller", &question.caller.name)
}

fn product_uid(question: &Question) -> Result<EntityUid, PolicyError> {
    uid("Product", question.product.as_str())
}

/// The fields of a context, those alone that rules read.
#[derive(Clone)]
struct Fields<'a> {
    reads: &'a Reads,
    fields: Record,
}

impl Fields<'_> {
    /// With one more, if it is read.
    fn and(
        mut self,
        name: &str,
        value: impl FnOnce() -> Result<Value, PolicyError>,
    ) -> Result<Self, PolicyError> {
        if self.reads.has(name) {
            self.fields.insert(name.to_owned(), value()?);
        }
        Ok(self)
    }
}

pub(crate) fn failed(error: impl std::fmt::Display) -> PolicyError {
    PolicyError(error.to_string())
}

const fn action(action: Action) -> &'static str {
    match action {
        Action::SignArtifact => "sign-artifact",
        Action::SignRelease => "sign-release",
    }
}

/// Bounds on what a caller may have made long.
fn check(question: &Question) -> Result<(), PolicyError> {
    let facts = &question.evidence;
    let lists = [
        question.caller.claims.len(),
        question.anomalies.len(),
        facts.provenance.len(),
        facts.tests.len(),
        facts.scans.len(),
        facts.evaluations.iter().map(|own| 1 + own.passed.len()).sum(),
        question.artifacts.iter().map(|artifact| artifact.addresses.len()).max().unwrap_or(0),
    ];
    if lists.iter().any(|len| *len > LIST_MAX) {
        return Err(failed(format_args!("a list in the question has more than {LIST_MAX} entries")));
    }
    // Whether a rule reads them or not: what counts here is refused as one.
    let Version { major, minor, patch, .. } = question.version;
    let numbers = [major, minor, patch, question.epoch];
    let artifacts = question.artifacts.iter();
    let own = artifacts.flat_map(|own| own.addresses.iter().copied().chain(own.epoch).chain([own.size]));
    for number in own.chain(numbers) {
        long("a number in the question,", number)?;
    }
    let claims = question.caller.claims.iter().flat_map(|(name, value)| [name, value]);
    let own = [&question.caller.name, &question.build, &question.commit];
    if claims.chain(own).any(|text| text.len() > VALUE_MAX) {
        return Err(failed(format_args!("a text in the question has more than {VALUE_MAX} bytes")));
    }
    Ok(())
}

/// Types of the schema that questions name, read once: Cedar reads a name
/// with the parser that reads policies.
static TYPES: LazyLock<BTreeMap<&'static str, EntityTypeName>> = LazyLock::new(|| {
    let names = [
        "Action",
        "Caller",
        "Environment",
        "Evaluations",
        "Kind",
        "Priority",
        "Product",
        "Purpose",
        "Role",
        "Scans",
        "Team",
    ];
    names.into_iter().filter_map(|name| Some((name, name.parse().ok()?))).collect()
});

pub(crate) fn uid(kind: &'static str, id: &str) -> Result<EntityUid, PolicyError> {
    let known = TYPES.get(kind).ok_or_else(|| failed(format_args!("there is no type `{kind}`")))?;
    Ok(EntityUid::from_type_name_and_id(known.clone(), EntityId::new(id)))
}

fn reference(kind: &'static str, id: &str) -> Result<Value, PolicyError> {
    uid(kind, id).map(Value::new_entity_uid)
}

pub(crate) fn record(fields: Record) -> Result<Value, PolicyError> {
    Value::new_record(fields).map_err(failed)
}

pub(crate) fn text(value: impl Into<String>) -> Value {
    Value::new_string(value.into())
}

/// Cedar counts in 64 bits with a sign.
fn long(name: &str, value: u64) -> Result<Value, PolicyError> {
    let value = i64::try_from(value)
        .map_err(|_| failed(format_args!("{name} {value} is more than a policy can compare")))?;
    Ok(Value::new_long(value))
}

pub(crate) fn fields<const N: usize>(fields: [(&str, Value); N]) -> Record {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn environment(environment: Environment) -> Result<Value, PolicyError> {
    reference("Environment", environment.name())
}

fn caller_entity(question: &Question) -> Result<Entity, PolicyError> {
    let caller = &question.caller;
    let mut parents = Vec::new();
    for own in &caller.roles {
        parents.push(uid("Role", own.as_str())?);
    }
    if let Some(team) = &caller.team {
        parents.push(uid("Team", team)?);
    }
    let attributes =
        fields([("name", text(&caller.name)), ("kind", reference("Kind", caller.kind.as_str())?)]);
    let tags = caller.claims.iter().map(|(name, value)| (name.clone(), text(value)));
    Entity::new_with_tags(caller_uid(question)?, attributes, parents, tags).map_err(failed)
}

fn product_entity(question: &Question) -> Result<Entity, PolicyError> {
    let attributes = fields([("environment", environment(question.environment)?)]);
    Entity::new_with_tags(product_uid(question)?, attributes, [], []).map_err(failed)
}

fn version(version: &Version) -> Result<Value, PolicyError> {
    record(fields([
        ("text", text(version.to_string())),
        ("major", long("version", version.major)?),
        ("minor", long("version", version.minor)?),
        ("patch", long("version", version.patch)?),
        ("prerelease", Value::new_bool(!version.pre.is_empty())),
    ]))
}

/// What is the same for each artifact and key.
fn common<'a>(question: &Question, reads: &'a Reads) -> Result<Fields<'a>, PolicyError> {
    let (hour, weekday) = clock(question.now);
    let back = question.previous.as_ref().is_some_and(|previous| question.version < previous.version);
    let all = Fields { reads, fields: Record::new() }
        .and("channel", || Ok(text(question.channel.as_str())))?
        .and("version", || version(&question.version))?
        .and("epoch", || long("security epoch", question.epoch))?
        .and("goesBack", || Ok(Value::new_bool(back)))?
        .and("priority", || reference("Priority", question.priority.unwrap_or_default().word()))?
        .and("build", || Ok(text(&question.build)))?
        .and("commit", || Ok(text(&question.commit)))?
        .and("approvals", || Ok(Value::new_long(question.approvals.into())))?
        .and("anomalies", || Ok(Value::new_set(question.anomalies.iter().map(text))))?
        .and("now", || Ok(Value::new_datetime(question.now.to_string())))?
        .and("hour", || Ok(Value::new_long(hour)))?
        .and("weekday", || Ok(Value::new_long(weekday)))?;
    let Some(previous) = &question.previous else { return Ok(all) };
    all.and("previous", || {
        record(fields([
            ("version", version(&previous.version)?),
            ("epoch", long("security epoch", previous.epoch)?),
        ]))
    })
}

/// Hour, and weekday with Monday as 1, in UTC.
fn clock(now: Time) -> (i64, i64) {
    let hours = now.millis() / 3_600_000;
    // 1970-01-01 was a Thursday.
    let weekday = (hours / 24 + 3) % 7 + 1;
    ((hours % 24) as i64, weekday as i64)
}

fn key_fields(key: &KeyFacts) -> Result<Record, PolicyError> {
    Ok(fields([
        ("name", text(&key.name)),
        ("purpose", reference("Purpose", key.purpose.name())?),
        ("environment", environment(key.environment)?),
        ("algorithm", text(&key.algorithm)),
        ("owner", text(&key.owner)),
        ("overdue", Value::new_bool(key.overdue)),
        ("blind", Value::new_bool(key.blind)),
        ("fallback", Value::new_bool(key.fallback)),
    ]))
}

fn artifact_fields(artifact: &ArtifactFacts) -> Result<Record, PolicyError> {
    let addresses = artifact.addresses.iter().map(|address| text(format!("{address:#x}")));
    let mut all = fields([
        ("component", text(&artifact.component)),
        ("digest", text(artifact.digest.0.to_string())),
        ("format", text(&artifact.format)),
        ("size", long("size", artifact.size)?),
        ("encrypted", Value::new_bool(artifact.encrypted)),
        ("addresses", Value::new_set(addresses)),
    ]);
    let mut more = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            all.insert(name.to_owned(), value);
        }
    };
    more("version", artifact.version.as_ref().map(text));
    more("epoch", artifact.epoch.map(|epoch| long("security epoch", epoch)).transpose()?);
    more("target", artifact.target.as_ref().map(text));
    more("debug", artifact.debug.map(Value::new_bool));
    let (lowest, highest) = (artifact.addresses.iter().min(), artifact.addresses.iter().max());
    more("lowest", lowest.map(|address| long("address", *address)).transpose()?);
    more("highest", highest.map(|address| long("address", *address)).transpose()?);
    Ok(all)
}

/// What the evidence says, as far as it is about this artifact: provenance
/// of one component proves nothing about the one beside it.
fn evidence(facts: &Facts, artifact: &ArtifactId) -> Result<Value, PolicyError> {
    let mut provenance = Vec::new();
    let about: Vec<_> = facts.provenance.iter().filter(|own| own.artifacts.contains(artifact)).collect();
    for own in &about {
        provenance.push(record(fields([
            ("builder", text(&own.builder)),
            ("source", text(own.source.clone().unwrap_or_default())),
            ("commit", text(own.commit.clone().unwrap_or_default())),
        ]))?);
    }
    let mut all = fields([
        ("builders", Value::new_set(about.iter().map(|own| text(&own.builder)))),
        ("references", Value::new_set(about.iter().filter_map(|own| own.reference.as_ref()).map(text))),
        ("buildTypes", Value::new_set(about.iter().map(|own| text(&own.build_type)))),
        ("provenance", Value::new_set(provenance)),
        ("attested", Value::new_bool(facts.attested)),
        ("unproven", Value::new_long(facts.unproven.into())),
        ("tests", tests(&facts.tests, artifact)?),
        ("scans", Value::new_entity_uid(reports::uid_of(reports::SCANS, artifact)?)),
        ("evaluations", Value::new_entity_uid(reports::uid_of(reports::EVALUATIONS, artifact)?)),
    ]);
    if let Some(sbom) = &facts.sbom {
        let sbom = fields([
            ("format", text(&sbom.format)),
            ("specification", text(&sbom.specification)),
            ("components", Value::new_long(sbom.components.into())),
            ("signed", Value::new_bool(sbom.signed)),
        ]);
        all.insert("sbom".to_owned(), record(sbom)?);
    }
    if let Some(reproduced) = facts.reproduced {
        all.insert("reproduced".to_owned(), Value::new_bool(reproduced));
    }
    record(all)
}

/// One run that failed, or that anybody could have written, is no green, and
/// neither are runs about other files.
fn tests(runs: &[TestRun], artifact: &ArtifactId) -> Result<Value, PolicyError> {
    let sum = |count: fn(&TestRun) -> u32| runs.iter().map(|run| i64::from(count(run))).sum();
    let suites: BTreeSet<_> = runs.iter().map(|run| run.suite.as_str()).collect();
    let green = suites.into_iter().filter(|suite| {
        let mut own = runs.iter().filter(|run| run.suite == *suite);
        let good = own.all(|run| run.signed && run.failed == 0 && run.passed > 0);
        good && runs.iter().any(|run| run.suite == *suite && run.artifacts.contains(artifact))
    });
    record(fields([
        ("passed", Value::new_long(sum(|run| run.passed))),
        ("failed", Value::new_long(sum(|run| run.failed))),
        ("green", Value::new_set(green.map(text))),
    ]))
}
