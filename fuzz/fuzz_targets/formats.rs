//! Firmware files as somebody uploads them: in the format that
//! `FIRMSEAL_FUZZ_FORMAT` names, or in every one. One program for all of them,
//! which is built once; with `list` it says their names.
#![no_main]

// The entry of the mutation test on stable, so that both ask the same.
#[path = "../../crates/formats/tests/fuzz/entry.rs"]
mod entry;

use std::sync::LazyLock;

use firmseal_formats::{FORMATS, Format};

static CHOSEN: LazyLock<Option<&'static dyn Format>> = LazyLock::new(|| {
    let name = std::env::var("FIRMSEAL_FUZZ_FORMAT").ok()?;
    if name == "list" {
        FORMATS.iter().for_each(|format| println!("{}", format.name()));
        std::process::exit(0);
    }
    Some(firmseal_formats::find(&name).unwrap_or_else(|error| panic!("FIRMSEAL_FUZZ_FORMAT: {error}")))
});

libfuzzer_sys::fuzz_target!(init: LazyLock::force(&CHOSEN), |bytes: &[u8]| {
    match *CHOSEN {
        Some(format) => _ = entry::one(format, bytes),
        None => entry::run(bytes),
    }
});
