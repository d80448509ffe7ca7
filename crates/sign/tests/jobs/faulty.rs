//! A store that fails now and then, in front of one that does not: before a
//! write, after it, or while reading; that hangs, and comes back or does not;
//! and that has lost what it was asked for.

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use firmseal_fleet::audit::Circumstances;
use firmseal_fleet::{
    Approval, Artifact, AuditRecord, Caller, Certificate, Credential, CredentialId, CredentialKind, Device,
    DeviceState, EnrolmentToken, Habit, HabitOf, Job, JobState, KeyHour, KeyRecord, KeyState,
    PolicyActivation, PolicyProposal, Product, ProposalState, Release, ReleaseState, Report, ReportId,
    RequestState, Rollout, RolloutState, Signature, SigningRequest, Time,
};
use firmseal_manifest::{
    ArtifactId, ChannelName, DeviceId, Digest, Event, ProductId, ReleaseId, RequestId, RolloutId, UploadId,
};
use firmseal_store::{
    Allowance, AuditFilter, AuditPosition, AuditTrail, Before, Begin, BlobStream, Blobs, Claim, ClaimedJob,
    Claiming, Continuity, Depth, Ending, Enrolled, Events, Finished, Fleet, GrantedUses, Habits, Highest,
    Inserted, JobFilter, Jobs, KeyUses, NewRequest, NewUpload, Observation, Observed, Operators, Page,
    Policies, Registry, Requests, Reservation, SigningRequests, Store, StoreError, TokenUsed, TrustDocument,
    TrustDocuments, TrustKind, Unaccounted, Unrecorded, Upload, Uploads, UsedTokens, WaitingEvent,
    WantedUses,
};
use semver::Version;

/// What goes wrong with one call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StoreFault {
    /// It is not done.
    Before,
    /// It is done, and the answer is lost.
    After,
    /// It hangs for a while, and is done then.
    Late(Duration),
    /// It hangs for a while, is done, and whoever asked has been told that it
    /// took too long.
    TooLate(Duration),
    /// It hangs for as long as the service lives.
    Stuck,
    /// What it is about is damaged, and stays as it is.
    Damaged,
}

impl StoreFault {
    /// How many kinds there are.
    pub(crate) const KINDS: usize = 6;

    /// The word for its kind.
    pub(crate) fn word(self) -> &'static str {
        match self {
            StoreFault::Before => "failed before",
            StoreFault::After => "failed after",
            StoreFault::Late(_) => "hung and recovered",
            StoreFault::TooLate(_) => "hung and timed out",
            StoreFault::Stuck => "hung for good",
            StoreFault::Damaged => "damaged",
        }
    }
}

/// Says of each call what goes wrong with it.
pub(crate) type StoreMood = Box<dyn FnMut() -> Option<StoreFault> + Send>;

/// The store.
pub(crate) struct FaultyStore {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) mood: Arc<Mutex<StoreMood>>,
}

impl FaultyStore {
    async fn around<T>(&self, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let fault = (self.mood.lock().unwrap())();
        let failed = || StoreError::Unavailable {
            doing: "reach the disk".to_owned(),
            why: "the test wants it so".to_owned(),
        };
        match fault {
            None => return call.await,
            Some(StoreFault::Before) => {}
            Some(StoreFault::After) => drop(call.await?),
            Some(StoreFault::Late(wait)) => {
                tokio::time::sleep(wait).await;
                return call.await;
            }
            Some(StoreFault::TooLate(wait)) => {
                tokio::time::sleep(wait).await;
                drop(call.await?);
            }
            Some(StoreFault::Stuck) => std::future::pending().await,
            Some(StoreFault::Damaged) => return Err(StoreError::corrupt("what the test has chosen")),
        }
        Err(failed())
    }
}

/// Every method of a contract, through [`FaultyStore::around`].
macro_rules! through {
    ($contract:ident { $(fn $name:ident($($given:ident: $kind:ty),*) -> $answer:ty;)* }) => {
        #[async_trait]
        impl $contract for FaultyStore {
            $(async fn $name(&self, $($given: $kind),*) -> Result<$answer, StoreError> {
                self.around(self.store.$name($($given),*)).await
            })*
        }
    };
}

through!(Blobs {
    fn put(id: Digest, size: u64, source: BlobStream) -> ();
    fn put_bytes(bytes: Bytes) -> Digest;
    fn size(id: &Digest) -> Option<u64>;
    fn read(id: &Digest, range: Range<u64>) -> BlobStream;
    fn read_all(id: &Digest, limit: u64) -> Bytes;
});

