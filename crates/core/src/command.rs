//! SUIT commands (draft-ietf-suit-manifest-37 §8.4.7 to §8.4.10): one step
//! of a sequence, with its argument decoded.
//!
//! Everything that a sequence may hold is listed here; what is not listed
//! is refused, custom commands and parameters included.

use minicbor::data::Type;

use crate::cbor::Reader;
use crate::digest::Digest;
use crate::envelope;
use crate::limits::{COMMANDS_MAX, COMPONENTS_MAX, Limit, NESTING_MAX, SEQUENCE_MAX};
use crate::refusal::Refusal;

/// Labels of conditions.
pub mod condition {
    /// Vendor identifier.
    pub const VENDOR: i64 = 1;
    /// Class identifier.
    pub const CLASS: i64 = 2;
    /// Image match.
    pub const IMAGE_MATCH: i64 = 3;
    /// Component slot.
    pub const SLOT: i64 = 5;
    /// Check content.
    pub const CHECK_CONTENT: i64 = 6;
    /// Abort.
    pub const ABORT: i64 = 14;
    /// Device identifier.
    pub const DEVICE: i64 = 24;
}

/// Labels of directives.
pub mod directive {
    /// Set component index.
    pub const SET_INDEX: i64 = 12;
    /// Try each.
    pub const TRY_EACH: i64 = 15;
    /// Write.
    pub const WRITE: i64 = 18;
    /// Override parameters.
    pub const OVERRIDE: i64 = 20;
    /// Fetch.
    pub const FETCH: i64 = 21;
    /// Copy.
    pub const COPY: i64 = 22;
    /// Invoke.
    pub const INVOKE: i64 = 23;
    /// Swap.
    pub const SWAP: i64 = 31;
    /// Run sequence.
    pub const RUN_SEQUENCE: i64 = 32;
}

/// Labels of parameters.
pub mod parameter {
    /// Vendor identifier.
    pub const VENDOR: i64 = 1;
    /// Class identifier.
    pub const CLASS: i64 = 2;
    /// Image digest.
    pub const IMAGE_DIGEST: i64 = 3;
    /// Component slot.
    pub const SLOT: i64 = 5;
    /// Strict order.
    pub const STRICT_ORDER: i64 = 12;
    /// Soft failure.
    pub const SOFT_FAILURE: i64 = 13;
    /// Image size.
    pub const IMAGE_SIZE: i64 = 14;
    /// Content.
    pub const CONTENT: i64 = 18;
    /// URI.
    pub const URI: i64 = 21;
    /// Source component.
    pub const SOURCE_COMPONENT: i64 = 22;
    /// Invoke arguments.
    pub const INVOKE_ARGS: i64 = 23;
    /// Device identifier.
    pub const DEVICE: i64 = 24;
    /// Fetch arguments.
    pub const FETCH_ARGS: i64 = 25;
}

/// The section a sequence stands in: it decides what may happen there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Section {
    /// Runs before every other section; parameters and checks only.
    Shared,
    /// Obtains payloads ahead of the install.
    PayloadFetch,
    /// Installs.
    Install,
    /// Checks what is installed; no side effects.
    Validate,
    /// Prepares for invocation.
    Load,
    /// Invokes.
    Invoke,
}

impl Section {
    /// Whether a directive may stand in this section. The draft lets only
    /// invocation invoke, and keeps side effects out of the shared and the
    /// validate section.
    fn allows(self, label: i64) -> bool {
        use directive::{COPY, FETCH, INVOKE, SWAP, WRITE};
        match label {
            FETCH => matches!(self, Section::PayloadFetch | Section::Install | Section::Load),
            COPY | WRITE | SWAP => matches!(self, Section::Install | Section::Load | Section::PayloadFetch),
            INVOKE => self == Section::Invoke,
            _ => true,
        }
    }
}

/// The components that commands apply to: in the order of the
/// array that named them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Selection {
    pub(crate) order: [u8; COMPONENTS_MAX],
    pub(crate) len: u8,
}

impl Selection {
    pub(crate) const fn one(component: u8) -> Selection {
        let mut order = [0; COMPONENTS_MAX];
        order[0] = component;
        Selection { order, len: 1 }
    }

    /// Whether it names each of `count` components.
    pub(crate) fn covers(&self, count: usize) -> bool {
        (0..count).all(|component| self.order[..self.len as usize].contains(&(component as u8)))
    }
}

/// A decoded command.
#[derive(Clone)]
pub(crate) enum Command<'a> {
    /// A condition, by label.
    Condition(i64),
    /// Fetch, copy, write, swap or invoke, by label.
    Act(i64),
    SetIndex(Selection),
    Override(Parameters<'a>),
    /// Alternatives left, and where the next one stands.
    TryEach(Alternatives<'a>),
    RunSequence(Sequence<'a>),
}

/// A sequence with a cursor: commands left to run.
#[derive(Clone)]
pub(crate) struct Sequence<'a> {
    reader: Reader<'a>,
    left: usize,
}

/// The alternatives of a try-each that have not been tried.
#[derive(Clone)]
pub(crate) struct Alternatives<'a> {
    reader: Reader<'a>,
    left: usize,
}

