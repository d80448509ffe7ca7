//! The schema: what a policy may speak of.

use std::sync::LazyLock;

use cedar_policy::{Entities, Schema};

/// The schema's number. A policy is read under the number that it was
/// written for, or not at all: a word whose meaning changed would change
/// what was agreed to.
pub const NUMBER: u32 = 1;

/// The schema as text.
pub const SCHEMA: &str = include_str!("../../../spec/policies/firmseal.cedarschema");

static PARSED: LazyLock<Result<Schema, String>> = LazyLock::new(|| {
    Schema::from_cedarschema_str(SCHEMA).map(|(schema, _)| schema).map_err(|error| error.to_string())
});

static ACTIONS: LazyLock<Result<Entities, String>> =
    LazyLock::new(|| schema()?.action_entities().map_err(|error| error.to_string()));

/// The schema, which is part of the program and which a test reads.
pub(crate) fn schema() -> Result<&'static Schema, String> {
    PARSED.as_ref().map_err(Clone::clone)
}

/// The schema's actions, and which of them are in which groups.
pub(crate) fn actions() -> Result<&'static Entities, String> {
    ACTIONS.as_ref().map_err(Clone::clone)
}
