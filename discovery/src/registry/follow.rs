//! Follows the store: one range read, then the watch from the revision after it; again from the start whenever that breaks.
//!
//! The only writer of the registry's world. Compaction, a watch that turns out to have lost something, a broken watch and a store that is away all end in reading again and
//! comparing, with growing pauses while the store does not answer; until then the last world stays as it is.

use super::brake::BrakeSettings;
use super::doubts::{Difference, Doubts, agree};
use super::published::{Published, Troubles};
use super::state::State;
use crate::record::Key;
use crate::store::{Batch, Store, StoreError, Watch};
use futures::{FutureExt, StreamExt};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use weft_model::ServiceName;

/// Revisions taken in together when they come faster than worlds are made.
const TOGETHER: usize = 256;

/// Pauses between tries while the store does not answer, each with a random part so that replicas do not come all at once.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// How long the store may take to say what it has of one service.
const LOOK: Duration = Duration::from_secs(2);

struct Follower {
    store: Arc<dyn Store>,
    published: Arc<Published>,
    state: State,
    doubts: Doubts,
}

pub(super) async fn follow(
    store: Arc<dyn Store>,
    published: Arc<Published>,
    brake: BrakeSettings,
    doubts: mpsc::Receiver<ServiceName>,
) {
    let mut follower = Follower { store, published, state: State::new(brake), doubts: Doubts::new(doubts) };
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match follower.read().await {
            Ok(watch) => {
                pause = FIRST_PAUSE;
                follower.published.counters.connected.store(true, Ordering::Relaxed);
                let error = follower.watch(watch).await;
                follower.published.counters.resyncs.fetch_add(1, Ordering::Relaxed);
                error
            }
            Err(error) => error,
        };
        follower.published.counters.connected.store(false, Ordering::Relaxed);
        tracing::warn!(%error, revision = follower.state.revision(), "the store is read again; the last world stays");
        follower.rest(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

impl Follower {
    /// Reads everything and opens the watch that goes on from there.
    async fn read(&mut self) -> Result<Watch, StoreError> {
        // The records lie under several prefixes, and they have to be of one revision.
        let range = self.store.range("").await?;
        if range.revision < self.state.revision() {
            let (known, now) = (self.state.revision(), range.revision);
            tracing::error!(
                known,
                now,
                "the store's revision went back: it was restored or replaced, and is followed as it is"
            );
        }
        let watch = self.store.watch("", range.revision + 1).await?;
        self.state.resync(&range, Instant::now().into_std());
        self.publish();
        self.published.ready.send_replace(true);
        Ok(watch)
    }

    /// Takes in what the watch says until it breaks.
    async fn watch(&mut self, mut watch: Watch) -> StoreError {
        let ended = || StoreError::Unavailable("the watch ended".to_owned());
        loop {
            let brake_end = self.brake_end();
            let let_go = async {
                match brake_end {
                    Some(end) => sleep_until(end).await,
                    None => std::future::pending().await,
                }
            };
            let item = tokio::select! {
                item = watch.next() => Some(item),
                () = let_go => None,
                doubted = self.doubts.next() => match self.look(&doubted).await {
                    Ok(()) => continue,
                    Err(lost) => return lost,
                },
            };
            let mut next = item;
            let mut error = None;
            for _ in 0..TOGETHER {
                match next {
                    Some(Some(Ok(batch))) => self.apply(&batch),
                    Some(Some(Err(broken))) => error = Some(broken),
                    Some(None) => error = Some(ended()),
                    None => break,
                }
                if error.is_some() {
                    break;
                }
                next = watch.next().now_or_never();
            }
            self.publish();
            if let Some(error) = error {
                return error;
            }
        }
    }

    /// Compares what the store has of a service's endpoints with what is shown. `Err`: the watch has lost something.
    async fn look(&mut self, service: &ServiceName) -> Result<(), StoreError> {
        self.published.counters.doubts.fetch_add(1, Ordering::Relaxed);
        let range = timeout(LOOK, self.store.range(&Key::endpoints_of(service))).await;
        // A store that does not answer says nothing; its watch will break.
        let Ok(Ok(range)) = range else { return Ok(()) };
        if agree(self.state.endpoints_of(service), &range.entries) {
            self.doubts.agrees(service);
            return Ok(());
        }
        match self.doubts.differs(service, range.revision, self.state.revision()) {
            Difference::Early => Ok(()),
            Difference::Lost => Err(StoreError::Unavailable(format!("the watch has lost endpoints of {service}"))),
        }
    }

    fn apply(&mut self, batch: &Batch) {
        self.state.apply(batch, Instant::now().into_std());
    }

    /// Waits, and lets the brake go in time meanwhile.
    async fn rest(&mut self, pause: Duration) {
        let end = Instant::now() + pause;
        while let Some(brake) = self.brake_end().filter(|brake| *brake < end) {
            sleep_until(brake).await;
            self.publish();
        }
        sleep(end.saturating_duration_since(Instant::now())).await;
    }

    fn brake_end(&self) -> Option<Instant> {
        self.state.brake.next().map(Instant::from_std)
    }

    /// First the world, then the news of it.
    fn publish(&mut self) {
        self.state.pass(Instant::now().into_std());
        let (world, changed) = self.state.publish();
        self.published.world.store(Arc::new(world));
        let counters = &self.published.counters;
        counters.skipped.store(self.state.tally.skipped, Ordering::Relaxed);
        counters.brakes.store(self.state.tally.brakes, Ordering::Relaxed);
        counters.unreadable.store(self.state.unreadable().len() as u64, Ordering::Relaxed);
        let troubles = Troubles::of(self.state.brake.on(), self.state.unreadable());
        counters.braking.store(troubles.braked.len() as u64, Ordering::Relaxed);
        if **self.published.troubles.load() != troubles {
            self.published.troubles.store(Arc::new(troubles));
        }
        self.published.board.announce(changed);
    }
}
