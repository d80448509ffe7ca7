//! Pools: threads that wait for a key so that the executor does not.
//!
//! A token or an RSA key blocks; its calls run on threads that the backend
//! owns, and tasks wait for a oneshot, whatever their executor. A pool has
//! a fixed number of threads, a bounded queue and, where the other side may
//! hang, a deadline that counts from the moment a job is handed in.
//!
//! A driver that is called and never returns keeps its thread: nothing ends
//! that but the process. So another thread is started in its place, with a
//! state of its own, and the one that hung ends when it comes back. Each may
//! hang as well, and holds what it has of the key: so many are started at once,
//! and then one now and then, for the day on which the other side is back.

mod ticket;

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use futures_channel::oneshot;

use ticket::Ticket;

/// Why a job has no result.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PoolError {
    /// The queue is full. Nothing was started.
    #[error("too many requests already wait for this key")]
    Full,
    /// The deadline passed. The job was not started, or hangs, or finishes
    /// unseen.
    #[error("no answer within the deadline")]
    TimedOut,
    /// The worker panicked: a bug of ours, already on stderr.
    #[error("the worker failed")]
    Lost,
}

/// How large a pool is and how long it waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PoolOptions {
    /// Threads, at least one.
    pub threads: usize,
    /// Threads that are started in place of those that hang as soon as a job
    /// is late by the deadline once more. When all hang, those too, another is
    /// started every sixty deadlines. Without a deadline, none.
    pub spare: usize,
    /// Jobs that may wait, at least one; more are refused at once.
    pub queue: usize,
    /// Longest time from handing in to the result; `None` waits for ever.
    pub deadline: Option<Duration>,
}

/// Threads that work on jobs `J` and answer with `R`.
///
/// Dropping the pool lets queued jobs go unanswered and waits for the
/// threads to end after the job at hand: a driver that is still being called
/// while the process exits tends to crash it. It waits for a second at most,
/// because one of them may hang in that driver, and a caller that shuts down
/// must not hang with it.
pub struct Pool<J, R> {
    shared: Arc<Shared<J, R>>,
    options: PoolOptions,
}

struct Shared<J, R> {
    state: Mutex<State<J, R>>,
    /// Signalled when a job arrives or the pool closes.
    work: Condvar,
    /// Signalled when a deadline appears for a watchdog that sleeps without
    /// one, or the pool closes.
    alarm: Condvar,
    /// Signalled when a thread ends.
    ended: Condvar,
}

/// How long a pool that is dropped waits for its threads.
const GRACE: Duration = Duration::from_secs(1);

/// Deadlines between one thread in place of another and the next, once the spare
/// ones hang too.
const REST: u32 = 60;

struct State<J, R> {
    closed: bool,
    /// Threads that run.
    live: usize,
    /// Those of them that wait for a job. Nobody else is told of one.
    idle: usize,
    /// Whether the watchdog sleeps without a deadline of a job. If it has one,
    /// it looks soon enough: later jobs have later deadlines.
    unwatched: bool,
    queue: VecDeque<(Arc<Ticket<R>>, J)>,
    /// Deadlines in order of arrival, which is their order in time because
    /// all jobs have the same span.
    deadlines: VecDeque<(Instant, Arc<Ticket<R>>)>,
    /// Jobs that workers are at although they are late, and when another
    /// worker is to take the place; in order of that.
    late: VecDeque<(Instant, Arc<Ticket<R>>)>,
    /// Workers in whose place another was started, and that are not back.
    replaced: usize,
    /// When the last was.
    last_start: Option<Instant>,
    /// Workers too many: one came back while another was started for it.
    surplus: usize,
}

impl<J, R> State<J, R> {
    fn new() -> State<J, R> {
        State {
            closed: false,
            live: 0,
            idle: 0,
            unwatched: false,
            queue: VecDeque::new(),
            deadlines: VecDeque::new(),
            late: VecDeque::new(),
            replaced: 0,
            last_start: None,
            surplus: 0,
        }
    }

    /// Forgets deadlines in front that no longer matter, so that the list is
    /// no longer than what is outstanding behind the oldest open job.
    fn prune(&mut self) {
        while self.deadlines.front().is_some_and(|(_, ticket)| !ticket.is_watched()) {
            self.deadlines.pop_front();
        }
    }

    /// What the watchdog looks at next, and when.
    fn next_alarm(&self, options: &PoolOptions, deadline: Duration) -> Option<(Instant, Alarm)> {
        let late = self.deadlines.front().map(|(at, _)| (*at, Alarm::Deadline));
        let hung = self.next_start(options, deadline.saturating_mul(REST)).map(|at| (at, Alarm::Hung));
        late.into_iter().chain(hung).min_by_key(|(at, _)| *at)
    }

