//! The cases: a right scene, and one thing made wrong with it.
//!
//! The codes follow from the specifications, not from what the verifier
//! happened to say.

mod accepted;
mod boots;
mod channels;
mod commands;
mod delegations;
mod evidence;
mod form;
mod members;
mod revocations;
mod rsa;
mod signatures;
mod strong;
mod targets;

use super::format::Vector;
use super::scene::Scene;

/// Every case on envelopes.
pub fn all() -> Vec<Vector> {
    let mut cases = Cases(Vec::new());
    accepted::add(&mut cases);
    signatures::add(&mut cases);
    strong::add(&mut cases);
    rsa::add(&mut cases);
    targets::add(&mut cases);
    commands::add(&mut cases);
    members::add(&mut cases);
    form::add(&mut cases);
    boots::add(&mut cases);
    channels::add(&mut cases);
    evidence::add(&mut cases);
    delegations::add(&mut cases);
    revocations::add(&mut cases);
    cases.0.extend(super::attacks::all().flat_map(super::attacks::Attack::vectors));
    cases.0
}

struct Cases(Vec<Vector>);

impl Cases {
    fn ok(&mut self, name: &str, about: &str, change: impl FnOnce(&mut Scene)) {
        self.add(name, about, Ok(()), change);
    }

    fn refused(&mut self, code: u16, name: &str, about: &str, change: impl FnOnce(&mut Scene)) {
        self.add(name, about, Err(code), change);
    }

    fn add(&mut self, name: &str, about: &str, expect: Result<(), u16>, change: impl FnOnce(&mut Scene)) {
        let mut scene = Scene::default();
        change(&mut scene);
        self.0.push(scene.finish(name, about, expect));
    }
}
