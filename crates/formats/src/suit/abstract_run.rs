//! What a device would fetch and match, as far as that can be said without being
//! the device: which integrated payload stands under which digest, and for whom
//! the manifest is.
//!
//! What depends on the device (a try-each, a sequence that may fail softly) is
//! walked, and not believed: a parameter that it sets has many values afterwards.

use std::collections::{BTreeMap, BTreeSet};

use super::commands::{Command, Sequence, Value};
use super::digest::SuitDigest;

const VENDOR: i64 = 1;
const CLASS: i64 = 2;
const IMAGE_MATCH: i64 = 3;
const DEVICE: i64 = 24;
const IMAGE_DIGEST: i64 = 3;
const IMAGE_SIZE: i64 = 14;
const ENCRYPTION: i64 = 19;
const URI: i64 = 21;
const SOURCE: i64 = 22;
/// The parameters that matter here.
const TRACKED: [i64; 7] = [VENDOR, CLASS, DEVICE, IMAGE_DIGEST, IMAGE_SIZE, URI, SOURCE];
const FETCH: i64 = 21;
const COPY: i64 = 22;
/// Directives that leave something in the component that nobody here knows.
const WRITE: i64 = 18;
const SWAP: i64 = 31;

/// A parameter's value: one, or whatever the device made it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known<'a> {
    One(Value<'a>),
    Many,
}

/// A payload that a device matches with a digest, whatever it decides.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Match<'a> {
    pub(super) name: &'a str,
    pub(super) digest: SuitDigest<'a>,
    pub(super) size: Option<u64>,
}

/// What was found out.
#[derive(Default)]
pub(super) struct Found<'a> {
    components: usize,
    pub(super) matches: Vec<Match<'a>>,
    /// Every uri that something is fetched from, or might be.
    pub(super) uris: BTreeSet<&'a str>,
    /// What is compared whatever the device decides: 1 with a vendor, 2 with a
    /// class, 24 with a device.
    pub(super) identities: BTreeSet<(i64, String)>,
    pub(super) encrypted: bool,
}

#[derive(Clone, Default)]
struct State<'a> {
    parameters: BTreeMap<(usize, i64), Known<'a>>,
    /// The uri that a component's content came from, as it is.
    content: BTreeMap<usize, &'a str>,
    /// `None` where the device decides.
    selected: Option<Vec<usize>>,
}

impl<'a> State<'a> {
    fn one(&self, component: usize, label: i64) -> Option<Value<'a>> {
        match self.parameters.get(&(component, label)) {
            Some(Known::One(value)) => Some(*value),
            _ => None,
        }
    }

    /// What is true of both.
    fn join(mut self, other: &State<'a>) -> State<'a> {
        let labels: Vec<_> = self.parameters.keys().chain(other.parameters.keys()).copied().collect();
        for label in labels {
            if self.parameters.get(&label) != other.parameters.get(&label) {
                self.parameters.insert(label, Known::Many);
            }
        }
        self.content.retain(|component, uri| other.content.get(component) == Some(uri));
        if self.selected != other.selected {
            self.selected = None;
        }
        self
    }
}

/// Walks sections in the order of an update: each begins with the shared sequence
/// (§6.3), and keeps the components' content.
pub(super) fn walk<'a>(components: usize, shared: &Sequence<'a>, sections: &[&Sequence<'a>]) -> Found<'a> {
    let mut found = Found { components, ..Found::default() };
    let mut content = BTreeMap::new();
    // The shared sequence counts even if nothing follows it.
    for section in sections.iter().map(Some).chain([None]) {
        let mut state = State { content, selected: Some(vec![0]), ..State::default() };
        found.run(&mut state, shared, true);
        // Whether an index is kept between two sequences the draft leaves open.
        state.selected = state.selected.filter(|indices| *indices == [0]);
        if let Some(section) = section {
            found.run(&mut state, section, true);
        }
        content = state.content;
    }
    // With a parameter that is kept from one section to the next, what is decrypted
    // could be anything.
    if found.encrypted {
        found.matches.clear();
    }
    found
}

impl<'a> Found<'a> {
    fn run(&mut self, state: &mut State<'a>, sequence: &Sequence<'a>, certain: bool) {
        for command in sequence {
            match command {
                Command::Select(indices) => state.selected = Some(indices.clone()),
                Command::Set(parameters) => self.set(state, parameters),
                Command::Condition(label) => self.condition(state, *label, certain),
                Command::Act(label) => self.act(state, *label),
                Command::TryEach(all) => {
                    let before = state.clone();
                    let mut joined = before.clone();
                    for alternative in all.iter().flatten() {
                        let mut branch = before.clone();
                        self.run(&mut branch, alternative, false);
                        joined = joined.join(&branch);
                    }
                    *state = joined;
                }
                Command::Run(sequence) => {
                    let before = state.clone();
                    self.run(state, sequence, false);
                    *state = std::mem::take(state).join(&before);
                }
                // It may set or move anything.
                Command::Other(..) => {
                    state.parameters.values_mut().for_each(|value| *value = Known::Many);
                    state.content.clear();
                    state.selected = None;
                }
            }
        }
    }

    fn set(&mut self, state: &mut State<'a>, parameters: &[(i64, Value<'a>)]) {
        self.encrypted |= parameters.iter().any(|(label, _)| *label == ENCRYPTION);
        for (label, value) in parameters {
            if let (URI, Value::Text(uri)) = (*label, value) {
                self.uris.insert(uri);
            }
            if !TRACKED.contains(label) {
                continue;
            }
            let (indices, known) = match &state.selected {
                Some(indices) => (indices.clone(), Known::One(*value)),
                None => ((0..self.components).collect(), Known::Many),
            };
            state.parameters.extend(indices.into_iter().map(|index| ((index, *label), known)));
        }
    }

    fn condition(&mut self, state: &State<'a>, label: i64, certain: bool) {
        let Some(indices) = state.selected.as_ref().filter(|_| certain) else { return };
        for index in indices {
            match label {
                VENDOR | CLASS | DEVICE => {
                    let value = state.one(*index, label);
                    self.identities.extend(value.map(|value| (label, value.describe(label))));
                }
                IMAGE_MATCH => {
                    let size = match state.one(*index, IMAGE_SIZE) {
                        Some(Value::Number(size)) => Some(size),
                        _ => None,
                    };
                    if let (Some(name), Some(Value::Digest(digest))) =
                        (state.content.get(index), state.one(*index, IMAGE_DIGEST))
                    {
                        let found = Match { name, digest, size };
                        if !self.matches.contains(&found) {
                            self.matches.push(found);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn act(&mut self, state: &mut State<'a>, label: i64) {
        if !matches!(label, FETCH | COPY | WRITE | SWAP) {
            return;
        }
        let Some(indices) = state.selected.clone() else {
            state.content.clear();
            return;
        };
        for index in indices {
            let content = match (label, state.one(index, URI), state.one(index, SOURCE)) {
                (FETCH, Some(Value::Text(uri)), _) => Some(uri),
                (COPY, _, Some(Value::Number(source))) => {
                    usize::try_from(source).ok().and_then(|source| state.content.get(&source).copied())
                }
                _ => None,
            };
            match content {
                Some(uri) => state.content.insert(index, uri),
                None => state.content.remove(&index),
            };
            // A swap changes its source as well.
            if label == SWAP {
                state.content.clear();
            }
        }
    }
}
