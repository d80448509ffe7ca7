//! The agent: enrol, poll, install, confirm, report.

use std::future::Future;
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use firmseal_api::client::{Client, ClientError};
use firmseal_api::enrolment::{Enrol, Renew};
use firmseal_api::updates::{
    Bootloader, DeviceState, Offer, Poll, PollAnswer, Report, Reports as ReportsBody, Running,
};
use firmseal_core::limits::ENVELOPE_MAX;
use firmseal_manifest::DeviceId;
use semver::Version;
use tokio::runtime::Handle;
use tracing::{Instrument, info, info_span, warn};

use crate::boot_control::{BootControl, BootState};
use crate::boot_stage::BootOutcome;
use crate::clock::{Chance, Clock, NoClock, SystemChance, SystemClock};
use crate::config::Config;
use crate::error::{Error, Reason};
use crate::feed::Meter;
use crate::files::{Files, OsFiles};
use crate::floors::Counters;
use crate::health::{Health, HealthCommand, run};
use crate::identity::{Identity, validity};
use crate::install::Installed;
use crate::release::Origin;
use crate::schedule::Schedule;
use crate::source::Source;
use crate::source::bundle::Bundle;
use crate::source::http::HttpSource;
use crate::state::State;
use crate::status::Status;
use crate::trial::Standing;

/// Where devices find payloads on their server.
const CARRIER_BASE: &str = "/";

/// What the agent depends on, so that tests can choose it.
#[derive(Clone)]
pub struct Deps {
    /// The file system.
    pub files: Arc<dyn Files>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub chance: Arc<dyn Chance>,
    /// Decides on a trial.
    pub health: Arc<dyn Health>,
    /// The monotonic counters; files in the state directory if `None`.
    pub counters: Option<Arc<dyn Counters>>,
    /// The boot chain; [`Agent::boot_stage`] and its files if `None`.
    pub control: Option<Arc<dyn BootControl>>,
}

impl Deps {
    /// The real things, as the configuration says.
    pub fn new(config: &Config) -> Deps {
        Deps {
            files: Arc::new(OsFiles),
            clock: if config.no_clock { Arc::new(NoClock) } else { Arc::new(SystemClock) },
            chance: Arc::new(SystemChance),
            health: Arc::new(HealthCommand::new(config)),
            counters: None,
            control: None,
        }
    }
}

/// What makes a device one of a fleet, or at least of a product.
pub struct Enrolment<'a> {
    /// Root document version 1.
    pub anchor: &'a [u8],
    /// The server, where there is one.
    pub server: Option<ServerEnrolment<'a>>,
}

/// How a device enrols with its server.
pub struct ServerEnrolment<'a> {
    /// `https://host:port`.
    pub url: &'a str,
    /// The one-time token.
    pub token: &'a str,
    /// The authorities that the server is checked against, in PEM.
    pub authority: &'a [u8],
}

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
    state: Arc<State>,
    identity: Identity,
    deps: Deps,
    client: Mutex<Option<Client>>,
    _lock: Box<dyn Send + Sync>,
}

