//! Output: data to stdout as tables or JSON, everything else to stderr.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::error::{CliError, Kind, Result};
use crate::record::plain;

/// Where and how a command prints.
pub struct Output {
    json: bool,
    colour: bool,
}

impl Output {
    /// For people, or for programs.
    pub fn new(json: bool) -> Output {
        // https://no-color.org: present and not empty means no colour.
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Output { json, colour: io::stderr().is_terminal() && !plain }
    }

    /// Whether programs read the output.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// One value: JSON for programs, `print` for people.
    pub fn value(&self, value: &impl Serialize, print: impl FnOnce() -> String) -> Result {
        let text = if self.json {
            serde_json::to_string_pretty(value).map_err(|error| CliError::new(Kind::Unexpected, error))?
        } else {
            print()
        };
        self.write(&text)
    }

    /// Rows under headings: JSON for programs.
    pub fn table<T: Serialize>(
        &self,
        rows: &[T],
        headings: &[&str],
        row: impl Fn(&T) -> Vec<String>,
    ) -> Result {
        self.value(&rows, || {
            let cells: Vec<Vec<String>> =
                rows.iter().map(|value| row(value).iter().map(|cell| plain(cell)).collect()).collect();
            table(headings, &cells)
        })
    }

    /// A line for people on stderr; programs do without.
    pub fn note(&self, text: impl Display) {
        if !self.json {
            // A closed stderr is no reason to stop.
            let _ = writeln!(io::stderr(), "{}", shown(&text.to_string()));
        }
    }

    /// The last line of a command that failed.
    pub fn error(&self, error: &CliError) {
        let (red, dim, off) = if self.colour { ("\x1b[1;31m", "\x1b[2m", "\x1b[0m") } else { ("", "", "") };
        let mut text = format!("{red}error{off}: {}\n", shown(&error.message));
        if let Some(hint) = &error.hint {
            text.push_str(&format!("{dim}hint{off}: {}\n", shown(hint)));
        }
        if let Some(id) = &error.request_id {
            text.push_str(&format!("{dim}request{off}: {}\n", shown(id)));
        }
        let _ = io::stderr().write_all(text.as_bytes());
    }

    fn write(&self, text: &str) -> Result {
        let mut out = io::stdout().lock();
        let written = out
            .write_all(text.as_bytes())
            .and_then(|()| if text.ends_with('\n') { Ok(()) } else { out.write_all(b"\n") });
        match written.and_then(|()| out.flush()) {
            // `firmseal release list | head` is no error.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => Ok(other?),
        }
    }
}

/// Text of several lines that a terminal only shows: names and reasons in it
/// are a server's, or somebody else's. Whoever prints one line of theirs among
/// others has it escaped by [`plain`] before.
fn shown(text: &str) -> String {
    text.split('\n').map(plain).collect::<Vec<_>>().join("\n")
}

/// Columns padded to their widest cell, two spaces apart.
fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let width = |text: &str| text.chars().count();
    let mut widths: Vec<usize> = headings.iter().map(|heading| width(heading)).collect();
    for row in rows {
        for (column, cell) in widths.iter_mut().zip(row) {
            *column = (*column).max(width(cell));
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (cell, column) in cells.zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', column - width(cell) + 2));
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        line
    };
    let mut out = line(&mut headings.iter().copied());
    for row in rows {
        out.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{shown, table};

    #[test]
    fn what_others_wrote_moves_no_cursor() {
        assert_eq!(shown("first\n\x1b[2Ksecond\r"), "first\n\\u{1b}[2Ksecond\\u{d}");
    }

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".to_owned(), "long".to_owned()], vec!["bcd".to_owned(), "x".to_owned()]];
        assert_eq!(table(&["NAME", "N"], &rows), "NAME  N\na     long\nbcd   x\n");
    }
}
