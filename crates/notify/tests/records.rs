//! What is sent, the page that explains it and the schema that programs read:
//! the same fields and the same words.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use firmseal_fleet::audit::{AuditAction, AuditRecord, AuditSubject, AuditedCredential, Outcome};
use firmseal_fleet::{Caller, CallerKind, CredentialId, Reason, Role, Scope, Time};
use firmseal_manifest::{ArtifactId, Digest, ReleaseId, RequestId};
use firmseal_notify::ecs;
use serde_json::{Value, json};
use uuid::Uuid;

const PAGE: &str = include_str!("../../../docs/audit-records.md");
const SCHEMA: &str = include_str!("../../../spec/audit-record.schema.json");

/// A record that has everything at once.
fn full(action: AuditAction) -> AuditRecord {
    let scope = Scope {
        products: ["router".parse().unwrap()].into(),
        channels: ["beta".parse().unwrap()].into(),
        keys: ["release".to_owned()].into(),
    };
    let digest = |byte| Some(ArtifactId(Digest([byte; 32])));
    AuditRecord {
        number: 7,
        time: Time::EPOCH,
        action,
        outcome: Outcome::Success,
        caller: Some(Caller {
            name: "github:acme/router".to_owned(),
            kind: CallerKind::Workload,
            team: Some("network".to_owned()),
            roles: [Role::Signer].into(),
            claims: [("repository".to_owned(), "acme/router".to_owned())].into(),
            scope: Scope::default(),
            source: Some([192, 0, 2, 7].into()),
        }),
        by: None,
        reasons: vec![Reason::new("no-debug", "a debug build")],
        subject: AuditSubject {
            request: Some(RequestId::new()),
            release: Some(ReleaseId::new()),
            product: Some("router".parse().unwrap()),
            channel: Some("stable".parse().unwrap()),
            version: Some("1.2.3".to_owned()),
            digest: digest(1),
            artifacts: digest(1).into_iter().chain(digest(5)).collect(),
            key: Some("release".to_owned()),
            key_id: digest(2),
            fallback: true,
            policy: digest(3),
            decision: digest(4),
            log_index: Some(9),
            build: Some("17".to_owned()),
            commit: Some("c0ffee".to_owned()),
            credential: Some(AuditedCredential {
                id: CredentialId(Uuid::from_u128(1)),
                holder: "otto".to_owned(),
                roles: [Role::Admin].into(),
                scope,
                expires: Some(Time::EPOCH),
            }),
            count: Some(3),
        },
    }
}

/// A record that has nothing that can be absent.
fn bare(action: AuditAction) -> AuditRecord {
    AuditRecord {
        caller: None,
        reasons: Vec::new(),
        subject: AuditSubject::default(),
        outcome: Outcome::Unknown,
        ..full(action)
    }
}

/// What is wrong with a value, by the keywords that the schema uses; one that
/// this does not know may not be used there.
fn wrong(schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (keyword, says) in schema.as_object().unwrap() {
        let holds = match keyword.as_str() {
            "$schema" | "title" | "description" => true,
            "type" => match says.as_str().unwrap() {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "integer" => value.is_u64() || value.is_i64(),
                other => panic!("{at}: nobody knows the type {other}"),
            },
            "const" => value == says,
            "enum" => says.as_array().unwrap().contains(value),
            "format" => {
                assert_eq!(says, "date-time", "{at}: a format that nobody checks");
                value.as_str().is_some_and(|text| text.parse::<Time>().is_ok())
            }
            "minimum" => value.as_i64() >= says.as_i64(),
            "minItems" => value.as_array().map(Vec::len) >= says.as_u64().map(|least| least as usize),
            "items" => {
                let items = value.as_array().into_iter().flatten();
                found.extend(items.flat_map(|item| wrong(says, item, &format!("{at}[]"))));
                true
            }
            "required" => {
                let names = says.as_array().unwrap().iter();
                names.map(|name| name.as_str().unwrap()).all(|name| value.get(name).is_some())
            }
            "properties" => {
                for (name, schema) in says.as_object().unwrap() {
                    if let Some(own) = value.get(name) {
                        found.extend(wrong(schema, own, &format!("{at}.{name}")));
                    }
                }
                true
            }
            "additionalProperties" => {
                let known = schema.get("properties").and_then(Value::as_object);
                let own = value.as_object().into_iter().flatten();
                let others = own.filter(|(name, _)| known.is_none_or(|known| !known.contains_key(*name)));
                others.into_iter().all(|(_, other)| match says {
                    Value::Bool(allowed) => *allowed,
                    schema => wrong(schema, other, at).is_empty(),
                })
            }
            other => panic!("{at}: nobody knows the keyword {other}"),
        };
        if !holds {
            found.push(format!("{at}: {keyword} {says}, and it is {value}"));
        }
    }
    found
}

