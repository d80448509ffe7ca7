//! Continuity: a store that works answers, and changes nothing by it.

use super::{Engine, samples};
use crate::Page;

/// Runs the group.
pub async fn all(engine: &dyn Engine) {
    let store = engine.fresh().await;
    store.answers().await.unwrap();
    assert!(!store.has_successor().await.unwrap(), "nobody waits for a store of the suite's own");
    let product = samples::product("gateway");
    store.insert_product(product.clone(), &samples::admin()).await.unwrap();
    store.answers().await.unwrap();
    let store = engine.reopen(store).await;
    store.answers().await.unwrap();
    assert_eq!(store.products(Page::first(9)).await.unwrap(), [product]);
}
