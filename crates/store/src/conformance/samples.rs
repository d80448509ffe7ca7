//! Sample values that satisfy every rule, each new one unlike the last.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use firmseal_fleet::{
    Approval, ApprovalSignature, Artifact, ArtifactOrder, Asked, BlockSize, Bootloader, Caller, CallerKind,
    Certificate, Cohort, ComponentSpec, Credential, CredentialId, CredentialKind, Device, DeviceState,
    EnrolmentToken, Environment, Equipment, Job, JobKind, Phase, Priority, Product, Progress, Release,
    ReleaseComponent, ReleaseState, Report, ReportId, RequestState, Role, Rollout, RolloutState, Running,
    Scope, Signature, SigningRequest, SlotState, Time,
};
use firmseal_manifest::{ArtifactId, DeviceId, Digest, ProductId, ReleaseId, RequestId, RolloutId};
use semver::Version;
use uuid::Uuid;

use crate::{Allowance, NewRequest, Reservation, Store};

/// A time that is as good as any.
pub const NOW: Time = Time::from_millis(1_800_000_000_000);

/// `NOW` and some seconds.
pub fn later(seconds: u64) -> Time {
    NOW.plus(Duration::from_secs(seconds))
}

/// A digest that nothing has.
pub fn digest() -> Digest {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut bytes = [0xd1; 32];
    bytes[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    Digest(bytes)
}

/// Whoever makes products and credentials.
pub fn admin() -> Caller {
    Caller { roles: [Role::Admin].into(), source: Some([192, 0, 2, 7].into()), ..Caller::local("alice") }
}

/// A product.
pub fn product(name: &str) -> Product {
    Product {
        id: name.parse().unwrap(),
        environment: Environment::Test,
        vendor: Uuid::from_u128(1),
        class: Uuid::from_u128(2),
        hardware: vec!["A1".to_owned(), "A2".to_owned()],
        format: "raw".to_owned(),
        components: vec![ComponentSpec {
            name: "app".to_owned(),
            capacity: u64::MAX,
            block_size: BlockSize::Page,
            addresses: None,
        }],
        created: NOW,
    }
}

/// An artifact whose blob was just stored.
pub async fn artifact(store: &dyn Store, bytes: &'static [u8]) -> Artifact {
    let id = store.put_bytes(bytes.into()).await.unwrap();
    Artifact {
        id: ArtifactId(id),
        size: bytes.len() as u64,
        format: "raw".to_owned(),
        inspection: serde_json::json!({ "version": null, "notes": ["ä", 1.5] }),
        uploaded_by: "ci".to_owned(),
        created: NOW,
    }
}

/// A release of a product with everything it stands on, not yet inserted.
pub async fn release(store: &dyn Store, product: &str, version: &str, sequence: u64) -> Release {
    let product = self::product(product);
    store.insert_product(product.clone(), &admin()).await.unwrap();
    let artifact = artifact(store, b"the bytes of an image").await;
    store.insert_artifact(artifact.clone()).await.unwrap();
    let empty = store.put_bytes("".into()).await.unwrap();
    let envelope = store.put_bytes(format!("envelope {version} {sequence}").into()).await.unwrap();
    Release {
        id: ReleaseId::new(),
        product: product.id,
        channel: "stable".parse().unwrap(),
        version: version.parse().unwrap(),
        sequence,
        epoch: 1,
        components: vec![ReleaseComponent {
            name: "app".to_owned(),
            artifact: artifact.id,
            payload: artifact.id.0,
            size: artifact.size,
            tree_root: digest(),
            hash_blocks: empty,
        }],
        manifest: digest(),
        envelope,
        sbom: Some(artifact.id.0),
        evidence: vec![artifact.id],
        state: ReleaseState::Signed,
        build: "build-17".to_owned(),
        commit: "0123abc".to_owned(),
        request: RequestId::new(),
        requester: "ci".to_owned(),
        log_index: 0,
        created: NOW,
    }
}

/// A signing request under a key.
pub fn request(key: &str, fingerprint: Digest) -> NewRequest {
    NewRequest {
        id: RequestId::new(),
        key: key.to_owned(),
        fingerprint,
        requester: "ci".to_owned(),
        now: NOW,
        lease: Duration::from_secs(60),
        alone: false,
    }
}

/// What a claim reserves for a release.
pub fn reservation(release: &Release) -> Reservation {
    Reservation {
        product: release.product.clone(),
        channel: release.channel.clone(),
        version: release.version.clone(),
        sequence: release.sequence,
    }
}

/// A job of a team, to be signed with a key.
pub fn job(team: &str, signing_key: &str, priority: Priority) -> Job {
    let unlike = digest();
    let caller = Caller {
        name: "cïo".to_owned(),
        kind: CallerKind::Workload,
        team: Some(team.to_owned()),
        roles: [Role::Signer].into(),
        claims: [("repository".to_owned(), "acme/gateway".to_owned())].into(),
        scope: Scope::default(),
        source: Some([192, 0, 2, 7].into()),
    };
    let asked = Asked {
        key: unlike.to_string(),
        fingerprint: unlike,
        caller,
        kind: JobKind::Artifact(ArtifactOrder { artifact: ArtifactId(unlike), key: None }),
        product: "gateway".parse().unwrap(),
        channel: "stable".parse().unwrap(),
        version: Version::new(1, 2, 3),
        epoch: 2,
        parameters: [("slot".to_owned(), "a".to_owned())].into(),
        build: "b".to_owned(),
        commit: "c".to_owned(),
        evidence: vec![ArtifactId(unlike)],
        signing_key: signing_key.to_owned(),
        priority,
        created: NOW,
        deadline: later(3600),
    };
    Job { id: RequestId::new(), asked, progress: Progress::default() }
}

/// What an artifact job came to.
pub fn signature(job: &Job) -> Signature {
    Signature {
        request: job.id,
        product: job.asked.product.clone(),
        channel: job.asked.channel.clone(),
        version: job.asked.version.clone(),
        artifact: ArtifactId(job.asked.fingerprint),
        format: "raw".to_owned(),
        value: vec![0, 255, 7],
        tbs: digest(),
        header: digest(),
        signed: Some(ArtifactId(digest())),
        key: job.asked.signing_key.clone(),
        key_id: digest(),
        algorithm: "P-256".to_owned(),
        fallback: false,
        policy: digest(),
        decision: Some(digest()),
        log_index: 0,
        attempts: 2,
        timestamps: vec![],
        asked: NOW,
        finished: later(1),
    }
}

/// More than any test uses up.
pub const ALLOWANCE: Allowance = Allowance { now: NOW, most: 10_000 };

/// An enrolment token.
pub fn token(product: &str, uses: u32) -> EnrolmentToken {
    EnrolmentToken {
        hash: digest(),
        product: product.parse().unwrap(),
        labels: [("site".to_owned(), "lab".to_owned())].into(),
        expires: later(3600),
        uses,
        created_by: "alice".to_owned(),
        created: NOW,
    }
}

/// A certificate for a key.
pub fn certificate(spki: Digest) -> Certificate {
    Certificate { fingerprint: digest(), spki, serial: "01ab".to_owned(), not_after: later(86_400) }
}

/// A device with a key of its own.
pub fn device(product: &ProductId) -> Device {
    Device {
        id: DeviceId::new(),
        product: product.clone(),
        certificate: certificate(digest()),
        state: DeviceState::Active,
        running: None,
        equipment: None,
        last_seen: None,
        labels: [("site".to_owned(), "lab".to_owned())].into(),
        held: [].into(),
        created: NOW,
    }
}

/// A device that is enrolled in a product that exists.
pub async fn enrolled(store: &dyn Store, product: &str) -> Device {
    store.insert_product(self::product(product), &admin()).await.unwrap();
    let token = token(product, 1);
    store.insert_token(token.clone()).await.unwrap();
    let device = device(&token.product);
    store.enrol(&token.hash, device.clone(), ALLOWANCE).await.unwrap();
    device
}

/// What a device may say it runs.
pub fn running(sequence: u64) -> Running {
    Running {
        version: Version::new(1, 0, sequence),
        sequence,
        manifest: Some(digest()),
        epoch: 1,
        slot: "a".to_owned(),
        state: SlotState::Confirmed,
    }
}

/// What a device may say it has.
pub fn equipment(root_version: u64) -> Equipment {
    Equipment {
        agent: "firmseal-agent 1.0.0".to_owned(),
        root_version,
        hardware: Some("A2".to_owned()),
        bootloader: Bootloader {
            name: "a \"loader\" 2026.1".to_owned(),
            verifies: true,
            trial: false,
            epoch_counter: true,
        },
    }
}

/// A report of a device.
pub fn report(device: DeviceId, release: Option<ReleaseId>, phase: Phase) -> Report {
    Report {
        id: ReportId(Uuid::now_v7()),
        device,
        rollout: None,
        release,
        build: Some("build-17".to_owned()),
        request: Some(RequestId::new()),
        phase,
        time: NOW,
        blocks_fetched: 3,
        blocks_resumed: 1,
    }
}

/// A signing request that waits.
pub fn signing_request(product: &str) -> SigningRequest {
    SigningRequest {
        id: RequestId::new(),
        key: "order 1".to_owned(),
        fingerprint: digest(),
        product: product.parse().unwrap(),
        channel: "stable".parse().unwrap(),
        version: Version::new(1, 2, 3),
        sequence: 7,
        epoch: 2,
        components: vec![],
        leaves: vec![digest(), digest()],
        manifest: digest(),
        unsigned: digest(),
        previous: Some(digest()),
        header: digest(),
        difference: digest(),
        policy: digest(),
        decision: Some(digest()),
        need: 2,
        signers: vec![digest()],
        requester: "cïo".to_owned(),
        requester_id: digest(),
        build: "b".to_owned(),
        commit: "c".to_owned(),
        rollback_of: None,
        sbom: Some(digest()),
        evidence: vec![ArtifactId(digest())],
        previous_sbom: None,
        expiry: 1_900_000_000,
        state: RequestState::Waiting,
        created: NOW,
    }
}

/// What a holder says.
pub fn approval(holder: &str, brought_by: &str) -> Approval {
    Approval {
        holder: holder.to_owned(),
        key: digest(),
        signature: ApprovalSignature::Cose { signature: vec![0, 255, 7] },
        brought_by: brought_by.to_owned(),
        created: NOW,
    }
}

/// A rollout of a release.
pub fn rollout(release: &Release) -> Rollout {
    Rollout {
        id: RolloutId::new(),
        release: release.id,
        product: release.product.clone(),
        cohort: Cohort::Labels([("site".to_owned(), "lab".to_owned())].into()),
        state: RolloutState::Active,
        starts: NOW,
        created_by: "alice".to_owned(),
        created: NOW,
    }
}

/// A credential.
pub fn credential(kind: CredentialKind) -> Credential {
    Credential {
        id: CredentialId(Uuid::now_v7()),
        operator: "alice".to_owned(),
        kind,
        digest: digest(),
        roles: [Role::Signer, Role::Auditor].into(),
        team: Some("boards".to_owned()),
        scope: Scope { products: ["gateway".parse().unwrap()].into(), ..Scope::default() },
        created: NOW,
        expires: Some(later(60)),
        revoked: None,
    }
}
