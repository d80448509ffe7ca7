//! Attacks: each tried against an install and against a boot, and what came
//! of it.
//!
//! One table. Its cases are vectors whose names begin with the attack's; its
//! rows are those of docs/threats.md. A test keeps both together, so no row
//! can be without a test and no test without a row.

mod keys;
mod logs;
mod people;
mod table;
mod tuf;
mod uptane;

use super::format::{Purpose, Vector};
use super::scene::Scene;

pub use table::{MARKS, generated};

/// Where an attack is listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum List {
    /// TUF 1.0.34 §1.5.2; some of them in Uptane's list as well.
    Tuf,
    /// Uptane Standard 2.1.0 §4.2, where TUF does not have it.
    Uptane,
    /// Keys, people and places that turn against their owner.
    Own,
}

/// What comes of an attack.
#[derive(Clone, Copy, Debug)]
pub enum Outcome {
    /// It does not succeed. Who stops it, and when?
    Prevented {
        /// Who.
        by: &'static str,
        /// When.
        when: &'static str,
    },
    /// It costs something that is bounded, and somebody notices.
    Bounded {
        /// What it can cost at most.
        bound: &'static str,
        /// Who notices.
        by: &'static str,
        /// How soon.
        soon: &'static str,
    },
    /// It succeeds, and this says so.
    Open {
        /// What will stop it.
        until: &'static str,
    },
}

/// A row: an attack, its outcome, and the tests that try it.
pub struct Attack {
    /// Its name, with which the names of its vectors begin.
    pub name: &'static str,
    /// Where it is listed.
    pub list: List,
    /// What the thief holds.
    pub thief: &'static str,
    /// What comes of it.
    pub outcome: Outcome,
    /// What remains possible.
    pub remains: &'static str,
    /// Tests besides the vectors: `crate: test`.
    pub tests: &'static [&'static str],
    cases: fn(&mut Tries<'_>),
}

/// Every attack, list by list.
pub fn all() -> impl Iterator<Item = &'static Attack> {
    [tuf::ATTACKS, uptane::ATTACKS, keys::ATTACKS, people::ATTACKS, logs::ATTACKS].into_iter().flatten()
}

impl Attack {
    /// Its vectors.
    pub fn vectors(&self) -> Vec<Vector> {
        let mut tries = Tries { attack: self.name, vectors: Vec::new() };
        (self.cases)(&mut tries);
        tries.vectors
    }
}

/// The cases of one attack.
struct Tries<'a> {
    attack: &'a str,
    vectors: Vec<Vector>,
}

impl Tries<'_> {
    /// Refused with the same number when it is to be installed and when it
    /// is to be booted.
    fn refused(&mut self, code: u16, name: &str, about: &str, change: impl Fn(&mut Scene)) {
        self.install(Err(code), name, about, &change);
        self.boot(Err(code), name, about, &change);
    }

    fn install(&mut self, expect: Result<(), u16>, name: &str, about: &str, change: impl Fn(&mut Scene)) {
        self.add(Purpose::Admit, expect, name, about, change);
    }

    /// On trial: installed, and not confirmed yet.
    fn trial(&mut self, expect: Result<(), u16>, name: &str, about: &str, change: impl Fn(&mut Scene)) {
        self.add(Purpose::Trial, expect, name, about, change);
    }

    /// Of a confirmed image, or of one that pretends to be.
    fn boot(&mut self, expect: Result<(), u16>, name: &str, about: &str, change: impl Fn(&mut Scene)) {
        self.add(Purpose::Boot, expect, name, about, change);
    }

    fn add(
        &mut self,
        purpose: Purpose,
        expect: Result<(), u16>,
        name: &str,
        about: &str,
        change: impl Fn(&mut Scene),
    ) {
        let mut scene = Scene::default();
        let suffix = match purpose {
            Purpose::Admit => "",
            Purpose::Trial => "_trial",
            Purpose::Boot => "_boot",
        };
        if purpose != Purpose::Admit {
            scene.boot();
            scene.device.purpose = purpose;
        }
        change(&mut scene);
        let name = format!("{}_{name}{suffix}", self.attack);
        self.vectors.push(scene.finish(&name, about, expect));
    }
}
