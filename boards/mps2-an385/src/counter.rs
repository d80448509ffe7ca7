//! Counting instructions with SysTick.
//!
//! QEMU runs with `-icount shift=4`: each instruction takes 16 ns of virtual
//! time, exactly. SysTick counts the 25 MHz core clock, 40 ns a tick, so
//! instructions = ticks * 40 / 16. The result is the same on every host and
//! in every run. These are instructions, not cycles.

use core::sync::atomic::{AtomicU32, Ordering};

use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::exception;

const RELOAD: u32 = 0x00ff_ffff;
const NANOSECONDS_PER_TICK: u64 = 40;
const NANOSECONDS_PER_INSTRUCTION: u64 = 16;

static WRAPS: AtomicU32 = AtomicU32::new(0);

/// SysTick reaches zero every 41.9 million instructions; what this handler
/// adds to a measurement (some 20 instructions each time) is far below the
/// last digit that anybody reads.
#[exception]
fn SysTick() {
    // Not fetch_add: only this handler writes.
    WRAPS.store(WRAPS.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

/// The running counter.
#[derive(Debug)]
pub struct Counter(());

impl Counter {
    /// Starts SysTick.
    pub fn start(mut syst: SYST) -> Counter {
        syst.set_clock_source(SystClkSource::Core);
        syst.set_reload(RELOAD);
        syst.clear_current();
        syst.enable_interrupt();
        syst.enable_counter();
        Counter(())
    }

    /// Instructions since the start.
    pub fn now(&self) -> u64 {
        loop {
            let wraps = WRAPS.load(Ordering::Relaxed);
            let left = SYST::get_current();
            // It wrapped between the two readings: read again.
            if wraps == WRAPS.load(Ordering::Relaxed) {
                let ticks = u64::from(wraps) * u64::from(RELOAD + 1) + u64::from(RELOAD - left);
                return ticks * NANOSECONDS_PER_TICK / NANOSECONDS_PER_INSTRUCTION;
            }
        }
    }
}
