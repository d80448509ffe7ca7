//! `NAME=VALUE` on the command line.

use std::str::FromStr;

/// A name with a value.
#[derive(Clone)]
pub struct Assignment {
    /// Before the `=`.
    pub name: String,
    /// After it.
    pub value: String,
}

impl FromStr for Assignment {
    type Err = String;

    fn from_str(text: &str) -> Result<Assignment, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() && !value.is_empty() => {
                Ok(Assignment { name: name.to_owned(), value: value.to_owned() })
            }
            _ => Err("write NAME=VALUE".to_owned()),
        }
    }
}
