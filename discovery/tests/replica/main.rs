//! Whole replicas in this process, spoken to over real sockets: admin over its unix socket, proxies over mTLS.
//!
//! Every test of [`both`] runs on the embedded store and on a real etcd (Debian: etcd-server).

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod plane;
mod workload;
mod stores;
mod apply;
mod certify;
mod trust;
mod register;
mod registry;
mod subscribe;
mod tap;
mod replicas;
mod listen;

use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long anything may take before a test gives up on it: far longer than it ever does.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Runs tests on both stores. Each is a function of a [`stores::Fixture`].
macro_rules! both {
    ($($test:ident)*) => {
        mod embedded {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() { super::$test(crate::stores::embedded()).await }
            )*
        }
        mod etcd {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() { super::$test(crate::stores::etcd().await).await }
            )*
        }
    };
}
pub(crate) use both;

/// Waits until the condition holds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "in vain waited until {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
