//! Packing: cases as a file that a board reads, each with the verdict that
//! is expected of it.

use std::io;
use std::path::Path;

/// A component of a case's device.
pub(crate) struct Place {
    /// SUIT component identifier.
    pub(crate) id: Vec<Vec<u8>>,
    /// Slot that an install writes.
    pub(crate) slot: u64,
    /// Bytes it holds.
    pub(crate) capacity: u64,
    /// Sequence number of the confirmed image.
    pub(crate) sequence: u64,
}

/// One case, as the host makes it.
pub(crate) struct Case {
    /// Its name: letters, digits, `-` and `_`.
    pub(crate) name: String,
    /// The number of the expected refusal; 0 where it is to be admitted.
    pub(crate) expected: u16,
    /// The envelope.
    pub(crate) envelope: Vec<u8>,
    /// The device's root document.
    pub(crate) root: Vec<u8>,
    /// The device's product.
    pub(crate) product: String,
    /// Its vendor.
    pub(crate) vendor: [u8; 16],
    /// Its class.
    pub(crate) class: [u8; 16],
    /// Its epoch counter.
    pub(crate) epoch: u64,
    /// Its delegation floor.
    pub(crate) delegation: u64,
    /// Its components.
    pub(crate) places: Vec<Place>,
}

/// Packs cases, in the order that `firmseal_cases::pack` reads.
pub(crate) fn pack(cases: &[Case]) -> Vec<u8> {
    let mut out = Vec::new();
    for case in cases {
        field(&mut out, case.name.as_bytes());
        field(&mut out, &case.envelope);
        field(&mut out, &case.root);
        field(&mut out, case.product.as_bytes());
        field(&mut out, &case.vendor);
        field(&mut out, &case.class);
        number(&mut out, case.epoch);
        number(&mut out, case.delegation);
        number(&mut out, case.places.len() as u64);
        for place in &case.places {
            [place.slot, place.capacity, place.sequence]
                .into_iter()
                .for_each(|value| number(&mut out, value));
            number(&mut out, place.id.len() as u64);
            place.id.iter().for_each(|part| field(&mut out, part));
        }
    }
    out
}

/// Writes the pack and, for whoever compares, a line `NAME CODE` per case.
pub(crate) fn write(cases: &[Case], path: &Path) -> io::Result<()> {
    std::fs::write(path, pack(cases))?;
    cases.iter().for_each(|case| println!("{} {}", case.name, case.expected));
    Ok(())
}

fn number(out: &mut Vec<u8>, number: u64) {
    out.extend(number.to_le_bytes());
}

fn field(out: &mut Vec<u8>, field: &[u8]) {
    number(out, field.len() as u64);
    out.extend(field);
}
