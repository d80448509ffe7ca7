//! Between the wire's types and the fleet's: the one place where either can
//! change without the other.

pub(crate) mod audit;
pub(crate) mod policies;
mod signatures;

use firmseal_api::access::OperatorToken;
use firmseal_api::enrolment::TokenRecord;
use firmseal_api::fleet as api;
use firmseal_api::registry;
use firmseal_api::requests;
use firmseal_api::signing::{Payload, Release as ApiRelease, ReleaseState as ApiReleaseState};
use firmseal_api::updates;
use firmseal_api::updates::{Phase as ApiPhase, Report as ApiReport, TEXT_MAX};
use firmseal_fleet as fleet;
use firmseal_fleet::{FleetError, Phase, Report, ReportId, SlotState, Time};
use firmseal_manifest::{ArtifactId, DeviceId};

use crate::error::ApiError;

pub(crate) use signatures::{priority_in, signature_answer_out, signature_request_out, signature_state_in};

impl From<FleetError> for ApiError {
    fn from(err: FleetError) -> ApiError {
        ApiError::Malformed(err.to_string())
    }
}

/// What a device says it runs and has, once its texts are known to be short.
pub(crate) fn state_in(
    state: updates::DeviceState,
) -> Result<(Option<fleet::Running>, fleet::Equipment), ApiError> {
    let texts = [
        Some(&state.agent),
        state.hardware.as_ref(),
        Some(&state.bootloader.name),
        state.running.as_ref().map(|running| &running.slot),
    ];
    if texts.into_iter().flatten().any(|text| text.len() > TEXT_MAX) {
        return Err(ApiError::Malformed(format!("a text in the state is longer than {TEXT_MAX} bytes")));
    }
    let bootloader = fleet::Bootloader {
        name: state.bootloader.name,
        verifies: state.bootloader.verifies,
        trial: state.bootloader.trial,
        epoch_counter: state.bootloader.epoch_counter,
    };
    let equipment = fleet::Equipment {
        agent: state.agent,
        root_version: state.root_version,
        hardware: state.hardware,
        bootloader,
    };
    Ok((state.running.map(running_in), equipment))
}

fn equipment_out(equipment: fleet::Equipment) -> api::Equipment {
    let bootloader = equipment.bootloader;
    api::Equipment {
        agent: equipment.agent,
        root_version: equipment.root_version,
        hardware: equipment.hardware,
        bootloader: updates::Bootloader {
            name: bootloader.name,
            verifies: bootloader.verifies,
            trial: bootloader.trial,
            epoch_counter: bootloader.epoch_counter,
        },
    }
}

fn running_in(running: updates::Running) -> fleet::Running {
    fleet::Running {
        version: running.version,
        sequence: running.sequence,
        manifest: running.manifest.map(|manifest| manifest.0),
        epoch: running.epoch,
        slot: running.slot,
        state: if running.confirmed { SlotState::Confirmed } else { SlotState::Trial },
    }
}

fn running_out(running: fleet::Running) -> updates::Running {
    updates::Running {
        version: running.version,
        sequence: running.sequence,
        manifest: running.manifest.map(ArtifactId),
        epoch: running.epoch,
        slot: running.slot,
        confirmed: running.state == SlotState::Confirmed,
    }
}

pub(crate) fn report_in(device: DeviceId, report: ApiReport, now: Time) -> Result<Report, ApiError> {
    let (given, message) = (report.code, report.message.unwrap_or_default());
    // Of every phase: those that keep no message are bounded like the others.
    if message.len() > updates::MESSAGE_MAX {
        let most = updates::MESSAGE_MAX;
        return Err(ApiError::Malformed(format!("the message of a report has at most {most} bytes")));
    }
    let code =
        || given.ok_or_else(|| ApiError::Malformed(format!("{}: give the code", report.phase.as_str())));
    let phase = match report.phase {
        ApiPhase::Offered => Phase::Offered,
        ApiPhase::Downloading => Phase::Downloading,
        ApiPhase::Installed => Phase::Installed,
        ApiPhase::Recovered => Phase::Recovered { message },
        ApiPhase::Trial => Phase::Trial,
        ApiPhase::Confirmed => Phase::Confirmed,
        ApiPhase::Reverted => Phase::Reverted { code: given, message },
        ApiPhase::Refused => Phase::Refused { code: code()?, message },
        ApiPhase::Isolated => Phase::Isolated { code: code()?, message },
        ApiPhase::Failed => Phase::Failed { code: code()?, message },
    };
    let report = Report {
        id: ReportId(report.id),
        device,
        rollout: report.rollout,
        release: report.release,
        build: report.build,
        request: report.request,
        phase,
        time: report.at.map_or(now, Time::from_millis),
        blocks_fetched: report.blocks_fetched,
        blocks_resumed: report.blocks_resumed,
    };
    report.check()?;
    Ok(report)
}

