//! The store's contract, tested on both implementations, and what only one of them has to withstand.
//!
//! Needs a real etcd (Debian: etcd-server); without it the tests fail and say so.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod conformance;
mod embedded;
mod etcd;
mod secured;
mod leader;

use futures::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use weft_discovery::store::{Batch, Event, Store, StoreError, Watch};

/// How long anything may take before a test gives up on it: far longer than it ever does.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A store under test and whatever has to live as long as it does.
pub struct Fixture {
    pub store: Arc<dyn Store>,
    pub keep: Box<dyn std::any::Any + Send>,
}

/// Runs every clause of the contract on a store that `$open` makes.
macro_rules! conforms {
    ($open:path: $($clause:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $clause() {
                let fixture = $open().await;
                crate::conformance::$clause(fixture.store.clone()).await;
                drop(fixture.store);
                drop(fixture.keep);
            }
        )*
    };
}
pub(crate) use conforms;

/// The next item of a watch that is not a mere progress mark.
pub async fn next(watch: &mut Watch) -> Result<Batch, StoreError> {
    loop {
        let item = timeout(PATIENCE, watch.next()).await.expect("the watch says nothing").expect("the watch has ended");
        match item {
            Ok(batch) if batch.events.is_empty() => {}
            item => return item,
        }
    }
}

/// A batch as text: `+key=value` and `-key`.
pub fn told(batch: &Batch) -> Vec<String> {
    let text = |event: &Event| match event {
        Event::Put(entry) => format!("+{}={}", entry.key, String::from_utf8_lossy(&entry.value)),
        Event::Delete { key } => format!("-{key}"),
    };
    batch.events.iter().map(text).collect()
}

/// Waits until the condition holds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "in vain waited until {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
