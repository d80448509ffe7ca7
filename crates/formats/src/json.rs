//! JSON (RFC 8259), strictly: json-c, with which SWUpdate reads it, takes
//! comments, a comma too many, and whatever stands behind; Go's takes the last
//! of two settings of one name.

use crate::der::Bad;
use crate::tree::{Cursor, DEPTH_MAX, Group, Value, insert, is_digits};

pub(crate) fn read(text: &str) -> Result<Group, Bad> {
    let mut cursor = Cursor(text);
    let found = value(&mut cursor, 0)?;
    blank(&mut cursor);
    match found {
        Value::Group(settings) if cursor.0.is_empty() => Ok(settings),
        _ => Err("something stands behind its JSON"),
    }
}

/// Settings as text, on one line.
pub(crate) fn write(group: &Group) -> String {
    let mut out = String::new();
    written(&mut out, group);
    out
}

fn written(out: &mut String, group: &Group) {
    out.push('{');
    for (index, (name, value)) in group.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        quoted(out, name);
        out.push(':');
        one(out, value);
    }
    out.push('}');
}

fn one(out: &mut String, value: &Value) {
    match value {
        Value::Text(text) => quoted(out, text),
        Value::Number(digits) => out.push_str(digits),
        Value::Bool(yes) => out.push_str(if *yes { "true" } else { "false" }),
        Value::Group(group) => written(out, group),
        Value::List(values) => {
            out.push('[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                one(out, value);
            }
            out.push(']');
        }
    }
}

fn quoted(out: &mut String, text: &str) {
    out.push('"');
    for own in text.chars() {
        match own {
            '"' | '\\' => out.extend(['\\', own]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            own if own.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(own))),
            own => out.push(own),
        }
    }
    out.push('"');
}

fn value(cursor: &mut Cursor<'_>, depth: usize) -> Result<Value, Bad> {
    if depth > DEPTH_MAX {
        return Err("it is nested more than twenty deep");
    }
    blank(cursor);
    if cursor.eat("{") {
        let mut settings = Group::new();
        members(cursor, "}", |cursor| {
            let name = string(cursor)?;
            blank(cursor);
            if !cursor.eat(":") {
                return Err("a setting has no value");
            }
            let own = value(cursor, depth + 1)?;
            insert(&mut settings, name, own)
        })?;
        return Ok(Value::Group(settings));
    }
    if cursor.eat("[") {
        let mut all = Vec::new();
        members(cursor, "]", |cursor| {
            all.push(value(cursor, depth + 1)?);
            Ok(())
        })?;
        return Ok(Value::List(all));
    }
    if cursor.peek() == Some('"') {
        return Ok(Value::Text(string(cursor)?));
    }
    match cursor.span(|own| own.is_ascii_alphanumeric() || matches!(own, '.' | '+' | '-')) {
        "true" => Ok(Value::Bool(true)),
        "false" => Ok(Value::Bool(false)),
        word if is_number(word) => Ok(Value::Number(word.to_owned())),
        _ => Err("a value in it is no text, number, list or group"),
    }
}

fn members(
    cursor: &mut Cursor<'_>,
    end: &str,
    mut one: impl FnMut(&mut Cursor<'_>) -> Result<(), Bad>,
) -> Result<(), Bad> {
    blank(cursor);
    if cursor.eat(end) {
        return Ok(());
    }
    loop {
        blank(cursor);
        one(cursor)?;
        blank(cursor);
        if cursor.eat(end) {
            return Ok(());
        }
        if !cursor.eat(",") {
            return Err("a list in it has something else than commas between its elements");
        }
    }
}

/// Whole numbers of 64 bits, and fractions.
fn is_number(word: &str) -> bool {
    let digits = word.strip_prefix('-').unwrap_or(word);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let leads = whole.len() > 1 && whole.starts_with('0');
    is_digits(whole) && is_digits(part) && !leads && (digits != whole || word.parse::<i64>().is_ok())
}

fn string(cursor: &mut Cursor<'_>) -> Result<String, Bad> {
    if !cursor.eat("\"") {
        return Err("something stands in it where the name of a setting belongs");
    }
    let mut out = String::new();
    loop {
        match cursor.next().ok_or("a text in it does not end")? {
            '"' => return Ok(out),
            '\\' => out.push(escaped(cursor)?),
            // json-c takes them, JSON does not.
            own if own.is_control() => return Err("a text in it has a line break that is not written `\\n`"),
            own => out.push(own),
        }
    }
}

fn escaped(cursor: &mut Cursor<'_>) -> Result<char, Bad> {
    const BAD: Bad = "a text in it has a backslash that means no character";
    match cursor.next().ok_or(BAD)? {
        'n' => Ok('\n'),
        'r' => Ok('\r'),
        't' => Ok('\t'),
        'b' => Ok('\x08'),
        'f' => Ok('\x0c'),
        own @ ('\\' | '"' | '/') => Ok(own),
        'u' => {
            let mut code = cursor.hex(4).ok_or(BAD)?;
            if (0xd800..0xdc00).contains(&code) {
                let low = if cursor.eat("\\u") { cursor.hex(4) } else { None };
                let low = low.filter(|low| (0xdc00..0xe000).contains(low)).ok_or(BAD)?;
                code = 0x1_0000 + ((code - 0xd800) << 10 | (low - 0xdc00));
            }
            // A NUL ends the text for who reads it in C.
            char::from_u32(code).filter(|own| !own.is_control()).ok_or(BAD)
        }
        _ => Err(BAD),
    }
}

fn blank(cursor: &mut Cursor<'_>) {
    cursor.span(|own| matches!(own, ' ' | '\t' | '\n' | '\r'));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn json_is_read_strictly() {
        let found =
            read("{ \"a\": [1, -2, 0.5, true], \"b\\u0041\": \"\\ud83d\\ude00\\n\", \"c\": {} }\n").unwrap();
        assert_eq!(found["bA"], Value::Text("😀\n".to_owned()));
        assert_eq!(found.len(), 3);
        assert_eq!(read(&write(&found)).unwrap(), found);
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(21), "]".repeat(21));
        let refused = [
            "",
            "[]",
            "{",
            "{} x",
            "{}{}",
            "{\"a\":1,}",
            "{\"a\":[1,]}",
            "{\"a\":1,\"a\":2}",
            "{\"a\":1,\"\\u0061\":2}",
            "{'a':1}",
            "{a:1}",
            "{\"a\" 1}",
            "{\"a\":null}",
            "{\"a\":01}",
            "{\"a\":1.}",
            "{\"a\":.5}",
            "{\"a\":99999999999999999999}",
            "{\"a\":\"\n\"}",
            "{\"a\":\"\\u0000\"}",
            "{\"a\":\"\\ud83d\"}",
            "{\"a\":\"\\ud83dx\"}",
            "{\"a\":\"\\u+061\"}",
            "{\"a\":\"\\x41\"}",
            "{\"\":1}",
            "/* x */ {}",
            "{} // x\n",
            &deep,
        ];
        for text in refused {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
