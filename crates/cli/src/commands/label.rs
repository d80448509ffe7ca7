//! Labels on the command line: `KEY=VALUE`.

use std::collections::BTreeMap;
use std::str::FromStr;

/// A label that devices carry and cohorts match.
#[derive(Clone)]
pub struct Label(String, String);

impl FromStr for Label {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Label, &'static str> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() && !value.is_empty() => {
                Ok(Label(key.to_owned(), value.to_owned()))
            }
            _ => Err("write KEY=VALUE, as in site=berlin"),
        }
    }
}

/// Labels by key; of two with one key the last counts.
pub fn labels(labels: Vec<Label>) -> BTreeMap<String, String> {
    labels.into_iter().map(|Label(key, value)| (key, value)).collect()
}
