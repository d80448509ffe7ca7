//! Metrics: what the server counts, in the OpenMetrics text form.
//!
//! docs/metrics.md says what each is for; a test holds the two together.

mod builds;
mod fate;
mod labels;

use std::fmt::Write;
use std::sync::atomic::Ordering;

use firmseal_api::keys::SigningKey;
use firmseal_fleet::{Deviation, JobKind, KeyPhase, Priority, Time};
use firmseal_keys::KeyPlace;
use firmseal_manifest::Denial;
use firmseal_sign::{BreakerState, PolicyStanding, StampAnswer};
use firmseal_store::Depth;
use firmseal_witness::Status;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};

use builds::Builds;
pub(crate) use fate::Fate;
pub(crate) use labels::*;

/// Bounds of durations, in seconds. 60 is the measure for signatures.
const SECONDS: [f64; 15] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0, 3600.0];

/// What becomes of timestamps: an authority gave one, or none; a signature
/// was left without any.
const STAMPS: [&str; 3] = ["given", "failed", "missing"];

/// Numbers above this are counted together: a device must not be
/// able to make time series.
const CODES_COUNTED: u16 = 999;

/// Something went wrong that somebody has to look into, in a word for
/// metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Incident {
    /// A key was out of reach, hung, or answered something else than a
    /// signature.
    Key,
    /// A key refused its PIN.
    Pin,
    /// The server could not do what it should.
    Internal,
    /// There is no space left.
    Full,
}

impl Incident {
    const ALL: [Incident; 4] = [Incident::Key, Incident::Pin, Incident::Internal, Incident::Full];

    fn word(self) -> &'static str {
        match self {
            Incident::Key => "key",
            Incident::Pin => "pin",
            Incident::Internal => "internal",
            Incident::Full => "full",
        }
    }
}

/// Makes metrics, each once.
#[derive(Default)]
struct Making {
    registry: Registry,
    names: Vec<String>,
}

impl Making {
    fn one<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        self.made(name, None, help, M::default())
    }

    fn made<M: Metric + Clone>(&mut self, name: &str, unit: Option<Unit>, help: &str, metric: M) -> M {
        match unit {
            None => {
                self.names.push(format!("firmseal_{name}"));
                self.registry.register(name, help, metric.clone());
            }
            Some(unit) => {
                self.names.push(format!("firmseal_{name}_{}", unit.as_str()));
                self.registry.register_with_unit(name, help, unit, metric.clone());
            }
        }
        metric
    }
}

type Counters<L> = Family<L, Counter>;
type Gauges<L> = Family<L, Gauge>;

/// Everything that is counted.
pub(crate) struct Metrics {
    registry: Registry,
    #[cfg_attr(not(test), expect(dead_code, reason = "the documentation is held against it"))]
    names: Vec<String>,
    pub(crate) signing_requests: Counters<Asked>,
    pub(crate) builds: Builds,
    pub(crate) signing_seconds: Family<Kind, Histogram>,
    queued: Gauges<Urgency>,
    queued_seconds: Gauges<Urgency>,
    running: Gauge,
    pub(crate) key_uses: Counters<Outcome>,
    key_stands: Gauges<KeyStands>,
    key_signings: Counters<OfKey>,
    key_left: Gauges<OfKey>,
    key_left_in_hour: Gauges<OfKey>,
    key_rotation_days: Gauges<OfKey>,
    key_state: Gauges<KeyStands>,
    key_hosts: Gauges<OnHost>,
    key_hanging: Gauges<OfKey>,
    pub(crate) anomalies: Counters<Departs>,
    pub(crate) revocation_seconds: Histogram,
    revocation_published: Gauge,
    revocation_devices: Gauges<Heard>,
    incidents: Counters<Kind>,
    pub(crate) polls: Counters<Outcome>,
    pub(crate) reports: Counters<Reported>,
    pub(crate) bytes_served: Counters<OnListener>,
    pub(crate) verifications: Counters<Outcome>,
    pub(crate) enrolments: Counters<Outcome>,
    pub(crate) connections: Gauges<OnListener>,
    pub(crate) handshakes_failed: Counters<Handshake>,
    pub(crate) answers: Counters<Answered>,
    log_entries: Gauges<Outcome>,
    log_stands: Gauge,
    log_witnesses: Gauges<Outcome>,
    pub(crate) events_waiting: Gauge,
    pub(crate) audit_records: Counters<Recorded>,
    pub(crate) audit_failing: Gauge,
    pub(crate) denials: Counters<Denied>,
    pub(crate) timestamps: Counters<Outcome>,
    pub(crate) notices: Counters<Notice>,
    policy: Gauges<PolicyFrom>,
    pub(crate) successor: Gauge,
}

