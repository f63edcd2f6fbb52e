//! Leadership on both stores: whoever stood still while another was elected writes nothing, however late it wakes up.
//!
//! A process that stands still is a runtime that nobody drives: the lease is not renewed, and nothing is noticed.

use crate::{Fixture, PATIENCE};
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::time::timeout;
use weft_discovery::leader::Election;
use weft_discovery::store::{Compare, Op};

const TTL: Duration = Duration::from_secs(2);

pub async fn a_leader_that_stood_still_writes_nothing(fixture: Fixture) {
    let Fixture { store, keep } = fixture;
    // The connection belongs to the runtime that goes on.
    store.get("written").await.unwrap();
    let candidate = |replica: &str| Election::new(store.clone(), "test", replica).with_ttl(TTL);
    let first = candidate("first");
    let won = tokio::task::spawn_blocking(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let lead = runtime.block_on(first.win());
        (runtime, lead)
    });
    let (stopped, late) = won.await.unwrap();
    let write = |fence: Compare, value: &'static str| {
        let store = store.clone();
        async move { store.commit(vec![fence], vec![Op::put("written", value)]).await.unwrap() }
    };
    assert!(write(late.fence(), "before").await.is_some());
    let now = timeout(PATIENCE, candidate("second").win()).await.unwrap();
    assert!(write(now.fence(), "after").await.is_some());
    assert_eq!(write(late.fence(), "late").await, None, "the store has taken a late write");
    assert!(!late.holds().await.unwrap() && now.holds().await.unwrap());
    assert_eq!(store.get("written").await.unwrap().unwrap().value, "after");
    // It notices when it goes on.
    let noticed = move || stopped.block_on(async { timeout(PATIENCE, late.lost()).await.is_ok() });
    assert!(tokio::task::spawn_blocking(noticed).await.unwrap());
    drop(keep);
}