pub(crate) fn report_out(report: Report) -> ApiReport {
    let (phase, code, message) = match report.phase {
        Phase::Offered => (ApiPhase::Offered, None, None),
        Phase::Downloading => (ApiPhase::Downloading, None, None),
        Phase::Installed => (ApiPhase::Installed, None, None),
        Phase::Recovered { message } => (ApiPhase::Recovered, None, Some(message)),
        Phase::Trial => (ApiPhase::Trial, None, None),
        Phase::Confirmed => (ApiPhase::Confirmed, None, None),
        Phase::Reverted { code, message } => {
            (ApiPhase::Reverted, code, Some(message).filter(|message| !message.is_empty()))
        }
        Phase::Refused { code, message } => (ApiPhase::Refused, Some(code), Some(message)),
        Phase::Isolated { code, message } => (ApiPhase::Isolated, Some(code), Some(message)),
        Phase::Failed { code, message } => (ApiPhase::Failed, Some(code), Some(message)),
    };
    ApiReport {
        id: report.id.0,
        release: report.release,
        rollout: report.rollout,
        phase,
        code,
        message,
        at: Some(report.time.millis()),
        build: report.build,
        request: report.request,
        blocks_fetched: report.blocks_fetched,
        blocks_resumed: report.blocks_resumed,
    }
}

pub(crate) fn device_out(device: fleet::Device, seen: Option<Time>) -> api::Device {
    api::Device {
        id: device.id,
        product: device.product,
        state: match device.state {
            fleet::DeviceState::Active => api::DeviceStatus::Active,
            fleet::DeviceState::Revoked => api::DeviceStatus::Revoked,
        },
        certificate_serial: device.certificate.serial,
        certificate_expires: device.certificate.not_after,
        last_seen: device.last_seen.max(seen),
        running: device.running.map(running_out),
        equipment: device.equipment.map(equipment_out),
        labels: device.labels,
        held: device.held,
        created: device.created,
    }
}

pub(crate) fn token_out(token: fleet::EnrolmentToken) -> TokenRecord {
    TokenRecord {
        id: ArtifactId(token.hash),
        product: token.product,
        labels: token.labels,
        uses: token.uses,
        expires: token.expires,
        created_by: token.created_by,
        created: token.created,
    }
}

pub(crate) fn cohort_in(cohort: api::Cohort) -> fleet::Cohort {
    match cohort {
        api::Cohort::All => fleet::Cohort::All,
        api::Cohort::Devices(devices) => fleet::Cohort::Devices(devices),
        api::Cohort::Labels(labels) => fleet::Cohort::Labels(labels),
    }
}

pub(crate) fn rollout_out(rollout: fleet::Rollout) -> api::Rollout {
    api::Rollout {
        id: rollout.id,
        release: rollout.release,
        product: rollout.product,
        cohort: match rollout.cohort {
            fleet::Cohort::All => api::Cohort::All,
            fleet::Cohort::Devices(devices) => api::Cohort::Devices(devices),
            fleet::Cohort::Labels(labels) => api::Cohort::Labels(labels),
        },
        state: match rollout.state {
            fleet::RolloutState::Active => api::RolloutState::Active,
            fleet::RolloutState::Halted => api::RolloutState::Halted,
            fleet::RolloutState::Finished => api::RolloutState::Finished,
        },
        starts: rollout.starts,
        created_by: rollout.created_by,
        created: rollout.created,
    }
}

pub(crate) fn product_in(product: registry::Product, now: Time) -> Result<fleet::Product, ApiError> {
    let components = product
        .components
        .into_iter()
        .map(|component| {
            Ok(fleet::ComponentSpec {
                name: component.name,
                capacity: component.capacity,
                block_size: component.block_size.try_into()?,
                addresses: component.addresses.map(map_in),
            })
        })
        .collect::<Result<Vec<_>, FleetError>>()?;
    let product = fleet::Product {
        id: product.id,
        environment: match product.environment {
            registry::Environment::Test => fleet::Environment::Test,
            registry::Environment::Production => fleet::Environment::Production,
        },
        vendor: product.vendor,
        class: product.class,
        hardware: product.hardware,
        format: product.format,
        components,
        created: now,
    };
    product.check()?;
    Ok(product)
}

fn map_in(map: registry::AddressMap) -> fleet::AddressMap {
    let regions = |all: Vec<registry::Region>| {
        let region =
            |one: registry::Region| fleet::Region { name: one.name, start: one.start, size: one.size };
        all.into_iter().map(region).collect()
    };
    fleet::AddressMap {
        allowed: regions(map.allowed),
        protected: regions(map.protected),
        allow_unplaced: map.allow_unplaced,
    }
}

fn map_out(map: fleet::AddressMap) -> registry::AddressMap {
    let regions = |all: Vec<fleet::Region>| {
        let region =
            |one: fleet::Region| registry::Region { name: one.name, start: one.start, size: one.size };
        all.into_iter().map(region).collect()
    };
    registry::AddressMap {
        allowed: regions(map.allowed),
        protected: regions(map.protected),
        allow_unplaced: map.allow_unplaced,
    }
}

