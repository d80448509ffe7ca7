//! Reasons: which rule stands in the way of a signature, and why.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One rule that stands in the way.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Reason {
    /// The rule's name, as the gate or the policy gives it.
    pub rule: String,
    /// What the rule says to people.
    pub why: String,
}

impl Reason {
    /// A reason.
    pub fn new(rule: impl Into<String>, why: impl Into<String>) -> Reason {
        Reason { rule: rule.into(), why: why.into() }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.why, self.rule)
    }
}
