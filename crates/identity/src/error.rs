//! Why a token, or what is configured about tokens, is not good.

/// Why a token is worth nothing here. Callers may read it: it says nothing
/// that is not in their own token or in public documents.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TokenError {
    /// It cannot be a token of the kind that is taken here.
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// It wants a signature that is not configured for its issuer.
    #[error("the token's algorithm is not one of those that its issuer signs with here")]
    Algorithm,
    /// Nobody configured its issuer.
    #[error("no identity provider of the token's issuer is configured here")]
    UnknownIssuer,
    /// The issuer publishes no such key.
    #[error("the token names a key that its issuer does not publish")]
    UnknownKey,
    /// The signature is not its issuer's.
    #[error("the token's signature is not its issuer's")]
    Signature,
    /// It was made for somebody else.
    #[error("the token is for another audience")]
    Audience,
    /// It is out of date.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet")]
    Early,
    /// It is valid for longer than is taken here.
    #[error("the token is valid for {have} seconds; at most {most} are taken here")]
    TooLong {
        /// As it says.
        have: u64,
        /// As is configured.
        most: u64,
    },
    /// Its issuer is known and its claims are not those of anybody here.
    #[error("the token is good, and no grant is for what it claims")]
    NoGrant,
}

/// Why the settings of an identity provider cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{why}")]
pub struct SettingsError {
    /// What is wrong.
    pub why: String,
    /// What to do about it.
    pub hint: &'static str,
}

impl SettingsError {
    pub(crate) fn new(why: impl Into<String>, hint: &'static str) -> SettingsError {
        SettingsError { why: why.into(), hint }
    }
}