/// The parameters of an override, in ascending order of their labels.
#[derive(Clone)]
pub(crate) struct Parameters<'a> {
    reader: Reader<'a>,
}

/// One parameter with its value.
#[derive(Clone, Copy)]
pub(crate) enum Parameter<'a> {
    Vendor(&'a [u8; 16]),
    Class(&'a [u8; 16]),
    Device(&'a [u8; 16]),
    ImageDigest(Digest),
    Slot(u64),
    ImageSize(u64),
    Content(&'a [u8]),
    Uri(&'a str),
    SourceComponent(u64),
    InvokeArgs(&'a [u8]),
    FetchArgs(&'a [u8]),
    /// Serial execution satisfies either value.
    StrictOrder,
    SoftFailure(bool),
}

impl<'a> Sequence<'a> {
    /// A sequence in its byte string's content.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Sequence<'a>, Refusal> {
        if bytes.len() > SEQUENCE_MAX {
            return Err(Refusal::Limit(Limit::SequenceMax));
        }
        let mut reader = Reader::new(bytes);
        let items = reader.array(2 * COMMANDS_MAX, Limit::CommandsMax)?;
        if items % 2 != 0 {
            return Err(Refusal::Malformed("a command without its argument"));
        }
        Ok(Sequence { reader, left: items / 2 })
    }

    /// The next command; `components` is how many the manifest declares.
    pub(crate) fn next(&mut self, components: usize) -> Result<Option<Command<'a>>, Refusal> {
        if self.left == 0 {
            self.reader.end()?;
            return Ok(None);
        }
        self.left -= 1;
        let reader = &mut self.reader;
        let label = reader.int()?;
        let command = match label {
            condition::VENDOR
            | condition::CLASS
            | condition::IMAGE_MATCH
            | condition::SLOT
            | condition::CHECK_CONTENT
            | condition::ABORT
            | condition::DEVICE => {
                reporting_policy(reader)?;
                Command::Condition(label)
            }
            directive::WRITE | directive::FETCH | directive::COPY | directive::INVOKE | directive::SWAP => {
                reporting_policy(reader)?;
                Command::Act(label)
            }
            directive::SET_INDEX => Command::SetIndex(selection(reader, components)?),
            directive::OVERRIDE => {
                let parameters = Parameters { reader: reader.clone() };
                // Reads past the map, and checks every parameter now.
                parameters.each(reader, |_| Ok(()))?;
                Command::Override(parameters)
            }
            directive::TRY_EACH => {
                let left = reader.array(COMMANDS_MAX, Limit::CommandsMax)?;
                if left < 2 {
                    return Err(Refusal::Malformed("a try-each has at least two alternatives"));
                }
                let alternatives = Alternatives { reader: reader.clone(), left };
                for index in 0..left {
                    if reader.kind()? == Type::Null {
                        reader.null()?;
                        // Only the last alternative may be nil.
                        if index + 1 < left {
                            return Err(Refusal::Malformed("nil before the end of a try-each"));
                        }
                    } else {
                        reader.bytes()?;
                    }
                }
                Command::TryEach(alternatives)
            }
            directive::RUN_SEQUENCE => Command::RunSequence(Sequence::new(reader.bytes()?)?),
            other => return Err(Refusal::UnknownCommand(other)),
        };
        Ok(Some(command))
    }
}

impl<'a> Alternatives<'a> {
    /// The next alternative: `None` when all are spent, an empty sequence
    /// for nil.
    pub(crate) fn next(&mut self) -> Result<Option<Sequence<'a>>, Refusal> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        if self.reader.kind()? == Type::Null {
            self.reader.null()?;
            return Sequence::new(&[0x80]).map(Some);
        }
        Sequence::new(self.reader.bytes()?).map(Some)
    }
}

impl<'a> Parameters<'a> {
    /// Shows each parameter to `show`.
    pub(crate) fn apply(
        &self,
        show: impl FnMut(Parameter<'a>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        self.each(&mut self.reader.clone(), show)
    }

    fn each(
        &self,
        reader: &mut Reader<'a>,
        mut show: impl FnMut(Parameter<'a>) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let mut keys = reader.map()?;
        while let Some(label) = keys.next_int(reader)? {
            show(match label {
                parameter::VENDOR => Parameter::Vendor(reader.array_of()?),
                parameter::CLASS => Parameter::Class(reader.array_of()?),
                parameter::DEVICE => Parameter::Device(reader.array_of()?),
                parameter::IMAGE_DIGEST => Parameter::ImageDigest(envelope::digest(reader.bytes()?)?),
                parameter::SLOT => Parameter::Slot(reader.uint()?),
                parameter::IMAGE_SIZE => Parameter::ImageSize(reader.uint()?),
                parameter::CONTENT => Parameter::Content(reader.bytes()?),
                parameter::URI => Parameter::Uri(reader.text()?),
                parameter::SOURCE_COMPONENT => Parameter::SourceComponent(reader.uint()?),
                parameter::INVOKE_ARGS => Parameter::InvokeArgs(reader.bytes()?),
                parameter::FETCH_ARGS => Parameter::FetchArgs(reader.bytes()?),
                parameter::STRICT_ORDER => {
                    reader.bool()?;
                    Parameter::StrictOrder
                }
                parameter::SOFT_FAILURE => Parameter::SoftFailure(reader.bool()?),
                other => return Err(Refusal::UnknownParameter(other)),
            })?;
        }
        Ok(())
    }
}

fn reporting_policy(reader: &mut Reader<'_>) -> Result<(), Refusal> {
    // Four bits are defined (§8.4.7); the policy is a hint for reports.
    if reader.uint()? > 15 { Err(Refusal::Malformed("a reporting policy above 15")) } else { Ok(()) }
}

fn selection(reader: &mut Reader<'_>, components: usize) -> Result<Selection, Refusal> {
    let index = |reader: &mut Reader<'_>| match reader.uint()? {
        index if index < components as u64 => Ok(index as u8),
        _ => Err(Refusal::Malformed("a component index beyond the manifest's components")),
    };
    match reader.kind()? {
        Type::Bool => {
            if !reader.bool()? {
                return Err(Refusal::Malformed("a component index of false"));
            }
            let mut all = Selection { order: [0; COMPONENTS_MAX], len: components as u8 };
            for (index, slot) in all.order.iter_mut().enumerate() {
                *slot = index as u8;
            }
            Ok(all)
        }
        Type::Array => {
            let count = reader.array(COMPONENTS_MAX, Limit::ComponentsMax)?;
            if count == 0 {
                return Err(Refusal::Malformed("an empty list of component indices"));
            }
            let mut some = Selection { order: [0; COMPONENTS_MAX], len: count as u8 };
            for slot in some.order.iter_mut().take(count) {
                *slot = index(reader)?;
            }
            Ok(some)
        }
        _ => index(reader).map(Selection::one),
    }
}

/// What a section holds, nested sequences included.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Census {
    pub(crate) commands: usize,
    /// Parameters that set a vendor or class.
    pub(crate) identities: usize,
}

/// Checks a section before anything in it runs: every command and
/// parameter is known and allowed here, nesting and counts are bounded.
pub(crate) fn check(bytes: &[u8], section: Section, components: usize) -> Result<Census, Refusal> {
    enum Open<'a> {
        Sequence(Sequence<'a>),
        Alternatives(Alternatives<'a>),
    }
    // A try-each takes two places: its alternatives and the one that runs.
    let mut stack: [Option<Open<'_>>; 2 * NESTING_MAX + 1] = [const { None }; 2 * NESTING_MAX + 1];
    stack[0] = Some(Open::Sequence(Sequence::new(bytes)?));
    let (mut depth, mut nesting, mut census) = (1, 0, Census::default());
    while depth > 0 {
        let opened = match &mut stack[depth - 1] {
            Some(Open::Alternatives(alternatives)) => alternatives.next()?.map(Open::Sequence),
            Some(Open::Sequence(sequence)) => match sequence.next(components)? {
                None => None,
                Some(command) => {
                    census.commands += 1;
                    if census.commands > COMMANDS_MAX {
                        return Err(Refusal::Limit(Limit::CommandsMax));
                    }
                    match command {
                        Command::Act(label) if !section.allows(label) => {
                            return Err(Refusal::CommandNotAllowed(label));
                        }
                        Command::TryEach(alternatives) => Some(Open::Alternatives(alternatives)),
                        Command::RunSequence(sequence) => {
                            if nesting == NESTING_MAX {
                                return Err(Refusal::Limit(Limit::NestingMax));
                            }
                            Some(Open::Sequence(sequence))
                        }
                        Command::Override(parameters) => {
                            // "It MUST NOT be set outside of try-each or
                            // run-sequence" (§8.4.8.14).
                            parameters.apply(|parameter| match parameter {
                                Parameter::SoftFailure(_) if nesting == 0 => {
                                    Err(Refusal::CommandNotAllowed(directive::OVERRIDE))
                                }
                                Parameter::Vendor(_) | Parameter::Class(_) => {
                                    census.identities += 1;
                                    Ok(())
                                }
                                _ => Ok(()),
                            })?;
                            continue;
                        }
                        _ => continue,
                    }
                }
            },
            None => None,
        };
        match opened {
            Some(open) => {
                if matches!(open, Open::Alternatives(_)) && nesting == NESTING_MAX {
                    return Err(Refusal::Limit(Limit::NestingMax));
                }
                // An alternative continues the nesting of its try-each.
                if matches!(open, Open::Alternatives(_))
                    || matches!(stack[depth - 1], Some(Open::Sequence(_)))
                {
                    nesting += 1;
                }
                stack[depth] = Some(open);
                depth += 1;
            }
            None => {
                let closed = stack[depth - 1].take();
                depth -= 1;
                let alternative = depth > 0 && matches!(stack[depth - 1], Some(Open::Alternatives(_)));
                if depth > 0 && !(alternative && matches!(closed, Some(Open::Sequence(_)))) {
                    nesting -= 1;
                }
            }
        }
    }
    Ok(census)
}
