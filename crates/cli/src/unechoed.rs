//! Arguments that are not repeated when they are wrong.
//!
//! clap quotes a value that it refuses. Where a key or the source of a secret
//! is expected, somebody may have written the secret itself, and what stands
//! on stderr ends in the logs of a pipeline.

use std::ffi::OsStr;
use std::fmt::Display;
use std::marker::PhantomData;
use std::str::FromStr;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Command, Error};

/// Parses with `FromStr`, whose errors repeat nothing either.
pub struct Unechoed<T>(PhantomData<fn() -> T>);

impl<T> Clone for Unechoed<T> {
    fn clone(&self) -> Unechoed<T> {
        unechoed()
    }
}

/// A parser for arguments that are or name secrets.
pub fn unechoed<T>() -> Unechoed<T> {
    Unechoed(PhantomData)
}

impl<T> TypedValueParser for Unechoed<T>
where
    T: FromStr<Err: Display> + Clone + Send + Sync + 'static,
{
    type Value = T;

    fn parse_ref(&self, command: &Command, argument: Option<&Arg>, value: &OsStr) -> Result<T, Error> {
        let refused = |why: &dyn Display| {
            let argument = argument.map_or("an argument".to_owned(), |argument| format!("`{argument}`"));
            Error::raw(ErrorKind::ValueValidation, format!("invalid value for {argument}: {why}\n"))
                .with_cmd(command)
        };
        let text = value.to_str().ok_or_else(|| refused(&"it is not UTF-8"))?;
        text.parse().map_err(|why| refused(&why))
    }
}