/// Fields of a record. Claims have whatever names the settings give them.
fn fields(value: &Value, at: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) if at != "user.firmseal_claims" => {
            for (name, own) in members {
                let dot = if at.is_empty() { "" } else { "." };
                fields(own, &format!("{at}{dot}{name}"), into);
            }
        }
        _ => {
            into.insert(at.to_owned());
        }
    }
}

/// The fields that the schema allows.
fn allowed(schema: &Value, at: &str, into: &mut BTreeSet<String>) {
    let Some(members) = schema.get("properties").and_then(Value::as_object) else {
        into.insert(at.to_owned());
        return;
    };
    for (name, own) in members {
        let dot = if at.is_empty() { "" } else { "." };
        allowed(own, &format!("{at}{dot}{name}"), into);
    }
}

/// Rows of a table of the page: the cells of each.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let (_, section) = PAGE.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let lines = section.lines().filter(|line| line.starts_with("| `"));
    let rows: Vec<Vec<_>> =
        lines.map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect()).collect();
    rows.into_iter().filter(|cells: &Vec<_>| cells[0] != "`event.action`").collect()
}

/// Words in backquotes; one that begins with a dot stands in the place of the
/// last member before it.
fn named(cell: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for word in cell.split('`').skip(1).step_by(2) {
        let whole = match (word.strip_prefix('.'), names.last()) {
            (Some(member), Some(last)) => format!("{}.{member}", last.rsplit_once('.').unwrap().0),
            _ => word.to_owned(),
        };
        names.push(whole);
    }
    names
}

#[test]
fn every_record_is_as_the_schema_says() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    for action in AuditAction::ALL {
        for record in [full(action), bare(action)] {
            let sent = ecs::encode(&record);
            assert_eq!(wrong(&schema, &sent, "record"), Vec::<String>::new(), "{sent:#}");
        }
    }
    let words = schema["properties"]["event"]["properties"]["action"]["enum"].as_array().unwrap();
    assert_eq!(words.len(), AuditAction::ALL.len(), "an action that nobody records");
    // It does refuse.
    let good = ecs::encode(&full(AuditAction::Approved));
    let changes: [fn(&mut Value); 7] = [
        |record| record["password"] = json!("hunter2"),
        |record| record["event"]["action"] = json!("approval"),
        |record| record["event"]["sequence"] = json!(-1),
        |record| drop(record["event"].as_object_mut().unwrap().remove("outcome")),
        |record| record["@timestamp"] = json!("yesterday"),
        |record| record["rule"]["name"] = json!([]),
        |record| record["firmseal"]["credential"]["secret"] = json!("fsop_x"),
    ];
    for change in changes {
        let mut bad = good.clone();
        change(&mut bad);
        assert_ne!(wrong(&schema, &bad, "record"), Vec::<String>::new(), "{bad:#}");
    }
}

#[test]
fn the_page_and_the_schema_name_what_is_sent_and_all_of_it() {
    let mut sent = BTreeSet::new();
    fields(&ecs::encode(&full(AuditAction::Approved)), "", &mut sent);
    let explained: Vec<String> = rows("Fields").iter().flat_map(|cells| named(cells[0])).collect();
    assert_eq!(explained.len(), explained.iter().collect::<BTreeSet<_>>().len(), "a field stands twice");
    assert_eq!(explained.into_iter().collect::<BTreeSet<_>>(), sent, "docs/audit-records.md, Fields");
    let mut known = BTreeSet::new();
    allowed(&serde_json::from_str(SCHEMA).unwrap(), "", &mut known);
    assert_eq!(known, sent, "spec/audit-record.schema.json");
}

#[test]
fn the_page_explains_every_action_with_its_classes() {
    let explained: Vec<(String, String)> =
        rows("Actions").iter().map(|cells| (named(cells[0]).remove(0), cells[2].to_owned())).collect();
    let sent = AuditAction::ALL.map(|action| {
        let event = &ecs::encode(&bare(action))["event"];
        let of = |field: &str| event[field][0].as_str().unwrap().to_owned();
        (action.word().to_owned(), format!("{}, {}", of("category"), of("type")))
    });
    assert_eq!(explained, sent, "docs/audit-records.md, Actions");
}
