//! Rage: who is killed, and when.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use firmseal_e2e::child::Lines;
use firmseal_e2e::{Chance, Server};

use crate::DEVICES;
use crate::machine::Machine;

/// The longest wait for a good moment to kill: an idle victim has none.
const A_MOMENT: Duration = Duration::from_millis(300);

/// Rings when it is dropped, be it in a panic.
pub(crate) struct Bell<'a>(pub(crate) &'a AtomicBool);

impl Drop for Bell<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Kills and restarts, until it has killed often enough.
pub(crate) fn rage(
    mut chance: Chance,
    kills: u64,
    server: &Mutex<Server>,
    log: &Lines,
    machines: &[Machine],
) {
    let mut killed = BTreeMap::<String, u64>::new();
    while killed.values().sum::<u64>() < kills {
        let victim = chance.below(2 * DEVICES as u64) as usize;
        let machine = machines.get(victim);
        // In the middle of some work, which shows as lines of a log, and
        // then a little later: up to a few writes.
        let lines = machine.map_or(log, |machine| machine.powered.log());
        lines.wait_for_more(chance.below(12) as usize, A_MOMENT);
        thread::sleep(Duration::from_micros(chance.below(5000)));
        match machine {
            Some(machine) => {
                if machine.powered.cut() {
                    *killed.entry(format!("device {victim}")).or_default() += 1;
                }
            }
            None => {
                let mut server = server.lock().unwrap();
                server.kill();
                // A start is no better a moment to be killed.
                if chance.below(3) == 0 {
                    server.start_unobserved();
                    thread::sleep(Duration::from_millis(chance.below(200)));
                    server.kill();
                }
                server.start();
                *killed.entry("server".to_owned()).or_default() += 1;
            }
        }
        machines.iter().for_each(|machine| drop(machine.status()));
    }
    println!("killed: {killed:?}");
}
