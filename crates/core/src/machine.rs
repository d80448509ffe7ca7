//! The command engine: SUIT's abstract machine as a step machine.
//!
//! [`Machine::next`] says what is to be done, the caller does it and tells
//! [`Machine::done`]. There is no I/O inside, so a bootloader and an async
//! agent use it alike. After a power cut it starts again at the first
//! command (draft-ietf-suit-manifest-37 §6.2.1: manifests are made so that
//! repeated partial runs reach the same state).

use crate::action::{Action, Identity, Outcome};
use crate::command::{
    Alternatives, Command, Parameter, Section, Selection, Sequence, condition, directive, parameter,
};
use crate::digest::Digest;
use crate::limits::{COMPONENTS_MAX, Limit, NESTING_MAX, STEPS_MAX};
use crate::manifest::{Authenticated, Manifest};
use crate::refusal::Refusal;

/// The parameters of one component.
#[derive(Clone, Copy, Default)]
struct Table<'a> {
    vendor: Option<&'a [u8; 16]>,
    class: Option<&'a [u8; 16]>,
    device: Option<&'a [u8; 16]>,
    digest: Option<Digest>,
    slot: Option<u64>,
    size: Option<u64>,
    content: Option<&'a [u8]>,
    uri: Option<&'a str>,
    source: Option<u64>,
    invoke_args: Option<&'a [u8]>,
    fetch_args: Option<&'a [u8]>,
}

/// A sequence that is being run.
#[derive(Clone)]
struct Frame<'a> {
    sequence: Sequence<'a>,
    kind: Kind<'a>,
    soft_failure: bool,
    /// The command that is being applied, and to which of the selected
    /// components next.
    current: Option<(Command<'a>, u8)>,
    selection: Selection,
}

#[derive(Clone)]
enum Kind<'a> {
    Section,
    RunSequence,
    TryEach(Alternatives<'a>),
}

enum State {
    /// The next command may be looked for.
    Ready,
    /// An action was handed out and is not done.
    Waiting,
    /// A refusal, which stays.
    Stopped(Refusal),
}