through!(Uploads {
    fn create(upload: NewUpload) -> ();
    fn upload(id: UploadId) -> Upload;
    fn append(id: UploadId, offset: u64, piece: Bytes) -> u64;
    fn complete(id: UploadId) -> Digest;
    fn abort(id: UploadId) -> ();
    fn expire(now: Time) -> u64;
});

through!(Registry {
    fn insert_product(product: Product, by: &Caller) -> ();
    fn product(id: &ProductId) -> Product;
    fn products(page: Page<ProductId>) -> Vec<Product>;
    fn insert_artifact(artifact: Artifact) -> ();
    fn artifact(id: &ArtifactId) -> Artifact;
    fn artifacts(page: Page<ArtifactId>) -> Vec<Artifact>;
    fn insert_release(release: Release) -> ();
    fn release(id: ReleaseId) -> Release;
    fn release_of_request(request: RequestId) -> Option<Release>;
    fn release_of_manifest(manifest: &Digest) -> Option<Release>;
    fn latest_release(product: &ProductId) -> Option<Release>;
    fn latest_release_on(product: &ProductId, channel: &ChannelName) -> Option<Release>;
    fn release_of_version(product: &ProductId, channel: &ChannelName, version: &Version) -> Option<Release>;
    fn releases(product: Option<&ProductId>, page: Page<ReleaseId>) -> Vec<Release>;
    fn set_release_state(id: ReleaseId, state: ReleaseState) -> ();
});

through!(Requests {
    fn begin(request: NewRequest) -> Begin;
    fn reserve(claim: &Claim, reservation: Reservation, now: Time) -> ();
    fn finish(claim: &Claim, result: Vec<u8>, release: Option<Release>) -> ();
    fn abandon(claim: &Claim) -> ();
    fn result(request: RequestId) -> Option<Finished>;
});

through!(Jobs {
    fn insert_job(job: Job, most: u64) -> Inserted;
    fn job(id: RequestId) -> Option<Job>;
    fn jobs(filter: JobFilter, page: Page<RequestId>) -> Vec<Job>;
    fn claim_jobs(claiming: Claiming) -> Vec<ClaimedJob>;
    fn end_claim(claim: &Claim, ending: Ending) -> ();
    fn resume_job(id: RequestId, from: JobState, since: Time, by: Option<String>, events: Vec<Event>) -> ();
    fn cancel_job(id: RequestId, now: Time) -> ();
    fn expire_jobs(now: Time, most: u32) -> Vec<Job>;
    fn renew_claims(claims: Vec<Claim>, now: Time, lease: Duration) -> ();
    fn end_other_claims(held: Vec<RequestId>) -> ();
    fn unaccounted_jobs(now: Time, most: u32) -> Vec<Unaccounted>;
    fn account_for_job(id: RequestId, since: u64, failures: u32, events: Vec<Event>) -> ();
    fn queue_depths() -> Vec<Depth>;
    fn insert_job_approval(id: RequestId, approval: Approval) -> ();
    fn remove_job_approvals(id: RequestId, brought_by: &str) -> usize;
    fn job_approvals(id: RequestId) -> Vec<Approval>;
    fn decision(digest: Digest) -> Option<Vec<u8>>;
    fn signature(request: RequestId) -> Option<Signature>;
    fn before_signing(product: &ProductId, channel: &ChannelName, key: Digest, tbs: Digest) -> Before;
    fn highest_signed(product: &ProductId, channel: &ChannelName) -> Highest;
    fn signature_over(key: Digest, tbs: Digest) -> Option<Signature>;
});

through!(Fleet {
    fn insert_token(token: EnrolmentToken) -> ();
    fn token(hash: &Digest) -> EnrolmentToken;
    fn tokens(page: Page<Digest>) -> Vec<EnrolmentToken>;
    fn end_token(hash: &Digest, now: Time) -> ();
    fn enrol(token: &Digest, device: Device, allowance: Allowance) -> Enrolled;
    fn add_certificate(device: DeviceId, certificate: Certificate, allowance: Allowance) -> ();
    fn device(id: DeviceId) -> Device;
    fn device_of_certificate(fingerprint: &Digest) -> Option<(Device, Certificate)>;
    fn devices(product: Option<&ProductId>, page: Page<DeviceId>) -> Vec<Device>;
    fn set_device_state(id: DeviceId, state: DeviceState) -> ();
    fn set_labels(id: DeviceId, labels: std::collections::BTreeMap<String, String>) -> ();
    fn retry(device: DeviceId, release: ReleaseId) -> ();
    fn observe(observation: Observation) -> Observed;
    fn touch(seen: Vec<(DeviceId, Time)>) -> ();
    fn heard(since: Time) -> (u64, u64);
    fn reports(device: DeviceId, page: Page<ReportId>) -> Vec<Report>;
    fn outcomes(rollout: RolloutId, page: Page<DeviceId>) -> Vec<Report>;
    fn insert_rollout(rollout: Rollout) -> ();
    fn rollout(id: RolloutId) -> Rollout;
    fn rollouts(page: Page<RolloutId>) -> Vec<Rollout>;
    fn active_rollouts() -> Vec<Rollout>;
    fn set_rollout_state(id: RolloutId, state: RolloutState) -> ();
});

