//! Tokens that were used: where settings say so, a token is good for one
//! change.
//!
//! Kept in memory, and bounded: a token is forgotten when it has expired, and
//! when there is no room the newcomer waits, since forgetting one early would
//! let it in twice. A restart forgets all of them, so tokens that were made
//! before it are refused: whether they were used nobody knows. Writing each
//! down instead would cost a write before every signature, for a window that
//! is as long as a token's life.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest::{SHA256, digest};
use firmseal_fleet::Time;

use crate::issuer::TokenUse;

/// Tokens that are remembered at once.
const MOST: usize = 100_000;

/// Why a token is not good for this request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Replay {
    /// It was used for something else.
    #[error("the token was used for another change; each is good for one")]
    Used,
    /// It may have been used before the server started.
    #[error("the token was made before this server started, and may have been used")]
    Before,
    /// There is no room to remember it.
    #[error("too many tokens were used lately")]
    Full,
}

/// Which tokens were used, and what for.
#[derive(Debug)]
pub struct Spent {
    started: Time,
    most: usize,
    used: BTreeMap<Digest, Option<Digest>>,
    ends: BTreeSet<(Time, Digest)>,
}

type Digest = [u8; 32];

impl Spent {
    /// Nothing is used yet, and nothing from before now will be.
    pub fn since(started: Time) -> Spent {
        Spent { started, most: MOST, used: BTreeMap::new(), ends: BTreeSet::new() }
    }

    /// Uses a token for a purpose. The same purpose again is the same use,
    /// since an answer may have been lost; what has none is done once.
    pub fn spend(&mut self, token: &TokenUse, purpose: Option<&str>, now: Time) -> Result<(), Replay> {
        // Of an issuer whose clock is ahead, what was made in the first
        // moments may have been made before them.
        if token.issued <= self.started.plus(token.leeway) {
            return Err(Replay::Before);
        }
        while let Some((end, id)) = self.ends.first().copied().filter(|(end, _)| *end <= now) {
            self.ends.remove(&(end, id));
            self.used.remove(&id);
        }
        let purpose = purpose.map(|purpose| hash(purpose.as_bytes()));
        match self.used.get(&token.id) {
            Some(used) if purpose.is_some() && *used == purpose => Ok(()),
            Some(_) => Err(Replay::Used),
            None if self.used.len() >= self.most => Err(Replay::Full),
            None => {
                self.used.insert(token.id, purpose);
                self.ends.insert((token.ends, token.id));
                Ok(())
            }
        }
    }
}

pub(crate) fn hash(bytes: &[u8]) -> Digest {
    let mut id = [0; 32];
    id.copy_from_slice(digest(&SHA256, bytes).as_ref());
    id
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn token(id: u8, issued: u64, ends: u64) -> TokenUse {
        let (issued, ends) = (Time::from_millis(issued), Time::from_millis(ends));
        TokenUse { id: [id; 32], issued, leeway: Duration::from_millis(10), ends }
    }

    #[test]
    fn a_token_is_good_for_one_purpose_until_it_is_forgotten_with_its_end() {
        let at = Time::from_millis;
        let mut spent = Spent { most: 2, ..Spent::since(at(1000)) };
        assert_eq!(spent.spend(&token(0, 1010, 9000), Some("a"), at(1001)), Err(Replay::Before));
        let one = token(1, 1011, 5000);
        assert_eq!(spent.spend(&one, Some("a"), at(1002)), Ok(()));
        assert_eq!(spent.spend(&one, Some("a"), at(1003)), Ok(()), "the answer was lost");
        assert_eq!(spent.spend(&one, Some("b"), at(1004)), Err(Replay::Used));
        assert_eq!(spent.spend(&one, None, at(1004)), Err(Replay::Used));
        let other = token(2, 1011, 5000);
        assert_eq!(spent.spend(&other, None, at(1004)), Ok(()));
        assert_eq!(spent.spend(&other, None, at(1004)), Err(Replay::Used), "nobody knows it is the same");
        assert_eq!(spent.spend(&other, Some("a"), at(1004)), Err(Replay::Used));
        assert_eq!(spent.spend(&token(3, 1011, 6000), Some("c"), at(1005)), Err(Replay::Full));
        assert_eq!(spent.spend(&token(3, 1011, 6000), Some("c"), at(5000)), Ok(()));
        assert_eq!((spent.used.len(), spent.ends.len()), (1, 1), "what has ended takes no room");
    }
}