pub(crate) fn product_out(product: fleet::Product) -> registry::Product {
    registry::Product {
        id: product.id,
        environment: match product.environment {
            fleet::Environment::Test => registry::Environment::Test,
            fleet::Environment::Production => registry::Environment::Production,
        },
        vendor: product.vendor,
        class: product.class,
        hardware: product.hardware,
        format: product.format,
        components: product
            .components
            .into_iter()
            .map(|component| registry::Component {
                name: component.name,
                capacity: component.capacity,
                block_size: component.block_size.bytes(),
                addresses: component.addresses.map(map_out),
            })
            .collect(),
        created: Some(product.created),
    }
}

pub(crate) fn artifact_out(artifact: fleet::Artifact) -> registry::Artifact {
    registry::Artifact {
        id: artifact.id,
        size: artifact.size,
        format: artifact.format,
        inspection: artifact.inspection,
        uploaded_by: artifact.uploaded_by,
        created: artifact.created,
    }
}

pub(crate) fn upload_out(upload: firmseal_store::Upload) -> registry::Upload {
    registry::Upload {
        id: upload.announced.id,
        sha256: ArtifactId(upload.announced.digest),
        size: upload.announced.size,
        offset: upload.offset,
        expires: upload.announced.expires,
    }
}

fn payload_out(component: fleet::ReleaseComponent) -> Payload {
    Payload {
        component: component.name,
        artifact: component.artifact,
        payload: ArtifactId(component.payload),
        size: component.size,
        tree_root: ArtifactId(component.tree_root),
        uri: format!("payloads/{}", component.payload),
        tree: format!("payloads/{}.tree", component.payload),
    }
}

pub(crate) fn request_state_in(state: requests::RequestState) -> fleet::RequestState {
    match state {
        requests::RequestState::Waiting => fleet::RequestState::Waiting,
        requests::RequestState::Signed => fleet::RequestState::Signed,
        requests::RequestState::Cancelled => fleet::RequestState::Cancelled,
        requests::RequestState::Superseded => fleet::RequestState::Superseded,
        requests::RequestState::Expired => fleet::RequestState::Expired,
    }
}

pub(crate) fn request_out(
    request: fleet::SigningRequest,
    approvals: Vec<fleet::Approval>,
    missing: usize,
) -> requests::SigningRequest {
    requests::SigningRequest {
        id: request.id,
        product: request.product,
        channel: request.channel,
        version: request.version,
        sequence: request.sequence,
        epoch: request.epoch,
        components: request.components.into_iter().map(payload_out).collect(),
        manifest: ArtifactId(request.manifest),
        previous: request.previous.map(ArtifactId),
        header: ArtifactId(request.header),
        difference: ArtifactId(request.difference),
        policy: ArtifactId(request.policy),
        signers: request.signers.into_iter().map(ArtifactId).collect(),
        requester: request.requester,
        requester_id: ArtifactId(request.requester_id),
        build: request.build,
        commit: request.commit,
        sbom: request.sbom.map(ArtifactId),
        evidence: request.evidence,
        previous_sbom: request.previous_sbom.map(ArtifactId),
        expiry: request.expiry,
        state: match request.state {
            fleet::RequestState::Waiting => requests::RequestState::Waiting,
            fleet::RequestState::Signed => requests::RequestState::Signed,
            fleet::RequestState::Cancelled => requests::RequestState::Cancelled,
            fleet::RequestState::Superseded => requests::RequestState::Superseded,
            fleet::RequestState::Expired => requests::RequestState::Expired,
        },
        approvals: approvals.into_iter().map(approval_out).collect(),
        missing: u32::try_from(missing).unwrap_or(u32::MAX),
        created: request.created,
    }
}

pub(crate) fn release_out(release: fleet::Release) -> ApiRelease {
    ApiRelease {
        id: release.id,
        product: release.product,
        channel: release.channel,
        version: release.version,
        sequence: release.sequence,
        epoch: release.epoch,
        manifest: ArtifactId(release.manifest),
        envelope: ArtifactId(release.envelope),
        sbom: release.sbom.map(ArtifactId),
        evidence: release.evidence,
        components: release.components.into_iter().map(payload_out).collect(),
        log_index: release.log_index,
        build: release.build,
        commit: release.commit,
        request: release.request,
        requester: release.requester,
        state: match release.state {
            fleet::ReleaseState::Signed => ApiReleaseState::Signed,
            fleet::ReleaseState::Verified => ApiReleaseState::Verified,
            fleet::ReleaseState::Withdrawn => ApiReleaseState::Withdrawn,
            fleet::ReleaseState::Revoked => ApiReleaseState::Revoked,
        },
        created: release.created,
    }
}

pub(crate) fn credential_out(credential: fleet::Credential) -> OperatorToken {
    OperatorToken {
        id: credential.id.0,
        name: credential.operator,
        roles: credential.roles,
        team: credential.team,
        products: credential.scope.products,
        channels: credential.scope.channels,
        keys: credential.scope.keys,
        created: credential.created,
        expires: credential.expires,
        revoked: credential.revoked,
    }
}

fn approval_out(approval: fleet::Approval) -> requests::Approval {
    requests::Approval {
        holder: approval.holder,
        key: ArtifactId(approval.key),
        brought_by: approval.brought_by,
        created: approval.created,
    }
}
