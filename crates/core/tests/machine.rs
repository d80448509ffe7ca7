//! The command engine against a model of the draft's abstract machine
//! (draft-ietf-suit-manifest-37 §6.4), and what it must never allow.
//!
//! The model works on a tree of commands and recurses; it shares no code
//! and no data structure with the engine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use firmseal_core::command::Section;
use firmseal_core::{Identity, Machine, Refusal};
use firmseal_testkit::engine::{Run, Script, authenticated, run};
use firmseal_testkit::vectors::{Measurable, Scene};
use firmseal_testkit::{Commands, item};
use proptest::prelude::*;

const COMPONENTS: usize = 3;
const SLOTS: [u64; COMPONENTS] = [0, 1, 2];

/// A command of the model.
#[derive(Clone, Debug)]
enum Step {
    Select(Select),
    Set(Set),
    /// Image match, slot, content or abort, by label.
    Check(i64),
    /// Fetch, copy, write or swap, by label.
    Act(i64),
    TryEach(Vec<Vec<Step>>, bool),
    Run(Vec<Step>),
}

#[derive(Clone, Debug)]
enum Select {
    One(usize),
    Some(Vec<usize>),
    All,
}

#[derive(Clone, Copy, Debug)]
enum Set {
    Digest(u8),
    Slot(u64),
    Uri(u8),
    Source(u64),
    Content(u8),
    SoftFailure(bool),
}

fn image(kind: u8) -> Measurable {
    Measurable::of(&[kind; 10])
}

// The commands as bytes.

fn encode(steps: &[Step]) -> Vec<u8> {
    let commands: Vec<(i64, Vec<u8>)> = steps.iter().map(encode_step).collect();
    Commands::of(&commands)
}

fn encode_step(step: &Step) -> (i64, Vec<u8>) {
    let index = |at: usize| item::uint(at as u64);
    match step {
        Step::Select(Select::One(at)) => (12, index(*at)),
        Step::Select(Select::Some(list)) => {
            (12, item::array(&list.iter().map(|at| index(*at)).collect::<Vec<_>>()))
        }
        Step::Select(Select::All) => (12, item::boolean(true)),
        Step::Set(set) => {
            let (label, value) = match set {
                Set::Digest(kind) => (3, item::bytes(&item::suit_digest(&image(*kind).digest))),
                Set::Slot(slot) => (5, item::uint(*slot)),
                Set::Uri(name) => (21, item::text(&format!("u{name}"))),
                Set::Source(source) => (22, item::uint(*source)),
                Set::Content(byte) => (18, item::bytes(&[*byte])),
                Set::SoftFailure(soft) => (13, item::boolean(*soft)),
            };
            (20, item::map(&[(item::int(label), value)]))
        }
        Step::Check(label) => (*label, item::uint(15)),
        Step::Act(label) => (*label, item::uint(2)),
        Step::TryEach(alternatives, nil) => {
            let mut items: Vec<_> = alternatives.iter().map(|steps| item::bytes(&encode(steps))).collect();
            if *nil {
                items.push(item::null());
            }
            (15, item::array(&items))
        }
        Step::Run(steps) => (32, item::bytes(&encode(steps))),
    }
}

// The model.

#[derive(Clone, Copy, Default)]
struct Parameters {
    digest: Option<u8>,
    slot: Option<u64>,
    uri: Option<u8>,
    source: Option<u64>,
    content: Option<u8>,
}

/// Why a sequence ended early.
enum Failure {
    /// A condition failed; whether the sequence took that softly.
    Condition(Refusal, bool),
    /// A directive failed: everything ends.
    Abort(Refusal),
}

struct Model<'s> {
    script: &'s Script,
    tables: [Parameters; COMPONENTS],
    actions: Vec<String>,
    directives: usize,
    matched: [bool; COMPONENTS],
}

