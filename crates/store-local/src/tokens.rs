//! Used tokens in the database.

use async_trait::async_trait;
use firmseal_fleet::Time;
use firmseal_manifest::Digest;
use firmseal_store::{StoreError, TokenUsed, UsedTokens};
use rusqlite::{Connection, params};

use crate::LocalStore;
use crate::column::{Hash, When};
use crate::error::Failure;
use crate::registry::one;

/// What a token was used for, if it was used.
fn purpose(connection: &Connection, token: Digest) -> Result<Option<Option<Digest>>, Failure> {
    one(connection, "SELECT purpose FROM used_tokens WHERE token = ?", [Hash(token)], |row| {
        Ok(row.get::<_, Option<Hash>>(0)?.map(|Hash(purpose)| purpose))
    })
}

/// Whether a use is the same as the one before.
fn is_same(before: Option<Digest>, now: Option<Digest>) -> bool {
    now.is_some() && before == now
}

#[async_trait]
impl UsedTokens for LocalStore {
    async fn use_token(
        &self,
        TokenUsed { token, purpose: wanted, ends }: TokenUsed,
    ) -> Result<bool, StoreError> {
        const DOING: &str = "use a token up";
        // Who asks again waits for no disk.
        if let Some(before) = self.query(DOING, move |connection| purpose(connection, token)).await? {
            return Ok(is_same(before, wanted));
        }
        self.write_whole(DOING, move |connection| {
            // Another may have come first.
            if let Some(before) = purpose(connection, token)? {
                return Ok(is_same(before, wanted));
            }
            connection
                .prepare_cached("INSERT INTO used_tokens (token, purpose, ends) VALUES (?, ?, ?)")?
                .execute(params![Hash(token), wanted.map(Hash), When(ends)])?;
            Ok(true)
        })
        .await
    }

    async fn forget_tokens(&self, now: Time, most: u32) -> Result<u32, StoreError> {
        self.write("forget used tokens", move |connection| {
            let gone = connection
                .prepare_cached(
                    "DELETE FROM used_tokens WHERE token IN
                        (SELECT token FROM used_tokens WHERE ends <= ? ORDER BY ends LIMIT ?)",
                )?
                .execute(params![When(now), most])?;
            Ok(u32::try_from(gone).unwrap_or(u32::MAX))
        })
        .await
    }
}