impl Metrics {
    pub(crate) fn new() -> Metrics {
        let mut make = Making { registry: Registry::with_prefix("firmseal"), ..Making::default() };
        let seconds = || Histogram::new(SECONDS);
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        make.names.push("firmseal_build".to_owned());
        make.registry.register("build", "The running build", build);
        let metrics = Metrics {
            signing_requests: make.one("signing_requests", "Signing requests by what they came to"),
            builds: Builds::new(&mut make),
            signing_seconds: make.made(
                "signing_duration",
                Some(Unit::Seconds),
                "Time from a signing request, or from when people had agreed to it, to what is stored of it",
                Family::new_with_constructor(seconds),
            ),
            queued: make.one("jobs_queued", "Jobs that wait for their turn"),
            queued_seconds: make.made(
                "jobs_queued_oldest",
                Some(Unit::Seconds),
                "How long the oldest of them has waited",
                Family::default(),
            ),
            running: make.one("jobs_running", "Jobs that are being carried out"),
            key_uses: make.one("key_uses", "Uses of keys for jobs by outcome"),
            key_stands: make.one("key_breaker", "1 for the state of a key's breaker; 0 for every other"),
            key_signings: make.one("key_signings", "Uses of each signing key since the start"),
            key_left: make.one("key_left", "Uses that a signing key with a limit has left"),
            key_left_in_hour: make.one(
                "key_left_in_hour",
                "Uses that a signing key with an hourly limit has left in this hour",
            ),
            key_rotation_days: make.one(
                "key_rotation_days",
                "Days until a signing key should have a successor, negative afterwards",
            ),
            key_state: make.one("key_state", "1 for the state that a signing key has"),
            key_hosts: make.one("key_hosts", "1 for a key host that holds a key and is there; 0 for one that is away"),
            key_hanging: make.one("key_hanging_calls", "Calls into a key's token that are late and not back"),
            anomalies: make.one("anomalies", "Uses of keys that depart from the usual, by how"),
            revocation_seconds: make.made(
                "revocation_duration",
                Some(Unit::Seconds),
                "Time from the arrival of a revocation until rollouts of what it takes away are halted",
                seconds(),
            ),
            revocation_published: make.made(
                "revocation_published_timestamp",
                Some(Unit::Seconds),
                "When the newest revocation was published; 0 without one",
                Gauge::default(),
            ),
            revocation_devices: make
                .one("revocation_devices", "Active devices by whether they were heard of since then"),
            incidents: make.one("incidents", "What went wrong on the side of the service, by kind"),
            polls: make.one("polls", "Polls by whether they brought anything new"),
            reports: make.one("reports", "Reports by phase and number of the refusal or trouble"),
            bytes_served: make.made(
                "served",
                Some(Unit::Bytes),
                "Payload, tree and envelope bytes handed to connections",
                Family::default(),
            ),
            verifications: make.one("verifications", "Releases the server verified"),
            enrolments: make.one("enrolments", "Enrolments by outcome"),
            connections: make.one("connections", "Open connections"),
            handshakes_failed: make.one("tls_handshakes_failed", "TLS handshakes that failed, by reason"),
            answers: make.one("answers", "Answers by class of status"),
            log_entries: make.one(
                "log_entries",
                "Entries of the log that are durable, and that a quorum of witnesses has seen",
            ),
            log_stands: make.one(
                "log_stands",
                "1 while keys may be used: the log has no witnesses, or a quorum stands behind it",
            ),
            log_witnesses: make
                .one("log_witnesses", "Witnesses of the log by whether they cosigned when last asked"),
            events_waiting: make.one("events_waiting", "Events that are not in the log yet, up to 1000"),
            audit_records: make.one("audit_records", "Audit records by what they tell of"),
            audit_failing: make.one("audit_failing", "1 while what happened cannot be put on record"),
            successor: make.one("successor", "1 while another process waits to go on with the store"),
            denials: make.one("denials", "What operators were denied, by reason"),
            timestamps: make.one("timestamps", "Timestamps over signatures, by what became of them"),
            policy: make.one(
                "policy",
                "1 for where the policy in force comes from: none, file, approved; broken while nothing is signed",
            ),
            notices: make.one("notices", "Notices by receiver and outcome"),
            names: Vec::new(),
            registry: Registry::default(),
        };
        // Every kind is there from the start: an alert on a rise needs
        // something to rise from.
        for incident in Incident::ALL {
            drop(metrics.incidents.get_or_create(&Kind { kind: incident.word() }));
        }
        for deviation in Deviation::ALL {
            drop(metrics.anomalies.get_or_create(&Departs { deviation: deviation.word() }));
        }
        for why in Denial::ALL {
            drop(metrics.denials.get_or_create(&Denied { reason: why.word() }));
        }
        for outcome in STAMPS {
            drop(metrics.timestamps.get_or_create(&Outcome { outcome }));
        }
        for (kind, fate) in fate::KINDS.into_iter().flat_map(|kind| Fate::ALL.map(|fate| (kind, fate))) {
            drop(metrics.signing_requests.get_or_create(&Asked { kind, outcome: fate.word() }));
        }
        let Making { registry, names } = make;
        Metrics { registry, names, ..metrics }
    }

