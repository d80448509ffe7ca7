//! The dispatcher: takes jobs from the queue and has them carried out.
//!
//! It decides nothing: [`Dispatch`] says which key has room, the store which
//! job is next, the pipeline what becomes of it. What a crash left in the
//! queue is found by the same look at the queue as what came a moment ago.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use firmseal_fleet::{Job, JobState, Reason, Time};
use firmseal_keys::{Log, SignError};
use firmseal_manifest::RequestId;
use firmseal_store::{Claim, ClaimedJob, Claiming, Ending, Inserted, JobOutcome, StoreError};
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::{Id, JoinError, JoinSet};

use crate::attempts::KeyHealth;
use crate::breaker::BreakerState;
use crate::carry_out::{Carried, Clock};
use crate::dispatch::{Dispatch, Health};
use crate::pipeline::Pipeline;

/// How long a claim holds if nothing is heard of it again. Whoever is at its
/// job renews it, however long that takes: a file may have 16 GiB, and a disk
/// may be slow. What a process leaves that is gone comes back after this, or
/// when the store is opened again. Above the claim that the order of a release
/// has beside it.
const LEASE: Duration = Duration::from_secs(20 * 60);
/// In which part of its length a claim is renewed.
const RENEWED_IN: u32 = 4;
/// How often the queue is looked at when nothing happens: for jobs that
/// waited their time out.
const TICK: Duration = Duration::from_millis(250);
/// How long after the queue could not be read.
const TROUBLED: Duration = Duration::from_millis(100);
/// Every so many ticks queues are looked for whose keys are gone.
const ADOPTION: u32 = 8;
/// Longest time that a key has to say that it is there.
const PROBE: Duration = Duration::from_secs(10);
/// Jobs that are ended at once because they are too late.
const LATE: u32 = 256;
/// Ended jobs that are accounted for at once: each reads the log.
const ACCOUNTED: u32 = 16;
/// How long a job waits whose task panicked.
const PANICKED: Duration = Duration::from_secs(30);
/// Most open jobs of one share, unless the dispatcher is told otherwise:
/// some hours of work for a slow HSM, and a bound on what the store holds.
const OPEN_MAX: u64 = 50_000;

/// What bounds a dispatcher.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Most open jobs of one share.
    pub open: u64,
    /// How long a claim holds if nothing is heard of it again.
    pub lease: Duration,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { open: OPEN_MAX, lease: LEASE }
    }
}

/// What a task is at.
enum Task {
    Job { queue: String, claim: Claim },
    Look { key: String },
    Probe { key: String },
    Accounting,
    PuttingBack { claim: Claim },
}

/// What a task of the dispatcher came to.
enum Done {
    Job { stored: bool },
    Asked { health: Health },
    Housekeeping,
}

/// Tasks, and what each is at, known even of one that panicked.
struct Tasks {
    set: JoinSet<Done>,
    at: HashMap<Id, Task>,
    /// Whether there are claims, perhaps, that nobody holds: made and not
    /// heard of, or not ended because the store did not answer.
    lost: bool,
    /// When their claims were last renewed.
    renewed: Time,
}

impl Tasks {
    fn none() -> Tasks {
        Tasks { set: JoinSet::new(), at: HashMap::new(), lost: false, renewed: Time::EPOCH }
    }

    fn spawn(&mut self, task: Task, work: impl Future<Output = Done> + Send + 'static) {
        let id = self.set.spawn(work).id();
        self.at.insert(id, task);
    }

    /// The jobs that somebody is at, or is about to put back.
    fn claims(&self) -> impl Iterator<Item = &Claim> {
        self.at.values().filter_map(|task| match task {
            Task::Job { claim, .. } | Task::PuttingBack { claim } => Some(claim),
            Task::Look { .. } | Task::Probe { .. } | Task::Accounting => None,
        })
    }

    fn is_accounting(&self) -> bool {
        self.at.values().any(|task| matches!(task, Task::Accounting))
    }
}

