//! The pulse: when the server last got something done.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// When a server last got something done: its executor ran a task, and its
/// store answered.
///
/// Whoever supervises the server looks at this from a thread of its own. A
/// server that hangs cannot be asked how it is.
#[derive(Debug)]
pub struct Pulse {
    began: Instant,
    /// Milliseconds from then on.
    last: AtomicU64,
}

impl Pulse {
    pub(crate) fn new() -> Pulse {
        Pulse { began: Instant::now(), last: AtomicU64::new(0) }
    }

    pub(crate) fn beat(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// For how long nothing got done.
    pub fn silent_for(&self) -> Duration {
        self.began.elapsed().saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)))
    }
}
