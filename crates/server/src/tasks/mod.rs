//! Reconcilers: each compares what should be with what is, takes no input,
//! and may run twice.

mod approved;
mod audit;
mod denials;
mod events;
mod expire;
mod follow;
mod habits;
mod keys;
mod log;
mod notes;
pub(crate) mod notices;
mod policies;
mod pulse;
mod queue;
mod reload;
mod revocation;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::app::App;
use crate::tls::ReloadingTls;

pub(crate) use denials::tell_all as tell_denials;
pub(crate) use habits::keep as keep_habits;
pub(crate) use keys::{settle_keys, warn as warn_keys};
pub(crate) use notes::write_notes;

/// How long after the start what is seldom done is done first.
const SOON: Duration = Duration::from_secs(2);

/// Starts every task; they end when told to stop.
pub(crate) fn start(
    tasks: &mut JoinSet<()>,
    app: &Arc<App>,
    tls: Vec<Arc<ReloadingTls>>,
    receivers: Vec<notices::Receiver>,
    stop: &watch::Receiver<bool>,
) {
    let from = |tasks: &mut JoinSet<()>, first, every, task: fn(Arc<App>) -> Work| {
        let app = app.clone();
        tasks.spawn(repeat(first, every, stop.clone(), move || task(app.clone())));
    };
    let spawn = |tasks: &mut JoinSet<()>, every, task| from(tasks, every, every, task);
    // A server that is started anew each night gets round to these as well.
    let soon = |tasks: &mut JoinSet<()>, every, task| from(tasks, SOON, every, task);
    spawn(tasks, Duration::from_secs(1), |app| Box::pin(pulse::beat(app)));
    soon(tasks, Duration::from_secs(5), |app| Box::pin(pulse::successor(app)));
    spawn(tasks, Duration::from_secs(2), |app| Box::pin(follow::follow(app)));
    spawn(tasks, Duration::from_secs(2), |app| Box::pin(log::log(app)));
    spawn(tasks, Duration::from_secs(2), |app| Box::pin(queue::measure(app)));
    tasks.spawn(app.dispatcher.clone().run(stop.clone()));
    spawn(tasks, Duration::from_millis(500), |app| Box::pin(events::enter(app)));
    spawn(tasks, Duration::from_secs(2), |app| Box::pin(keys::note(app)));
    spawn(tasks, Duration::from_secs(15), |app| Box::pin(keys::look(app)));
    spawn(tasks, Duration::from_secs(86_400), |app| Box::pin(keys::warn(app)));
    spawn(tasks, Duration::from_secs(2), |app| Box::pin(habits::keep(app)));
    soon(tasks, Duration::from_secs(86_400), |app| Box::pin(habits::forget(app)));
    spawn(tasks, Duration::from_secs(1), |app| Box::pin(audit::record(app)));
    soon(tasks, Duration::from_secs(3600), |app| Box::pin(audit::forget(app)));
    spawn(tasks, Duration::from_secs(5), |app| Box::pin(denials::tell(app)));
    spawn(tasks, Duration::from_secs(30), |app| Box::pin(approved::approved(app)));
    spawn(tasks, Duration::from_secs(30), |app| Box::pin(notes::write_notes(app)));
    spawn(tasks, Duration::from_secs(60), |app| Box::pin(policies::expire(app)));
    spawn(tasks, Duration::from_secs(60), |app| Box::pin(revocation::measure(app)));
    spawn(tasks, Duration::from_secs(600), |app| Box::pin(expire::expire(app)));
    for receiver in receivers {
        tasks.spawn(notices::tell(app.clone(), receiver, stop.clone()));
    }
    tasks.spawn(reload::watch(tls, stop.clone()));
}

type Work = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

async fn repeat(first: Duration, every: Duration, mut stop: watch::Receiver<bool>, task: impl Fn() -> Work) {
    let mut wait = first;
    loop {
        tokio::select! {
            _ = tokio::time::sleep(wait) => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
        task().await;
        wait = every;
    }
}
