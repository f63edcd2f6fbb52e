//! Services of which a proxy cannot reach an endpoint: does the store say of them what the registry shows?
//!
//! Beside `follow`, which asks the store when it is time to. A watch that has lost something would go unnoticed otherwise, and an
//! endpoint that is gone would live for ever. However many proxies doubt a service, the store is asked seldom.

use crate::record::{Content, Key};
use crate::store::{Entry, Revision};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use weft_model::{Endpoint, ServiceName};

/// The least time between two looks at the same service.
const EVERY: Duration = Duration::from_secs(5);
/// How long a watch may take to bring what the store has.
const LAG: Duration = Duration::from_secs(1);
/// Doubts that may wait; more of them would say nothing new.
pub(super) const QUEUED: usize = 256;

/// Doubts to be looked into.
pub(super) struct Doubts {
    told: mpsc::Receiver<ServiceName>,
    looked: HashMap<ServiceName, Instant>,
    /// What the store has said otherwise: at which revision, and when the watch should have brought it.
    differed: HashMap<ServiceName, (Revision, Instant)>,
}

/// What a difference between store and registry means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Difference {
    /// The watch may bring it yet.
    Early,
    /// The watch has lost it.
    Lost,
}

/// Whether `entries`, all that the store has under a service's endpoints, say what is `known` of them. Of what cannot be read only
/// that it is there.
pub(super) fn agree(known: Option<&BTreeMap<String, Endpoint>>, entries: &[Entry]) -> bool {
    let id = |entry: &Entry| entry.key.rsplit('/').next().map(str::to_owned);
    let present: HashSet<String> = entries.iter().filter_map(id).collect();
    let same = |entry: &Entry| match Content::decode(entry) {
        Some(Ok((Key::Endpoint { id, .. }, Content::Endpoint(record)))) => {
            known.and_then(|known| known.get(&id)) == Some(&record.model)
        }
        _ => true,
    };
    known.into_iter().flatten().all(|(id, _)| present.contains(id)) && entries.iter().all(same)
}

impl Doubts {
    pub(super) fn new(told: mpsc::Receiver<ServiceName>) -> Self {
        Self { told, looked: HashMap::new(), differed: HashMap::new() }
    }

    /// The next service to look at. Cancelling loses none.
    pub(super) async fn next(&mut self) -> ServiceName {
        loop {
            let due = self.differed.iter().min_by_key(|(_, (_, at))| *at).map(|(name, (_, at))| (name.clone(), *at));
            let again = async {
                match &due {
                    Some((_, at)) => sleep_until(*at).await,
                    None => std::future::pending().await,
                }
            };
            let told = tokio::select! {
                told = self.told.recv() => told,
                () = again => None,
            };
            match (told, due) {
                (Some(name), _) if self.is_new(&name) => return name,
                (Some(_), _) => {}
                (None, Some((name, _))) => return name,
                // The registry that doubts are told to is gone; so will be whoever waits here.
                (None, None) => std::future::pending().await,
            }
        }
    }

    fn is_new(&mut self, name: &ServiceName) -> bool {
        let now = Instant::now();
        self.looked.retain(|_, at| now.saturating_duration_since(*at) < EVERY);
        !self.differed.contains_key(name) && self.looked.insert(name.clone(), now).is_none()
    }

    /// The store says of `name` what the registry shows.
    pub(super) fn agrees(&mut self, name: &ServiceName) {
        self.differed.remove(name);
    }

    /// At `revision` the store says otherwise than the registry, which has come as far as `followed`.
    pub(super) fn differs(&mut self, name: &ServiceName, revision: Revision, followed: Revision) -> Difference {
        let lost = match self.differed.get(name) {
            // Not there in time, or there and otherwise all the same.
            Some((seen, _)) => followed < *seen || followed >= revision,
            None => followed >= revision,
        };
        if lost {
            self.differed.clear();
            return Difference::Lost;
        }
        self.differed.insert(name.clone(), (revision, Instant::now() + LAG));
        Difference::Early
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ServiceName {
        ServiceName::new("shop", text).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn many_doubts_are_one_look_in_a_while() {
        let (tell, told) = mpsc::channel(QUEUED);
        let mut doubts = Doubts::new(told);
        for _ in 0..10 {
            tell.send(name("cart")).await.unwrap();
        }
        tell.send(name("search")).await.unwrap();
        assert_eq!([doubts.next().await, doubts.next().await], [name("cart"), name("search")]);
        assert!(tokio::time::timeout(EVERY / 2, doubts.next()).await.is_err());
        tokio::time::sleep(EVERY).await;
        tell.send(name("cart")).await.unwrap();
        assert_eq!(doubts.next().await, name("cart"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_has_time_to_bring_a_difference() {
        let (_tell, told) = mpsc::channel(QUEUED);
        let mut doubts = Doubts::new(told);
        assert_eq!(doubts.differs(&name("cart"), 7, 6), Difference::Early);
        let begun = Instant::now();
        assert_eq!(doubts.next().await, name("cart"), "looked at again");
        assert_eq!(begun.elapsed(), LAG);
        assert_eq!(doubts.differs(&name("cart"), 9, 7), Difference::Early, "the watch goes on, and is behind again");
        doubts.agrees(&name("cart"));
        assert!(tokio::time::timeout(LAG * 2, doubts.next()).await.is_err());
        assert_eq!(doubts.differs(&name("cart"), 9, 9), Difference::Lost, "as far as the store, and otherwise");
        assert_eq!(doubts.differs(&name("cart"), 9, 8), Difference::Early);
        assert_eq!(doubts.differs(&name("cart"), 9, 8), Difference::Lost, "the watch is stuck");
    }
}
