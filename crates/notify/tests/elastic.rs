//! What deploy/elastic tells Elasticsearch of our records: every field that a
//! record has is mapped, as something that takes its values, and nothing is
//! mapped that no record has.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use firmseal_fleet::audit::{AuditAction, AuditRecord, AuditSubject, AuditedCredential, Outcome};
use firmseal_fleet::{Caller, CallerKind, CredentialId, Reason, Role, Scope, Time};
use firmseal_notify::ecs;
use serde_json::Value;

const TEMPLATE: &str = include_str!("../../../deploy/elastic/firmseal-audit.template.json");
const PIPELINE: &str = include_str!("../../../deploy/elastic/firmseal-audit.pipeline.json");
const PAGE: &str = include_str!("../../../docs/audit-records.md");
/// What the pipeline adds, and no record brings.
const ADDED: [&str; 2] = ["event.ingested", "error.message"];

/// A record with everything that one can have.
fn record(action: AuditAction, outcome: Outcome) -> AuditRecord {
    let digest = || Some("ab".repeat(32).parse().unwrap());
    AuditRecord {
        number: 17,
        time: Time::from_millis(1_800_000_000_123),
        action,
        outcome,
        caller: Some(Caller {
            name: "github:acme/router:refs/heads/main".to_owned(),
            kind: CallerKind::Workload,
            team: Some("network".to_owned()),
            roles: [Role::Signer, Role::Auditor].into(),
            claims: [("repository".to_owned(), "acme/router".to_owned())].into(),
            scope: Scope::default(),
            source: Some([192, 0, 2, 7].into()),
        }),
        by: None,
        reasons: vec![Reason { rule: "no-debug-builds".to_owned(), why: "a debug build".to_owned() }],
        subject: AuditSubject {
            request: Some("req-0197c0de-0000-7000-8000-000000000001".parse().unwrap()),
            release: Some("rel-0197c0de-0000-7000-8000-000000000001".parse().unwrap()),
            product: Some("router".parse().unwrap()),
            channel: Some("stable".parse().unwrap()),
            version: Some("4.2.0".to_owned()),
            digest: digest(),
            artifacts: digest().into_iter().collect(),
            key: Some("release-2026".to_owned()),
            key_id: digest(),
            fallback: true,
            policy: digest(),
            decision: digest(),
            log_index: Some(17),
            build: Some("job-5".to_owned()),
            commit: Some("89abcdef".to_owned()),
            credential: Some(AuditedCredential {
                id: CredentialId("0197c0de-0000-7000-8000-000000000001".parse().unwrap()),
                holder: "ann".to_owned(),
                roles: [Role::Admin].into(),
                scope: Scope {
                    products: ["router".parse().unwrap()].into(),
                    channels: ["beta".parse().unwrap()].into(),
                    keys: ["release-2026".to_owned()].into(),
                },
                expires: Some(Time::from_millis(1_900_000_000_000)),
            }),
            count: Some(3),
        },
    }
}

/// Every kind of record there is, and one with next to nothing in it.
fn records() -> Vec<Value> {
    let outcomes = [Outcome::Success, Outcome::Failure, Outcome::Unknown];
    let of = |action| outcomes.map(|outcome| ecs::encode(&record(action, outcome)));
    let mut records: Vec<Value> = AuditAction::ALL.into_iter().flat_map(of).collect();
    let full = record(AuditAction::Anomaly, Outcome::Success);
    let by = Some("ann".to_owned());
    records.push(ecs::encode(&AuditRecord { caller: None, by, ..full.clone() }));
    let subject = AuditSubject::default();
    records.push(ecs::encode(&AuditRecord { caller: None, reasons: Vec::new(), subject, ..full }));
    records
}

/// The mapped fields, by their paths.
fn mapped(properties: &Value, above: &str, fields: &mut BTreeMap<String, Value>) {
    for (name, field) in properties.as_object().unwrap() {
        let path = format!("{above}{name}");
        match field.get("properties") {
            Some(inner) => mapped(inner, &format!("{path}."), fields),
            None => drop(fields.insert(path, field.clone())),
        }
    }
}

fn fields() -> BTreeMap<String, Value> {
    let template: Value = serde_json::from_str(TEMPLATE).unwrap();
    let mut fields = BTreeMap::new();
    mapped(&template["template"]["mappings"]["properties"], "", &mut fields);
    fields
}

