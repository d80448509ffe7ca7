//! Words of events: what became of a key, a request, an attempt or a rollout,
//! and why somebody was denied, each by the number that the log has.

/// What a signing key is from now on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum KeyChange {
    /// It signs.
    Enabled = 0,
    /// It signs until a date.
    Ending = 1,
    /// It signs nothing.
    Disabled = 2,
    /// Its private half is destroyed at a date.
    Destroying = 3,
    /// Its private half is gone.
    Destroyed = 4,
}

/// What was decided about a signing request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Ruling {
    /// It is refused, and that is its end.
    Refused = 0,
    /// It waits for approvals.
    Approvals = 1,
    /// A security officer has to release it.
    Held = 2,
    /// A security officer has released it.
    Released = 3,
    /// Enough people have agreed.
    Agreed = 4,
}

/// What is known of a use of a key that brought nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Outcome {
    /// It failed: the key signed nothing that verifies.
    Failed = 0,
    /// Nobody saw how it ended: the key may have signed. If it did, the
    /// signature went nowhere.
    Unknown = 1,
}

/// How a signing request ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum End {
    /// It became a release.
    Signed = 0,
    /// Somebody took it back.
    Cancelled = 1,
    /// Another release came first, or devices would not take it any more.
    Superseded = 2,
    /// Too few people agreed in time.
    Expired = 3,
}

/// What a rollout does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Phase {
    /// It makes offers.
    Active = 0,
    /// It was stopped.
    Halted = 1,
    /// It is over.
    Finished = 2,
}

/// Why somebody was denied what was asked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Denial {
    /// Nobody is known by what was shown, or it is known and over.
    SignIn = 0,
    /// The role for it is missing.
    Role = 1,
    /// It lies outside what the credential is confined to.
    Scope = 2,
    /// It is asked of a key that does not sign it, or that nobody has.
    Key = 3,
    /// It is their own request that somebody lets go, or agrees to.
    Own = 4,
    /// The approval does not count: by a key that is no approver's or was
    /// revoked, or over something else.
    Approval = 5,
}

impl Denial {
    /// Every reason.
    pub const ALL: [Denial; 6] =
        [Denial::SignIn, Denial::Role, Denial::Scope, Denial::Key, Denial::Own, Denial::Approval];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Denial::SignIn => "sign-in",
            Denial::Role => "role",
            Denial::Scope => "scope",
            Denial::Key => "key",
            Denial::Own => "own",
            Denial::Approval => "approval",
        }
    }
}