    /// Counts something that somebody has to look into.
    pub(crate) fn incident(&self, incident: Incident) {
        self.incidents.get_or_create(&Kind { kind: incident.word() }).inc();
    }

    /// Counts what a signing request came to.
    pub(crate) fn signing(&self, kind: &JobKind, fate: Fate) {
        self.signing_requests.get_or_create(&Asked { kind: fate::kind(kind), outcome: fate.word() }).inc();
    }

    /// Counts what authorities that were asked for a timestamp did.
    pub(crate) fn stamps(&self, answers: &[StampAnswer]) {
        let count = |outcome| self.timestamps.get_or_create(&Outcome { outcome }).inc();
        for answer in answers {
            count(if answer.refused.is_none() { "given" } else { "failed" });
        }
        if !answers.is_empty() && answers.iter().all(|answer| answer.refused.is_some()) {
            count("missing");
        }
    }

    /// Measures how long it took until it was stored.
    pub(crate) fn signed_after(&self, kind: &JobKind, seconds: f64) {
        self.signing_seconds.get_or_create(&Kind { kind: fate::kind(kind) }).observe(seconds);
    }

    /// Measures how far the newest revocation has come.
    pub(crate) fn revocation(&self, published: Time, heard: u64, all: u64) {
        let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.revocation_published.set(count(published.millis() / 1000));
        for (word, devices) in [("yes", heard), ("no", all.saturating_sub(heard))] {
            self.revocation_devices.get_or_create(&Heard { heard: word }).set(count(devices));
        }
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
    pub(crate) fn key(&self, key: &SigningKey, uses: u64, hanging: usize) {
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
        set(&self.key_hanging, count(Some(hanging as u64)));
        for phase in KeyPhase::ALL {
            let state = KeyStands { key: of.key.clone(), state: phase.word() };
            self.key_state.get_or_create(&state).set(i64::from(key.state == phase.word()));
        }
    }

    /// Measures which of a key's hosts are there.
    pub(crate) fn key_hosts(&self, key: &str, places: &[KeyPlace]) {
        for KeyPlace { address, away } in places {
            let labels = OnHost { key: key.to_owned(), host: address.clone() };
            self.key_hosts.get_or_create(&labels).set(i64::from(away.is_none()));
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Every `firmseal_...` in a text.
    fn named(text: &str) -> Vec<&str> {
        let word = |c: char| !(c.is_ascii_lowercase() || c == '_');
        text.split(word)
            .filter(|word| word.starts_with("firmseal_") && !word.starts_with("firmseal_monitor"))
            .collect()
    }

    fn is_known(metrics: &Metrics, name: &str) -> bool {
        let suffixes = ["", "_total", "_bucket", "_count", "_sum", "_info"];
        suffixes.iter().any(|suffix| {
            name.strip_suffix(suffix).is_some_and(|name| metrics.names.iter().any(|known| known == name))
        })
    }

    #[test]
    fn documentation_and_alerts_name_what_there_is_and_all_of_it() {
        let metrics = Metrics::new();
        let (page, alerts) = (
            include_str!("../../../docs/metrics.md"),
            include_str!("../../../deploy/prometheus/firmseal.rules.yml"),
        );
        for name in named(page).into_iter().chain(named(alerts)) {
            assert!(is_known(&metrics, name), "nothing is called {name}");
        }
        for name in &metrics.names {
            assert!(page.contains(&format!("`{name}")), "docs/metrics.md says nothing of {name}");
        }
    }

    /// Every `firmseal:...` in a text: what rules record.
    fn recorded(text: &str) -> Vec<&str> {
        let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':');
        text.split(word).filter(|word| word.starts_with("firmseal:")).collect()
    }

    #[test]
    fn dashboards_show_what_there_is_and_all_of_it() {
        let metrics = Metrics::new();
        let rules = include_str!("../../../deploy/prometheus/firmseal.rules.yml");
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/grafana");
        let mut shown = String::new();
        for file in std::fs::read_dir(directory).unwrap() {
            shown += &std::fs::read_to_string(file.unwrap().path()).unwrap();
        }
        for name in named(&shown) {
            assert!(is_known(&metrics, name), "nothing is called {name}");
        }
        for name in recorded(&shown) {
            assert!(rules.contains(&format!("record: {name}\n")), "no rule records {name}");
        }
        for name in &metrics.names {
            assert!(shown.contains(name.as_str()), "no dashboard shows {name}");
        }
    }

    #[test]
    fn timestamps_are_counted_by_who_gave_them_and_who_did_not() {
        let metrics = Metrics::new();
        let answer = |refused: Option<&str>| StampAnswer {
            authority: "http://tsa.example/".to_owned(),
            refused: refused.map(str::to_owned),
        };
        metrics.stamps(&[]);
        metrics.stamps(&[answer(Some("it is late")), answer(None)]);
        metrics.stamps(&[answer(Some("it is late")), answer(Some("it is later"))]);
        let text = metrics.text().unwrap();
        for (outcome, count) in [("given", 1), ("failed", 3), ("missing", 1)] {
            let line = format!("firmseal_timestamps_total{{outcome=\"{outcome}\"}} {count}\n");
            assert!(text.contains(&line), "{text}");
        }
    }

    #[test]
    fn the_text_is_whole() {
        let text = Metrics::new().text().unwrap();
        assert!(text.ends_with("# EOF\n"));
        assert!(text.contains("firmseal_incidents_total{kind=\"pin\"} 0"), "{text}");
        assert!(text.contains("firmseal_anomalies_total{deviation=\"source\"} 0"), "{text}");
    }
}