impl Model<'_> {
    fn sequence(&mut self, steps: &[Step], mut current: Vec<usize>, mut soft: bool) -> Result<(), Failure> {
        for step in steps {
            match step {
                Step::Select(Select::One(at)) => current = vec![*at],
                Step::Select(Select::Some(list)) => current.clone_from(list),
                Step::Select(Select::All) => current = (0..COMPONENTS).collect(),
                Step::Set(Set::SoftFailure(value)) => soft = *value,
                other => {
                    for at in current.clone() {
                        self.step(other, at).map_err(|failure| match failure {
                            Failure::Condition(refusal, _) => Failure::Condition(refusal, soft),
                            abort => abort,
                        })?;
                    }
                }
            }
        }
        Ok(())
    }

    fn step(&mut self, step: &Step, at: usize) -> Result<(), Failure> {
        let failed = |refusal| Err(Failure::Condition(refusal, false));
        match step {
            Step::Set(set) => {
                let table = &mut self.tables[at];
                match *set {
                    Set::Digest(kind) => table.digest = Some(kind),
                    Set::Slot(slot) => table.slot = Some(slot),
                    Set::Uri(name) => table.uri = Some(name),
                    Set::Source(source) => table.source = Some(source),
                    Set::Content(byte) => table.content = Some(byte),
                    Set::SoftFailure(_) => unreachable!("belongs to the sequence"),
                }
                Ok(())
            }
            Step::Check(3) => {
                let Some(kind) = self.tables[at].digest else {
                    return failed(Refusal::ConditionFailed(3));
                };
                self.actions.push(format!("measure {at}"));
                if self.script.images[at].is_some_and(|held| held == image(kind)) {
                    self.matched[at] = true;
                    return Ok(());
                }
                failed(Refusal::ImageMismatch)
            }
            Step::Check(5) if self.tables[at].slot == Some(SLOTS[at]) => Ok(()),
            Step::Check(6) if self.tables[at].content.is_some() => {
                self.actions.push(format!("compare {at}"));
                if self.script.content { Ok(()) } else { failed(Refusal::ConditionFailed(6)) }
            }
            Step::Check(label) => failed(Refusal::ConditionFailed(*label)),
            Step::Act(label) => self.act(*label, at).map_err(Failure::Abort),
            Step::TryEach(alternatives, nil) => {
                let mut last = Ok(());
                for steps in alternatives {
                    match self.sequence(steps, vec![at], true) {
                        Err(Failure::Condition(refusal, true)) => last = failed(refusal),
                        Err(Failure::Condition(refusal, false)) => return failed(refusal),
                        done_or_abort => return done_or_abort,
                    }
                }
                if *nil { Ok(()) } else { last }
            }
            Step::Run(steps) => match self.sequence(steps, vec![at], false) {
                Err(Failure::Condition(_, true)) => Ok(()),
                Err(Failure::Condition(refusal, false)) => failed(refusal),
                done_or_abort => done_or_abort,
            },
            Step::Select(_) => unreachable!("belongs to the sequence"),
        }
    }

    fn act(&mut self, label: i64, at: usize) -> Result<(), Refusal> {
        let table = self.tables[at];
        let missing = Refusal::ParameterMissing;
        let source = || {
            let source = table.source.ok_or(missing(22))? as usize;
            let beyond = Refusal::Malformed("a source component beyond the manifest's components");
            if source < COMPONENTS { Ok(source) } else { Err(beyond) }
        };
        let mut changed = vec![at];
        self.actions.push(match label {
            21 => format!("fetch {at} u{}", table.uri.ok_or(missing(21))?),
            22 => format!("copy {at} {}", source()?),
            31 => {
                changed.push(source()?);
                format!("swap {at} {}", source()?)
            }
            _ => format!("write {at} {:?}", [table.content.ok_or(missing(18))?]),
        });
        changed.into_iter().for_each(|at| self.matched[at] = false);
        self.directives += 1;
        if self.script.failing.contains(&(self.directives - 1)) {
            return Err(Refusal::DirectiveFailed(label));
        }
        Ok(())
    }
}

/// What the model makes of these sections.
fn modelled(shared: &[Step], sections: &[&[Step]], script: &Script) -> Run {
    let tables = [Parameters::default(); COMPONENTS];
    let mut model =
        Model { script, tables, actions: Vec::new(), directives: 0, matched: [false; COMPONENTS] };
    let mut end = Ok(());
    for section in sections {
        model.tables = tables;
        let done =
            model.sequence(shared, vec![0], false).and_then(|()| model.sequence(section, vec![0], false));
        if let Err(Failure::Condition(refusal, _) | Failure::Abort(refusal)) = done {
            end = Err(refusal);
            break;
        }
    }
    Run { actions: model.actions, end, all_matched: model.matched == [true; COMPONENTS] }
}

