//! The one thread that writes to the database, with group commit.
//!
//! Writes that arrive while a commit waits for the disk are committed
//! together by the next one, so a disk that syncs a thousand times a second
//! carries many thousand writes. Nobody hears of an outcome, good or bad,
//! before the commit it belongs to is durable: even a refusal may rest on
//! what another write of the same batch did.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use firmseal_store::StoreError;
use futures_channel::oneshot;
use rusqlite::Connection;

use crate::checkpoints::Written;
use crate::error::{Failure, closed, sql};

/// Writes that may wait.
const QUEUE: usize = 16 * 1024;
/// Most writes in one commit: bounds how long the first waits for the last.
const BATCH: usize = 512;

/// When a write may say no.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refuses {
    /// Even half-way: what it did by then is taken back.
    AtAnyTime,
    /// Before it changes anything. It needs no savepoint, which copies every
    /// page that it touches; where it fails after a change all the same, which
    /// takes a broken disk or database, its whole batch is taken back.
    BeforeAnyChange,
}

/// A write in a batch.
trait Job: Send {
    fn refuses(&self) -> Refuses;
    /// Whether anybody still waits for it.
    fn wanted(&self) -> bool;
    /// Does it; says why it may not stay.
    fn run(&mut self, connection: &Connection) -> Result<(), StoreError>;
    /// Answers, once the fate of the batch is known.
    fn settle(self: Box<Self>, batch: Result<(), StoreError>);
}

struct Write<T, F> {
    doing: &'static str,
    refuses: Refuses,
    work: Option<F>,
    outcome: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for Write<T, F>
where
    T: Send,
    F: FnOnce(&Connection) -> Result<T, Failure> + Send,
{
    fn refuses(&self) -> Refuses {
        self.refuses
    }

    fn wanted(&self) -> bool {
        !self.reply.is_canceled()
    }

    fn run(&mut self, connection: &Connection) -> Result<(), StoreError> {
        let work = self.work.take().ok_or_else(|| closed(self.doing))?;
        let outcome = work(connection).map_err(|failure| failure.into_store(self.doing));
        let fate = outcome.as_ref().map(|_| ()).map_err(StoreError::clone);
        self.outcome = Some(outcome);
        fate
    }

    fn settle(self: Box<Self>, batch: Result<(), StoreError>) {
        let Write { doing, outcome, reply, .. } = *self;
        let answer = match (batch, outcome) {
            (Err(error), _) => Err(error),
            (Ok(()), Some(outcome)) => outcome,
            (Ok(()), None) => Err(closed(doing)),
        };
        // The caller may be gone by now; the write stands all the same.
        let _ = reply.send(answer);
    }
}

enum Message {
    Run(Box<dyn Job>),
    Stop,
}

/// The writing thread. Dropping it lets it finish what is queued.
pub(crate) struct Writer {
    queue: SyncSender<Message>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(crate) fn start(connection: Connection, written: Written) -> Result<Writer, StoreError> {
        let (queue, jobs) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || work_off(&jobs, &connection, written))
            .map_err(|error| StoreError::Unavailable {
                doing: "start the writing thread".to_owned(),
                why: error.to_string(),
            })?;
        Ok(Writer { queue, thread: Some(thread) })
    }

