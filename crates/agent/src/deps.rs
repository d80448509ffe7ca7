//! Dependencies: the outside world as the agent sees it.

use std::sync::Arc;

use crate::boot_control::BootControl;
use crate::clock::{Chance, Clock, NoClock, SystemChance, SystemClock};
use crate::config::Config;
use crate::files::{Files, OsFiles};
use crate::floors::Counters;
use crate::health::{Health, HealthCommand};

/// What the agent depends on, so that tests can choose it.
#[derive(Clone)]
pub struct Deps {
    /// The file system.
    pub files: Arc<dyn Files>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub chance: Arc<dyn Chance>,
    /// Decides on a trial.
    pub health: Arc<dyn Health>,
    /// The monotonic counters; files in the state directory if `None`.
    pub counters: Option<Arc<dyn Counters>>,
    /// The boot chain; [`Agent::boot_stage`](crate::Agent::boot_stage) and its files if `None`.
    pub control: Option<Arc<dyn BootControl>>,
}

impl Deps {
    /// The real things, as the configuration says.
    pub fn new(config: &Config) -> Deps {
        Deps {
            files: Arc::new(OsFiles),
            clock: if config.no_clock { Arc::new(NoClock) } else { Arc::new(SystemClock) },
            chance: Arc::new(SystemChance),
            health: Arc::new(HealthCommand::new(config)),
            counters: None,
            control: None,
        }
    }
}