    /// When another worker takes the place of one that hangs.
    ///
    /// Beyond the spare ones only where nobody serves: what holds the key may
    /// have no room for more, and one that fails at once takes jobs from those
    /// that work.
    fn next_start(&self, options: &PoolOptions, rest: Duration) -> Option<Instant> {
        let (at, _) = self.late.front()?;
        if self.replaced < options.spare {
            return Some(*at);
        }
        let rested = self.last_start.unwrap_or(*at) + rest;
        (self.late.len() >= options.threads.max(1)).then(|| rested.max(*at))
    }

    /// A worker is back from a job that was answered without it; whether
    /// another is in its place.
    fn is_back(&mut self, ticket: &Arc<Ticket<R>>) -> bool {
        let late = self.late.iter().position(|(_, late)| Arc::ptr_eq(late, ticket));
        match late {
            Some(at) => drop(self.late.remove(at)),
            None => self.replaced -= 1,
        }
        late.is_none()
    }
}

/// What the watchdog is woken for.
#[derive(Clone, Copy)]
enum Alarm {
    /// Somebody has waited for long enough.
    Deadline,
    /// A worker does not come back.
    Hung,
}

impl<J, R> Shared<J, R> {
    fn lock(&self) -> MutexGuard<'_, State<J, R>> {
        // No code that runs under the lock can leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<J: Send + 'static, R: Send + 'static> Pool<J, R> {
    /// Starts the threads. Each calls `worker` once for its own state, and
    /// again if that state was lost in a panic.
    pub fn new<W>(
        name: &str,
        options: PoolOptions,
        worker: impl Fn() -> W + Send + Sync + 'static,
    ) -> io::Result<Pool<J, R>>
    where
        W: FnMut(J) -> R,
    {
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new()),
            work: Condvar::new(),
            alarm: Condvar::new(),
            ended: Condvar::new(),
        });
        // Made first: if a later thread cannot be started, dropping the
        // pool ends those that were.
        let pool = Pool { shared: Arc::clone(&shared), options };
        let (worker, name) = (Arc::new(worker), name.to_owned());
        let watched = format!("{name}-watch");
        let mut numbers = 0..;
        let mut start = move |shared: &Arc<Shared<J, R>>| {
            let (alive, worker) = (Alive::new(shared), Arc::clone(&worker));
            let body = move || {
                work(&alive.0, &*worker);
                // Everything that a worker holds is gone before it counts
                // as ended.
                drop(worker);
                drop(alive);
            };
            let name = format!("{name}-{}", numbers.next().unwrap_or(0));
            thread::Builder::new().name(name).spawn(body).map(drop)
        };
        for _ in 0..options.threads.max(1) {
            start(&shared)?;
        }
        if let Some(deadline) = options.deadline {
            let alive = Alive::new(&shared);
            let body = move || watch(&alive.0, &options, deadline, start);
            thread::Builder::new().name(watched).spawn(body)?;
        }
        Ok(pool)
    }

    /// Hands in a job; the future is its result. Dropping the future gives
    /// the job up: if it waits it is not started, if it runs its result is
    /// thrown away.
    pub fn submit(&self, job: J) -> impl Future<Output = Result<R, PoolError>> + Send + use<J, R> {
        let receiver = self.enqueue(job);
        async move { receiver?.await.unwrap_or(Err(PoolError::Lost)) }
    }

    /// Calls that did not come back within their deadline, and still have not.
    pub fn hanging(&self) -> usize {
        let state = self.shared.lock();
        state.late.len() + state.replaced
    }

    fn enqueue(&self, job: J) -> Result<oneshot::Receiver<Result<R, PoolError>>, PoolError> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.shared.lock();
        if state.queue.len() >= self.options.queue.max(1) {
            return Err(PoolError::Full);
        }
        let ticket = Arc::new(Ticket::new(sender));
        // A deadline beyond the clock's end is none.
        if let Some(at) = self.options.deadline.and_then(|span| Instant::now().checked_add(span)) {
            state.prune();
            state.deadlines.push_back((at, Arc::clone(&ticket)));
            if state.unwatched {
                self.shared.alarm.notify_one();
            }
        }
        state.queue.push_back((ticket, job));
        if state.idle > 0 {
            self.shared.work.notify_one();
        }
        Ok(receiver)
    }
}

impl<J, R> Drop for Pool<J, R> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        state.queue.clear();
        self.shared.work.notify_all();
        self.shared.alarm.notify_all();
        let ended = self.shared.ended.wait_timeout_while(state, GRACE, |state| state.live > 0);
        drop(ended);
    }
}

/// Counts a thread for as long as it runs, or until it could not be started.
struct Alive<J, R>(Arc<Shared<J, R>>);

