//! Storage contracts and the conformance suite that every engine runs.
