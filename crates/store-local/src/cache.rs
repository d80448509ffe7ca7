//! Recorded sums that were read recently: a payload is served in many
//! ranges, and each needs the same list.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use firmseal_manifest::Digest;

use crate::sums::Sums;

/// Most bytes of lists that are kept: the sums of 32 GiB of blobs.
const MAX: usize = 16 * 1024 * 1024;
/// What an entry costs besides its list.
const ENTRY: usize = 256;

/// Keeps the newest entries, whatever is read. Sums of a digest never
/// change, so an entry cannot be stale.
#[derive(Default)]
pub(crate) struct Cache {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: HashMap<Digest, Arc<Sums>>,
    order: VecDeque<Digest>,
    bytes: usize,
}

impl Cache {
    pub(crate) fn get(&self, id: &Digest) -> Option<Arc<Sums>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).entries.get(id).cloned()
    }

    pub(crate) fn put(&self, sums: &Arc<Sums>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.entries.insert(sums.digest, Arc::clone(sums)).is_none() {
            state.order.push_back(sums.digest);
            state.bytes += ENTRY + sums.chunks.len();
        }
        while state.bytes > MAX {
            let Some(oldest) = state.order.pop_front() else { break };
            if let Some(gone) = state.entries.remove(&oldest) {
                state.bytes -= ENTRY + gone.chunks.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_bounded() {
        let cache = Cache::default();
        let entry = |n: u8| Arc::new(Sums { digest: Digest([n; 32]), size: 0, chunks: vec![0; MAX / 4] });
        for n in 0..8 {
            cache.put(&entry(n));
            cache.put(&entry(n));
        }
        let kept: Vec<u8> = (0..8).filter(|n| cache.get(&Digest([*n; 32])).is_some()).collect();
        assert_eq!(kept, [5, 6, 7]);
    }
}