/// The engine, for one procedure of one manifest on one device.
pub struct Machine<'a, 'd> {
    manifest: Manifest<'a>,
    identity: Identity<'d>,
    slots: [u64; COMPONENTS_MAX],
    sections: &'static [Section],
    /// The procedure writes components, so that a stream can answer for one.
    writes: bool,
    frames: [Option<Frame<'a>>; NESTING_MAX + 1],
    depth: usize,
    tables: [Table<'a>; COMPONENTS_MAX],
    /// The shared sequence of the section has run.
    shared_done: bool,
    steps: usize,
    /// Components whose measurement has matched.
    matched: [bool; COMPONENTS_MAX],
    state: State,
    action: Action<'a>,
    /// Label of the command behind `action`.
    label: i64,
}

const UPDATE: &[Section] = &[Section::PayloadFetch, Section::Install, Section::Validate];
const INVOCATION: &[Section] = &[Section::Validate, Section::Load, Section::Invoke];
const VALIDATION: &[Section] = &[Section::Validate];

impl<'a, 'd> Machine<'a, 'd> {
    /// The update procedure: payload fetch, install, validate. `slots`
    /// gives, for each component of the manifest, the index of the slot
    /// that it goes to.
    pub fn update(manifest: &Authenticated<'a>, identity: Identity<'d>, slots: &[u64]) -> Self {
        Self::new(manifest.manifest(), identity, slots, UPDATE)
    }

    /// The invocation procedure: validate, load, invoke.
    pub fn invocation(manifest: &Authenticated<'a>, identity: Identity<'d>, slots: &[u64]) -> Self {
        Self::new(manifest.manifest(), identity, slots, INVOCATION)
    }

    /// Validation alone.
    pub(crate) fn validation(manifest: &Authenticated<'a>, identity: Identity<'d>, slots: &[u64]) -> Self {
        Self::new(manifest.manifest(), identity, slots, VALIDATION)
    }

    fn new(
        manifest: &Manifest<'a>,
        identity: Identity<'d>,
        slots: &[u64],
        sections: &'static [Section],
    ) -> Self {
        let mut own = [0; COMPONENTS_MAX];
        for (own, slot) in own.iter_mut().zip(slots) {
            *own = *slot;
        }
        Machine {
            manifest: manifest.clone(),
            identity,
            slots: own,
            sections,
            writes: core::ptr::eq(sections, UPDATE),
            frames: [const { None }; NESTING_MAX + 1],
            depth: 0,
            tables: [Table::default(); COMPONENTS_MAX],
            shared_done: false,
            steps: 0,
            matched: [false; COMPONENTS_MAX],
            state: State::Ready,
            action: Action::Finished,
            label: 0,
        }
    }

    /// What is to be done next. The same until [`Self::done`] is called; a
    /// refusal is final.
    // Not an iterator: the answer to one item decides the next.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Action<'a>, Refusal> {
        match self.state {
            State::Stopped(refusal) => Err(refusal),
            State::Waiting => Ok(self.action),
            State::Ready => match self.advance() {
                Ok((label, action)) => {
                    (self.label, self.action) = (label, action);
                    self.state = State::Waiting;
                    Ok(action)
                }
                Err(refusal) => {
                    self.state = State::Stopped(refusal);
                    Err(refusal)
                }
            },
        }
    }

    /// Tells how the action went that [`Self::next`] named last.
    pub fn done(&mut self, outcome: Outcome) {
        if !matches!(self.state, State::Waiting) || self.action == Action::Finished {
            return;
        }
        self.state = State::Ready;
        self.forget_changed();
        let result = match (self.action, outcome) {
            (Action::Measure { component, .. }, Outcome::Measured(measured)) => {
                let table = &self.tables[component];
                let matches = table.digest == Some(measured.digest())
                    && table.size.is_none_or(|size| size == measured.size());
                self.matched[component] |= matches;
                if matches { Ok(()) } else { Err(Refusal::ImageMismatch) }
            }
            // Facts and image digest are under one signature and speak of
            // the same bytes. A signer who let them differ made an image that
            // never boots: there every component is measured.
            (Action::Measure { component, .. }, Outcome::Streamed(streamed)) if self.writes => {
                let table = &self.tables[component];
                let facts = self.manifest.facts().and_then(|facts| facts.component(component));
                let matches = table.digest.is_some()
                    && facts.is_some_and(|facts| facts.tree == *streamed.tree())
                    && table.size.is_none_or(|size| size == streamed.tree().size());
                self.matched[component] |= matches;
                if matches { Ok(()) } else { Err(Refusal::ImageMismatch) }
            }
            // Nothing else can satisfy an image match.
            (Action::Measure { .. }, _) => Err(Refusal::ImageMismatch),
            (Action::Compare { .. }, Outcome::Done) => Ok(()),
            (Action::Compare { .. }, _) => Err(Refusal::ConditionFailed(self.label)),
            (_, Outcome::Done) => Ok(()),
            (_, _) => {
                // "The Interpreter MUST Abort if a Directive reports
                // failure regardless of the Soft Failure flag" (§6.4).
                self.state = State::Stopped(Refusal::DirectiveFailed(self.label));
                return;
            }
        };
        if let Err(refusal) = result
            && let Err(refusal) = self.condition_failed(refusal)
        {
            self.state = State::Stopped(refusal);
        }
    }

    /// What was matched before it was written again proves nothing.
    fn forget_changed(&mut self) {
        match self.action {
            Action::Fetch { component, .. }
            | Action::Copy { component, .. }
            | Action::Write { component, .. } => self.matched[component] = false,
            Action::Swap { component, source } => {
                (self.matched[component], self.matched[source]) = (false, false);
            }
            Action::Measure { .. } | Action::Compare { .. } | Action::Invoke { .. } | Action::Finished => {}
        }
    }

    /// Whether the image of every component has matched in this run, after
    /// it was last written. A manifest may hold no image match at all: an
    /// install that ends without this is not an install.
    pub fn all_matched(&self) -> bool {
        self.matched[..self.manifest.component_count()].iter().all(|matched| *matched)
    }

    /// Runs commands until one needs the caller.
    fn advance(&mut self) -> Result<(i64, Action<'a>), Refusal> {
        loop {
            if self.depth == 0 {
                if !self.open_section()? {
                    return Ok((0, Action::Finished));
                }
                continue;
            }
            self.steps += 1;
            if self.steps > STEPS_MAX {
                return Err(Refusal::Limit(Limit::StepsMax));
            }
            let count = self.manifest.component_count();
            let Some(frame) = self.frames[self.depth - 1].as_mut() else {
                return Err(Refusal::Malformed("no sequence is open"));
            };
            let (command, cursor) = match frame.current.take() {
                Some(current) => current,
                None => match frame.sequence.next(count)? {
                    Some(command) => (command, 0),
                    None => {
                        self.close();
                        continue;
                    }
                },
            };
            if let Command::SetIndex(selection) = command {
                frame.selection = selection;
                continue;
            }
            // Every other command applies to each selected component.
            if cursor >= frame.selection.len {
                continue;
            }
            let component = frame.selection.order[cursor as usize] as usize;
            frame.current = Some((command.clone(), cursor + 1));
            if let Some(action) = self.execute(command, component)? {
                return Ok(action);
            }
        }
    }

    /// Opens the next sequence at top level. The shared sequence runs
    /// before each section, from empty parameters, so that a section means
    /// the same whether it is run after an install or at boot.
    fn open_section(&mut self) -> Result<bool, Refusal> {
        while let Some((section, rest)) = self.sections.split_first() {
            let section = match self.manifest.section(*section) {
                Some(bytes) => bytes,
                None => {
                    self.sections = rest;
                    continue;
                }
            };
            if !self.shared_done {
                self.tables = [Table::default(); COMPONENTS_MAX];
                self.shared_done = true;
                self.steps = 0;
                if let Some(shared) = self.manifest.section(Section::Shared) {
                    self.push(Sequence::new(shared)?, Kind::Section, Selection::one(0), false)?;
                    return Ok(true);
                }
            }
            self.shared_done = false;
            self.sections = rest;
            self.push(Sequence::new(section)?, Kind::Section, Selection::one(0), false)?;
            return Ok(true);
        }
        Ok(false)
    }

    fn push(
        &mut self,
        sequence: Sequence<'a>,
        kind: Kind<'a>,
        selection: Selection,
        soft_failure: bool,
    ) -> Result<(), Refusal> {
        let Some(slot) = self.frames.get_mut(self.depth) else {
            return Err(Refusal::Limit(Limit::NestingMax));
        };
        *slot = Some(Frame { sequence, kind, soft_failure, current: None, selection });
        self.depth += 1;
        Ok(())
    }

    /// Ends the innermost sequence with success. The component index that
    /// it set ends with it: the draft does not say, and an index that
    /// leaked out of one alternative would make the rest depend on which
    /// alternative was taken.
    fn close(&mut self) {
        self.depth -= 1;
        self.frames[self.depth] = None;
    }

    /// Applies a command to one component; an action where the caller is
    /// needed.
    fn execute(
        &mut self,
        command: Command<'a>,
        component: usize,
    ) -> Result<Option<(i64, Action<'a>)>, Refusal> {
        match command {
            Command::SetIndex(_) => Ok(None),
            Command::Override(parameters) => {
                let table = &mut self.tables[component];
                let mut soft_failure = None;
                parameters.apply(|parameter| {
                    match parameter {
                        Parameter::Vendor(id) => table.vendor = Some(id),
                        Parameter::Class(id) => table.class = Some(id),
                        Parameter::Device(id) => table.device = Some(id),
                        Parameter::ImageDigest(digest) => table.digest = Some(digest),
                        Parameter::Slot(slot) => table.slot = Some(slot),
                        Parameter::ImageSize(size) => table.size = Some(size),
                        Parameter::Content(content) => table.content = Some(content),
                        Parameter::Uri(uri) => table.uri = Some(uri),
                        Parameter::SourceComponent(source) => table.source = Some(source),
                        Parameter::InvokeArgs(args) => table.invoke_args = Some(args),
                        Parameter::FetchArgs(args) => table.fetch_args = Some(args),
                        Parameter::StrictOrder => {}
                        Parameter::SoftFailure(soft) => soft_failure = Some(soft),
                    }
                    Ok(())
                })?;
                if let (Some(soft), Some(frame)) = (soft_failure, self.frames[self.depth - 1].as_mut()) {
                    frame.soft_failure = soft;
                }
                Ok(None)
            }
            Command::TryEach(mut alternatives) => {
                if let Some(first) = alternatives.next()? {
                    self.push(first, Kind::TryEach(alternatives), Selection::one(component as u8), true)?;
                }
                Ok(None)
            }
            Command::RunSequence(sequence) => {
                self.push(sequence, Kind::RunSequence, Selection::one(component as u8), false)?;
                Ok(None)
            }
            Command::Condition(label) => self.test(label, component),
            Command::Act(label) => self.act(label, component).map(|action| Some((label, action))),
        }
    }

    fn test(&mut self, label: i64, component: usize) -> Result<Option<(i64, Action<'a>)>, Refusal> {
        let table = &self.tables[component];
        let holds = match label {
            condition::VENDOR => table.vendor == Some(self.identity.vendor),
            condition::CLASS => table.class == Some(self.identity.class),
            condition::DEVICE => table.device.is_some() && table.device == self.identity.device,
            condition::SLOT => table.slot == Some(self.slots[component]),
            condition::IMAGE_MATCH if table.digest.is_some() => {
                return Ok(Some((label, Action::Measure { component, size: table.size })));
            }
            condition::CHECK_CONTENT => match table.content {
                Some(content) => return Ok(Some((label, Action::Compare { component, content }))),
                None => false,
            },
            // Abort, and conditions whose parameter was never set.
            _ => false,
        };
        if holds {
            return Ok(None);
        }
        self.condition_failed(Refusal::ConditionFailed(label)).map(|()| None)
    }

    fn act(&self, label: i64, component: usize) -> Result<Action<'a>, Refusal> {
        let table = &self.tables[component];
        let missing = |parameter| Refusal::ParameterMissing(parameter);
        let source = || {
            let source = table.source.ok_or(missing(parameter::SOURCE_COMPONENT))?;
            usize::try_from(source)
                .ok()
                .filter(|source| *source < self.manifest.component_count())
                .ok_or(Refusal::Malformed("a source component beyond the manifest's components"))
        };
        Ok(match label {
            directive::FETCH => {
                let uri = table.uri.ok_or(missing(parameter::URI))?;
                Action::Fetch { component, uri, args: table.fetch_args }
            }
            directive::COPY => Action::Copy { component, source: source()? },
            directive::SWAP => Action::Swap { component, source: source()? },
            directive::WRITE => {
                Action::Write { component, content: table.content.ok_or(missing(parameter::CONTENT))? }
            }
            // What a load section brought in was matched there, or never.
            directive::INVOKE if !self.matched[component] => return Err(Refusal::ImageMismatch),
            directive::INVOKE => Action::Invoke { component, args: table.invoke_args },
            other => return Err(Refusal::UnknownCommand(other)),
        })
    }

