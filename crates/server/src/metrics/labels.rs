//! Labels: fixed words, and names that stand in the settings.
//!
//! A device id, a version or a name from a request never becomes a label: the
//! number of time series is bounded by these types and the configuration.

use prometheus_client::encoding::EncodeLabelSet;

macro_rules! labels {
    ($($(#[doc = $what:literal])+ $name:ident { $($label:ident: $type:ty),+ })+) => {
        $(
            $(#[doc = $what])+
            #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
            pub(crate) struct $name {
                $(pub(crate) $label: $type),+
            }
        )+
    };
}

labels! {
    /// The outcome of something.
    Outcome { outcome: &'static str }
    /// `release` or `artifact`.
    Kind { kind: &'static str }
    /// What was asked for, and what it came to.
    Asked { kind: &'static str, outcome: &'static str }
    /// What something was signed for.
    SignedFor { environment: &'static str }
    /// What something was signed for, and evidence that there was.
    SignedWith { environment: &'static str, evidence: &'static str }
    /// A listener and why a handshake on it failed.
    Handshake { listener: &'static str, reason: &'static str }
    /// A listener.
    OnListener { listener: &'static str }
    /// The phase of a report, and the number of a refusal or of trouble (0
    /// for none).
    Reported { phase: &'static str, code: u32 }
    /// A listener and a class of answers: `2xx`.
    Answered { listener: &'static str, status: &'static str }
    /// A signing key.
    OfKey { key: String }
    /// A signing key, and how it stands.
    KeyStands { key: String, state: &'static str }
    /// A signing key, and a key host that holds it.
    OnHost { key: String, host: String }
    /// Where a policy comes from.
    PolicyFrom { source: &'static str }
    /// How urgent jobs are.
    Urgency { priority: &'static str }
    /// A receiver of notices, and how it went.
    Notice { receiver: String, outcome: &'static str }
    /// A way in which the use of a key departs from the usual.
    Departs { deviation: &'static str }
    /// Whether devices were heard of.
    Heard { heard: &'static str }
    /// Why somebody was denied something.
    Denied { reason: &'static str }
    /// What an audit record tells of.
    Recorded { action: &'static str }
}
