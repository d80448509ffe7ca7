//! Tokens that are good for one change, and were used.

use async_trait::async_trait;
use firmseal_fleet::Time;
use firmseal_manifest::Digest;

use crate::StoreError;

/// The use of a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TokenUsed {
    /// What the token is known by.
    pub token: Digest,
    /// What it is used for; asked for again it is the same use. Without one
    /// nobody can tell, and a second use is another.
    pub purpose: Option<Digest>,
    /// From when on the token is refused in any case.
    pub ends: Time,
}

/// Used tokens.
///
/// Asked before the change that a token permits: a crash in between has used
/// it up for a change that was not made, and who asks for the same again may.
#[async_trait]
pub trait UsedTokens: Send + Sync {
    /// Uses a token up, and says whether it is good for this: it was not used
    /// before, or for the same purpose.
    async fn use_token(&self, used: TokenUsed) -> Result<bool, StoreError>;

    /// Forgets tokens that have ended by now, at most so many; how many they
    /// were.
    async fn forget_tokens(&self, now: Time, most: u32) -> Result<u32, StoreError>;
}
