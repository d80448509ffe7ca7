//! The link to the server: polls, reports, offers and certificates.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use firmseal_api::client::{Client, ClientError};
use firmseal_api::enrolment::Renew;
use firmseal_api::updates::{
    Bootloader, DeviceState, Offer, Poll, PollAnswer, Reports as ReportsBody, Running,
};
use firmseal_core::limits::ENVELOPE_MAX;
use semver::Version;
use tokio::runtime::Handle;
use tracing::{info, warn};

use crate::agent::{Agent, blocking};
use crate::error::Error;
use crate::identity::validity;
use crate::install::Installed;
use crate::release::Origin;
use crate::source::http::HttpSource;

/// How long an envelope may take. A carrier that sends a byte now and then
/// keeps a connection alive and must not keep the agent.
const ENVELOPE_PATIENCE: Duration = Duration::from_secs(60);
/// Where devices find payloads on their server.
const CARRIER_BASE: &str = "/";

impl Agent {
    /// Fetches the offered envelope and installs it.
    pub(crate) async fn take(&self, offer: &Offer) -> Result<Installed, Error> {
        let client = self.client()?;
        let fetching = fetch_envelope(&client, &offer.envelope);
        let envelope =
            tokio::time::timeout(ENVELOPE_PATIENCE, fetching).await.map_err(|_| Error::Carrier {
                what: "the envelope".to_owned(),
                why: format!("it did not come in {} s", ENVELOPE_PATIENCE.as_secs()),
            })??;
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
    pub(crate) async fn poll(&self) -> Result<PollAnswer, Error> {
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
    pub(crate) async fn deliver(&self) -> Result<(), Error> {
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
        self.identity.check_certificate(&renewed.certificate)?;
        // The old one stays until the new one has opened the door: the trust
        // anchor is there for every device that may come in at all.
        let with_new = self.client_with(renewed.certificate.as_bytes())?;
        with_new.device().root(1).await?;
        self.identity.keep_certificate(&renewed.certificate)?;
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = None;
        info!("certificate renewed");
        Ok(())
    }

    pub(crate) fn server(&self) -> Result<Option<String>, Error> {
        match &self.state.profile.config.server {
            Some(server) => Ok(Some(server.clone())),
            None => self.identity.server(),
        }
    }

    pub(crate) fn client(&self) -> Result<Client, Error> {
        let mut held = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*held {
            return Ok(client.clone());
        }
        let certificate = self.identity.certificate()?.ok_or(Error::NotEnrolled)?;
        Ok(held.insert(self.client_with(&certificate)?).clone())
    }

    fn client_with(&self, certificate: &[u8]) -> Result<Client, Error> {
        let server = self.server()?.ok_or(Error::NotEnrolled)?;
        let authority = self.identity.authority()?.ok_or(Error::NotEnrolled)?;
        let mut builder =
            Client::builder(&server).authorities(&authority).identity(certificate, &self.identity.key()?);
        if self.state.profile.config.no_clock {
            builder = builder.dangerous().ignore_dates();
        }
        Ok(builder.build()?)
    }

    fn device_state(&self) -> Result<DeviceState, Error> {
        let state = &self.state;
        let (boot, floors) = (state.control.active()?, state.counters.floors()?);
        let running = state.shelf(boot.active).read()?.map(|kept| Running {
            version: Version::parse(&kept.head.version).unwrap_or(Version::new(0, 0, 0)),
            sequence: kept.head.sequence,
            manifest: kept.head.manifest.parse().ok(),
            epoch: floors.epoch,
            slot: boot.active.to_string(),
            confirmed: boot.confirmed == Some(boot.active),
        });
        let config = &state.profile.config;
        Ok(DeviceState {
            agent: concat!("firmseal-agent ", env!("CARGO_PKG_VERSION")).to_owned(),
            root_version: state.profile.root_version()?,
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
