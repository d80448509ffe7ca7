//! Command sequences (draft-ietf-suit-manifest-37 §8.4.7 to §8.4.10): what they
//! say, with every argument of the type that it has to have.

use super::Bad;
use super::cbor::{Kind, Reader, bytes, diagnostic};
use super::digest::SuitDigest;
use super::names::{self, ACTS, CONDITIONS};
use crate::inspection::Inspection;

/// Most commands and parameters in one file, nested ones included.
pub(super) const COMMANDS_MAX: usize = 512;
/// Deepest nesting of try-each and run-sequence.
const NESTING_MAX: usize = 8;

const SET_INDEX: i64 = 12;
const TRY_EACH: i64 = 15;
const OVERRIDE: i64 = 20;
const RUN_SEQUENCE: i64 = 32;

/// Commands one after the other.
pub(super) type Sequence<'a> = Vec<Command<'a>>;

/// A command with its argument.
pub(super) enum Command<'a> {
    Condition(i64),
    Act(i64),
    /// The components that the next commands are for, by index.
    Select(Vec<usize>),
    Set(Vec<(i64, Value<'a>)>),
    /// Of which the first one that does not fail counts; the last may be nil.
    TryEach(Vec<Option<Sequence<'a>>>),
    Run(Sequence<'a>),
    /// One that is not known here.
    Other(i64, &'a [u8]),
}

/// What a parameter is set to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Value<'a> {
    Bytes(&'a [u8]),
    Digest(SuitDigest<'a>),
    Text(&'a str),
    Number(u64),
    /// An item of any kind, as it is encoded.
    Item(&'a [u8]),
}

/// What reading takes: how many components there are, and how many commands and
/// parameters may still come.
pub(super) struct Bounds {
    pub(super) components: usize,
    pub(super) commands: usize,
}

impl Bounds {
    /// Reads the sequence in a byte string's content.
    pub(super) fn sequence<'a>(&mut self, bytes: &'a [u8]) -> Result<Sequence<'a>, Bad> {
        self.nested(bytes, NESTING_MAX)
    }

    fn nested<'a>(&mut self, bytes: &'a [u8], depth: usize) -> Result<Sequence<'a>, Bad> {
        let depth = depth.checked_sub(1).ok_or("sequences nested deeper than 8 times")?;
        let mut reader = Reader::new(bytes);
        let items = reader.array()?;
        if items == 0 || !items.is_multiple_of(2) {
            return Err("a sequence without commands, or a command without its argument");
        }
        let mut out = Vec::new();
        for _ in 0..items / 2 {
            self.one_more()?;
            out.push(self.command(&mut reader, depth)?);
        }
        reader.end()?;
        Ok(out)
    }

    fn one_more(&mut self) -> Result<(), Bad> {
        self.commands = self.commands.checked_sub(1).ok_or("more than 512 commands and parameters in all")?;
        Ok(())
    }

    fn command<'a>(&mut self, reader: &mut Reader<'a>, depth: usize) -> Result<Command<'a>, Bad> {
        let is = |table: &[(i64, &str)], label| table.iter().any(|(own, _)| *own == label);
        Ok(match reader.int()? {
            label if is(&CONDITIONS, label) => {
                policy(reader)?;
                Command::Condition(label)
            }
            label if is(&ACTS, label) => {
                policy(reader)?;
                Command::Act(label)
            }
            SET_INDEX => Command::Select(self.selection(reader)?),
            OVERRIDE => Command::Set(self.parameters(reader)?),
            RUN_SEQUENCE => Command::Run(self.nested(reader.bytes()?, depth)?),
            TRY_EACH => {
                let count = reader.array()?;
                let mut all = Vec::new();
                for index in 0..count {
                    match reader.null() {
                        true if index + 1 == count => all.push(None),
                        true => return Err("nil before the last alternative of a try-each"),
                        false => all.push(Some(self.nested(reader.bytes()?, depth)?)),
                    }
                }
                if all.len() < 2 {
                    return Err("a try-each with fewer than two alternatives");
                }
                Command::TryEach(all)
            }
            label => Command::Other(label, reader.item()?),
        })
    }

    fn index(&self, reader: &mut Reader<'_>) -> Result<usize, Bad> {
        match usize::try_from(reader.uint()?) {
            Ok(index) if index < self.components => Ok(index),
            _ => Err("the index of a component that there is not"),
        }
    }

    fn selection(&self, reader: &mut Reader<'_>) -> Result<Vec<usize>, Bad> {
        match reader.kind() {
            Some(Kind::Simple) if reader.item()? == [0xf5] => Ok((0..self.components).collect()),
            Some(Kind::Array) => {
                let count = reader.array()?;
                if count == 0 || count > self.components {
                    return Err(
                        "a list of component indices that is empty, or longer than there are components",
                    );
                }
                (0..count).map(|_| self.index(reader)).collect()
            }
            Some(Kind::Uint) => Ok(vec![self.index(reader)?]),
            _ => Err("a component index that is no number, no list and not true"),
        }
    }

    fn parameters<'a>(&mut self, reader: &mut Reader<'a>) -> Result<Vec<(i64, Value<'a>)>, Bad> {
        let (mut keys, mut out) = (reader.map()?, Vec::new());
        while let Some(label) = keys.next_int(reader)? {
            self.one_more()?;
            let value = match label {
                // A vendor may be a private enterprise number: tag 112.
                1 if reader.kind() == Some(Kind::Tag) => Value::Item(reader.item()?),
                1 | 2 | 24 => match reader.bytes()? {
                    uuid if uuid.len() == 16 => Value::Bytes(uuid),
                    _ => return Err("a vendor, class or device that is no UUID"),
                },
                3 => Value::Digest(SuitDigest::decode(reader.bytes()?)?),
                4 | 5 | 14 => Value::Number(reader.uint()?),
                12 | 13 => match reader.item()? {
                    item @ ([0xf4] | [0xf5]) => Value::Item(item),
                    _ => return Err("a strict-order or soft-failure that is neither true nor false"),
                },
                18 | 19 | 23 | 25 => Value::Bytes(reader.bytes()?),
                21 => Value::Text(reader.text()?),
                22 => Value::Number(self.index(reader)? as u64),
                _ => Value::Item(reader.item()?),
            };
            out.push((label, value));
        }
        Ok(out)
    }
}

