//! Supervision: what whoever started a server is told of it, and the end of a
//! server that hangs.
//!
//! A server that hangs is worse than one that is gone: its ports are open, it
//! holds its store, and nobody takes over. So a thread that needs neither the
//! executor nor the store watches over both, and ends the process. Where
//! systemd supervises, the same thread feeds its watchdog (sd_notify(3)),
//! which ends a process that is stopped altogether.

use std::io::Write;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use firmseal_server::Pulse;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::Result;

/// How often the thread looks; several times in any watchdog's patience.
const LOOK: Duration = Duration::from_millis(500);
/// How many looks in a row find nothing done before it is believed: a process
/// that was stopped for long and goes on has done nothing yet.
const LOOKS: u32 = 6;
/// What the supervisor is asked for while the process comes up or ends, beyond
/// what it would wait for by itself.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest that a standby takes over: a large store takes its time to open, and
/// the middleware of an HSM may hang. An ordinary start may wait for a person
/// who types a passphrase, and as long as that takes.
const START: Duration = Duration::from_secs(600);
/// Longest that it ends, beyond what requests get.
const END: Duration = Duration::from_secs(60);
/// How long somebody may take to read why the process ends.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How far the process is.
#[derive(Clone)]
enum Phase {
    /// It takes over, or ends, until then at the latest.
    Until(Instant),
    /// There is nothing that could be looked at.
    Unwatched,
    /// It works, and ends where nothing gets done for longer than that.
    Works(Arc<Pulse>, Duration),
}

/// A process that is supervised. Ends with this value.
pub struct Supervision {
    phase: Arc<Mutex<Phase>>,
    _alive: Sender<()>,
}

impl Supervision {
    /// Begins: the process comes up.
    pub fn begin() -> Supervision {
        let (alive, ended) = channel();
        let phase = Arc::new(Mutex::new(Phase::Unwatched));
        let seen = phase.clone();
        thread::spawn(move || watch(&seen, &ended));
        Supervision { phase, _alive: alive }
    }

    /// The process is up and does this. From now on it ends where nothing gets
    /// done for longer than is said here.
    pub fn up(&self, what: &str, watched: Option<(Arc<Pulse>, Duration)>) {
        self.enter(watched.map_or(Phase::Unwatched, |(pulse, longest)| Phase::Works(pulse, longest)));
        tell(&[NotifyState::Ready, NotifyState::Status(what)]);
    }

    /// The process is about to take over, from where it may not return.
    pub fn takes_over(&self) {
        self.enter(Phase::Until(Instant::now() + START));
    }

    /// The process ends, for which requests get so long.
    pub fn ends(&self, requests: Duration) {
        self.enter(Phase::Until(Instant::now() + requests + END));
        tell(&[NotifyState::Stopping, NotifyState::Status("stopping")]);
    }

    fn enter(&self, phase: Phase) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }
}

fn watch(phase: &Mutex<Phase>, ended: &Receiver<()>) {
    let mut silent = 0;
    while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(LOOK) {
        let phase = phase.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (late, why) = match phase {
            Phase::Unwatched => (false, String::new()),
            Phase::Until(then) => (Instant::now() > then, "it neither came up nor ended in time".to_owned()),
            Phase::Works(pulse, longest) => (
                pulse.silent_for() > longest,
                format!("the store gave no answer for {} s", longest.as_secs()),
            ),
        };
        silent = if late { silent + 1 } else { 0 };
        if silent >= LOOKS {
            end(why);
        }
        let patience = u32::try_from(PATIENCE.as_micros()).unwrap_or(u32::MAX);
        tell(&[NotifyState::Watchdog, NotifyState::ExtendTimeoutUsec(patience)]);
    }
}

/// Ends the process at once. Its destructors and those of modules that it
/// loaded would wait for whatever hangs; what is durable needs none of them.
fn end(why: String) -> ! {
    // Whoever reads stderr may hang as well.
    thread::spawn(move || {
        let _ = writeln!(std::io::stderr(), "error: {why}: this process ends, so that another can go on");
    });
    thread::sleep(LAST_WORDS);
    std::process::abort()
}

/// Being asked to end: SIGINT and SIGTERM.
pub struct End {
    interrupt: Signal,
    terminate: Signal,
}

impl End {
    /// Listens for them from now on.
    pub fn new() -> Result<End> {
        Ok(End { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits until one comes.
    pub async fn asked(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    // Without a supervisor nobody is told, and one that cannot be told ends a
    // process of which it hears nothing.
    let _ = sd_notify::notify(states);
}
