//! libconfig's language (its manual, *Configuration Files*), as version 1.5
//! and all later ones read it: what one of them reads otherwise is refused.

use crate::der::Bad;
use crate::tree::{Cursor, DEPTH_MAX, Group, Value, insert, is_digits};

pub(super) fn read(text: &str) -> Result<Group, Bad> {
    group(&mut Cursor(text), 0, None)
}

/// Settings up to the end of their group, or of the text.
fn group(cursor: &mut Cursor<'_>, depth: usize, end: Option<&str>) -> Result<Group, Bad> {
    let mut settings = Group::new();
    loop {
        blank(cursor)?;
        match end {
            None if cursor.0.is_empty() => return Ok(settings),
            Some(end) if cursor.eat(end) => return Ok(settings),
            _ => {}
        }
        let name = name(cursor)?;
        blank(cursor)?;
        if !cursor.eat(":") && !cursor.eat("=") {
            return Err("a setting has no value");
        }
        let own = value(cursor, depth)?;
        insert(&mut settings, name, own)?;
        blank(cursor)?;
        let _ = cursor.eat(";") || cursor.eat(",");
    }
}

fn name(cursor: &mut Cursor<'_>) -> Result<String, Bad> {
    let starts = cursor.peek().is_some_and(|own| own.is_ascii_alphabetic() || own == '*');
    let name = cursor.span(|own| own.is_ascii_alphanumeric() || matches!(own, '-' | '_' | '*'));
    match starts && truth(name).is_none() {
        true => Ok(name.to_owned()),
        false => Err("something stands in it where the name of a setting belongs"),
    }
}

fn truth(word: &str) -> Option<bool> {
    match () {
        () if word.eq_ignore_ascii_case("true") => Some(true),
        () if word.eq_ignore_ascii_case("false") => Some(false),
        () => None,
    }
}

fn value(cursor: &mut Cursor<'_>, depth: usize) -> Result<Value, Bad> {
    if depth == DEPTH_MAX {
        return Err("it is nested more than twenty deep");
    }
    blank(cursor)?;
    if cursor.eat("{") {
        return Ok(Value::Group(group(cursor, depth + 1, Some("}"))?));
    }
    if cursor.eat("(") {
        return Ok(Value::List(elements(cursor, ")", |cursor| value(cursor, depth + 1))?));
    }
    if cursor.eat("[") {
        let all = elements(cursor, "]", |cursor| {
            blank(cursor)?;
            simple(cursor)
        })?;
        let like = |value: &Value| all.first().is_some_and(|first| kind(first) == kind(value));
        return match all.iter().all(like) {
            true => Ok(Value::List(all)),
            false => Err("an array of its has elements of two kinds"),
        };
    }
    simple(cursor)
}

/// What the elements of an array have in common.
fn kind(value: &Value) -> (std::mem::Discriminant<Value>, bool, bool) {
    let (long, float) = match value {
        Value::Number(text) => (text.ends_with('L'), text.contains('.')),
        _ => (false, false),
    };
    (std::mem::discriminant(value), long, float)
}

