//! Listings: as much of a list as was asked for, page by page.

use clap::Args;
use firmseal_api::Page;
use firmseal_api::client::ClientError;
use firmseal_api::encoding::{PAGE_MAX, PageQuery};

use crate::error::Result;
use crate::output::Output;

/// A page, as the client answers.
type Answer<T> = std::result::Result<Page<T>, ClientError>;

/// How much of a list.
#[derive(Args)]
pub struct Listing {
    /// At most this many, from the first
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: u32,
    /// Go on after this one, the last of an earlier list
    #[arg(long, value_name = "ID")]
    after: Option<String>,
}

impl Listing {
    /// Fetches the items, and says so where there are more.
    pub async fn fetch<T>(
        &self,
        output: &Output,
        mut page: impl AsyncFnMut(PageQuery) -> Answer<T>,
    ) -> Result<Vec<T>> {
        let mut items = Vec::new();
        let mut after = self.after.clone();
        loop {
            let wanted = self.limit.saturating_sub(items.len() as u32);
            if wanted == 0 {
                if let Some(after) = after {
                    output.note(format_args!("there are more; go on with --after {after}"));
                }
                return Ok(items);
            }
            let found = page(PageQuery { after, limit: Some(wanted.min(PAGE_MAX)) }).await?;
            items.extend(found.items);
            if found.next.is_none() {
                return Ok(items);
            }
            after = found.next;
        }
    }
}

/// Every item of a list that is bounded by nature.
#[cfg(feature = "full")]
pub async fn all<T>(mut page: impl AsyncFnMut(PageQuery) -> Answer<T>) -> Result<Vec<T>> {
    let mut items = Vec::new();
    let mut after = None;
    loop {
        let found = page(PageQuery { after, limit: Some(PAGE_MAX) }).await?;
        items.extend(found.items);
        if found.next.is_none() {
            return Ok(items);
        }
        after = found.next;
    }
}
