//! Pools: threads that wait for a key so that the executor does not.
//!
//! A token or an RSA key blocks; its calls run on threads that the backend
//! owns, and tasks wait for a oneshot, whatever their executor. A pool has
//! a fixed number of threads, a bounded queue and, where the other side may
//! hang, a deadline that counts from the moment a job is handed in.

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

/// Who waits for a job. Whoever takes it, worker or watchdog, gives the one
/// answer. It has a lock of its own: the pool's is taken once for each job by a
/// worker, whose time is the key's.
struct Ticket<R>(Mutex<Option<oneshot::Sender<Result<R, PoolError>>>>);

impl<R> Ticket<R> {
    fn take(&self) -> Option<oneshot::Sender<Result<R, PoolError>>> {
        self.lock().take()
    }

    /// Whether there is still somebody to answer.
    fn is_open(&self) -> bool {
        self.lock().as_ref().is_some_and(|sender| !sender.is_canceled())
    }

    fn lock(&self) -> MutexGuard<'_, Option<oneshot::Sender<Result<R, PoolError>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct State<J, R> {
    closed: bool,
    /// Threads that run.
    live: usize,
    /// Those of them that wait for a job. Nobody else is told of one.
    idle: usize,
    /// Whether the watchdog sleeps without a deadline. If it has one, it looks
    /// soon enough: later jobs have later deadlines.
    unwatched: bool,
    queue: VecDeque<(Arc<Ticket<R>>, J)>,
    /// Deadlines in order of arrival, which is their order in time because
    /// all jobs have the same span.
    deadlines: VecDeque<(Instant, Arc<Ticket<R>>)>,
}

impl<J, R> State<J, R> {
    /// Forgets deadlines in front that no longer matter, so that the list is
    /// no longer than what is outstanding behind the oldest open job.
    fn prune(&mut self) {
        while self.deadlines.front().is_some_and(|(_, ticket)| !ticket.is_open()) {
            self.deadlines.pop_front();
        }
    }
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
        let state = State {
            closed: false,
            live: 0,
            idle: 0,
            unwatched: false,
            queue: VecDeque::new(),
            deadlines: VecDeque::new(),
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            work: Condvar::new(),
            alarm: Condvar::new(),
            ended: Condvar::new(),
        });
        // Made first: if a later thread cannot be started, dropping the
        // pool ends those that were.
        let pool = Pool { shared: Arc::clone(&shared), options };
        let worker = Arc::new(worker);
        for index in 0..options.threads.max(1) {
            let (alive, worker) = (Alive::new(&shared), Arc::clone(&worker));
            let body = move || {
                work(&alive.0, &*worker);
                // Everything that a worker holds is gone before it counts
                // as ended.
                drop(worker);
                drop(alive);
            };
            thread::Builder::new().name(format!("{name}-{index}")).spawn(body)?;
        }
        if options.deadline.is_some() {
            let alive = Alive::new(&shared);
            thread::Builder::new().name(format!("{name}-watch")).spawn(move || watch(&alive.0))?;
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

    fn enqueue(&self, job: J) -> Result<oneshot::Receiver<Result<R, PoolError>>, PoolError> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.shared.lock();
        if state.queue.len() >= self.options.queue.max(1) {
            return Err(PoolError::Full);
        }
        let ticket = Arc::new(Ticket(Mutex::new(Some(sender))));
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
/// leaves at once: no answer waits for more than this many quick jobs.
const TOGETHER: usize = 8;
const QUICK: Duration = Duration::from_micros(250);

/// Answers that are not given yet.
type Held<R> = Vec<(oneshot::Sender<Result<R, PoolError>>, Result<R, PoolError>)>;

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
        held.extend(ticket.take().map(|sender| (sender, result)));
        if held.len() >= TOGETHER || started.elapsed() > QUICK {
            answer(&mut held);
        }
    }
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
        let Some((ticket, job)) = state.queue.pop_front() else {
            state.idle += 1;
            state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
            continue;
        };
        // Answered by the watchdog, or given up by its caller: a key is not
        // used for nobody.
        if ticket.is_open() {
            return Some((ticket, job));
        }
    }
}

