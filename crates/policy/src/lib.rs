//! Policies in Cedar: read, checked against a schema, asked, tried out.
//!
//! Cedar only says which rules apply. What that comes to is decided here: a
//! rule that stands in the way refuses, unless it says that approvals or a
//! person's look would do. Nothing here does I/O or reads a clock,
//! and nothing is kept but what entities were made of last; what a rule cannot
//! be evaluated on is an error and never a permit.
//!
//! [`cedar`] is the heaviest dependency of the workspace. Only the command
//! line, which puts the service together, depends on this crate; the rest
//! knows a policy by [`firmseal_sign::Policy`].
//!
//! [`cedar`]: cedar_policy

mod change;
mod example;
mod known;
mod load;
mod policy;
mod problem;
mod question;
mod reads;
mod reports;
mod rule;
mod schema;

pub use change::changes;
pub use example::{Answer, Case, Differs, ENDINGS, ExampleError, Examples, Expected, again, between};
pub use load::RULES_MAX;
pub use policy::{CedarPolicy, Reader};
pub use problem::{LoadError, Problem};
pub use rule::{Demand, NO_PERMIT, Rule};
pub use schema::{NUMBER, SCHEMA};
