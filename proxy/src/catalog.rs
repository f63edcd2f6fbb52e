//! What this proxy knows of the mesh: an immutable snapshot that data workers read without a lock, and how they ask for more.
//!
//! Fed by one stream from discovery (`stream`) on the control runtime; each message goes through `state`, which is pure,
//! and what comes out is swapped in whole. What is unknown is subscribed to on demand. When discovery is away the snapshot
//! stays as it is, for as long as it takes, and on disk (`disk`) for a restart.

mod snapshot;
mod health;
mod state;
mod doubt;
mod guard;
mod disk;
mod meter;
mod outbox;
mod stream;
#[cfg(test)]
mod tests;

pub use disk::keep as keep_on_disk;
pub use guard::Guarded;
pub use health::Health;
pub use meter::CatalogMetrics;
pub use snapshot::{Bound, Known, Snapshot};
pub use stream::{Describe, Stream};

use arc_swap::{ArcSwap, Guard};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, mpsc};
use weft_model::{Binding, ServiceName};

/// Questions that may wait for the control runtime; beyond that they go unanswered.
const QUEUED_QUESTIONS: usize = 4096;
/// Reports of endpoints that cannot be reached that may wait; more of them would say nothing new.
const QUEUED_DOUBTS: usize = 64;
/// In [`Shared::away_since`]: the stream to discovery is up.
const CONNECTED: u64 = u64::MAX;

/// Something that discovery can be asked about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    Service(ServiceName),
    Address(IpAddr),
}

/// What is known of a service.
#[derive(Debug, Clone)]
pub enum Answer {
    Known(Arc<Known>),
    /// Discovery says that there is no such service.
    Absent,
    /// Discovery has said nothing, or is away.
    Unanswered,
}

/// The handle that everybody reads from; clones share it.
#[derive(Debug, Clone)]
pub struct Catalog(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    snapshot: ArcSwap<Snapshot>,
    published: Notify,
    publications: AtomicU64,
    questions: mpsc::Sender<Target>,
    doubts: mpsc::Sender<ServiceName>,
    started: Instant,
    /// Milliseconds after `started` at which the stream broke, or [`CONNECTED`].
    away_since: AtomicU64,
    resolve_timeout: Duration,
}

/// The writing end of a [`Catalog`]: there is one, and whoever holds it decides what the catalog shows.
#[derive(Debug)]
pub struct Feed {
    shared: Arc<Shared>,
    questions: mpsc::Receiver<Target>,
    doubts: mpsc::Receiver<ServiceName>,
}

/// What the rest of the process wants of the stream.
enum Asked {
    Question(Target),
    /// An endpoint of this service cannot be reached.
    Doubt(ServiceName),
}

/// An empty catalog and its writing end. `resolve_timeout`: how long a question waits for its answer.
pub fn channel(resolve_timeout: Duration) -> (Catalog, Feed) {
    let (sender, receiver) = mpsc::channel(QUEUED_QUESTIONS);
    let (doubting, doubted) = mpsc::channel(QUEUED_DOUBTS);
    let shared = Arc::new(Shared {
        snapshot: ArcSwap::default(),
        published: Notify::new(),
        publications: AtomicU64::new(0),
        questions: sender,
        doubts: doubting,
        started: Instant::now(),
        away_since: AtomicU64::new(0),
        resolve_timeout,
    });
    (Catalog(shared.clone()), Feed { shared, questions: receiver, doubts: doubted })
}

impl Catalog {
    /// What is known now. Does not count as use: see [`Catalog::peek`].
    pub fn snapshot(&self) -> Guard<Arc<Snapshot>> {
        self.0.snapshot.load()
    }

    /// What is known of `name` now, without asking. Counts as use, which keeps the service subscribed to: whoever lives long
    /// on one service asks here for its newest view.
    pub fn peek(&self, name: &ServiceName) -> Option<Arc<Known>> {
        self.snapshot().service(name).cloned()
    }

    /// What somebody who dialled `address` wants. Known: at once. Otherwise discovery is asked, and waited for as long as
    /// configured, or not at all when it has been away for longer than that. `None`: nobody could say.
    pub async fn bind(&self, address: IpAddr) -> Option<Binding> {
        let answer = self.find(Some(Target::Address(address)), |known| known.binding(address).cloned()).await;
        // An endpoint of a service that is known must not look like a stranger because discovery is away.
        answer.or_else(|| self.snapshot().endpoint_at(address))
    }