/// Whether a field of a mapping takes a value.
fn takes(field: &Value, value: &Value) -> bool {
    match (field["type"].as_str().unwrap(), value) {
        // Each of a list is a value of its own.
        (_, Value::Array(values)) => !values.is_empty() && values.iter().all(|value| takes(field, value)),
        ("constant_keyword", value) => field["value"] == *value,
        ("keyword", Value::String(text)) => {
            text.len() as u64 <= field["ignore_above"].as_u64().unwrap_or(32_766)
        }
        ("date", Value::String(text)) => text.parse::<Time>().is_ok(),
        ("ip", Value::String(text)) => text.parse::<IpAddr>().is_ok(),
        ("long", Value::Number(number)) => number.is_i64(),
        ("boolean", Value::Bool(_)) | ("flattened", Value::Object(_)) => true,
        _ => false,
    }
}

/// Checks the values of a record against the mapping; notes which were seen.
fn check(value: &Value, path: &str, fields: &BTreeMap<String, Value>, seen: &mut BTreeSet<String>) {
    match (fields.get(path), value) {
        (Some(field), value) => {
            assert!(takes(field, value), "{path}: {field} does not take {value}");
            seen.insert(path.to_owned());
        }
        (None, Value::Object(members)) => {
            let dot = if path.is_empty() { "" } else { "." };
            members
                .iter()
                .for_each(|(name, member)| check(member, &format!("{path}{dot}{name}"), fields, seen));
        }
        (None, _) => panic!("{path} is not mapped"),
    }
}

#[test]
fn every_field_of_a_record_is_mapped_and_nothing_else() {
    let fields = fields();
    let mut seen = BTreeSet::new();
    for record in records() {
        check(&record, "", &fields, &mut seen);
    }
    seen.extend(ADDED.map(str::to_owned));
    let known: BTreeSet<String> = fields.into_keys().collect();
    assert_eq!(seen, known);
}

#[test]
fn every_field_of_the_page_is_mapped() {
    let fields = fields();
    let rows = PAGE.split("## Fields").nth(1).unwrap().lines().filter(|line| line.starts_with("| `"));
    let mut named = 0;
    for row in rows {
        // `firmseal.key`, `.key_id`: a short one goes on from the first.
        let mut above = String::new();
        for name in row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2) {
            let path = match name.strip_prefix('.') {
                Some(rest) => format!("{above}.{rest}"),
                None => name.to_owned(),
            };
            above = path.rsplit_once('.').map_or(String::new(), |(above, _)| above.to_owned());
            assert!(fields.contains_key(&path), "{path} is not mapped");
            named += 1;
        }
    }
    assert!(named > 30, "{named} fields");
}

#[test]
fn the_pipeline_works_on_fields_that_there_are() {
    let (pipeline, template): (Value, Value) =
        (serde_json::from_str(PIPELINE).unwrap(), serde_json::from_str(TEMPLATE).unwrap());
    assert_eq!(template["template"]["settings"]["index"]["default_pipeline"], "firmseal-audit");
    let fields = fields();
    let record = &records()[0];
    let steps =
        ["processors", "on_failure"].map(|steps| pipeline[steps].as_array().unwrap()).into_iter().flatten();
    for step in steps {
        let (kind, settings) = step.as_object().unwrap().iter().next().unwrap();
        for name in ["field", "copy_from"].iter().filter_map(|name| settings[name].as_str()) {
            // A message is what syslog brings, and an id what Elasticsearch
            // keeps a record under.
            let known = fields.contains_key(name) || ["message", "_id"].contains(&name);
            assert!(known, "{kind}: {name} is not mapped");
        }
        if let Some(from) = settings["copy_from"].as_str() {
            let value = from.split('.').fold(record, |value, name| &value[name]);
            assert!(value.is_string(), "{from} is on no record");
        }
    }
    // What it lets pass is what records say of themselves.
    let fail = pipeline["processors"].as_array().unwrap().iter().find_map(|step| step.get("fail")).unwrap();
    assert_eq!(
        fail["if"],
        format!("ctx.event?.dataset != '{}'", record["event"]["dataset"].as_str().unwrap())
    );
}
