//! Tickets: who waits for a job, and what there is to tell them.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_channel::oneshot;

use super::PoolError;

type Sender<R> = oneshot::Sender<Result<R, PoolError>>;

/// Who waits for a job. Whoever takes it, worker or watchdog, gives the one
/// answer. It has a lock of its own: the pool's is taken once for each job by a
/// worker, whose time is the key's.
pub(super) struct Ticket<R> {
    answer: Mutex<Answer<R>>,
    /// A worker has it. Changed and read under the pool's lock.
    is_begun: AtomicBool,
}

/// How far the answer to a job is.
enum Answer<R> {
    Awaited(Sender<R>),
    /// There is one, and it leaves with others or at the deadline.
    Held(Sender<R>, Result<R, PoolError>),
    /// It is given.
    Given,
}

impl<R> Ticket<R> {
    pub(super) fn new(sender: Sender<R>) -> Ticket<R> {
        Ticket { answer: Mutex::new(Answer::Awaited(sender)), is_begun: AtomicBool::new(false) }
    }

    /// A worker has it from now on.
    pub(super) fn begin(&self) {
        self.is_begun.store(true, Ordering::Relaxed);
    }

    /// Keeps the result of the job until it is given; whether anybody is still to
    /// be answered.
    pub(super) fn hold(&self, result: Result<R, PoolError>) -> bool {
        let mut answer = self.lock();
        match mem::replace(&mut *answer, Answer::Given) {
            Answer::Awaited(sender) => *answer = Answer::Held(sender, result),
            Answer::Held(..) | Answer::Given => return false,
        }
        true
    }

    /// Gives the result that was kept, unless the deadline did.
    pub(super) fn give(&self) {
        let answer = mem::replace(&mut *self.lock(), Answer::Given);
        if let Answer::Held(sender, result) = answer {
            // An error means that the caller went away, here and below.
            let _ = sender.send(result);
        }
    }

    /// Gives what there is at the deadline; whether there was nothing, which a
    /// worker may still be at.
    pub(super) fn expire(&self) -> bool {
        let answer = mem::replace(&mut *self.lock(), Answer::Given);
        let (sender, result, is_late) = match answer {
            Answer::Awaited(sender) => (sender, Err(PoolError::TimedOut), self.is_begun()),
            Answer::Held(sender, result) => (sender, result, false),
            Answer::Given => return false,
        };
        let _ = sender.send(result);
        is_late
    }

    /// Whether somebody waits for it to be begun.
    pub(super) fn is_open(&self) -> bool {
        matches!(&*self.lock(), Answer::Awaited(sender) if !sender.is_canceled())
    }

    fn is_begun(&self) -> bool {
        self.is_begun.load(Ordering::Relaxed)
    }

    /// Whether its deadline still matters: to whoever waits, or because a
    /// worker is at it that may hang, whether anybody waits or not.
    pub(super) fn is_watched(&self) -> bool {
        match &*self.lock() {
            Answer::Awaited(sender) => !sender.is_canceled() || self.is_begun(),
            Answer::Held(sender, _) => !sender.is_canceled(),
            Answer::Given => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Answer<R>> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
