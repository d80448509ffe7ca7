//! The agent of one device: settle, poll, install, again.

use std::future::Future;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use firmseal_api::client::Client;
use firmseal_api::updates::Report;
use firmseal_manifest::bundle::News;
use tracing::{Instrument, debug, info, info_span, warn};

use crate::boot_control::BootState;
use crate::boot_stage::BootOutcome;
use crate::config::Config;
use crate::deps::Deps;
use crate::error::{Error, Reason};
use crate::feed::Meter;
use crate::health::run;
use crate::identity::Identity;
use crate::install::Installed;
use crate::release::Origin;
use crate::schedule::Schedule;
use crate::source::Source;
use crate::source::bundle::Bundle;
use crate::state::State;
use crate::status::Status;
use crate::trial::Standing;
use crate::walk::Reached;

/// What a poll or an install came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Nothing to do; ask again after this many seconds.
    Idle {
        /// What the server asked for.
        poll_after: u64,
    },
    /// A release was installed and waits for its trial boot.
    Installed(Installed),
    /// An image waits for its trial boot.
    RebootNeeded,
    /// The image on trial was confirmed.
    Confirmed,
    /// The image on trial was given up; the confirmed one boots next.
    Reverted {
        /// Why.
        why: String,
    },
    /// The offered release was refused.
    Refused {
        /// Why.
        reason: Reason,
        /// Its stable number.
        code: u16,
    },
}

/// The agent of one device. Many can live in one process; one state
/// directory belongs to one of them.
pub struct Agent {
    pub(crate) state: Arc<State>,
    pub(crate) identity: Identity,
    pub(crate) deps: Deps,
    pub(crate) client: Mutex<Option<Client>>,
    _lock: Box<dyn Send + Sync>,
}

impl Agent {
    /// The agent of a configured device that has its trust anchor.
    pub fn new(config: Config, deps: Deps) -> Result<Agent, Error> {
        let dir = config.state.clone();
        deps.files.create_dir(&dir).map_err(|err| Error::storage(&dir, err))?;
        let lock = dir.join("lock");
        let held = deps.files.lock(&lock).map_err(|err| Error::storage(&lock, err))?;
        let held = held.ok_or(Error::Locked(lock))?;
        let identity = Identity::new(deps.files.clone(), &dir);
        let anchor = identity.anchor()?.ok_or(Error::NotEnrolled)?;
        let state = State::new(config, anchor, &deps)?;
        Ok(Agent { state: Arc::new(state), identity, deps, client: Mutex::new(None), _lock: held })
    }

    /// Runs the boot stage, as a reboot does.
    pub fn boot_stage(&self) -> Result<BootOutcome, Error> {
        self.state.boot_stage()
    }

    /// How the slots stand.
    pub fn boot_state(&self) -> Result<BootState, Error> {
        self.state.control.active()
    }

    /// How the device stands.
    pub fn status(&self) -> Result<Status, Error> {
        Status::of(&self.state, &self.identity)
    }

    /// Reports that wait for the server, oldest first.
    pub fn reports(&self) -> Result<Vec<Report>, Error> {
        self.state.reports.pending()
    }

    /// Confirms the image on trial without asking for its health.
    pub fn confirm(&self) -> Result<(), Error> {
        self.state.confirm()
    }

    /// Ends the trial; the confirmed image boots next.
    pub fn revert(&self) -> Result<(), Error> {
        self.state.revert()
    }

    /// Settles a running trial: confirms it if it is healthy, ends it
    /// otherwise. `None` if there is none.
    pub async fn settle(&self) -> Result<Option<Event>, Error> {
        match self.state.standing()? {
            Standing::None => Ok(None),
            Standing::Pending => Ok(Some(Event::RebootNeeded)),
            Standing::Running(slot) => {
                self.hear().await;
                let verdict = match self.state.still_stands(slot) {
                    Ok(()) => self.deps.health.check().await,
                    Err(Error::Refused(refused)) => Err(refused.reason.to_string()),
                    Err(err) => return Err(err),
                };
                match verdict {
                    Ok(()) => self.state.confirm().map(|()| Some(Event::Confirmed)),
                    Err(why) => {
                        warn!("the image on trial is given up: {why}");
                        self.state.revert()?;
                        Ok(Some(Event::Reverted { why }))
                    }
                }
            }
        }
    }

    /// Takes the owner's first root document, or the one that follows the
    /// one held. From then on the owner's root is asked for consent as the
    /// vendor's root and its own demand.
    pub fn adopt_owner(&self, document: &[u8]) -> Result<(), Error> {
        self.state.profile.trust.adopt_owner(document).map(drop)
    }

    /// Takes trust documents that somebody brought, each judged by what the
    /// device holds. What is refused is reported and changes nothing.
    pub fn learn(&self, news: &News) -> Result<(), Error> {
        // What an earlier adoption left half done is finished first.
        self.state.standing()?;
        self.state.follow_bundle(news)
    }

