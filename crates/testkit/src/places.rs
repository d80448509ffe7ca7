//! Places in JSON documents, for tests that change each of them (RFC 6901).

use serde_json::Value;

/// Every place in a document but the whole, the inner ones first.
pub fn all(document: &Value) -> Vec<String> {
    let mut all = Vec::new();
    walk(document, "", &mut all);
    all
}

fn walk(value: &Value, at: &str, all: &mut Vec<String>) {
    let below: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (name, value) in below {
        let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        walk(value, &at, all);
        all.push(at);
    }
}

/// Takes a member out of its object; false where the place is none.
pub fn remove(document: &mut Value, at: &str) -> bool {
    let Some((parent, name)) = at.rsplit_once('/') else { return false };
    let members = document.pointer_mut(parent).and_then(Value::as_object_mut);
    members.is_some_and(|members| members.remove(&name.replace("~1", "/").replace("~0", "~")).is_some())
}
