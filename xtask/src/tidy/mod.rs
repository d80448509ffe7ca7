//! House rules that a program can check, so that review can be about taste.
//!
//! A rule is a name and a function from the repository to complaints; adding
//! one is a function and a row in [`RULES`].

mod crates;
mod deny;
mod sources;

use crate::error::Error;

type Rule = (&'static str, fn() -> Result<Vec<String>, Error>);

const RULES: &[Rule] = &[
    ("opening", sources::opening),
    ("length", sources::length),
    ("words", sources::words),
    ("places", sources::places),
    ("suites", sources::suites),
    // First of the rules that ask cargo, which would bring a lock file up to
    // date by itself.
    ("locks", crates::locks),
    ("descriptions", crates::descriptions),
    ("dependencies", crates::commented),
    ("layers", crates::layers),
    ("wildcards", crates::wildcards),
    ("licences", deny::licences),
    ("duplicates", deny::duplicates),
];

/// `cargo xtask tidy`.
pub(crate) fn main(arguments: &[String]) -> Result<(), Error> {
    if !arguments.is_empty() {
        return Err(Error::wrong("usage: cargo xtask tidy"));
    }
    let mut count = 0;
    for (rule, problems) in check()? {
        count += problems.len();
        problems.iter().for_each(|problem| println!("{rule}: {problem}"));
    }
    match count {
        0 => Ok(()),
        _ => Err(Error::wrong(format!("{count} places break a house rule"))),
    }
}

/// Checks every rule; complaints by rule.
pub(crate) fn check() -> Result<Vec<(&'static str, Vec<String>)>, Error> {
    RULES.iter().map(|(name, rule)| Ok((*name, rule()?))).collect()
}