/// What became of a job under a dispatcher.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// It was carried out, as far as it went.
    Carried(&'a Carried),
    /// Its deadline passed; this is how it stood until then.
    Late(&'a Job),
}

/// Who is told of it.
pub type Observer = dyn Fn(Seen<'_>) + Send + Sync;

/// Takes jobs from the queue and has them carried out.
pub struct Dispatcher {
    pipeline: Arc<Pipeline>,
    clock: Arc<Clock>,
    observer: Box<Observer>,
    bounds: Bounds,
    schedule: Mutex<Dispatch>,
    waiters: Mutex<HashMap<RequestId, Vec<oneshot::Sender<Arc<Carried>>>>>,
    news: Notify,
}

impl Dispatcher {
    /// A dispatcher for every key of a pipeline, with at most so many jobs of
    /// each key at once.
    pub fn new(
        pipeline: Arc<Pipeline>,
        clock: Arc<Clock>,
        most: u32,
        observer: Box<Observer>,
    ) -> Arc<Dispatcher> {
        Dispatcher::bounded(pipeline, clock, most, Bounds::default(), observer)
    }

    /// The same, with bounds of its own.
    pub fn bounded(
        pipeline: Arc<Pipeline>,
        clock: Arc<Clock>,
        most: u32,
        bounds: Bounds,
        observer: Box<Observer>,
    ) -> Arc<Dispatcher> {
        let schedule = Mutex::new(Dispatch::new(pipeline.job_keys(), most));
        let (waiters, news) = (Mutex::default(), Notify::new());
        Arc::new(Dispatcher { pipeline, clock, observer, bounds, schedule, waiters, news })
    }

    fn schedule(&self) -> MutexGuard<'_, Dispatch> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a job in. When this returns [`Inserted::Fresh`], it will come to
    /// an end, whatever becomes of this process.
    pub async fn submit(&self, job: Job) -> Result<Inserted, StoreError> {
        let mut inserting = self.pipeline.store().insert_job(job, self.bounds.open);
        // What is asked of the store is in its hands after the first poll. A
        // look at the queue that begins now is behind it there, so that the
        // job and its claim become durable together.
        let begun = poll_fn(|context| Poll::Ready(inserting.as_mut().poll(context))).await;
        let inserted = match begun {
            Poll::Ready(inserted) => inserted?,
            Poll::Pending => {
                self.news.notify_one();
                inserting.await?
            }
        };
        if inserted == Inserted::Fresh {
            self.news.notify_one();
        }
        Ok(inserted)
    }

    /// Looks at the queue soon: something was put back into it.
    pub fn wake(&self) {
        self.news.notify_one();
    }

    /// Resolves when a job leaves the queue under this dispatcher, or waits in
    /// it for what somebody may have to know of at once. Asked
    /// before the job is looked up, nothing is missed. An error says that it
    /// is to be looked up again.
    pub fn watch(&self, id: RequestId) -> oneshot::Receiver<Arc<Carried>> {
        let (sender, receiver) = oneshot::channel();
        let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        waiters.entry(id).or_default().push(sender);
        receiver
    }

    /// How each key stands.
    pub fn states(&self) -> Vec<(String, BreakerState)> {
        self.schedule().states().map(|(key, state)| (key.to_owned(), state)).collect()
    }

    /// How many jobs are being carried out.
    pub fn running(&self) -> u32 {
        self.schedule().running()
    }

    /// Works until it is told to stop; then lets what it has begun end.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut tasks = Tasks::none();
        // One that was not there when the service began is known to be away
        // before somebody waits for it, and comes back by itself.
        for (key, _) in self.pipeline.job_keys() {
            self.ask(&mut tasks, key.clone(), Task::Look { key });
        }
        let (mut look, mut hungry) = (true, false);
        let mut ticks = 0_u32;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.probe(&mut tasks);
            if std::mem::take(&mut look) {
                match self.claim(&mut tasks).await {
                    Ok((claimed, full)) => {
                        hungry = full;
                        claimed.into_iter().for_each(|claimed| self.begin(&mut tasks, claimed));
                    }
                    Err(_) => {
                        // Whoever hands jobs in hears of it; here it is tried
                        // again.
                        look = true;
                        tokio::time::sleep(TROUBLED).await;
                    }
                }
            }
            tokio::select! {
                biased;
                () = async { drop(stop.wait_for(|stop| *stop).await) } => break,
                Some(done) = tasks.set.join_next_with_id() => {
                    self.done(&mut tasks, done);
                    while let Some(done) = tasks.set.try_join_next_with_id() {
                        self.done(&mut tasks, done);
                    }
                    // An end makes room; whether anybody waits for it, the
                    // last look at the queue has told.
                    look |= hungry;
                }
                () = self.news.notified() => look = true,
                _ = tick.tick() => {
                    look = true;
                    self.expire().await;
                    self.keep_house(&mut tasks, ticks.is_multiple_of(ADOPTION));
                    ticks = ticks.wrapping_add(1);
                }
            }
        }
        while let Some(done) = tasks.set.join_next_with_id().await {
            self.done(&mut tasks, done);
        }
    }

    /// Asks keys whether they are there, where it is time.
    fn probe(&self, tasks: &mut Tasks) {
        for key in self.schedule().probes((self.clock)()) {
            self.ask(tasks, key.clone(), Task::Probe { key });
        }
    }

    fn ask(&self, tasks: &mut Tasks, key: String, task: Task) {
        let pipeline = self.pipeline.clone();
        tasks.spawn(task, async move {
            let answer = match pipeline.job_key(&key) {
                Some(key) => tokio::time::timeout(PROBE, key.ready()).await.ok(),
                None => None,
            };
            let health = match answer {
                Some(Ok(())) => Health::Untouched,
                Some(Err(SignError::WrongPin)) => Health::WrongPin,
                Some(Err(_)) | None => Health::Trouble,
            };
            Done::Asked { health }
        });
    }

    /// Accounts for jobs that ended while nobody had seen what was done for
    /// them, and takes on the queues of keys that are gone. What fails is
    /// found again.
    fn keep_house(self: &Arc<Self>, tasks: &mut Tasks, adopt: bool) {
        if tasks.is_accounting() {
            return;
        }
        let (own, pipeline, now) = (self.clone(), self.pipeline.clone(), (self.clock)());
        tasks.spawn(Task::Accounting, async move {
            if adopt {
                let depths = pipeline.store().queue_depths().await.unwrap_or_default();
                own.schedule().adopt(depths.into_iter().map(|depth| depth.key));
            }
            let ended = pipeline.store().unaccounted_jobs(now, ACCOUNTED).await.unwrap_or_default();
            for ended in ended {
                let _ = pipeline.account_for(&ended).await;
            }
            Done::Housekeeping
        });
    }

    /// Renews the claims on what is being carried out, where it is time.
    async fn renew(&self, tasks: &mut Tasks) -> Result<(), StoreError> {
        let (now, lease) = ((self.clock)(), self.bounds.lease);
        // Also where the clock was set back: claims made since run out earlier.
        if (tasks.renewed..tasks.renewed.plus(lease / RENEWED_IN)).contains(&now) {
            return Ok(());
        }
        let claims: Vec<Claim> = tasks.claims().cloned().collect();
        if !claims.is_empty() {
            self.pipeline.store().renew_claims(claims, now, lease).await?;
        }
        tasks.renewed = now;
        Ok(())
    }

    /// Claims what there is room for, and whether there may be more.
    async fn claim(&self, tasks: &mut Tasks) -> Result<(Vec<ClaimedJob>, bool), StoreError> {
        // First: the claim below frees what ran out, and after a long sleep of
        // the machine that would be what this process is still at.
        self.renew(tasks).await?;
        if tasks.lost {
            // Those jobs would wait until the claims run out.
            let held = tasks.claims().map(|claim| claim.request).collect();
            self.pipeline.store().end_other_claims(held).await?;
            tasks.lost = false;
        }
        let rooms = self.schedule().rooms();
        if rooms.is_empty() {
            return Ok((Vec::new(), true));
        }
        // Asked before the claim is made: what it logs comes after.
        let log_size = self.pipeline.log().size();
        let wanted: HashMap<String, u32> = rooms.iter().map(|room| (room.key.clone(), room.most)).collect();
        let claiming = Claiming { rooms, now: (self.clock)(), lease: self.bounds.lease, log_size };
        let claimed = self.pipeline.store().claim_jobs(claiming).await.inspect_err(|_| tasks.lost = true)?;
        let mut got: HashMap<&str, u32> = HashMap::new();
        for claimed in &claimed {
            *got.entry(&claimed.job.asked.signing_key).or_default() += 1;
        }
        let full = got.iter().any(|(key, got)| wanted.get(*key).is_some_and(|most| got >= most));
        Ok((claimed, full))
    }

    fn begin(self: &Arc<Self>, tasks: &mut Tasks, claimed: ClaimedJob) {
        let (queue, claim) = (claimed.job.asked.signing_key.clone(), claimed.claim.clone());
        let stand_in = {
            let mut schedule = self.schedule();
            schedule.began(&claimed);
            schedule.stands_in(&queue).map(str::to_owned)
        };
        let (own, room) = (self.clone(), queue.clone());
        tasks.spawn(Task::Job { queue, claim }, async move {
            let keys: Arc<dyn KeyHealth> = own.clone();
            let carried = own.pipeline.carry_out_job(claimed, stand_in.as_deref(), keys, &*own.clock).await;
            let stored = carried.stored;
            // Here: the loop may be waiting for a claim, and somebody for this.
            own.ended(&room, carried);
            Done::Job { stored }
        });
    }

    fn done(self: &Arc<Self>, tasks: &mut Tasks, done: Result<(Id, Done), JoinError>) {
        let (id, done) = match done {
            Ok((id, done)) => (id, Some(done)),
            // Tasks are not aborted: it panicked, which is our own bug.
            Err(error) => (error.id(), None),
        };
        match (tasks.at.remove(&id), done) {
            (Some(Task::Job { .. }), Some(Done::Job { stored })) => tasks.lost |= !stored,
            (Some(Task::Job { queue, claim }), _) => {
                self.schedule().ended(&queue);
                self.put_back(tasks, claim);
            }
            (Some(Task::Look { key }), Some(Done::Asked { health })) => {
                self.schedule().heard(&key, health, (self.clock)());
            }
            (Some(Task::Probe { key }), done) => {
                let health = match done {
                    Some(Done::Asked { health }) => health,
                    _ => Health::Trouble,
                };
                self.schedule().probed(&key, health, (self.clock)());
            }
            (Some(Task::Look { .. } | Task::Accounting | Task::PuttingBack { .. }) | None, _) => {}
        }
    }

    /// A job of a queue was carried out: makes room, and tells of it.
    fn ended(&self, queue: &str, carried: Carried) {
        (self.observer)(Seen::Carried(&carried));
        self.schedule().ended(queue);
        if !carried.stored {
            self.ended_elsewhere(carried.job.id);
        } else if carried.job.progress.state != JobState::Queued || carried.is_news() {
            self.tell(Arc::new(carried));
        }
    }

    /// Queues a job again whose task panicked, for later. What it did with a
    /// key the next claim finds in the log. If even this fails, the claim
    /// runs out.
    fn put_back(&self, tasks: &mut Tasks, claim: Claim) {
        let (pipeline, until) = (self.pipeline.clone(), (self.clock)().plus(PANICKED));
        tasks.spawn(Task::PuttingBack { claim: claim.clone() }, async move {
            let why = "the service met a fault of its own, and tries again";
            let ending = Ending {
                outcome: JobOutcome::Again(until),
                reasons: vec![Reason::new("service", why)],
                decision: None,
                accounted: false,
                failures: 0,
                events: Vec::new(),
            };
            let _ = pipeline.store().end_claim(&claim, ending).await;
            Done::Housekeeping
        });
    }

    fn tell(&self, carried: Arc<Carried>) {
        let waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner).remove(&carried.job.id);
        for waiter in waiters.into_iter().flatten() {
            // Whoever waited may be gone.
            let _ = waiter.send(carried.clone());
        }
    }

    /// Ends what is too late, and forgets waiters that are gone.
    async fn expire(&self) {
        // Tried again with the next tick.
        let late = self.pipeline.store().expire_jobs((self.clock)(), LATE).await.unwrap_or_default();
        let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        for job in late {
            (self.observer)(Seen::Late(&job));
            waiters.remove(&job.id);
        }
        waiters.retain(|_, waiting| {
            waiting.retain(|waiter| !waiter.is_closed());
            !waiting.is_empty()
        });
    }

    /// Forgets who waits for a job that somebody else has ended: they look it
    /// up again.
    pub fn ended_elsewhere(&self, id: RequestId) {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
    }

    /// The time, as this dispatcher tells it.
    pub fn now(&self) -> Time {
        (self.clock)()
    }
}

impl KeyHealth for Dispatcher {
    fn takes(&self, key: &str) -> bool {
        self.schedule().takes(key)
    }

    fn heard(&self, key: &str, health: Health) {
        self.schedule().heard(key, health, (self.clock)());
    }
}

impl Health {
    /// The word for it, for metrics.
    pub fn word(self) -> &'static str {
        match self {
            Health::Signed => "signed",
            Health::Untouched => "untouched",
            Health::Trouble => "trouble",
            Health::WrongPin => "wrong_pin",
        }
    }
}
