//! Records: one thing as names and values in two columns.

use std::fmt::Display;

/// The lines of a record, in the order they were added.
#[derive(Default)]
pub struct Record {
    rows: Vec<(String, String)>,
}

impl Record {
    /// A record without lines.
    pub fn new() -> Record {
        Record::default()
    }

    /// Adds a line.
    pub fn row(mut self, name: impl Into<String>, value: impl Display) -> Record {
        self.rows.push((name.into(), plain(&value.to_string())));
        self
    }

    /// Adds a line where there is a value.
    pub fn maybe(self, name: impl Into<String>, value: Option<impl Display>) -> Record {
        match value {
            Some(value) => self.row(name, value),
            None => self,
        }
    }

    /// The text: values begin in one column.
    pub fn print(&self) -> String {
        let width = self.rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let mut out = String::new();
        for (name, value) in &self.rows {
            let pad = width - name.chars().count() + 2;
            let line = format!("{name}{:pad$}{value}", "");
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

/// Text that a terminal only shows. Devices, certificates and firmware say
/// of themselves what they like, escape sequences and writing that runs
/// backwards included.
pub fn plain(text: &str) -> String {
    let acts = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if acts(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::Record;

    #[test]
    fn values_do_nothing_to_a_terminal() {
        let record = Record::new().row("message", "a\x1b[2J\nb\u{202e}c é");
        assert_eq!(record.print(), "message  a\\u{1b}[2J\\u{a}b\\u{202e}c é\n");
    }

    #[test]
    fn values_line_up() {
        let record = Record::new().row("a", 1).row("long", "x").maybe("gone", None::<u8>).row("", "y");
        assert_eq!(record.print(), "a     1\nlong  x\n      y\n");
    }
}
