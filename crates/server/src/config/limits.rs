//! Limits: what bounds callers.

use std::time::Duration;

use serde::Deserialize;

/// What bounds callers. The defaults suit a small fleet on one machine.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Open connections on each listener.
    pub connections: usize,
    /// Seconds for a TLS handshake.
    pub handshake_seconds: u64,
    /// Seconds for the head of a request to arrive, and for a kept-alive
    /// connection to stay silent.
    pub header_seconds: u64,
    /// Seconds for a JSON request to arrive and be answered.
    pub request_seconds: u64,
    /// Seconds that an upload or a download may stand still.
    pub stall_seconds: u64,
    /// Seconds after which a connection is closed at the next opportunity:
    /// open connections outlive a change of authority or certificates.
    pub connection_age_seconds: u64,
    /// Seconds that requests get to end when the server stops.
    pub shutdown_seconds: u64,
    /// Seconds without an answer of the store after which the process ends
    /// itself, so that a standby takes over or a supervisor starts it anew; 0
    /// for never.
    pub hang_seconds: u64,
    /// Bytes of a request's head.
    pub head_bytes: usize,
    /// Bytes of a JSON request.
    pub json_bytes: usize,
    /// Bytes of one piece of an upload, at most 16 MiB.
    pub piece_bytes: usize,
    /// Bytes of an artifact.
    pub artifact_bytes: u64,
    /// Seconds that an unfinished upload is kept.
    pub upload_seconds: u64,
    /// Seconds between polls, as devices are told.
    pub poll_seconds: u32,
    /// New reports of one device within a day.
    pub reports_per_day: u32,
    /// Certificates of one device within a day, enrolment included.
    pub certificates_per_day: u32,
    /// Days that audit records are kept; the log keeps its digests for ever.
    pub audit_days: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections: 4096,
            handshake_seconds: 10,
            header_seconds: 75,
            request_seconds: 60,
            stall_seconds: 60,
            connection_age_seconds: 3600,
            shutdown_seconds: 20,
            hang_seconds: 60,
            head_bytes: 16 * 1024,
            json_bytes: 256 * 1024,
            piece_bytes: 8 * 1024 * 1024,
            artifact_bytes: 16 * 1024 * 1024 * 1024,
            upload_seconds: 24 * 3600,
            poll_seconds: 300,
            reports_per_day: 2000,
            certificates_per_day: 24,
            // The longest that a regulation we know asks for: ten years.
            audit_days: 3653,
        }
    }
}

impl Limits {
    /// A limit that is zero.
    pub(crate) fn unusable(&self) -> Option<&'static str> {
        [
            ("request_seconds", self.request_seconds == 0),
            ("json_bytes", self.json_bytes == 0),
            ("piece_bytes", self.piece_bytes == 0),
            ("artifact_bytes", self.artifact_bytes == 0),
            ("upload_seconds", self.upload_seconds == 0),
            ("poll_seconds", self.poll_seconds == 0),
            ("reports_per_day", self.reports_per_day == 0),
            ("certificates_per_day", self.certificates_per_day == 0),
            ("audit_days", self.audit_days == 0),
        ]
        .into_iter()
        .find_map(|(name, zero)| zero.then_some(name))
        .or_else(|| self.listener().unusable())
    }

    pub(crate) fn request(&self) -> Duration {
        Duration::from_secs(self.request_seconds)
    }

    pub(crate) fn stall(&self) -> Duration {
        Duration::from_secs(self.stall_seconds)
    }

    /// How long the store may give no answer; for ever, if `None`.
    pub fn hang(&self) -> Option<Duration> {
        (self.hang_seconds > 0).then(|| Duration::from_secs(self.hang_seconds))
    }

    /// Those of a listener.
    pub(crate) fn listener(&self) -> ListenerLimits {
        ListenerLimits {
            connections: self.connections,
            handshake_seconds: self.handshake_seconds,
            header_seconds: self.header_seconds,
            stall_seconds: self.stall_seconds,
            connection_age_seconds: self.connection_age_seconds,
            shutdown_seconds: self.shutdown_seconds,
            head_bytes: self.head_bytes,
        }
    }
}

/// The limits that a listener has by itself, whatever it serves. A key host
/// has no others.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListenerLimits {
    /// See [`Limits::connections`].
    pub connections: usize,
    /// See [`Limits::handshake_seconds`].
    pub handshake_seconds: u64,
    /// See [`Limits::header_seconds`].
    pub header_seconds: u64,
    /// See [`Limits::stall_seconds`].
    pub stall_seconds: u64,
    /// See [`Limits::connection_age_seconds`].
    pub connection_age_seconds: u64,
    /// See [`Limits::shutdown_seconds`].
    pub shutdown_seconds: u64,
    /// See [`Limits::head_bytes`].
    pub head_bytes: usize,
}

impl Default for ListenerLimits {
    fn default() -> ListenerLimits {
        Limits::default().listener()
    }
}

impl ListenerLimits {
    /// A limit that is zero.
    pub(crate) fn unusable(&self) -> Option<&'static str> {
        [
            ("connections", self.connections == 0),
            ("handshake_seconds", self.handshake_seconds == 0),
            ("header_seconds", self.header_seconds == 0),
            ("stall_seconds", self.stall_seconds == 0),
            ("connection_age_seconds", self.connection_age_seconds == 0),
            ("head_bytes", self.head_bytes == 0),
        ]
        .into_iter()
        .find_map(|(name, zero)| zero.then_some(name))
    }

    pub(crate) fn handshake(&self) -> Duration {
        Duration::from_secs(self.handshake_seconds)
    }

    pub(crate) fn header(&self) -> Duration {
        Duration::from_secs(self.header_seconds)
    }

    pub(crate) fn stall(&self) -> Duration {
        Duration::from_secs(self.stall_seconds)
    }

    pub(crate) fn connection_age(&self) -> Duration {
        Duration::from_secs(self.connection_age_seconds)
    }

    pub(crate) fn shutdown(&self) -> Duration {
        Duration::from_secs(self.shutdown_seconds)
    }
}