/// A signed manifest of three components with these sections.
fn envelope(sections: &[(Section, Vec<u8>)]) -> (Vec<u8>, Vec<u8>) {
    let mut scene = Scene::default();
    scene.components(&["b", "c"]);
    scene.craft.manifest.remove(9);
    for (section, bytes) in sections {
        scene.craft.sequence(*section, bytes);
    }
    (scene.sealed(), scene.world.root_document())
}

fn engine(envelope: &(Vec<u8>, Vec<u8>), script: &Script, most: usize) -> Result<Run, Refusal> {
    let identity = Identity { vendor: &[1; 16], class: &[2; 16], device: None };
    authenticated(&envelope.0, &envelope.1, |own| run(Machine::update(&own, identity, &SLOTS), script, most))
}

fn step(depth: u32, directives: bool) -> BoxedStrategy<Step> {
    let select = prop_oneof![
        3 => (0..COMPONENTS).prop_map(Select::One),
        1 => prop::collection::vec(0..COMPONENTS, 1..4).prop_map(Select::Some),
        1 => Just(Select::All),
    ];
    let set = prop_oneof![
        3 => (0..3u8).prop_map(Set::Digest),
        2 => (0..3u64).prop_map(Set::Slot),
        2 => (0..3u8).prop_map(Set::Uri),
        1 => (0..COMPONENTS as u64 + 1).prop_map(Set::Source),
        1 => (0..3u8).prop_map(Set::Content),
    ];
    let check = prop_oneof![4 => Just(3), 3 => Just(5), 1 => Just(6), 1 => Just(14)];
    let act = if directives { vec![21i64, 22, 18, 31] } else { vec![21] };
    let mut leaves = vec![
        (3, select.prop_map(Step::Select).boxed()),
        (6, set.prop_map(Step::Set).boxed()),
        (4, check.prop_map(Step::Check).boxed()),
    ];
    if directives {
        leaves.push((2, prop::sample::select(act).prop_map(Step::Act).boxed()));
    }
    if depth > 0 {
        let soft = any::<bool>().prop_map(|soft| Step::Set(Set::SoftFailure(soft)));
        let inner = prop::collection::vec(prop_oneof![5 => step(depth - 1, directives), 1 => soft], 0..5);
        let tried = (prop::collection::vec(inner.clone(), 2..4), any::<bool>())
            .prop_map(|(alternatives, nil)| Step::TryEach(alternatives, nil));
        leaves.push((3, tried.boxed()));
        leaves.push((2, inner.prop_map(Step::Run).boxed()));
    }
    prop::strategy::Union::new_weighted(leaves).boxed()
}

fn steps(directives: bool) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(3, directives), 0..8)
}

fn script() -> impl Strategy<Value = Script> {
    let held = prop_oneof![4 => (0..3u8).prop_map(|kind| Some(image(kind))), 1 => Just(None)];
    let failing = prop_oneof![4 => Just(vec![]), 1 => (0..4usize).prop_map(|at| vec![at])];
    (prop::collection::vec(held, COMPONENTS), failing, any::<bool>())
        .prop_map(|(images, failing, content)| Script { images, failing, content })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_does_what_the_draft_says(
        shared in steps(false),
        fetch in steps(true),
        install in steps(true),
        validate in steps(false),
        script in script(),
        proper in any::<bool>(),
    ) {
        let (mut shared, mut install, mut script) = (shared, install, script);
        if proper {
            // Chance alone rarely matches every component.
            shared = [digests(), shared].concat();
            install = [vec![Step::Select(Select::All), Step::Check(3)], install].concat();
            script.images = intact().images;
        }
        let envelope = envelope(&[
            (Section::Shared, encode(&shared)),
            (Section::PayloadFetch, encode(&fetch)),
            (Section::Install, encode(&install)),
            (Section::Validate, encode(&validate)),
        ]);
        let model = modelled(&shared, &[&fetch, &install, &validate], &script);
        let whole = engine(&envelope, &script, usize::MAX).unwrap();
        prop_assert_eq!(&whole, &model);
        // Cut anywhere and started again, it asks for the same things.
        for cut in 0..whole.actions.len() {
            let part = engine(&envelope, &script, cut).unwrap();
            prop_assert_eq!(&part.actions[..], &whole.actions[..cut]);
        }
    }
}

