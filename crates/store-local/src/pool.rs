//! A few threads that do blocking work for tasks that must not block.
//!
//! Each thread owns a context: a read connection, or nothing for file work.
//! The queue is bounded; whoever finds it full is told so at once instead
//! of waiting in memory.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use firmseal_store::StoreError;
use futures_channel::oneshot;

use crate::error::closed;

/// Jobs that may wait. A job waits for as long as its caller does, so this
/// bounds callers, not work.
const QUEUE: usize = 16 * 1024;

/// What a thread works with.
pub(crate) trait Context: Send + 'static {
    /// Most jobs that are done between one `begin` and one `end`, all of
    /// them handed in before.
    const TOGETHER: usize = 1;

    /// Before jobs that are done together.
    fn begin(&mut self) {}

    /// After them.
    fn end(&mut self) {}
}

/// File work needs nothing.
impl Context for () {}

/// When a job is done.
enum Turn {
    /// Before everything that waits, however much that is.
    Next,
    /// After it.
    Last,
}

type Job<C> = Box<dyn FnOnce(&mut C) + Send>;

struct Shared<C> {
    state: Mutex<State<C>>,
    /// Signalled when a job arrives where a thread is idle, and at the end.
    work: Condvar,
}

struct State<C> {
    waiting: VecDeque<Job<C>>,
    /// Threads that there are, and those of them that wait for a job.
    threads: usize,
    idle: usize,
    closed: bool,
}

impl<C> Shared<C> {
    fn lock(&self) -> MutexGuard<'_, State<C>> {
        // Jobs run without the lock: nothing can be half-done behind it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where jobs are handed in. Outliving the pool is fine: jobs are refused.
pub(crate) struct Handle<C> {
    shared: Arc<Shared<C>>,
}

impl<C> Clone for Handle<C> {
    fn clone(&self) -> Self {
        Handle { shared: self.shared.clone() }
    }
}

impl<C: Context> Handle<C> {
    /// Runs work on one of the threads. If the caller is gone before it
    /// begins, it never does.
    pub(crate) async fn run<T, F>(&self, doing: &'static str, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut C) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.submit(doing, answering(reply, work))?;
        answer.await.unwrap_or_else(|_| Err(closed(doing)))
    }

    /// The same before everything that waits: how long that takes says whether
    /// the threads work, and not how much they have to do.
    pub(crate) async fn run_next<T, F>(&self, doing: &'static str, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut C) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.hand_in(doing, Turn::Next, Box::new(answering(reply, work)))?;
        answer.await.unwrap_or_else(|_| Err(closed(doing)))
    }

    /// Hands in work whose outcome nobody waits for.
    pub(crate) fn submit(
        &self,
        doing: &'static str,
        work: impl FnOnce(&mut C) + Send + 'static,
    ) -> Result<(), StoreError> {
        self.hand_in(doing, Turn::Last, Box::new(work))
    }

    fn hand_in(&self, doing: &'static str, turn: Turn, job: Job<C>) -> Result<(), StoreError> {
        let mut state = self.shared.lock();
        if state.closed {
            return Err(closed(doing));
        }
        match turn {
            Turn::Next => state.waiting.push_front(job),
            Turn::Last if state.waiting.len() >= QUEUE => {
                return Err(StoreError::Busy { what: "the store".to_owned() });
            }
            Turn::Last => state.waiting.push_back(job),
        }
        let idle = state.idle > 0;
        drop(state);
        // A thread that is busy looks at the queue by itself; waking nobody
        // costs a system call too.
        if idle {
            self.shared.work.notify_one();
        }
        Ok(())
    }
}

/// Work as a job: it is not begun where the caller is gone.
fn answering<C, T>(
    reply: oneshot::Sender<Result<T, StoreError>>,
    work: impl FnOnce(&mut C) -> Result<T, StoreError>,
) -> impl FnOnce(&mut C) {
    move |context| {
        if !reply.is_canceled() {
            // The caller may be gone by now; then nobody needs it.
            let _ = reply.send(work(context));
        }
    }
}

/// The threads. Dropping the pool lets them finish what is queued.
pub(crate) struct Pool<C: Context> {
    handle: Handle<C>,
    threads: Vec<JoinHandle<()>>,
}

impl<C: Context> Pool<C> {
    /// Starts a thread for each context.
    pub(crate) fn start(name: &str, contexts: Vec<C>) -> Result<Pool<C>, StoreError> {
        let state =
            Mutex::new(State { waiting: VecDeque::new(), threads: contexts.len(), idle: 0, closed: false });
        let shared = Arc::new(Shared { state, work: Condvar::new() });
        let mut pool = Pool { handle: Handle { shared }, threads: Vec::new() };
        for context in contexts {
            let shared = Arc::clone(&pool.handle.shared);
            let thread = std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || work_off(&shared, context))
                .map_err(|error| StoreError::Unavailable {
                    doing: format!("start the thread {name}"),
                    why: error.to_string(),
                })?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }

