//! Descriptions of SWUpdate's packages, as files of their own: text that
//! begins a group `software` where libconfig and JSON have their outermost
//! settings.
//!
//! This is no parser. It takes whatever libconfig or json-c might, comments,
//! escapes and all, and gives up where neither would go on, which in anything
//! but text is at once. A file need not be a good description to be refused.

use std::io;

use crate::source::Source;

/// The group that SWUpdate reads, unless it was built to read another.
const ROOT: &[u8] = b"software";
/// How much is read at a time.
const PIECE: usize = 64 * 1024;

/// Whether a file is one.
pub(super) fn is_one(source: &dyn Source) -> io::Result<bool> {
    let len = source.len()?;
    let mut scan = Scan::default();
    // Most files are none from their first bytes on.
    let (mut at, mut piece) = (0, vec![0; 64]);
    while at < len {
        piece.truncate((len - at).min(PIECE as u64) as usize);
        source.read_at(at, &mut piece)?;
        for byte in &piece {
            match scan.step(*byte) {
                Step::On => {}
                Step::Over => return Ok(false),
                Step::Found => return Ok(true),
            }
        }
        at += piece.len() as u64;
        piece.resize(PIECE, 0);
    }
    Ok(false)
}

#[derive(PartialEq, Eq, Debug)]
enum Step {
    On,
    /// Neither language goes on here.
    Over,
    Found,
}

#[derive(Clone, Copy, Default)]
enum State {
    #[default]
    Between,
    Word,
    /// Up to this quote.
    Text(u8),
    Escape(u8),
    /// A character by number, with the digits that are missing.
    Number(u8, u8, u32),
    Slash,
    Line,
    Block,
    BlockStar,
}

#[derive(Default)]
struct Scan {
    state: State,
    /// The last word or text, as far as it could be the root's name.
    word: Vec<u8>,
    /// The root's name was just given a value.
    assigned: bool,
    /// It begins as JSON.
    is_json: bool,
    depth: u32,
    started: bool,
}

impl Scan {
    fn step(&mut self, byte: u8) -> Step {
        match self.state {
            State::Between => return self.between(byte),
            State::Word if is_word(byte) => self.push(byte),
            State::Word => {
                self.state = State::Between;
                return self.between(byte);
            }
            State::Text(quote) if byte == quote => self.state = State::Between,
            State::Text(quote) if byte == b'\\' => self.state = State::Escape(quote),
            State::Text(_) => self.push(byte),
            State::Escape(quote) if byte == b'u' => self.state = State::Number(quote, 4, 0),
            State::Escape(quote) => {
                // Whatever it means, it is no letter.
                self.push(b'?');
                self.state = State::Text(quote);
            }
            State::Number(quote, missing, value) => {
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                let value = value << 4 | digit;
                self.state = State::Number(quote, missing - 1, value);
                if missing == 1 {
                    self.push(u8::try_from(value).unwrap_or(b'?'));
                    self.state = State::Text(quote);
                }
            }
            State::Slash if byte == b'/' => self.state = State::Line,
            State::Slash if byte == b'*' => self.state = State::Block,
            State::Slash => return Step::Over,
            State::Line if byte == b'\n' => self.state = State::Between,
            State::BlockStar if byte == b'/' => self.state = State::Between,
            State::Block | State::BlockStar => {
                self.state = if byte == b'*' { State::BlockStar } else { State::Block };
            }
            State::Line => {}
        }
        Step::On
    }

    fn between(&mut self, byte: u8) -> Step {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => return Step::On,
            b'#' => self.state = State::Line,
            b'/' => self.state = State::Slash,
            _ => return self.token(byte),
        }
        Step::On
    }

    fn token(&mut self, byte: u8) -> Step {
        let first = !std::mem::replace(&mut self.started, true);
        let assigned = std::mem::take(&mut self.assigned);
        match byte {
            b'{' if assigned => return Step::Found,
            b'{' if first => (self.is_json, self.depth) = (true, 1),
            b'{' | b'[' | b'(' => self.depth = self.depth.saturating_add(1),
            b'}' | b']' | b')' => self.depth = self.depth.saturating_sub(1),
            b':' | b'=' => {
                self.assigned = self.word == ROOT && self.depth == u32::from(self.is_json);
            }
            b',' | b';' => {}
            b'"' | b'\'' => self.state = State::Text(byte),
            _ if is_word(byte) => self.state = State::Word,
            _ => return Step::Over,
        }
        self.word.clear();
        if matches!(self.state, State::Word) {
            self.push(byte);
        }
        Step::On
    }

    fn push(&mut self, byte: u8) {
        if self.word.len() <= ROOT.len() {
            self.word.push(byte);
        }
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'*' | b'+' | b'-' | b'.')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn descriptions_are_told_from_other_text() {
        let long = format!("{}software: {{", "# comment\n".repeat(20_000));
        let yes: [&[u8]; 12] = [
            b"software = { version = \"1\"; };",
            b"software:{",
            b"\n\t # software\n// x = {\n/* ** */ software /* */ = /**/ {",
            b"a = 1; b = ( { software = 1; } ); c = \"x\\\"\"; software = {",
            b"a = 1 software = {",
            b"{\"software\": {",
            b"{ \"a\": [1, {\"x\": \"}\"}], \"soft\\u0077are\" : {",
            b"{ 'software' : {",
            b"/* x */ { software: {",
            b"// x\n{\"software\":{",
            b"software = {}\0\xff",
            long.as_bytes(),
        ];
        for text in yes {
            assert!(is_one(&text.to_vec()).unwrap(), "{}", text.escape_ascii());
        }
        let no: [&[u8]; 13] = [
            b"",
            b"software",
            b"software = 1;",
            b"software is what this is: {",
            b"a = { software = { } };",
            b"{\"a\": {\"software\": {}}}",
            b"{\"name\": \"software\", \"a\": {}}",
            b"{\"softwares\": {}}",
            b"hardware = { software: 1 };",
            b"# software = {",
            b"\x7fELF software = {",
            b"MZ\0 software = {",
            b"#!/bin/sh\nset -e\n! software = {",
        ];
        for text in no {
            assert!(!is_one(&text.to_vec()).unwrap(), "{}", text.escape_ascii());
        }
    }
}
