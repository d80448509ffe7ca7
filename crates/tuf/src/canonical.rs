//! Canonical JSON as OLPC wrote it down, which TUF signatures cover
//! (TUF 1.0.34 §4.2.1).
//!
//! Members in the order of their names, no blanks, of a string only `"` and
//! `\` escaped, integers and no other numbers.

use serde_json::Value;

/// The canonical bytes of a value; `None` where it has a number that is no
/// integer, which the form cannot say.
pub fn encode(value: &Value) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    write(value, &mut out)?;
    Some(out)
}

fn write(value: &Value, out: &mut Vec<u8>) -> Option<()> {
    match value {
        Value::Null => out.extend(b"null"),
        Value::Bool(true) => out.extend(b"true"),
        Value::Bool(false) => out.extend(b"false"),
        Value::Number(number) if number.is_u64() || number.is_i64() => {
            out.extend(number.to_string().as_bytes());
        }
        Value::Number(_) => return None,
        Value::String(text) => string(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                write(item, out)?;
            }
            out.push(b']');
        }
        Value::Object(members) => {
            // The order of UTF-8 is that of code points. Sorted here: another
            // crate's feature decides which order the map itself has.
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| name.as_str());
            out.push(b'{');
            for (index, (name, item)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                string(name, out);
                out.push(b':');
                write(item, out)?;
            }
            out.push(b'}');
        }
    }
    Some(())
}

fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn one_value_has_one_spelling() {
        let value = json!({ "b": [1, -2, true, null], "a": { "é": "x\n\"\\", "z": {} }, "A": [] });
        let want = "{\"A\":[],\"a\":{\"z\":{},\"é\":\"x\n\\\"\\\\\"},\"b\":[1,-2,true,null]}";
        assert_eq!(encode(&value), Some(want.as_bytes().to_vec()));
    }

    #[test]
    fn fractions_have_none() {
        assert_eq!(encode(&json!({ "a": [0.5] })), None);
    }
}
