//! How long something is valid, as people write it.

use std::str::FromStr;
use std::time::Duration;

use crate::units::{Span, UnitError};

/// How long something is valid: a span, or `never` for as long as nobody
/// revokes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Validity(pub Option<Duration>);

impl Validity {
    /// What an operator's token has unless told.
    pub const DEFAULT: Validity = Validity(Some(Duration::from_secs(90 * 86_400)));
}

impl FromStr for Validity {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Validity, UnitError> {
        match text {
            "never" => Ok(Validity(None)),
            text => match text.parse::<Span>()? {
                Span(Duration::ZERO) => {
                    Err(UnitError { what: "validity", text: text.to_owned(), example: "90d, 12h or never" })
                }
                Span(span) => Ok(Validity(Some(span))),
            },
        }
    }
}
