//! A few threads that do blocking work for tasks that must not block.
//!
//! Each thread owns a context: a read connection, or nothing for file work.
//! The queue is bounded; whoever finds it full is told so at once instead
//! of waiting in memory.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use firmseal_store::StoreError;
use futures_channel::oneshot;

use crate::error::closed;

/// Jobs that may wait. A job waits for as long as its caller does, so this
/// bounds callers, not work.
const QUEUE: usize = 16 * 1024;

type Job<C> = Box<dyn FnOnce(&mut C) + Send>;

enum Message<C> {
    Run(Job<C>),
    Stop,
}

/// Where jobs are handed in. Outliving the pool is fine: jobs are refused.
pub(crate) struct Handle<C> {
    queue: SyncSender<Message<C>>,
}

impl<C> Clone for Handle<C> {
    fn clone(&self) -> Self {
        Handle { queue: self.queue.clone() }
    }
}

impl<C: 'static> Handle<C> {
    /// Runs work on one of the threads. If the caller is gone before it
    /// begins, it never does.
    pub(crate) async fn run<T, F>(&self, doing: &'static str, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut C) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.submit(doing, move |context| {
            if !reply.is_canceled() {
                // The caller may be gone by now; then nobody needs it.
                let _ = reply.send(work(context));
            }
        })?;
        answer.await.unwrap_or_else(|_| Err(closed(doing)))
    }

    /// Hands in work whose outcome nobody waits for.
    pub(crate) fn submit(
        &self,
        doing: &'static str,
        work: impl FnOnce(&mut C) + Send + 'static,
    ) -> Result<(), StoreError> {
        self.queue.try_send(Message::Run(Box::new(work))).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Busy { what: "the store".to_owned() },
            TrySendError::Disconnected(_) => closed(doing),
        })
    }
}

/// The threads. Dropping the pool lets them finish what is queued.
pub(crate) struct Pool<C> {
    handle: Handle<C>,
    threads: Vec<JoinHandle<()>>,
}

impl<C: Send + 'static> Pool<C> {
    /// Starts a thread for each context.
    pub(crate) fn start(name: &str, contexts: Vec<C>) -> Result<Pool<C>, StoreError> {
        let (queue, jobs) = sync_channel(QUEUE);
        let jobs = Arc::new(Mutex::new(jobs));
        let mut pool = Pool { handle: Handle { queue }, threads: Vec::new() };
        for context in contexts {
            let jobs = Arc::clone(&jobs);
            let thread = std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || work_off(&jobs, context))
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

fn work_off<C>(jobs: &Mutex<Receiver<Message<C>>>, mut context: C) {
    loop {
        // The guard is gone at the end of the statement: threads wait for
        // jobs one by one and work on them side by side. Poison is of no
        // consequence, nothing can be half-done behind this lock.
        let message = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match message {
            Ok(Message::Run(job)) => job(&mut context),
            Ok(Message::Stop) | Err(_) => return,
        }
    }
}

impl<C> Drop for Pool<C> {
    fn drop(&mut self) {
        for _ in &self.threads {
            // Fails only if all threads are gone already.
            let _ = self.handle.queue.send(Message::Stop);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
