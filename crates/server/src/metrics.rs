//! Metrics: what the server counts, in the OpenMetrics text form.
//!
//! Labels come from fixed words, and from the names that the configuration
//! gives to keys. A device id, a version or a name from a request never
//! becomes a label: the number of time series is bounded by this file and the
//! configuration.

use std::fmt::Write;
use std::sync::atomic::Ordering;

use firmseal_api::keys::SigningKey;
use firmseal_fleet::{KeyPhase, Priority, Time};
use firmseal_sign::{BreakerState, PolicyStanding};
use firmseal_store::Depth;
use firmseal_witness::Status;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

/// One label: the outcome, phase or reason.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Outcome {
    pub(crate) outcome: &'static str,
}

/// A listener and why a handshake on it failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Handshake {
    pub(crate) listener: &'static str,
    pub(crate) reason: &'static str,
}

/// A listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OnListener {
    pub(crate) listener: &'static str,
}

/// The phase of a report, and the number of a refusal or of trouble (0 for
/// none).
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Reported {
    pub(crate) phase: &'static str,
    pub(crate) code: u32,
}

/// A listener and a class of answers: `2xx`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Answered {
    pub(crate) listener: &'static str,
    pub(crate) status: &'static str,
}

/// A signing key. Names stand in the settings, not in requests.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OfKey {
    pub(crate) key: String,
}

/// A signing key, by the name that the configuration gives it, and how it
/// stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct KeyStands {
    pub(crate) key: String,
    pub(crate) state: &'static str,
}

/// Where a policy comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct PolicyFrom {
    pub(crate) source: &'static str,
}

/// How urgent jobs are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Urgency {
    pub(crate) priority: &'static str,
}

/// A receiver of notices, by its name in the settings, and how it went.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Notice {
    pub(crate) receiver: String,
    pub(crate) outcome: &'static str,
}

/// Everything that is counted.
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) signing: Family<Outcome, Counter>,
    pub(crate) signing_seconds: Histogram,
    /// Jobs that were carried out.
    pub(crate) jobs: Family<Outcome, Counter>,
    /// Uses of keys for jobs.
    pub(crate) key_uses: Family<Outcome, Counter>,
    pub(crate) signature_seconds: Histogram,
    queued: Family<Urgency, Gauge>,
    queued_seconds: Family<Urgency, Gauge>,
    running: Gauge,
    key_stands: Family<KeyStands, Gauge>,
    pub(crate) polls: Family<Outcome, Counter>,
    pub(crate) reports: Family<Reported, Counter>,
    pub(crate) bytes_served: Family<OnListener, Counter>,
    pub(crate) verifications: Family<Outcome, Counter>,
    pub(crate) handshakes_failed: Family<Handshake, Counter>,
    pub(crate) connections: Family<OnListener, Gauge>,
    pub(crate) answers: Family<Answered, Counter>,
    pub(crate) enrolments: Family<Outcome, Counter>,
    log_entries: Family<Outcome, Gauge>,
    log_stands: Gauge,
    pub(crate) events_waiting: Gauge,
    log_witnesses: Family<Outcome, Gauge>,
    key_signings: Family<OfKey, Counter>,
    key_left: Family<OfKey, Gauge>,
    key_left_in_hour: Family<OfKey, Gauge>,
    key_rotation_days: Family<OfKey, Gauge>,
    key_state: Family<KeyStands, Gauge>,
    pub(crate) notices: Family<Notice, Counter>,
    policy: Family<PolicyFrom, Gauge>,
}

/// Numbers above this are counted together: a device must not be
/// able to make time series.
const CODES_COUNTED: u16 = 999;