    /// Does work in a transaction and returns when it is durable, or when
    /// it is certain that nothing of it remains.
    pub(crate) async fn write<T, F>(
        &self,
        doing: &'static str,
        refuses: Refuses,
        work: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Write { doing, refuses, work: Some(work), outcome: None, reply };
        self.queue.try_send(Message::Run(Box::new(job))).map_err(|error| match error {
            TrySendError::Full(_) => StoreError::Busy { what: "the database".to_owned() },
            TrySendError::Disconnected(_) => closed(doing),
        })?;
        answer.await.unwrap_or_else(|_| Err(closed(doing)))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.queue.send(Message::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn work_off(jobs: &Receiver<Message>, connection: &Connection, mut written: Written) {
    let mut batch = Vec::new();
    let mut open = true;
    while open {
        match jobs.recv() {
            Ok(Message::Run(job)) => batch.push(job),
            Ok(Message::Stop) | Err(_) => return,
        }
        while batch.len() < BATCH {
            match jobs.try_recv() {
                Ok(Message::Run(job)) => batch.push(job),
                Ok(Message::Stop) => {
                    open = false;
                    break;
                }
                Err(_) => break,
            }
        }
        batch.retain(|job| job.wanted());
        written.count(batch.len());
        commit(connection, &mut batch);
    }
}

/// Runs a batch in one transaction and settles every job of it.
fn commit(connection: &Connection, batch: &mut Vec<Box<dyn Job>>) {
    let mut waiting = std::mem::take(batch).into_iter();
    while waiting.len() > 0 {
        let mut done = Vec::with_capacity(waiting.len());
        let fate = transaction(connection, &mut waiting, &mut done);
        if fate.is_err() && !connection.is_autocommit() {
            // If even this fails, the next BEGIN does, and says so.
            let _ = connection.execute_batch("ROLLBACK");
        }
        for job in done {
            job.settle(fate.clone());
        }
        if let Err(error) = &fate {
            // A full disk or a broken database: the rest of the batch would
            // only meet the same wall, one failing transaction each.
            for job in waiting.by_ref() {
                job.settle(Err(error.clone()));
            }
        }
    }
}

fn transaction(
    connection: &Connection,
    waiting: &mut std::vec::IntoIter<Box<dyn Job>>,
    done: &mut Vec<Box<dyn Job>>,
) -> Result<(), StoreError> {
    let step = |statement: &str| {
        connection
            .prepare_cached(statement)
            .and_then(|mut prepared| prepared.execute([]))
            .map_err(|error| sql("write to the database", &error))
    };
    step("BEGIN IMMEDIATE")?;
    for mut job in waiting.by_ref() {
        let (refuses, before) = (job.refuses(), connection.total_changes());
        // One refused write takes only itself back.
        if refuses == Refuses::AtAnyTime {
            step("SAVEPOINT job")?;
        }
        let fate = job.run(connection);
        done.push(job);
        if connection.is_autocommit() {
            // SQLite gave the whole transaction up, as it does when the
            // disk is full (lang_transaction.html, "Response To Errors").
            return fate.and(Err(closed("write to the database")));
        }
        match refuses {
            Refuses::AtAnyTime => {
                if fate.is_err() {
                    step("ROLLBACK TO job")?;
                }
                step("RELEASE job")?;
            }
            Refuses::BeforeAnyChange if connection.total_changes() != before => fate.map_err(given_up)?,
            Refuses::BeforeAnyChange => {}
        }
    }
    step("COMMIT").map(drop)
}

/// What everybody in a batch hears that is taken back because of one of them:
/// not what that one refused, which would be none of their business.
fn given_up(error: StoreError) -> StoreError {
    match error {
        StoreError::Full { .. } => error,
        other => {
            StoreError::Unavailable { doing: "write to the database".to_owned(), why: other.to_string() }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    type Answer = oneshot::Receiver<Result<(), StoreError>>;

    fn job(
        refuses: Refuses,
        work: impl FnOnce(&Connection) -> Result<(), Failure> + Send + 'static,
    ) -> (Box<dyn Job>, Answer) {
        let (reply, answer) = oneshot::channel();
        (Box::new(Write { doing: "try", refuses, work: Some(work), outcome: None, reply }), answer)
    }

    fn put(number: i64) -> impl FnOnce(&Connection) -> Result<(), Failure> + Send + 'static {
        move |connection| {
            connection.execute("INSERT INTO t VALUES (?)", [number])?;
            Ok(())
        }
    }

    fn no() -> Result<(), Failure> {
        Err(StoreError::conflict("it".to_owned()).into())
    }

    /// What each of a batch is told, and what is there afterwards.
    fn commit_all(batch: Vec<(Box<dyn Job>, Answer)>) -> (Vec<Result<(), StoreError>>, Vec<i64>) {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE t (n INTEGER)").unwrap();
        let (mut jobs, answers): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        commit(&connection, &mut jobs);
        let told = answers.into_iter().map(|mut answer| answer.try_recv().unwrap().unwrap()).collect();
        let mut statement = connection.prepare("SELECT n FROM t ORDER BY n").unwrap();
        let there = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        (told, there)
    }

    #[test]
    fn one_refusal_takes_nothing_else_back() {
        let half_way = |connection: &Connection| put(9)(connection).and_then(|()| no());
        let (told, there) = commit_all(vec![
            job(Refuses::BeforeAnyChange, put(1)),
            job(Refuses::AtAnyTime, half_way),
            job(Refuses::BeforeAnyChange, |_| no()),
            job(Refuses::AtAnyTime, put(2)),
        ]);
        let conflict = |told: &Result<(), StoreError>| matches!(told, Err(StoreError::Conflict { .. }));
        assert_eq!(told.iter().map(conflict).collect::<Vec<_>>(), [false, true, true, false]);
        assert_eq!(there, [1, 2]);
    }

    #[test]
    fn a_change_that_could_not_be_taken_back_alone_goes_with_its_batch() {
        let half_way = |connection: &Connection| put(9)(connection).and_then(|()| no());
        let (told, there) = commit_all(vec![
            job(Refuses::AtAnyTime, put(1)),
            job(Refuses::BeforeAnyChange, half_way),
            job(Refuses::BeforeAnyChange, put(2)),
        ]);
        assert!(told.iter().all(|told| matches!(told, Err(StoreError::Unavailable { .. }))), "{told:?}");
        assert_eq!(there, [0_i64; 0]);
    }
}
