//! Chance with a seed that is printed, so that a run can be repeated.

use std::time::{SystemTime, UNIX_EPOCH};

/// Random numbers (xorshift64*, Vigna 2016).
pub struct Chance(u64);

impl Chance {
    /// From `FIRMSEAL_SEED`, or from the clock; prints the seed.
    pub fn new() -> Chance {
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        let seed = setting("FIRMSEAL_SEED").unwrap_or_else(clock);
        println!("FIRMSEAL_SEED={seed}");
        Chance::of(seed)
    }

    /// From a seed of the test's own.
    pub fn of(seed: u64) -> Chance {
        Chance(seed | 1)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % bound.max(1)
    }

    /// Bytes of any value.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.below(256) as u8).collect()
    }
}

impl Default for Chance {
    fn default() -> Chance {
        Chance::new()
    }
}

/// A number from the environment.
pub fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}