/// Of four bits (§8.4.7): what is reported, and nothing that is done.
fn policy(reader: &mut Reader<'_>) -> Result<(), Bad> {
    if reader.uint()? > 15 { Err("a reporting policy above 15") } else { Ok(()) }
}

impl Value<'_> {
    /// For people.
    pub(super) fn describe(&self, label: i64) -> String {
        match self {
            Value::Bytes(uuid) if matches!(label, 1 | 2 | 24) => {
                uuid::Uuid::from_slice(uuid).map_or_else(|_| bytes(uuid), |uuid| uuid.to_string())
            }
            Value::Bytes(own) => bytes(own),
            Value::Digest(digest) => digest.describe(),
            Value::Text(text) => format!("{text:?}"),
            Value::Number(number) => number.to_string(),
            Value::Item(item) => diagnostic(item),
        }
    }
}

/// Puts commands into fields, in order; `name` says where they stand.
pub(super) fn describe(name: &str, sequence: &Sequence<'_>, out: &mut Inspection) {
    for command in sequence {
        match command {
            Command::Condition(label) | Command::Act(label) => out.field(name, names::command(*label)),
            Command::Select(indices) => {
                let list: Vec<_> = indices.iter().map(usize::to_string).collect();
                out.field(name, format!("set-component-index {}", list.join(", ")));
            }
            Command::Set(parameters) => {
                for (label, value) in parameters {
                    out.field(name, format!("{}={}", names::parameter(*label), value.describe(*label)));
                }
            }
            Command::TryEach(all) => {
                for (index, alternative) in all.iter().enumerate() {
                    let place = format!("{name}, alternative {}", index + 1);
                    match alternative {
                        Some(sequence) => describe(&place, sequence, out),
                        None => out.field(place, "nothing"),
                    }
                }
            }
            Command::Run(sequence) => describe(&format!("{name}, sequence"), sequence, out),
            Command::Other(label, item) => {
                out.field(name, format!("{} {}", names::command(*label), diagnostic(item)));
            }
        }
    }
}