    pub(crate) fn handle(&self) -> &Handle<C> {
        &self.handle
    }
}

/// Counts a thread out, even one that panics, which is our own bug: where
/// none is left, nobody waits for an answer that cannot come.
struct Thread<'a, C>(&'a Shared<C>);

impl<C> Drop for Thread<'_, C> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.threads -= 1;
        if state.threads == 0 {
            state.closed = true;
            state.waiting.clear();
        }
    }
}

fn work_off<C: Context>(shared: &Shared<C>, mut context: C) {
    let _counted = Thread(shared);
    let mut batch = Vec::with_capacity(C::TOGETHER);
    loop {
        let mut state = shared.lock();
        while state.waiting.is_empty() {
            if state.closed {
                return;
            }
            state.idle += 1;
            state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
        let count = state.waiting.len().min(C::TOGETHER);
        batch.extend(state.waiting.drain(..count));
        drop(state);
        context.begin();
        for job in batch.drain(..) {
            job(&mut context);
        }
        context.end();
    }
}

impl<C: Context> Drop for Pool<C> {
    fn drop(&mut self) {
        self.handle.shared.lock().closed = true;
        self.handle.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_waits_for_threads_that_are_gone() {
        let pool = Pool::start("test", vec![()]).unwrap();
        let handle = pool.handle().clone();
        let lost = handle.run("fail", |()| -> Result<(), StoreError> { panic!("on purpose") });
        assert!(matches!(lost.await, Err(StoreError::Unavailable { .. })));
        // The thread counts itself out a moment later; what comes before and
        // after is answered alike.
        for _ in 0..100 {
            assert!(matches!(handle.run("work", |()| Ok(())).await, Err(StoreError::Unavailable { .. })));
        }
    }

    #[tokio::test]
    async fn what_is_next_does_not_wait_for_what_is_queued() {
        let pool = Pool::start("test", vec![()]).unwrap();
        let handle = pool.handle().clone();
        let (begin, begun) = std::sync::mpsc::channel::<()>();
        let hold = move |_: &mut ()| {
            // Its end is the sign.
            let _ = begun.recv();
        };
        handle.submit("hold the thread", hold).unwrap();
        let done = Arc::new(Mutex::new(Vec::new()));
        let noting = |what| {
            let done = done.clone();
            move |_: &mut ()| done.lock().unwrap().push(what)
        };
        while handle.submit("work", noting("queued")).is_ok() {}
        let next = handle.run_next("look", {
            let note = noting("next");
            move |context| {
                note(context);
                Ok(())
            }
        });
        let (next, ()) = tokio::join!(next, async { drop(begin) });
        next.unwrap();
        drop(pool);
        // What was at work when the next came in may be before it.
        assert!(done.lock().unwrap().iter().take(2).any(|what| *what == "next"));
    }

    #[tokio::test]
    async fn what_is_queued_is_done_before_the_pool_goes() {
        let pool = Pool::start("test", vec![(), ()]).unwrap();
        let handle = pool.handle().clone();
        let (sender, done) = std::sync::mpsc::channel();
        for n in 0..100 {
            let sender = sender.clone();
            handle.submit("work", move |()| sender.send(n).unwrap()).unwrap();
        }
        drop((pool, sender));
        assert_eq!(done.iter().count(), 100);
        assert!(handle.submit("work", |()| ()).is_err(), "the pool is closed");
    }
}
