//! What was read recently and never changes: sums of blobs, which a payload
//! that is served in many ranges needs for each; products and artifacts,
//! which every signature asks for several times.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// Keeps the newest entries, whatever is read. What changes has no place
/// here: an entry cannot be stale.
pub(crate) struct Cache<K, V> {
    /// The most that all entries weigh together.
    most: usize,
    state: Mutex<State<K, V>>,
}

struct State<K, V> {
    entries: HashMap<K, Arc<V>>,
    order: VecDeque<(K, usize)>,
    weight: usize,
}

impl<K: Clone + Eq + Hash, V> Cache<K, V> {
    /// An empty one. What a weight is, whoever puts entries in says.
    pub(crate) fn new(most: usize) -> Cache<K, V> {
        let state = State { entries: HashMap::new(), order: VecDeque::new(), weight: 0 };
        Cache { most, state: Mutex::new(state) }
    }

    pub(crate) fn get(&self, key: &K) -> Option<Arc<V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).entries.get(key).cloned()
    }

    pub(crate) fn put(&self, key: K, value: Arc<V>, weight: usize) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.entries.insert(key.clone(), value).is_none() {
            state.order.push_back((key, weight));
            state.weight += weight;
        }
        while state.weight > self.most {
            let Some((oldest, weight)) = state.order.pop_front() else { break };
            state.entries.remove(&oldest);
            state.weight -= weight;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_bounded() {
        let cache = Cache::new(1000);
        for n in 0..8 {
            cache.put(n, Arc::new(()), 300);
            cache.put(n, Arc::new(()), 300);
        }
        let kept: Vec<u8> = (0..8).filter(|n| cache.get(n).is_some()).collect();
        assert_eq!(kept, [5, 6, 7]);
    }
}
