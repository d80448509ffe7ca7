//! Cases in a file: what the host packs and a board unpacks.
//!
//! Fields follow each other in a fixed order: numbers are eight bytes, little
//! endian; byte strings have their length in front. No parser of hostile
//! input: both ends are built from this repository, minutes apart.

use firmseal_core::limits::{COMPONENT_PARTS_MAX, COMPONENTS_MAX};

/// A component that the case's device has.
#[derive(Clone, Copy, Default, Debug)]
pub struct Place<'a> {
    parts: [&'a [u8]; COMPONENT_PARTS_MAX],
    part_count: usize,
    /// Slot that an install writes.
    pub slot: u64,
    /// Bytes it holds.
    pub capacity: u64,
    /// Sequence number of the confirmed image.
    pub sequence: u64,
}

impl<'a> Place<'a> {
    /// The SUIT component identifier.
    pub fn id(&self) -> &[&'a [u8]] {
        &self.parts[..self.part_count]
    }
}

/// One case: an envelope, and the device that is asked to admit it.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// Its name.
    pub name: &'a str,
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
    places: [Place<'a>; COMPONENTS_MAX],
    place_count: usize,
}

impl<'a> Case<'a> {
    /// Its components.
    pub fn places(&self) -> &[Place<'a>] {
        &self.places[..self.place_count]
    }
}

/// The cases of a file, in order; ends early where the file does.
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

    fn place(&mut self) -> Option<Place<'a>> {
        let (slot, capacity, sequence) = (self.number()?, self.number()?, self.number()?);
        let mut place = Place { slot, capacity, sequence, ..Place::default() };
        place.part_count = self.count(COMPONENT_PARTS_MAX)?;
        for part in &mut place.parts[..place.part_count] {
            *part = self.bytes()?;
        }
        Some(place)
    }

    fn case(&mut self) -> Option<Case<'a>> {
        let mut case = Case {
            name: self.text()?,
            envelope: self.bytes()?,
            root: self.bytes()?,
            product: self.text()?,
            vendor: self.id()?,
            class: self.id()?,
            epoch: self.number()?,
            delegation: self.number()?,
            places: [Place::default(); COMPONENTS_MAX],
            place_count: self.count(COMPONENTS_MAX)?,
        };
        for place in &mut case.places[..case.place_count] {
            *place = self.place()?;
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
