//! Pages: how long lists are read.

/// Most items on one page: a thousand, and the one that tells whether there
/// is another page.
pub const PAGE_MAX: u32 = 1_001;

/// Which part of a list to read. Lists run from the newest item to the
/// oldest, so that a page stays where it is while new items arrive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page<K> {
    /// Begin after this item; at the newest if `None`. An item that does
    /// not exist yields an empty page.
    pub after: Option<K>,
    /// How many items at most; held at [`PAGE_MAX`].
    pub limit: u32,
}

impl<K> Page<K> {
    /// The newest items.
    pub fn first(limit: u32) -> Page<K> {
        Page { after: None, limit }
    }

    /// The items that follow.
    pub fn after(item: K, limit: u32) -> Page<K> {
        Page { after: Some(item), limit }
    }
}