    /// Settles a trial, asks the server once, and does what it offers.
    pub async fn poll_once(&self) -> Result<Event, Error> {
        if let Some(event) = self.settle().await? {
            // Whether the server hears of it now or later changes nothing.
            if let Err(err) = self.deliver().await {
                warn!("reports wait: {err}");
            }
            return Ok(event);
        }
        let answer = match self.poll().await {
            // The server is there and will not have it.
            Err(err @ Error::Server(_)) if err.is_answer() => {
                if let Err(why) = self.follow_unasked().await {
                    debug!("no trust documents either: {why}");
                }
                return Err(err);
            }
            answer => answer?,
        };
        let idle = Event::Idle { poll_after: u64::from(answer.poll_after) };
        // What is offered is judged from wherever this leads.
        match self.follow(&answer).await {
            Ok(Reached::End) => {}
            Ok(Reached::Underway) => {
                info!("more root documents are to come; the offer waits for them");
                return Ok(idle);
            }
            Err(err) => warn!("trust documents wait: {err}"),
        }
        let Some(offer) = answer.offer else { return Ok(idle) };
        let span = info_span!(
            "offer",
            release = %offer.release,
            rollout = %offer.rollout,
            build = offer.build,
            commit = offer.commit,
            request = %offer.request,
        );
        let result = self.take(&offer).instrument(span).await;
        let event = match result {
            Ok(installed) => Event::Installed(installed),
            Err(Error::Refused(refused)) => {
                Event::Refused { reason: refused.reason, code: refused.reason.code() }
            }
            Err(err) => return Err(err),
        };
        if let Err(err) = self.deliver().await {
            warn!("reports wait: {err}");
        }
        Ok(event)
    }

    /// Installs a bundle, with no network.
    pub async fn install_bundle(&self, path: &Path) -> Result<Installed, Error> {
        // What an earlier install left half done is finished first.
        self.state.standing()?;
        let bundle = Bundle::open(self.deps.files.clone(), path)?;
        let state = self.state.clone();
        blocking(move || {
            state.follow_bundle(&bundle.news)?;
            let envelope = bundle.envelope.clone();
            let open: Box<crate::install::OpenSource<'_>> =
                Box::new(|admitted| Ok(Box::new(bundle.source(admitted)?)));
            state.install(&envelope, &Origin::default(), &state.meter(), &*open)
        })
        .await
    }

    /// Installs an envelope with payloads from any source.
    pub async fn install_from(
        &self,
        envelope: Vec<u8>,
        source: Arc<dyn Source>,
        origin: Origin,
    ) -> Result<Installed, Error> {
        self.state.standing()?;
        let state = self.state.clone();
        blocking(move || {
            let open: Box<crate::install::OpenSource<'_>> = Box::new(|_| Ok(Box::new(source.clone())));
            state.install(&envelope, &origin, &state.meter(), &*open)
        })
        .await
    }

    /// Polls until `shutdown` resolves. An install that is under way is
    /// interrupted as by a power cut, and resumed by the next run.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let mut schedule = Schedule::new(self.state.profile.config.poll);
        let work = async {
            // A running trial does not wait for the first poll's jitter.
            match self.settle().await {
                Ok(Some(Event::Reverted { .. })) => self.reboot().await,
                Ok(_) => {}
                Err(err) => warn!("{err}"),
            }
            if self.server().is_ok_and(|server| server.is_none()) {
                info!("there is no server to poll");
                return std::future::pending().await;
            }
            tokio::time::sleep(schedule.first(self.deps.chance.draw())).await;
            loop {
                let pause = match self.poll_once().await {
                    Ok(Event::Idle { poll_after }) => schedule.answered(poll_after, self.deps.chance.draw()),
                    Ok(Event::Confirmed) => schedule.answered(0, self.deps.chance.draw()),
                    Ok(Event::Installed(_) | Event::RebootNeeded | Event::Reverted { .. }) => {
                        self.reboot().await;
                        schedule.answered(0, self.deps.chance.draw())
                    }
                    // The same offer may come again at once: a hostile
                    // server must not wear the device out.
                    Ok(Event::Refused { .. }) => schedule.failed(self.deps.chance.draw()),
                    Err(err) => {
                        warn!("{err}");
                        schedule.failed(self.deps.chance.draw())
                    }
                };
                tokio::time::sleep(pause).await;
            }
        };
        tokio::select! {
            () = shutdown => Ok(()),
            () = work => Ok(()),
        }
    }

    async fn reboot(&self) {
        let Some(command) = &self.state.profile.config.reboot else { return };
        let Some((program, arguments)) = command.split_first() else { return };
        info!("rebooting");
        if let Err(why) = run(program, arguments, Duration::from_secs(60)).await {
            warn!("no reboot: {why}");
        }
    }
}

impl State {
    /// A fresh budget, for one poll.
    pub(crate) fn meter(&self) -> Meter {
        let config = &self.profile.config;
        Meter {
            budget: config.data_budget.map(|budget| (AtomicU64::new(budget), budget)),
            minimum_rate: config.minimum_rate,
        }
    }
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Internal("the installer"))?
}