    /// As [`Catalog::lookup`], for callers to whom it is all the same why there is nothing.
    pub async fn service(&self, name: &ServiceName) -> Option<Arc<Known>> {
        match self.lookup(name).await {
            Answer::Known(known) => Some(known),
            Answer::Absent | Answer::Unanswered => None,
        }
    }

    /// All about the service `name`; waits like [`Catalog::bind`].
    pub async fn lookup(&self, name: &ServiceName) -> Answer {
        let look = |snapshot: &Snapshot| match snapshot.service(name) {
            Some(known) => Some(Answer::Known(known.clone())),
            None => snapshot.is_absent(name).then_some(Answer::Absent),
        };
        self.find(Some(Target::Service(name.clone())), look).await.unwrap_or(Answer::Unanswered)
    }

    /// The policies that select this workload; waits like [`Catalog::bind`] until they have been told once.
    pub async fn guard(&self) -> Option<Arc<Guarded>> {
        self.find(None, |known| known.guard.clone()).await
    }

    /// An endpoint of `name` cannot be reached: discovery should say again what is so.
    pub fn doubt(&self, name: &ServiceName) {
        // A full queue holds the same doubts already, or there is so much wrong that one more makes no difference.
        let _ = self.0.doubts.try_send(name.clone());
    }

    /// Whether the stream to discovery is up.
    pub fn connected(&self) -> bool {
        self.0.away_since.load(Ordering::Relaxed) == CONNECTED
    }

    /// The highest revision that is in force.
    pub fn revision(&self) -> u64 {
        self.snapshot().revision
    }

    /// How many snapshots have been put into force so far.
    pub fn publications(&self) -> u64 {
        self.0.publications.load(Ordering::Acquire)
    }

    /// Completes with the next publication after this call, however late it is first polled.
    pub fn published(&self) -> impl Future<Output = ()> + Send + '_ {
        self.0.published.notified()
    }

    /// Has those who follow the catalog look again.
    pub fn announce(&self) {
        self.0.published.notify_waiters();
    }

    /// Without a `target` there is nothing to ask: the answer comes by itself.
    async fn find<T>(&self, target: Option<Target>, look: impl Fn(&Snapshot) -> Option<T>) -> Option<T> {
        if let Some(found) = look(&self.snapshot()) {
            return Some(found);
        }
        // Asked even while discovery is away: then the answer is there when it is back. A full queue is a storm of
        // questions; this one goes unanswered like those that are not answered in time.
        let _ = target.map(|target| self.0.questions.try_send(target));
        let deadline = tokio::time::Instant::now() + self.0.patience();
        loop {
            // Before looking, so that a publication in between is not missed.
            let published = self.published();
            if let Some(found) = look(&self.snapshot()) {
                return Some(found);
            }
            tokio::time::timeout_at(deadline, published).await.ok()?;
        }
    }
}

impl Shared {
    /// How long it makes sense to wait for an answer: what is left of the time-out since discovery went away.
    fn patience(&self) -> Duration {
        match self.away_since.load(Ordering::Relaxed) {
            CONNECTED => self.resolve_timeout,
            since => (Duration::from_millis(since) + self.resolve_timeout).saturating_sub(self.started.elapsed()),
        }
    }
}

impl Feed {
    /// The next question. Cancelling loses none.
    pub async fn question(&mut self) -> Target {
        // The sender lives in the shared part that this feed holds, too: the channel never closes.
        self.questions.recv().await.expect("the feed itself keeps the channel open")
    }

    /// The next question or doubt. Cancelling loses none.
    async fn asked(&mut self) -> Asked {
        const OPEN: &str = "the feed itself keeps the channel open";
        tokio::select! {
            target = self.questions.recv() => Asked::Question(target.expect(OPEN)),
            name = self.doubts.recv() => Asked::Doubt(name.expect(OPEN)),
        }
    }

    /// Puts `snapshot` into force and wakes whoever waits for an answer.
    pub fn publish(&self, snapshot: Snapshot) {
        self.shared.snapshot.store(Arc::new(snapshot));
        self.shared.publications.fetch_add(1, Ordering::Release);
        self.shared.published.notify_waiters();
    }

    /// Says that the stream is up or has broken.
    pub fn connected(&self, up: bool) {
        let away_since = &self.shared.away_since;
        match up {
            true => away_since.store(CONNECTED, Ordering::Relaxed),
            // A proxy does not live for 500 million years. When it has been away all along, the first moment counts.
            false if away_since.load(Ordering::Relaxed) == CONNECTED => {
                away_since.store(self.shared.started.elapsed().as_millis() as u64, Ordering::Relaxed);
            }
            false => {}
        }
    }
}