impl<J, R> Alive<J, R> {
    fn new(shared: &Arc<Shared<J, R>>) -> Alive<J, R> {
        shared.lock().live += 1;
        Alive(Arc::clone(shared))
    }
}

impl<J, R> Drop for Alive<J, R> {
    fn drop(&mut self) {
        self.0.lock().live -= 1;
        self.0.ended.notify_all();
    }
}

/// How many answers are given together while jobs are quick and more of them
/// wait. Waking whoever waits costs, and the worker pays; so it wakes several at
/// once, as network cards do. Where a job takes longer than the limit, each answer
/// leaves at once: no answer waits for more than this many quick jobs, or, where
/// the next of them hangs, for longer than to its own deadline.
const TOGETHER: usize = 8;
const QUICK: Duration = Duration::from_micros(250);

/// Jobs whose answers are not given yet.
type Held<R> = Vec<Arc<Ticket<R>>>;

fn work<J, R, W: FnMut(J) -> R>(shared: &Shared<J, R>, make: &(impl Fn() -> W + ?Sized)) {
    let mut worker = make();
    let mut held = Held::with_capacity(TOGETHER);
    while let Some((ticket, job)) = next(shared, &mut held) {
        let started = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| worker(job)));
        let result = result.map_err(|_| {
            worker = make();
            PoolError::Lost
        });
        if ticket.hold(result) {
            held.push(ticket);
        } else if shared.lock().is_back(&ticket) {
            // The watchdog has answered, and there is another worker.
            shared.alarm.notify_one();
            break;
        }
        if held.len() >= TOGETHER || started.elapsed() > QUICK {
            answer(&mut held);
        }
    }
    answer(&mut held);
}

/// The next job that somebody waits for; `None` once the pool is closed. Held
/// answers are given before a wait.
fn next<J, R>(shared: &Shared<J, R>, held: &mut Held<R>) -> Option<(Arc<Ticket<R>>, J)> {
    let mut state = shared.lock();
    loop {
        if !held.is_empty() && (state.closed || state.queue.is_empty()) {
            drop(state);
            answer(held);
            state = shared.lock();
            continue;
        }
        if state.closed {
            return None;
        }
        if state.surplus > 0 {
            state.surplus -= 1;
            // It may have been woken for a job, which another is to do.
            if state.idle > 0 && !state.queue.is_empty() {
                shared.work.notify_one();
            }
            return None;
        }
        let Some((ticket, job)) = state.queue.pop_front() else {
            state.idle += 1;
            state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
            continue;
        };
        // Answered by the watchdog, or given up by its caller: a key is not
        // used for nobody.
        if ticket.is_open() {
            ticket.begin();
            return Some((ticket, job));
        }
    }
}

fn answer<R>(held: &mut Held<R>) {
    for ticket in held.drain(..) {
        ticket.give();
    }
}

fn watch<J, R>(
    shared: &Arc<Shared<J, R>>,
    options: &PoolOptions,
    deadline: Duration,
    mut start: impl FnMut(&Arc<Shared<J, R>>) -> io::Result<()>,
) {
    let mut state = shared.lock();
    while !state.closed {
        let now = Instant::now();
        state.prune();
        match state.next_alarm(options, deadline) {
            None => {
                state.unwatched = true;
                state = shared.alarm.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.unwatched = false;
            }
            Some((at, _)) if at > now => {
                state.unwatched = state.deadlines.is_empty();
                let wait = shared.alarm.wait_timeout(state, at - now);
                state = wait.unwrap_or_else(PoisonError::into_inner).0;
                state.unwatched = false;
            }
            Some((_, Alarm::Deadline)) => {
                let Some((_, ticket)) = state.deadlines.pop_front() else { continue };
                if ticket.expire() {
                    state.late.push_back((now + deadline, ticket));
                }
            }
            Some((_, Alarm::Hung)) => {
                let Some((_, ticket)) = state.late.pop_front() else { continue };
                // Seen as late for as long as it takes: it may come back.
                state.late.push_back((now + deadline, Arc::clone(&ticket)));
                state.last_start = Some(now);
                drop(state);
                let started = start(shared);
                state = shared.lock();
                let late = state.late.iter().position(|(_, late)| Arc::ptr_eq(late, &ticket));
                match (started, late) {
                    (Ok(()), Some(at)) => {
                        state.late.remove(at);
                        state.replaced += 1;
                    }
                    (Ok(()), None) => state.surplus += 1,
                    // No thread is to be had: later, then.
                    (Err(_), _) => {}
                }
            }
        }
    }
}

/// Waits for a future on this thread. For start-up and tools, which have no
/// executor; never inside one.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
