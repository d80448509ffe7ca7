//! What signing requests come to, in words for metrics. Alerts count some of
//! them as failures of the service, so each has to say whose doing it was.

use firmseal_fleet::JobKind;

/// What a signing request came to, for now or for good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// It was signed.
    Signed,
    /// What it asks for was signed before.
    Stored,
    /// Gate, policy or key refused it.
    Refused,
    /// It waits for approvals.
    Waiting,
    /// A security officer has to let it go.
    Held,
    /// It is queued again after trouble.
    Again,
    /// The service could not do it.
    Failed,
    /// Its time passed while nothing but the service kept it waiting.
    Expired,
    /// Its time passed while people were asked and said nothing.
    Lapsed,
    /// Somebody took it back, or something else came first.
    Cancelled,
}

impl Fate {
    pub(crate) const ALL: [Fate; 10] = [
        Fate::Signed,
        Fate::Stored,
        Fate::Refused,
        Fate::Waiting,
        Fate::Held,
        Fate::Again,
        Fate::Failed,
        Fate::Expired,
        Fate::Lapsed,
        Fate::Cancelled,
    ];

    /// The word for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Fate::Signed => "signed",
            Fate::Stored => "stored",
            Fate::Refused => "refused",
            Fate::Waiting => "waiting",
            Fate::Held => "held",
            Fate::Again => "again",
            Fate::Failed => "failed",
            Fate::Expired => "expired",
            Fate::Lapsed => "lapsed",
            Fate::Cancelled => "cancelled",
        }
    }
}

/// Every word of [`kind`].
pub(crate) const KINDS: [&str; 2] = ["artifact", "release"];

/// The word for what was asked for.
pub(crate) fn kind(kind: &JobKind) -> &'static str {
    match kind {
        JobKind::Artifact(_) => KINDS[0],
        JobKind::Release(_) => KINDS[1],
    }
}
