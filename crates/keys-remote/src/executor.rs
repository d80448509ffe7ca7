//! The executor of the keys: one thread of our own that speaks to the
//! network, whatever the program around it runs on.
//!
//! It lives as long as the process. A runtime per key would be torn down
//! with its key, which tokio forbids inside another runtime; and connections
//! of one thread cost nothing while they idle.

use std::future::Future;
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

/// Why a request at start-up has no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NoAnswer {
    /// The deadline passed.
    TimedOut,
    /// The operating system refused a thread, or the request panicked.
    Thread(String),
}

static EXECUTOR: OnceLock<Result<Runtime, String>> = OnceLock::new();

/// The executor, started by whoever needs it first.
pub(crate) fn executor() -> Result<&'static Handle, String> {
    let started = EXECUTOR.get_or_init(|| {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).thread_name("keys-remote").enable_all();
        builder.build().map_err(|error| format!("no thread for the key service: {error}"))
    });
    started.as_ref().map(Runtime::handle).map_err(String::clone)
}

/// Lets a task run there that nobody waits for.
pub fn run(task: impl Future<Output = ()> + Send + 'static) -> Result<(), NoAnswer> {
    executor().map_err(NoAnswer::Thread)?.spawn(task);
    Ok(())
}

/// Runs a request and blocks until it is done, at most for `deadline`: for
/// start-up, when a key is opened. Unlike `block_on` it may be called inside
/// another executor, whose thread it holds up.
pub fn wait_for<T: Send + 'static>(
    deadline: Duration,
    request: impl Future<Output = T> + Send + 'static,
) -> Result<T, NoAnswer> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let bounded = async move {
        let answer = tokio::time::timeout(deadline, request).await.map_err(|_| NoAnswer::TimedOut);
        // Whoever waits does so until this, or until it was dropped.
        let _ = sender.send(answer);
    };
    executor().map_err(NoAnswer::Thread)?.spawn(bounded);
    receiver.recv().unwrap_or_else(|_| Err(NoAnswer::Thread("the request failed".to_owned())))
}
