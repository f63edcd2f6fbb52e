//! Many proxies that carry nothing: real streams to discovery over mTLS, each with its subscriptions, in one thread.
//!
//! For questions of scale. They prove who they are, subscribe, acknowledge and beat as a sidecar does, and note when a change
//! reaches them. A stream that ends, or says what is not asked for, fails whoever waits.
//!
//! ```text
//! membership (certificate, connection) -> Fleet (streams) -> Arrivals (what reached whom, when)
//!                                      -> Writer (the changes)
//! ```

mod names;
mod arrivals;
mod membership;
mod proxy;
mod writer;

pub use arrivals::Arrivals;
pub use membership::{Membership, Wire};
pub use names::{NAMESPACE, service};
pub use writer::Writer;

use anyhow::{Context, bail};
use proxy::Proxy;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Open streams; they end when it is dropped.
pub struct Fleet {
    streams: JoinSet<anyhow::Error>,
    /// From the first word of each proxy until it had all that it subscribed to, in the order in which they were done.
    pub started: Vec<Duration>,
    /// Until the last of them was.
    pub took: Duration,
}

impl Fleet {
    /// Opens a stream for each list of services, all at once, and waits until everybody has a snapshot of all of them.
    pub async fn start(
        membership: &Membership,
        subscriptions: Vec<Vec<String>>,
        arrivals: &Arc<Arrivals>,
        wire: &Arc<Wire>,
        limit: Duration,
    ) -> anyhow::Result<Self> {
        let (begin, mut streams) = (Instant::now(), JoinSet::new());
        let (ready, mut done) = mpsc::unbounded_channel();
        let proxies = subscriptions.len();
        for (number, services) in subscriptions.into_iter().enumerate() {
            let (membership, arrivals, wire) = (membership.clone(), Arc::clone(arrivals), Arc::clone(wire));
            let proxy = Proxy { name: format!("proxy-{number}"), membership, services, arrivals, wire };
            streams.spawn(proxy.live(ready.clone()));
        }
        drop(ready);
        let mut started = Vec::with_capacity(proxies);
        let all = async {
            while started.len() < proxies {
                tokio::select! {
                    Some(took) = done.recv() => started.push(took),
                    Some(ended) = streams.join_next() => return Err(ended?),
                    else => bail!("nobody is left"),
                }
            }
            anyhow::Ok(())
        };
        let result = timeout(limit, all).await;
        result.with_context(|| format!("{} of {proxies} proxies know their services", started.len()))??;
        Ok(Self { streams, started, took: begin.elapsed() })
    }

    /// Waits until `done`; the end of any stream is an error.
    pub async fn until(&mut self, done: impl Future<Output = ()>) -> anyhow::Result<()> {
        tokio::select! {
            () = done => Ok(()),
            Some(ended) = self.streams.join_next() => Err(ended?),
        }
    }
}