    /// Ends sequences, innermost first, until one takes the failure softly.
    fn condition_failed(&mut self, refusal: Refusal) -> Result<(), Refusal> {
        while self.depth > 0 {
            let Some(frame) = self.frames[self.depth - 1].take() else { break };
            self.depth -= 1;
            match frame.kind {
                Kind::Section => break,
                // A soft run-sequence halts and the next command goes on;
                // a hard one fails the sequence it stands in.
                Kind::RunSequence if frame.soft_failure => return Ok(()),
                Kind::RunSequence => {}
                Kind::TryEach(mut alternatives) if frame.soft_failure => {
                    if let Some(next) = alternatives.next()? {
                        // The selection that the try-each was entered with.
                        let component = self.component_of_caller();
                        return self.push(next, Kind::TryEach(alternatives), component, true);
                    }
                }
                Kind::TryEach(_) => {}
            }
        }
        Err(refusal)
    }

    /// The component that the calling command is being applied to.
    fn component_of_caller(&self) -> Selection {
        let caller = self.depth.checked_sub(1).and_then(|at| self.frames[at].as_ref());
        match caller {
            Some(Frame { current: Some((_, cursor)), selection, .. }) if *cursor > 0 => {
                Selection::one(selection.order[*cursor as usize - 1])
            }
            _ => Selection::one(0),
        }
    }
}