fn answer<R>(held: &mut Held<R>) {
    for (sender, result) in held.drain(..) {
        // An error means that the caller went away.
        let _ = sender.send(result);
    }
}

fn watch<J, R>(shared: &Shared<J, R>) {
    let mut state = shared.lock();
    while !state.closed {
        let now = Instant::now();
        state.prune();
        match state.deadlines.front().map(|(at, _)| *at) {
            None => {
                state.unwatched = true;
                state = shared.alarm.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.unwatched = false;
            }
            Some(at) if at <= now => {
                let late = state.deadlines.pop_front();
                if let Some(sender) = late.and_then(|(_, ticket)| ticket.take()) {
                    let _ = sender.send(Err(PoolError::TimedOut));
                }
            }
            Some(at) => {
                let wait = shared.alarm.wait_timeout(state, at - now);
                state = wait.unwrap_or_else(PoisonError::into_inner).0;
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
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn options(threads: usize, queue: usize, deadline: Option<Duration>) -> PoolOptions {
        PoolOptions { threads, queue, deadline }
    }

    #[test]
    fn every_job_gets_its_own_answer() {
        let pool = Pool::new("test", options(3, 1000, None), || |job: u32| job * 2).unwrap();
        let futures: Vec<_> = (0..500).map(|job| (job, pool.submit(job))).collect();
        for (job, future) in futures {
            assert_eq!(wait(future), Ok(job * 2));
        }
    }

    #[test]
    fn a_worker_that_hangs_does_not_hang_the_caller() {
        let (release, hang) = mpsc::channel::<()>();
        let hang = Arc::new(Mutex::new(hang));
        let pool = Pool::new("test", options(1, 8, Some(Duration::from_millis(20))), move || {
            let hang = Arc::clone(&hang);
            move |job: u32| {
                if job == 0 {
                    let _ = hang.lock().unwrap().recv();
                }
                job
            }
        })
        .unwrap();
        let stuck = pool.submit(0);
        let behind = pool.submit(1);
        assert_eq!(wait(stuck), Err(PoolError::TimedOut));
        assert_eq!(wait(behind), Err(PoolError::TimedOut), "the deadline counts from handing in");
        release.send(()).unwrap();
        // The thread comes back, skips the job that nobody waits for, and
        // serves the next; how soon is up to the scheduler.
        let served = (0..1000).any(|_| wait(pool.submit(2)) == Ok(2));
        assert!(served);
        let mut state = pool.shared.lock();
        state.prune();
        assert!(state.deadlines.is_empty() && state.queue.is_empty());
    }

    #[test]
    fn a_full_queue_refuses_at_once() {
        let (release, hang) = mpsc::channel::<()>();
        let (entered, started) = mpsc::channel::<()>();
        let hang = Arc::new(Mutex::new(hang));
        let pool = Pool::new("test", options(1, 2, None), move || {
            let (hang, entered) = (Arc::clone(&hang), entered.clone());
            move |job: u32| {
                entered.send(()).unwrap();
                let _ = hang.lock().unwrap().recv();
                job
            }
        })
        .unwrap();
        let first = pool.submit(1);
        started.recv().unwrap();
        let (second, third) = (pool.submit(2), pool.submit(3));
        assert_eq!(wait(pool.submit(4)), Err(PoolError::Full));
        drop(second);
        drop(release);
        assert_eq!(wait(first), Ok(1));
        assert_eq!(wait(third), Ok(3));
        assert_eq!(started.try_iter().count(), 1, "the abandoned job was never started");
    }

    #[test]
    fn a_panic_loses_one_job_and_no_more() {
        let pool = Pool::new("test", options(1, 8, None), || {
            |job: u32| if job == 0 { panic!("on purpose") } else { job }
        })
        .unwrap();
        assert_eq!(wait(pool.submit(0)), Err(PoolError::Lost));
        assert_eq!(wait(pool.submit(1)), Ok(1));
    }
}
