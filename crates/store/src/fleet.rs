//! The fleet: devices, how they come in, what they report, and rollouts.

use std::time::Duration;

use async_trait::async_trait;
use firmseal_fleet::{
    Certificate, Device, DeviceState, EnrolmentToken, Equipment, Report, ReportId, Rollout, RolloutState,
    Running, Time,
};
use firmseal_manifest::{DeviceId, Digest, ProductId, ReleaseId, RolloutId};

use crate::{Page, StoreError};

/// Most reports in one observation.
pub const REPORTS_MAX: usize = 256;

/// What an [`Allowance`] counts over.
pub const DAY: Duration = Duration::from_secs(24 * 3600);

/// How much of something one device may add within a [`DAY`].
///
/// A device is believed nothing about others, but it writes into this store:
/// without a bound, one stolen device key could fill the disk of a fleet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Allowance {
    /// Now, by the server's clock.
    pub now: Time,
    /// Most within the day that ends now.
    pub most: u32,
}

/// How a device came in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Enrolled {
    /// It is new; the token was used once.
    New,
    /// It came in with this token before and asks again, because the first
    /// answer was lost. The token was not used, and the certificate of this
    /// second answer was added to it.
    Again(Box<Device>),
}

/// What one device said in one request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Observation {
    /// The device.
    pub device: DeviceId,
    /// When it said so, by the server's clock.
    pub now: Time,
    /// What it runs, if it said so.
    pub running: Option<Running>,
    /// What it has, if it said so.
    pub equipment: Option<Equipment>,
    /// What happened; at most [`REPORTS_MAX`], all of this device.
    pub reports: Vec<Report>,
    /// Most new reports of this device within a [`DAY`].
    pub most: u32,
}

/// What became of an observation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Observed {
    /// Reports that are new.
    pub recorded: u32,
    /// Reports that were known already.
    pub known: u32,
}

/// Devices, enrolment, reports and rollouts.
#[async_trait]
pub trait Fleet: Send + Sync {
    /// Adds an enrolment token. The same one again is `Ok`.
    async fn insert_token(&self, token: EnrolmentToken) -> Result<(), StoreError>;

    /// A token by its hash, as it stands: expired and spent ones too.
    async fn token(&self, hash: &Digest) -> Result<EnrolmentToken, StoreError>;

    /// All tokens, newest first, expired and spent ones too.
    async fn tokens(&self, page: Page<Digest>) -> Result<Vec<EnrolmentToken>, StoreError>;

    /// Ends a token: it admits nobody from `now` on, also after a restart.
    /// One that has expired stays as it is.
    async fn end_token(&self, hash: &Digest, now: Time) -> Result<(), StoreError>;

    /// Admits a device with a token, in one step: uses are counted down
    /// with the device becoming known, so a token with one use left admits
    /// exactly one of a thousand at once.
    ///
    /// An unknown token is not found; one that is expired, spent or for
    /// another product is a conflict, and so is a device key that another
    /// device has. May be retried: a device is recognised by its key and
    /// the token it came with, and its certificates count against the
    /// allowance as in [`Fleet::add_certificate`].
    async fn enrol(
        &self,
        token: &Digest,
        device: Device,
        allowance: Allowance,
    ) -> Result<Enrolled, StoreError>;

    /// Adds a certificate to an active device; it becomes its newest. The
    /// earlier ones go on working until they expire, since the answer that
    /// carries the new one may be lost. More than the allowance within a day
    /// are [`StoreError::Quota`].
    async fn add_certificate(
        &self,
        device: DeviceId,
        certificate: Certificate,
        allowance: Allowance,
    ) -> Result<(), StoreError>;

    /// A device.
    async fn device(&self, id: DeviceId) -> Result<Device, StoreError>;

    /// The device that a certificate was issued to, and the certificate;
    /// `None` if nobody here issued it. Expired certificates and revoked
    /// devices are found as well: what they get is for the caller to say.
    async fn device_of_certificate(
        &self,
        fingerprint: &Digest,
    ) -> Result<Option<(Device, Certificate)>, StoreError>;

    /// The devices of a product, or all, newest first.
    async fn devices(
        &self,
        product: Option<&ProductId>,
        page: Page<DeviceId>,
    ) -> Result<Vec<Device>, StoreError>;

    /// Revokes a device, or takes it back. No method returns it in its old
    /// state afterwards.
    async fn set_device_state(&self, id: DeviceId, state: DeviceState) -> Result<(), StoreError>;

    /// Replaces a device's labels.
    async fn set_labels(
        &self,
        id: DeviceId,
        labels: std::collections::BTreeMap<String, String>,
    ) -> Result<(), StoreError>;

    /// Lifts the hold that a refusal or revert put on a release for this
    /// device, so that it is offered again. No hold is no error.
    async fn retry(&self, device: DeviceId, release: ReleaseId) -> Result<(), StoreError>;

    /// Takes in what a device said: all of it, or nothing.
    ///
    /// A report is known by device and id; one that is known already is
    /// counted and otherwise ignored, so a batch may be sent again. A
    /// report of another device, one that fails [`Report::check`], and more
    /// than [`REPORTS_MAX`] are conflicts; more new ones within a day than
    /// [`Observation::most`] are [`StoreError::Quota`].
    ///
    /// A rollout that is not one of the device's own product is left out of
    /// the record: a device has no word in another product's rollouts. The
    /// report itself is kept, since refusing it would let one stale id keep a
    /// device's whole queue from coming in.
    async fn observe(&self, observation: Observation) -> Result<Observed, StoreError>;

    /// Notes when devices were last heard of.
    ///
    /// **Not durable on return**, and lost notes are no loss: a poll that
    /// brings nothing new must not cost a disk write. Unknown devices are
    /// skipped; a time never goes back.
    async fn touch(&self, seen: Vec<(DeviceId, Time)>) -> Result<(), StoreError>;

    /// How many active devices were heard of at this time or later, and how
    /// many there are.
    async fn heard(&self, since: Time) -> Result<(u64, u64), StoreError>;

    /// The reports of a device, newest first.
    async fn reports(&self, device: DeviceId, page: Page<ReportId>) -> Result<Vec<Report>, StoreError>;

    /// Where a rollout stands: of each device that reported about it, the
    /// newest report about it, in the order of the devices' ids.
    async fn outcomes(&self, rollout: RolloutId, page: Page<DeviceId>) -> Result<Vec<Report>, StoreError>;

    /// Adds a rollout. Its release must exist and be of its product. The
    /// same one again is `Ok`.
    async fn insert_rollout(&self, rollout: Rollout) -> Result<(), StoreError>;

    /// A rollout.
    async fn rollout(&self, id: RolloutId) -> Result<Rollout, StoreError>;

    /// All rollouts, newest first.
    async fn rollouts(&self, page: Page<RolloutId>) -> Result<Vec<Rollout>, StoreError>;

    /// Every rollout that is active: what offers are made from.
    async fn active_rollouts(&self) -> Result<Vec<Rollout>, StoreError>;

    /// Brings a rollout into a state. After a halt returns,
    /// [`Fleet::active_rollouts`] never returns it again until it is
    /// resumed, in no process and after no restart. A way that
    /// [`RolloutState::may_become`] forbids is a conflict.
    async fn set_rollout_state(&self, id: RolloutId, state: RolloutState) -> Result<(), StoreError>;
}