/// Three components that hold what the manifest's digests say.
fn intact() -> Script {
    Script { images: vec![Some(image(0)); COMPONENTS], failing: vec![], content: true }
}

fn digests() -> Vec<Step> {
    vec![
        Step::Select(Select::All),
        Step::Set(Set::Digest(0)),
        Step::Set(Set::Uri(0)),
        Step::Set(Set::Content(7)),
    ]
}

#[test]
fn what_is_written_after_its_match_does_not_count_as_matched() {
    for act in [18, 21, 22, 31] {
        let sections = |after: Option<Step>| {
            let mut install = vec![Step::Select(Select::All), Step::Check(3), Step::Select(Select::One(1))];
            install.push(Step::Set(Set::Source(2)));
            install.extend(after);
            [
                (Section::Shared, encode(&digests())),
                (Section::Install, encode(&install)),
                (Section::Validate, vec![0x80]),
            ]
        };
        assert!(engine(&envelope(&sections(None)), &intact(), usize::MAX).unwrap().all_matched);
        let run = engine(&envelope(&sections(Some(Step::Act(act)))), &intact(), usize::MAX).unwrap();
        assert_eq!(run.end, Ok(()));
        assert!(!run.all_matched, "after {act}");
    }
}

fn invocation(sections: &[(Section, Vec<u8>)], script: &Script) -> Run {
    let mut all =
        vec![(Section::Shared, encode(&digests())), (Section::Invoke, Commands::of(&[(23, item::uint(2))]))];
    all.extend(sections.iter().cloned());
    let (envelope, root) = envelope(&all);
    let identity = Identity { vendor: &[1; 16], class: &[2; 16], device: None };
    authenticated(&envelope, &root, |own| {
        run(Machine::invocation(&own, identity, &SLOTS), script, usize::MAX)
    })
    .unwrap()
}

#[test]
fn only_what_has_matched_is_invoked() {
    let validate = (Section::Validate, encode(&[Step::Select(Select::All), Step::Check(3)]));
    let good = invocation(std::slice::from_ref(&validate), &intact());
    assert_eq!(good.actions.last().unwrap(), "invoke 0");
    let none = invocation(&[(Section::Validate, vec![0x80])], &intact());
    assert_eq!((none.end, none.actions.len()), (Err(Refusal::ImageMismatch), 0));
    let other = invocation(
        &[(Section::Validate, encode(&[Step::Select(Select::One(1)), Step::Check(3)]))],
        &intact(),
    );
    assert_eq!(other.end, Err(Refusal::ImageMismatch));
    // A load section brings something in: it counts once it was matched.
    let load = |steps: &[Step]| invocation(&[validate.clone(), (Section::Load, encode(steps))], &intact());
    assert_eq!(load(&[Step::Act(21)]).end, Err(Refusal::ImageMismatch));
    assert_eq!(load(&[Step::Act(18)]).end, Err(Refusal::ImageMismatch));
    assert_eq!(load(&[Step::Set(Set::Source(1)), Step::Act(22)]).end, Err(Refusal::ImageMismatch));
    assert_eq!(load(&[Step::Act(21), Step::Check(3)]).end, Ok(()));
}

#[test]
fn steps_are_bounded_in_each_section() {
    // Three components, four levels: 3^4 times the innermost commands.
    let mut inner = vec![Step::Select(Select::All); 60];
    for _ in 0..4 {
        inner = vec![Step::Select(Select::All), Step::Run(inner)];
    }
    let sections = [(Section::Shared, encode(&digests())), (Section::Install, encode(&inner))];
    let run = engine(&envelope(&sections), &intact(), usize::MAX).unwrap();
    assert!(matches!(run.end, Err(Refusal::Limit(_))), "{run:?}");
}

#[test]
fn a_machine_is_small_enough_for_a_bootloader() {
    // The board's stack measurement has the last word; this one says when
    // a field grew by kilobytes.
    let size = size_of::<Machine<'static, 'static>>();
    assert!(size <= 8 * 1024, "{size} bytes");
}
