//! The interface as OpenAPI 3.1, and the list of routes with who may call
//! them; both generated from the handlers.

use serde_json::{Value, json};
use utoipa::openapi::OpenApi;

use crate::api::documented;
use crate::config::Serves;

const LISTENERS: [Serves; 3] = [Serves::Operator, Serves::Device, Serves::Public];
const METHODS: [&str; 5] = ["get", "post", "patch", "put", "delete"];

fn document(serves: Serves) -> Value {
    let api: OpenApi = documented(serves).into_openapi();
    serde_json::to_value(api).unwrap_or_default()
}

/// One document for all listeners. Where two listeners have the same
/// address, what they ask for stands side by side under `security`, and
/// `x-listeners` says where the operation is found.
pub fn openapi() -> Value {
    let mut merged = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Firmseal",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Signs firmware, delivers it and proves what runs.",
            "license": { "name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT" },
        },
        "paths": {},
        "components": {
            "schemas": {},
            "securitySchemes": {
                "operator": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An operator token, or a client certificate known by digest or name; the scope is the role it needs.",
                },
                "device": {
                    "type": "mutualTLS",
                    "description": "A device certificate of this server; `expired` says that it may be out of date.",
                },
                "enrolment": {
                    "type": "mutualTLS",
                    "description": "No certificate; the one-time token is in the body.",
                },
            },
        },
    });
    for serves in LISTENERS {
        let mut document = document(serves);
        merge(&mut merged["components"]["schemas"], document["components"]["schemas"].take());
        let Value::Object(paths) = document["paths"].take() else { continue };
        for (path, operations) in paths {
            let Value::Object(operations) = operations else { continue };
            for (method, mut operation) in operations {
                // Asked with `get_mut`: an index would leave a null behind.
                let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
                parameters.into_iter().flatten().for_each(shape);
                bytes(&mut operation);
                let name = Value::from(serves.as_str());
                // A parameter that takes the rest of a path is the router's
                // spelling; OpenAPI 3.1 has none for it (§4.8.8.1).
                let path = path.replace("{*", "{");
                let place = &mut merged["paths"][&path][&method];
                if place.is_null() {
                    operation["x-listeners"] = json!([name]);
                    *place = operation;
                    continue;
                }
                if let Some(listeners) = place["x-listeners"].as_array_mut() {
                    listeners.push(name);
                }
                let more = operation["security"].as_array().cloned().unwrap_or_default();
                if let Some(security) = place["security"].as_array_mut() {
                    security.extend(more.into_iter().filter(|new| !new.is_null()));
                    security.dedup();
                }
            }
        }
    }
    // One spelling, whatever is built along: another crate's feature decides
    // which order maps have by themselves.
    merged.sort_all_objects();
    merged
}

/// Says of a parameter what its text looks like: handlers take it as a type
/// of which the generator knows only that it is a text.
fn shape(parameter: &mut Value) {
    const UUID: &str = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
    let id = |prefix: &str| Some(format!("^{prefix}{UUID}$"));
    let pattern = match (parameter["in"].as_str(), parameter["name"].as_str()) {
        (Some("path"), Some("release")) => id("rel-"),
        (Some("path"), Some("request")) => id("req-"),
        (Some("path"), Some("rollout")) => id("rol-"),
        (Some("path"), Some("device")) => id("dev-"),
        (Some("path"), Some("upload")) => id("upl-"),
        (Some("path"), Some("token")) => id(""),
        (Some("path"), Some("artifact" | "hash" | "decision")) => Some("^[0-9a-f]{64}$".to_owned()),
        (Some("path"), Some("payload")) => Some("^[0-9a-f]{64}([.]tree)?$".to_owned()),
        (Some("path" | "query"), Some("product")) => Some("^[a-z0-9][a-z0-9.-]{0,63}$".to_owned()),
        (Some("header"), Some("idempotency-key")) => {
            parameter["required"] = json!(true);
            Some("^[!-~]{1,128}$".to_owned())
        }
        (Some("query"), Some("limit")) => {
            parameter["schema"]["minimum"] = json!(1);
            parameter["schema"]["maximum"] = json!(firmseal_api::encoding::PAGE_MAX);
            None
        }
        _ => None,
    };
    if let Some(pattern) = pattern {
        parameter["schema"]["pattern"] = json!(pattern);
    }
}

/// Says of bodies that are no JSON that they are bytes: the generator writes
/// what handlers take as a list of numbers.
fn bytes(of: &mut Value) {
    match of {
        Value::Array(items) => items.iter_mut().for_each(bytes),
        Value::Object(members) => {
            for (name, member) in members {
                match (name.as_str(), member) {
                    ("content", Value::Object(content)) => {
                        for (_, body) in content.iter_mut().filter(|(media, _)| !media.ends_with("json")) {
                            if body["schema"]["type"] == "array" {
                                body["schema"] = json!({ "type": "string", "format": "binary" });
                            }
                        }
                    }
                    (_, member) => bytes(member),
                }
            }
        }
        _ => {}
    }
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}

/// One route and who may call it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// The listener.
    pub listener: &'static str,
    /// The method, in capitals.
    pub method: String,
    /// The path, with its parameters in braces.
    pub path: String,
    /// `operator auditor|signer`, where one of the roles is enough, `device`,
    /// `device expired`, `enrolment` or `anybody`.
    pub access: String,
}

/// Every route of every listener.
pub fn routes() -> Vec<Route> {
    let mut routes = Vec::new();
    for serves in LISTENERS {
        let document = document(serves);
        let Some(paths) = document["paths"].as_object() else { continue };
        for (path, operations) in paths {
            for method in METHODS {
                let operation = &operations[method];
                if !operation.is_null() {
                    routes.push(Route {
                        listener: serves.as_str(),
                        method: method.to_uppercase(),
                        path: path.clone(),
                        access: access(operation),
                    });
                }
            }
        }
    }
    routes.sort();
    routes
}

fn access(operation: &Value) -> String {
    // Requirements stand beside each other: one of them is enough (OpenAPI
    // 3.1 §4.8.10).
    let mut schemes = Vec::new();
    let mut scopes = Vec::new();
    let requirements = operation["security"].as_array().into_iter().flatten();
    for (scheme, needs) in requirements.filter_map(Value::as_object).flatten() {
        if !schemes.contains(scheme) {
            schemes.push(scheme.clone());
        }
        scopes.extend(needs.as_array().into_iter().flatten().filter_map(Value::as_str));
    }
    match (schemes.is_empty(), scopes.is_empty()) {
        (true, _) => "anybody".to_owned(),
        (false, true) => schemes.join("|"),
        (false, false) => format!("{} {}", schemes.join("|"), scopes.join("|")),
    }
}