impl Metrics {
    pub(crate) fn new() -> Metrics {
        let mut registry = Registry::with_prefix("firmseal");
        let signing_seconds =
            Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0]);
        let signature_seconds = Histogram::new([
            0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0, 3600.0,
        ]);
        let metrics = Metrics {
            jobs: Family::default(),
            key_uses: Family::default(),
            signature_seconds: signature_seconds.clone(),
            queued: Family::default(),
            queued_seconds: Family::default(),
            running: Gauge::default(),
            key_stands: Family::default(),
            signing: Family::default(),
            signing_seconds: signing_seconds.clone(),
            polls: Family::default(),
            reports: Family::default(),
            bytes_served: Family::default(),
            verifications: Family::default(),
            handshakes_failed: Family::default(),
            connections: Family::default(),
            answers: Family::default(),
            enrolments: Family::default(),
            log_entries: Family::default(),
            log_stands: Gauge::default(),
            events_waiting: Gauge::default(),
            log_witnesses: Family::default(),
            key_signings: Family::default(),
            key_left: Family::default(),
            key_left_in_hour: Family::default(),
            key_rotation_days: Family::default(),
            key_state: Family::default(),
            notices: Family::default(),
            policy: Family::default(),
            registry: Registry::default(),
        };
        registry.register("signing", "Signing requests by outcome", metrics.signing.clone());
        registry.register_with_unit(
            "signing_duration",
            "Time from a signing request to its durable release",
            Unit::Seconds,
            signing_seconds,
        );
        registry.register("jobs", "Claims on signing jobs by how they ended", metrics.jobs.clone());
        registry.register("key_uses", "Uses of keys for jobs by outcome", metrics.key_uses.clone());
        registry.register_with_unit(
            "signature_duration",
            "Time from a request to its stored signature",
            Unit::Seconds,
            signature_seconds,
        );
        registry.register("jobs_queued", "Jobs that wait for their turn", metrics.queued.clone());
        registry.register_with_unit(
            "jobs_queued_oldest",
            "How long the oldest of them has waited",
            Unit::Seconds,
            metrics.queued_seconds.clone(),
        );
        registry.register("jobs_running", "Jobs that are being carried out", metrics.running.clone());
        registry.register(
            "key_breaker",
            "1 for the state of a key's breaker; 0 for every other",
            metrics.key_stands.clone(),
        );
        registry.register("polls", "Polls by whether they brought anything new", metrics.polls.clone());
        registry.register(
            "reports",
            "Reports by phase and number of the refusal or trouble",
            metrics.reports.clone(),
        );
        registry.register_with_unit(
            "served",
            "Payload, tree and envelope bytes handed to connections",
            Unit::Bytes,
            metrics.bytes_served.clone(),
        );
        registry.register("verifications", "Releases the server verified", metrics.verifications.clone());
        registry.register(
            "tls_handshakes_failed",
            "TLS handshakes that failed, by reason",
            metrics.handshakes_failed.clone(),
        );
        registry.register("connections", "Open connections", metrics.connections.clone());
        registry.register("answers", "Answers by class of status", metrics.answers.clone());
        registry.register("enrolments", "Enrolments by outcome", metrics.enrolments.clone());
        registry.register(
            "log_entries",
            "Entries of the log that are durable, and that a quorum of witnesses has seen",
            metrics.log_entries.clone(),
        );
        registry.register(
            "log_stands",
            "1 while keys may be used: the log has no witnesses, or a quorum stands behind it",
            metrics.log_stands.clone(),
        );
        registry.register(
            "events_waiting",
            "Events that are not in the log yet, up to 1000",
            metrics.events_waiting.clone(),
        );
        registry.register(
            "log_witnesses",
            "Witnesses of the log by whether they cosigned when last asked",
            metrics.log_witnesses.clone(),
        );
        registry.register(
            "key_signings",
            "Uses of each signing key since the start",
            metrics.key_signings.clone(),
        );
        registry.register(
            "key_left",
            "Uses that a signing key with a limit has left",
            metrics.key_left.clone(),
        );
        registry.register(
            "key_left_in_hour",
            "Uses that a signing key with an hourly limit has left in this hour",
            metrics.key_left_in_hour.clone(),
        );
        registry.register(
            "key_rotation_days",
            "Days until a signing key should have a successor, negative afterwards",
            metrics.key_rotation_days.clone(),
        );
        registry.register("key_state", "1 for the state that a signing key has", metrics.key_state.clone());
        registry.register("notices", "Notices by receiver and outcome", metrics.notices.clone());
        registry.register(
            "policy",
            "1 for where the policy in force comes from: none, file, approved; broken while nothing is signed",
            metrics.policy.clone(),
        );
        registry.register("build", "The running build", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        Metrics { registry, ..metrics }
    }

    /// Counts how keys stand.
    pub(crate) fn keys(&self, states: &[(String, BreakerState)]) {
        for (key, own) in states {
            for state in BreakerState::ALL {
                let labels = KeyStands { key: key.clone(), state: state.word() };
                self.key_stands.get_or_create(&labels).set(i64::from(state == *own));
            }
        }
    }

    /// Counts how long the queues are.
    pub(crate) fn queues(&self, depths: &[Depth], running: u32, now: Time) {
        self.running.set(running.into());
        for priority in Priority::ALL {
            let own = || depths.iter().filter(|depth| depth.priority == priority);
            let queued: u64 = own().map(|depth| depth.queued).sum();
            let waited = own().map(|depth| now.millis().saturating_sub(depth.oldest.millis()) / 1000).max();
            let labels = Urgency { priority: priority.word() };
            let set = |family: &Family<Urgency, Gauge>, count: u64| {
                family.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
            };
            set(&self.queued, queued);
            set(&self.queued_seconds, waited.unwrap_or(0));
        }
    }

    /// Counts a report.
    pub(crate) fn report(&self, phase: &'static str, code: Option<u16>) {
        let code = u32::from(code.unwrap_or(0).min(CODES_COUNTED));
        self.reports.get_or_create(&Reported { phase, code }).inc();
    }

    /// Counts how the log stands.
    pub(crate) fn log(&self, status: &Status) {
        let set = |family: &Family<Outcome, Gauge>, outcome, count: u64| {
            family.get_or_create(&Outcome { outcome }).set(i64::try_from(count).unwrap_or(i64::MAX));
        };
        set(&self.log_entries, "durable", status.size);
        set(&self.log_entries, "witnessed", status.witnessed);
        self.log_stands.set(i64::from(status.stands.is_ok()));
        let failed = status.witnesses.iter().filter(|(_, trouble)| trouble.is_some()).count();
        set(&self.log_witnesses, "failed", failed as u64);
        set(&self.log_witnesses, "cosigned", (status.witnesses.len() - failed) as u64);
    }

    /// Measures where the policy in force comes from.
    pub(crate) fn policy(&self, standing: &PolicyStanding) {
        let own = match standing {
            PolicyStanding::None => "none",
            PolicyStanding::Given(_) => "file",
            PolicyStanding::Agreed(_) => "approved",
            PolicyStanding::Broken(_) => "broken",
        };
        for source in ["none", "file", "approved", "broken"] {
            self.policy.get_or_create(&PolicyFrom { source }).set(i64::from(source == own));
        }
    }

    /// Measures how a signing key stands.
    pub(crate) fn key(&self, key: &SigningKey, uses: u64) {
        let of = OfKey { key: key.name.to_string() };
        self.key_signings.get_or_create(&of).inner().store(uses, Ordering::Relaxed);
        let set = |family: &Family<OfKey, Gauge>, value: Option<i64>| {
            if let Some(value) = value {
                family.get_or_create(&of).set(value);
            }
        };
        let count = |count: Option<u64>| count.map(|count| i64::try_from(count).unwrap_or(i64::MAX));
        set(&self.key_left, count(key.left));
        set(&self.key_left_in_hour, count(key.left_in_hour));
        set(&self.key_rotation_days, key.days_left);
        for phase in KeyPhase::ALL {
            let state = KeyStands { key: of.key.clone(), state: phase.word() };
            self.key_state.get_or_create(&state).set(i64::from(key.state == phase.word()));
        }
    }

    /// The text form; `None` only if formatting into memory fails.
    pub(crate) fn text(&self) -> Option<String> {
        let mut out = String::new();
        encode(&mut out, &self.registry).ok()?;
        // A reader must be able to tell a whole text from a cut one.
        if !out.ends_with("# EOF\n") {
            out.write_str("# EOF\n").ok()?;
        }
        Some(out)
    }
}

/// Why a handshake failed, in one of a few words.
pub(crate) fn handshake_reason(err: &std::io::Error) -> &'static str {
    use rustls::{CertificateError, Error};
    let Some(tls) = err.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return "connection";
    };
    match tls {
        Error::NoCertificatesPresented => "no_certificate",
        Error::InvalidCertificate(why) => match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => "expired",
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "not_yet_valid",
            CertificateError::Revoked => "revoked",
            CertificateError::UnknownIssuer => "unknown_issuer",
            CertificateError::ApplicationVerificationFailure => "host_not_admitted",
            _ => "bad_certificate",
        },
        Error::AlertReceived(_) => "refused_by_client",
        Error::PeerIncompatible(_) => "incompatible",
        _ => "protocol",
    }
}