/// Gives a device its trust anchor and, where there is a server, its
/// certificate. The key is made on the device and stays there.
pub async fn enrol(
    config: &Config,
    deps: &Deps,
    enrolment: &Enrolment<'_>,
) -> Result<Option<DeviceId>, Error> {
    let dir = &config.state;
    deps.files.create_dir(dir).map_err(|err| Error::storage(dir, err))?;
    let identity = Identity::new(deps.files.clone(), dir);
    if identity.certificate()?.is_some() {
        return Err(Error::AlreadyEnrolled);
    }
    // Checked before it is kept: a device with a bad anchor trusts nobody.
    State::new(config.clone(), enrolment.anchor.to_vec(), deps)?;
    identity.keep_anchor(enrolment.anchor)?;
    let Some(server) = &enrolment.server else { return Ok(None) };
    let mut builder = Client::builder(server.url).authorities(server.authority);
    if config.no_clock {
        builder = builder.dangerous().ignore_dates();
    }
    let enrol = Enrol { token: server.token.to_owned(), csr: identity.request()? };
    let enrolled = builder.build()?.device().enrol(&enrol).await?;
    if enrolled.product != config.product {
        let (ours, theirs) = (config.product.to_string(), enrolled.product.to_string());
        return Err(Error::OtherProduct { ours, theirs });
    }
    identity.keep_server(server.url)?;
    identity.keep_authority(server.authority)?;
    // The certificate is last: with it the device is enrolled.
    identity.keep_certificate(&enrolled.certificate)?;
    info!(device = %enrolled.device, product = %enrolled.product, "enrolled");
    Ok(Some(enrolled.device))
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
            Standing::Running(_) => match self.deps.health.check().await {
                Ok(()) => self.state.confirm().map(|()| Some(Event::Confirmed)),
                Err(why) => {
                    warn!("the image on trial is not healthy: {why}");
                    self.state.revert()?;
                    Ok(Some(Event::Reverted { why }))
                }
            },
        }
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
        let answer = self.poll().await?;
        let Some(offer) = answer.offer else {
            return Ok(Event::Idle { poll_after: u64::from(answer.poll_after) });
        };
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

    /// Fetches the offered envelope and installs it.
    async fn take(&self, offer: &Offer) -> Result<Installed, Error> {
        let client = self.client()?;
        let envelope = fetch_envelope(&client, &offer.envelope).await?;
        let source = HttpSource::new(client, Handle::current(), CARRIER_BASE);
        let (state, origin) = (self.state.clone(), Origin::from(offer));
        let span = tracing::Span::current();
        blocking(move || {
            let _entered = span.entered();
            let source = Arc::new(source);
            let open: Box<crate::install::OpenSource<'_>> = Box::new(|_| Ok(Box::new(source.clone())));
            state.install(&envelope, &origin, &state.meter(), &*open)
        })
        .await
    }

    /// Sends state and reports; forgets the reports that are durable.
    async fn poll(&self) -> Result<PollAnswer, Error> {
        self.renew_if_due().await?;
        let poll = Poll { state: self.device_state()?, reports: self.state.reports.next()? };
        let answer = match self.client()?.device().poll(&poll).await {
            // Without a clock, expiry shows only as a refusal.
            Err(err) if is_unwelcome(&err) => {
                self.renew().await?;
                self.client()?.device().poll(&poll).await?
            }
            answer => answer?,
        };
        self.state.reports.delivered(&poll.reports)?;
        Ok(answer)
    }

    /// Sends what waits in the queue.
    async fn deliver(&self) -> Result<(), Error> {
        loop {
            let reports = self.state.reports.next()?;
            if reports.is_empty() || self.server()?.is_none() {
                return Ok(());
            }
            let body = ReportsBody { reports };
            self.client()?.device().report(&body).await?;
            self.state.reports.delivered(&body.reports)?;
        }
    }

    async fn renew_if_due(&self) -> Result<(), Error> {
        let certificate = self.identity.certificate()?.ok_or(Error::NotEnrolled)?;
        let validity = validity(&certificate)?;
        let Some(now) = self.deps.clock.now().map(|millis| millis / 1000) else { return Ok(()) };
        if !validity.wants_renewal(now) {
            return Ok(());
        }
        match self.renew().await {
            // The old one still works; the next poll tries again.
            Err(err) if now < validity.not_after => {
                warn!("the certificate could not be renewed: {err}");
                Ok(())
            }
            result => result,
        }
    }

    /// Gets the next certificate for the device's key, over the present
    /// one, expired or not.
    async fn renew(&self) -> Result<(), Error> {
        let renew = Renew { csr: self.identity.request()? };
        let renewed = self.client()?.device().renew(&renew).await?;
        self.identity.keep_certificate(&renewed.certificate)?;
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = None;
        info!("certificate renewed");
        Ok(())
    }

    fn server(&self) -> Result<Option<String>, Error> {
        match &self.state.profile.config.server {
            Some(server) => Ok(Some(server.clone())),
            None => self.identity.server(),
        }
    }

    fn client(&self) -> Result<Client, Error> {
        let mut held = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*held {
            return Ok(client.clone());
        }
        let server = self.server()?.ok_or(Error::NotEnrolled)?;
        let certificate = self.identity.certificate()?.ok_or(Error::NotEnrolled)?;
        let authority = self.identity.authority()?.ok_or(Error::NotEnrolled)?;
        let mut builder =
            Client::builder(&server).authorities(&authority).identity(&certificate, &self.identity.key()?);
        if self.state.profile.config.no_clock {
            builder = builder.dangerous().ignore_dates();
        }
        Ok(held.insert(builder.build()?).clone())
    }

    fn device_state(&self) -> Result<DeviceState, Error> {
        let state = &self.state;
        let (boot, floors) = (state.control.active()?, state.counters.floors()?);
        let running = state.shelf(boot.active).read()?.map(|kept| Running {
            version: Version::parse(&kept.head.version).unwrap_or(Version::new(0, 0, 0)),
            sequence: kept.head.sequence,
            epoch: floors.epoch,
            slot: boot.active.to_string(),
            confirmed: boot.confirmed == Some(boot.active),
        });
        let config = &state.profile.config;
        Ok(DeviceState {
            agent: concat!("firmseal-agent ", env!("CARGO_PKG_VERSION")).to_owned(),
            root_version: state.profile.root()?.version(),
            // Before the first boot a slot may hold an image that never ran.
            running: running.filter(|running| running.confirmed || boot.on_trial()),
            hardware: config.hardware.clone(),
            bootloader: Bootloader {
                name: config.bootloader.name.clone(),
                verifies: config.bootloader.verifies,
                trial: config.bootloader.trial,
                epoch_counter: config.bootloader.epoch_counter,
            },
        })
    }
}

impl State {
    /// A fresh budget, for one poll.
    fn meter(&self) -> Meter {
        let config = &self.profile.config;
        Meter {
            budget: config.data_budget.map(|budget| (AtomicU64::new(budget), budget)),
            minimum_rate: config.minimum_rate,
        }
    }
}

/// Reads an envelope of at most ENVELOPE_MAX bytes, whatever length the
/// carrier announces (shim CVE-2023-40547 trusted that length).
async fn fetch_envelope(client: &Client, path: &str) -> Result<Vec<u8>, Error> {
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let mut download = client.download(&path, 0, None, None).await?;
    let mut envelope = Vec::new();
    while let Some(piece) = download.chunk().await? {
        envelope.extend_from_slice(&piece);
        if envelope.len() > ENVELOPE_MAX {
            // Core refuses it by its length; more of it is of no use.
            envelope.truncate(ENVELOPE_MAX + 1);
            break;
        }
    }
    Ok(envelope)
}

fn is_unwelcome(err: &ClientError) -> bool {
    err.status().is_some_and(|status| matches!(status.as_u16(), 401 | 403))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Internal("the installer"))?
}
