//! Time and chance, passed in so that tests choose them.

use std::time::{SystemTime, UNIX_EPOCH};

/// The device's idea of the time.
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970; `None` for a device without a clock.
    fn now(&self) -> Option<u64>;
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Option<u64> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        u64::try_from(since.as_millis()).ok()
    }
}

/// No clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoClock;

impl Clock for NoClock {
    fn now(&self) -> Option<u64> {
        None
    }
}

/// A source of chance, to spread polls over time. Nothing secret is made
/// from it.
pub trait Chance: Send + Sync {
    /// Any number, each as likely as any other.
    fn draw(&self) -> u64;
}

/// The operating system's.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemChance;

impl Chance for SystemChance {
    fn draw(&self) -> u64 {
        // The low half of a random UUID has two fixed bits, at the top.
        uuid::Uuid::new_v4().as_u64_pair().1.rotate_left(8)
    }
}
