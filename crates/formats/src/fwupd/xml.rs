//! XML (1.0), as much of it as a metainfo has: elements, attributes, text and
//! comments. Whatever readers may differ in is refused.

use crate::der::Bad;
use crate::tree::Cursor;

const DEPTH_MAX: usize = 16;
const NODES_MAX: usize = 8192;
const BLANK: [char; 4] = [' ', '\t', '\n', '\r'];

/// An element.
#[derive(Default)]
pub(super) struct Element {
    pub(super) name: String,
    pub(super) attributes: Vec<(String, String)>,
    pub(super) children: Vec<Element>,
    /// Its own text, all pieces of it.
    pub(super) text: String,
}

impl Element {
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The one child of a name, if there is one.
    pub(super) fn one(&self, name: &str) -> Result<Option<&Element>, Bad> {
        let mut found = self.children.iter().filter(|child| child.name == name);
        match (found.next(), found.next()) {
            (first, None) => Ok(first),
            _ => Err("an element that has to stand once stands twice"),
        }
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// Text that is all there is in it, without blanks around.
    pub(super) fn plain(&self) -> Result<&str, Bad> {
        match self.children.is_empty() && self.text.trim() == self.text {
            true => Ok(&self.text),
            false => Err("a value has elements in it, or blanks around it"),
        }
    }
}

pub(super) fn read(text: &str) -> Result<Element, Bad> {
    let mut cursor = Cursor(text);
    if cursor.eat("<?xml") {
        let (declared, rest) = cursor.0.split_once("?>").ok_or("its declaration does not end")?;
        if !declared.to_ascii_lowercase().replace('\'', "\"").contains("encoding=\"utf-8\"")
            && declared.contains("encoding")
        {
            return Err("it is in another encoding than UTF-8");
        }
        cursor = Cursor(rest);
    }
    between(&mut cursor)?;
    let mut nodes = 0;
    if !cursor.eat("<") {
        return Err("it does not begin with an element");
    }
    let root = element(&mut cursor, 0, &mut nodes)?;
    between(&mut cursor)?;
    match cursor.0.is_empty() {
        true => Ok(root),
        false => Err("something stands behind its last element"),
    }
}

/// Blanks and comments.
fn between(cursor: &mut Cursor<'_>) -> Result<(), Bad> {
    loop {
        cursor.span(|own| BLANK.contains(&own));
        if !comment(cursor)? {
            return Ok(());
        }
    }
}

fn comment(cursor: &mut Cursor<'_>) -> Result<bool, Bad> {
    if !cursor.eat("<!--") {
        return Ok(false);
    }
    let (inside, rest) = cursor.0.split_once("-->").ok_or("a comment does not end")?;
    // "--" is none that all take, and "--->" ends where some do not.
    if inside.contains("--") || inside.ends_with('-') {
        return Err("a comment has two hyphens in it");
    }
    *cursor = Cursor(rest);
    Ok(true)
}

/// An element whose `<` was read.
fn element(cursor: &mut Cursor<'_>, depth: usize, nodes: &mut usize) -> Result<Element, Bad> {
    *nodes += 1;
    if depth > DEPTH_MAX || *nodes > NODES_MAX {
        return Err("it has more than 8192 elements, or is nested more than 16 deep");
    }
    let mut out = Element { name: name(cursor)?, ..Element::default() };
    loop {
        let blank = !cursor.span(|own| BLANK.contains(&own)).is_empty();
        if cursor.eat("/>") {
            return Ok(out);
        }
        if cursor.eat(">") {
            break;
        }
        let key = if blank { name(cursor)? } else { return Err("an element does not end") };
        if !cursor.eat("=") || out.attribute(&key).is_some() {
            return Err("an attribute has no value, or stands twice");
        }
        let quote =
            cursor.next().filter(|own| matches!(own, '"' | '\'')).ok_or("an attribute has no quotes")?;
        let value = cursor.span(|own| own != quote && own != '<');
        let value = unescaped(value)?;
        if cursor.next() != Some(quote) || value.contains(['\t', '\n', '\r']) {
            return Err("the value of an attribute does not end on its line, or has a `<`");
        }
        out.attributes.push((key, value));
    }
    loop {
        out.text.push_str(&unescaped(cursor.span(|own| own != '<'))?);
        if comment(cursor)? {
            continue;
        }
        if cursor.eat("</") {
            let closed = cursor.eat(&out.name);
            cursor.span(|own| BLANK.contains(&own));
            return if closed && cursor.eat(">") {
                Ok(out)
            } else {
                Err("an element ends with another's name")
            };
        }
        // What is left are sections, instructions and the end of the text.
        if !cursor.eat("<") || cursor.0.starts_with(['!', '?']) {
            return Err("it has something else than elements, text and comments, or ends too early");
        }
        out.children.push(element(cursor, depth + 1, nodes)?);
    }
}

fn name(cursor: &mut Cursor<'_>) -> Result<String, Bad> {
    let found = cursor.span(|own| own.is_ascii_alphanumeric() || matches!(own, '_' | '-' | '.' | ':'));
    match found.starts_with(|own: char| own.is_ascii_alphabetic()) {
        true => Ok(found.to_owned()),
        false => Err("a name is none"),
    }
}

/// Text with the entities that XML itself has.
fn unescaped(text: &str) -> Result<String, Bad> {
    let mut out = String::with_capacity(text.len());
    let mut parts = text.split('&');
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (entity, rest) = part.split_once(';').ok_or("an `&` begins no entity")?;
        out.push(match entity {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            _ => return Err("it has an entity that XML itself has not"),
        });
        out.push_str(rest);
    }
    // Readers differ on what ends a section in text.
    if text.contains("]]>") { Err("it has the end of a section in text") } else { Ok(out) }
}
