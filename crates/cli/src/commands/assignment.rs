//! `NAME=VALUE` on the command line.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

/// Longest file that is a parameter's value, in bytes.
const FILE_MAX: u64 = 64 * 1024;

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

/// A parameter of a format: `NAME=VALUE`, or `NAME=@FILE` for what a file
/// holds. No format has a value that begins so.
#[derive(Clone)]
pub struct Given {
    /// Before the `=`.
    pub name: String,
    /// After it, or in the file.
    pub value: String,
}

impl FromStr for Given {
    type Err = String;

    fn from_str(text: &str) -> Result<Given, String> {
        let Assignment { name, value } = text.parse()?;
        let value = match value.strip_prefix('@') {
            Some(path) => content(Path::new(path)).map_err(|why| format!("{path}: {why}"))?,
            None => value,
        };
        Ok(Given { name, value })
    }
}

fn content(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let opened = File::open(path).map_err(|error| error.to_string())?;
    opened.take(FILE_MAX + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    match text.len() as u64 > FILE_MAX {
        true => Err(format!("is longer than {FILE_MAX} bytes")),
        false => Ok(text),
    }
}