fn elements(
    cursor: &mut Cursor<'_>,
    end: &str,
    mut one: impl FnMut(&mut Cursor<'_>) -> Result<Value, Bad>,
) -> Result<Vec<Value>, Bad> {
    let mut found = Vec::new();
    blank(cursor)?;
    if cursor.eat(end) {
        return Ok(found);
    }
    loop {
        found.push(one(cursor)?);
        blank(cursor)?;
        if cursor.eat(end) {
            return Ok(found);
        }
        if !cursor.eat(",") {
            return Err("a list in it has something else than commas between its elements");
        }
    }
}

fn simple(cursor: &mut Cursor<'_>) -> Result<Value, Bad> {
    if cursor.peek() == Some('"') {
        return Ok(Value::Text(string(cursor)?));
    }
    let word = cursor.span(|own| own.is_ascii_alphanumeric() || matches!(own, '.' | '+' | '-' | '_' | '*'));
    match truth(word) {
        Some(truth) => Ok(Value::Bool(truth)),
        None if is_number(word) => Ok(Value::Number(word.to_owned())),
        None => Err("a value in it is no text, number, list or group"),
    }
}

/// Numbers that every version reads alike: a larger one is cut off by some,
/// and made a long one by others.
fn is_number(word: &str) -> bool {
    let (body, is_long) = match word.strip_suffix("LL").or_else(|| word.strip_suffix('L')) {
        Some(body) => (body, true),
        None => (word, false),
    };
    if let Some(digits) = body.strip_prefix("0x").or_else(|| body.strip_prefix("0X")) {
        return !digits.starts_with('+')
            && u64::from_str_radix(digits, 16).is_ok_and(|value| is_long || value <= u64::from(u32::MAX));
    }
    let digits = body.strip_prefix(['+', '-']).unwrap_or(body);
    if is_digits(digits) {
        return body.parse::<i64>().is_ok_and(|value| is_long || i32::try_from(value).is_ok());
    }
    let is_float = digits.split_once('.').is_some_and(|(whole, part)| is_digits(whole) && is_digits(part));
    is_float && !is_long
}

/// Texts one behind the other are one.
fn string(cursor: &mut Cursor<'_>) -> Result<String, Bad> {
    let mut out = String::new();
    while cursor.eat("\"") {
        loop {
            match cursor.next().ok_or("a text in it does not end")? {
                '"' => break,
                '\\' => out.push(escaped(cursor)?),
                own => out.push(own),
            }
        }
        blank(cursor)?;
    }
    Ok(out)
}

fn escaped(cursor: &mut Cursor<'_>) -> Result<char, Bad> {
    match cursor.next() {
        Some('n') => Ok('\n'),
        Some('r') => Ok('\r'),
        Some('t') => Ok('\t'),
        Some('f') => Ok('\x0c'),
        Some(own @ ('\\' | '"')) => Ok(own),
        // A NUL ends the text for some, and half a character is none.
        Some('x' | 'X') => cursor
            .hex(2)
            .and_then(char::from_u32)
            .filter(|own| matches!(own, ' '..='~'))
            .ok_or("a text in it has a byte by number that is no printable character"),
        // Later versions know more of them; earlier ones keep the backslash.
        _ => Err("a text in it has a backslash that not every libconfig reads alike; write two"),
    }
}

/// Steps over blanks and comments.
fn blank(cursor: &mut Cursor<'_>) -> Result<(), Bad> {
    loop {
        cursor.span(|own| matches!(own, ' ' | '\t' | '\n' | '\r'));
        if cursor.eat("#") || cursor.eat("//") {
            cursor.span(|own| own != '\n');
            // libconfig knows them by the end of their line.
            if cursor.0.is_empty() {
                return Err("a comment on its last line has no end");
            }
        } else if cursor.eat("/*") {
            let (_, rest) = cursor.0.split_once("*/").ok_or("a comment in it does not end")?;
            cursor.0 = rest;
        } else if cursor.peek() == Some('@') {
            return Err("it includes another file, which nobody signs");
        } else {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_every_version_reads_is_read() {
        let text = "# one\n// two\n/* three */ a = 1; b: \"x\" /**/ \"\\\"y\\x41\\n\", c = ( 1, \"t\", { d = TRUE } ) \
                    e = [ 0x1F, -2 ]; f = { } g-*_1 = 9999999999L; h = -1.5; i = (); j = [];\n";
        let found = read(text).unwrap();
        assert_eq!(found["b"], Value::Text("x\"yA\n".to_owned()));
        assert_eq!(found["f"], Value::Group(Group::new()));
        let Value::List(list) = &found["c"] else { return assert!(found.is_empty()) };
        assert_eq!(list.len(), 3);
        assert_eq!(found["e"], Value::List(["0x1F", "-2"].map(|own| Value::Number(own.into())).to_vec()));
        assert_eq!(found.len(), 9);
        assert!(read("a = \"line\n# no comment\";").is_ok());
    }

    #[test]
    fn what_could_be_read_otherwise_is_refused() {
        let deep = format!("a = {}1{};", "(".repeat(20), ")".repeat(20));
        let refused = [
            "a",
            "a =",
            "a = 1; a = 2;",
            "true = 1;",
            "1a = 1;",
            "\"a\" = 1;",
            "a = b;",
            "a = 1a = 2;",
            "a = \"x",
            "a = \"\\q\";",
            "a = \"\\x00\";",
            "a = \"\\x80\";",
            "a = \"\\xg0\";",
            "a = \"\\x+1\";",
            "a = 2147483648;",
            "a = 0x100000000;",
            "a = 0x+1;",
            "a = 1.;",
            "a = 1.5L;",
            "a = ( 1, );",
            "a = ( 1 2 );",
            "a = [ 1, \"x\" ];",
            "a = [ 1, 1L ];",
            "a = [ ( 1 ) ];",
            "a = { b = 1;",
            "a = ( 1 };",
            "};",
            "; a = 1;",
            "a = 1; # no end",
            "a = 1; /* no end",
            "@include \"x\"\n",
            "a = 1;\n@include \"x\"\n",
            "{ \"a\": 1 }",
            &deep,
        ];
        for text in refused {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
