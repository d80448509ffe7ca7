//! Cases in a file: the vectors of the specification, packed so that a board
//! without an allocator can read them.
//!
//! Fields follow each other in a fixed order: numbers are eight bytes, little
//! endian; byte strings have their length in front. No parser of hostile
//! input: both ends are built from this repository, minutes apart.

use firmseal_core::limits::COMPONENTS_MAX;
use firmseal_core::{Takes, Time};

/// What is asked of the device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// May it install the envelope?
    Admit,
    /// May it boot what the envelope describes, confirmed?
    Boot,
    /// The same, on trial.
    Trial,
    /// Is this a root document, and signed by its own root role?
    Root,
}

/// A component that the case's device has.
#[derive(Clone, Copy, Default, Debug)]
pub struct Place<'a> {
    /// The SUIT component identifier: one byte string.
    pub id: [&'a [u8]; 1],
    /// Slot that an install writes.
    pub slot: u64,
    /// Bytes it holds.
    pub capacity: u64,
    /// Sequence number of the confirmed image.
    pub sequence: u64,
}

/// What a slot was measured to hold.
#[derive(Clone, Copy, Default, Debug)]
pub struct Content {
    /// SHA-256.
    pub digest: [u8; 32],
    /// Bytes.
    pub size: u64,
}

/// One case: an envelope, and the device that is asked about it.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// Its name.
    pub name: &'a str,
    /// The question.
    pub purpose: Purpose,
    /// The envelope.
    pub envelope: &'a [u8],
    /// The device's root document.
    pub root: &'a [u8],
    /// The device's product.
    pub product: &'a str,
    /// Its vendor.
    pub vendor: &'a [u8; 16],
    /// Its class.
    pub class: &'a [u8; 16],
    /// Its epoch counter.
    pub epoch: u64,
    /// Its delegation floor.
    pub delegation: u64,
    /// The owner's root, the revocation and the freshness document; empty
    /// where it has none.
    pub documents: [&'a [u8]; 3],
    /// How old the freshness document may be.
    pub max_age: Option<u64>,
    /// What it knows of the time.
    pub time: Time,
    /// Nothing can boot, or somebody is there.
    pub stranded: bool,
    /// The channels that it takes.
    pub takes: Takes<'a>,
    places: [Place<'a>; COMPONENTS_MAX],
    place_count: usize,
    contents: [Content; COMPONENTS_MAX],
    content_count: usize,
}

impl<'a> Case<'a> {
    /// The device's components.
    pub fn places(&self) -> &[Place<'a>] {
        &self.places[..self.place_count]
    }

    /// What was measured, for a boot.
    pub fn contents(&self) -> &[Content] {
        &self.contents[..self.content_count]
    }
}

/// The cases of a file, in order; ends early where the file does, or where a
/// device of the case has more components than the verifier can know.
#[derive(Clone, Debug)]
pub struct Pack<'a> {
    left: &'a [u8],
}

impl<'a> Pack<'a> {
    /// Reads a file.
    pub fn new(bytes: &'a [u8]) -> Pack<'a> {
        Pack { left: bytes }
    }

    /// Whether everything was read: a file that is cut off is an error of
    /// the caller, not a shorter list of tests.
    pub fn is_empty(&self) -> bool {
        self.left.is_empty()
    }

    fn number(&mut self) -> Option<u64> {
        let (bytes, rest) = self.left.split_first_chunk::<8>()?;
        self.left = rest;
        Some(u64::from_le_bytes(*bytes))
    }

    /// A number that may be absent: one more than it is, or 0.
    fn option(&mut self) -> Option<Option<u64>> {
        self.number().map(|number| number.checked_sub(1))
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.left.split_at_checked(length)?;
        self.left = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        core::str::from_utf8(self.bytes()?).ok()
    }

    fn id(&mut self) -> Option<&'a [u8; 16]> {
        self.bytes()?.try_into().ok()
    }

    fn count(&mut self, max: usize) -> Option<usize> {
        usize::try_from(self.number()?).ok().filter(|count| *count <= max)
    }

    fn purpose(&mut self) -> Option<Purpose> {
        match self.number()? {
            0 => Some(Purpose::Admit),
            1 => Some(Purpose::Boot),
            2 => Some(Purpose::Root),
            3 => Some(Purpose::Trial),
            _ => None,
        }
    }

    fn place(&mut self) -> Option<Place<'a>> {
        let id = [self.bytes()?];
        Some(Place { id, slot: self.number()?, capacity: self.number()?, sequence: self.number()? })
    }

    fn content(&mut self) -> Option<Content> {
        Some(Content { digest: self.bytes()?.try_into().ok()?, size: self.number()? })
    }

    fn case(&mut self) -> Option<Case<'a>> {
        let mut case = Case {
            name: self.text()?,
            purpose: self.purpose()?,
            envelope: self.bytes()?,
            root: self.bytes()?,
            product: self.text()?,
            vendor: self.id()?,
            class: self.id()?,
            epoch: self.number()?,
            delegation: self.number()?,
            documents: [self.bytes()?, self.bytes()?, self.bytes()?],
            max_age: self.option()?,
            time: Time { clock: self.option()?, floor: self.number()?, leeway: self.number()? },
            stranded: self.number()? != 0,
            takes: match self.text()? {
                "" => Takes::General,
                "*" => Takes::Any,
                channel => Takes::Channel(channel),
            },
            places: [Place::default(); COMPONENTS_MAX],
            place_count: 0,
            contents: [Content::default(); COMPONENTS_MAX],
            content_count: 0,
        };
        case.place_count = self.count(COMPONENTS_MAX)?;
        for place in &mut case.places[..case.place_count] {
            *place = self.place()?;
        }
        case.content_count = self.count(COMPONENTS_MAX)?;
        for content in &mut case.contents[..case.content_count] {
            *content = self.content()?;
        }
        Some(case)
    }
}

impl<'a> Iterator for Pack<'a> {
    type Item = Case<'a>;

    fn next(&mut self) -> Option<Case<'a>> {
        let before = self.left;
        let case = self.case();
        if case.is_none() {
            self.left = before;
        }
        case
    }
}