through!(Operators {
    fn insert_credential(credential: Credential, by: &Caller) -> ();
    fn credential(kind: CredentialKind, digest: &Digest) -> Option<Credential>;
    fn credential_of(id: CredentialId) -> Option<Credential>;
    fn credentials() -> Vec<Credential>;
    fn revoke_credential(id: CredentialId, by: &Caller, now: Time) -> ();
});

through!(KeyUses {
    fn enter_key(record: KeyRecord) -> KeyRecord;
    fn key_records() -> Vec<KeyRecord>;
    fn set_key_state(key: &Digest, state: KeyState) -> KeyRecord;
    fn grant_uses(wanted: WantedUses) -> GrantedUses;
    fn note_uses(key: &Digest, uses: Vec<KeyHour>) -> ();
    fn key_uses(key: &Digest, from: u64, until: u64) -> Vec<KeyHour>;
    fn granted(key: &Digest, hour: u64) -> (u64, u64);
});

through!(SigningRequests {
    fn insert_signing_request(request: SigningRequest) -> ();
    fn signing_request(id: RequestId) -> Option<SigningRequest>;
    fn signing_requests(state: Option<RequestState>, page: Page<RequestId>) -> Vec<SigningRequest>;
    fn insert_approval(request: RequestId, approval: Approval) -> ();
    fn approvals(request: RequestId) -> Vec<Approval>;
    fn remove_approvals(request: RequestId, brought_by: &str) -> usize;
    fn close_signing_request(request: RequestId, state: RequestState) -> ();
});

through!(TrustDocuments {
    fn insert_trust_document(document: TrustDocument) -> ();
    fn trust_document(kind: TrustKind, version: u64) -> Option<TrustDocument>;
    fn newest_trust_document(kind: TrustKind) -> Option<TrustDocument>;
    fn trust_documents(kind: TrustKind) -> Vec<TrustDocument>;
});

through!(Events {
    fn note(event: Event, circumstances: Option<Circumstances>) -> ();
    fn waiting_events(limit: u32) -> Vec<WaitingEvent>;
    fn events_entered(entered: Vec<(u64, u64)>) -> ();
});

through!(AuditTrail {
    fn unrecorded(limit: u32) -> Unrecorded;
    fn record(since: AuditPosition, until: AuditPosition, records: Vec<AuditRecord>) -> ();
    fn audit_records(filter: AuditFilter, page: Page<u64>) -> Vec<AuditRecord>;
    fn records_after(number: u64, limit: u32) -> Vec<AuditRecord>;
    fn told(receiver: &str) -> u64;
    fn set_told(receiver: &str, number: u64) -> ();
    fn forget_records(before: Time, most: u32) -> u32;
});

through!(Policies {
    fn insert_policy_proposal(proposal: PolicyProposal) -> ();
    fn policy_proposal(id: RequestId) -> Option<PolicyProposal>;
    fn policy_proposals(state: Option<ProposalState>, page: Page<RequestId>) -> Vec<PolicyProposal>;
    fn proposals_of_policy(policy: &Digest) -> Vec<PolicyProposal>;
    fn insert_policy_approval(proposal: RequestId, approval: Approval) -> ();
    fn policy_approvals(proposal: RequestId) -> Vec<Approval>;
    fn close_policy_proposal(id: RequestId, state: ProposalState) -> ();
    fn activate_policy(activation: PolicyActivation) -> ();
    fn policy_in_force() -> Option<PolicyActivation>;
    fn policy_activations(page: Page<u64>) -> Vec<PolicyActivation>;
});

through!(UsedTokens {
    fn use_token(used: TokenUsed) -> bool;
    fn forget_tokens(now: Time, most: u32) -> u32;
});

through!(Habits {
    fn habit(of: &HabitOf) -> Option<Habit>;
    fn keep_habits(habits: Vec<(HabitOf, Habit)>) -> ();
    fn forget_habits(before: u32, most: u32) -> u32;
});

through!(Continuity {
    fn answers() -> ();
    fn has_successor() -> bool;
});
