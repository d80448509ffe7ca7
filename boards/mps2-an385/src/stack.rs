//! How deep the stack went: paint it, run, look how much paint is gone.
//!
//! The only unsafe code of this crate. It touches memory that Rust knows
//! nothing about: the words between the end of all statics and the stack
//! pointer, where no live object is.

use cortex_m::register::msp;

const PAINT: u32 = 0x5ea1_5ea1;

/// Left alone above the lowest painted word: the frames of the painting
/// itself and of an interrupt that may come meanwhile.
const MARGIN: usize = 256;

unsafe extern "C" {
    /// One past the last static, from cortex-m-rt's linker script; only its
    /// address means something.
    static _stack_end: u32;
}

/// Painted memory below the caller's frame.
#[derive(Debug)]
pub struct Painted {
    top: usize,
}

fn bottom() -> usize {
    // Taking the address reads nothing.
    (&raw const _stack_end).addr().next_multiple_of(4)
}

/// Paints what lies below the current frame.
#[inline(never)]
pub fn paint() -> Painted {
    let top = msp::read() as usize;
    for address in (bottom()..top - MARGIN).step_by(4) {
        // SAFETY: the address is aligned RAM above every static and below
        // the stack pointer, by more than this function and an interrupt
        // need; no object lives there.
        unsafe { core::ptr::with_exposed_provenance_mut::<u32>(address).write_volatile(PAINT) };
    }
    Painted { top }
}

impl Painted {
    /// Bytes used below the frame that painted. Counts in whole words, and
    /// cannot see a use of less than the margin.
    #[inline(never)]
    pub fn used(&self) -> u32 {
        let untouched = (bottom()..self.top - MARGIN)
            .step_by(4)
            // SAFETY: as above; reading RAM that nobody else writes.
            .take_while(|address| unsafe {
                core::ptr::with_exposed_provenance::<u32>(*address).read_volatile() == PAINT
            })
            .count();
        (self.top - bottom() - untouched * 4) as u32
    }
}
