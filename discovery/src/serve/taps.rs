//! The taps at one proxy: what is to be said to it, and where the requests that it tells of go.
//!
//! Between the admin service, whose watchers read as they like, and the stream, which nobody may hold up: what a watcher has no room
//! for is counted as missing.

use futures::future::select_all;
use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::sync::Arc;
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;
use weft_proto::v1;
use weft_proto::v1::subscribe_response::Body;

/// What one proxy, `namespace/name`, has seen.
pub type Told = (Arc<str>, v1::Tapped);

/// Somebody wants to watch a proxy.
#[derive(Debug)]
pub struct Order {
    pub tap: v1::Tap,
    pub to: Sender<Told>,
}

/// The taps of one stream.
#[derive(Debug)]
pub struct Taps {
    proxy: Arc<str>,
    due: VecDeque<Body>,
    open: HashMap<u64, Open>,
    last: u64,
}

#[derive(Debug)]
struct Open {
    to: Sender<Told>,
    /// Requests that its watcher had no room for.
    missing: u64,
}

impl Taps {
    /// `proxy`: `namespace/name`.
    pub fn of(proxy: &str) -> Self {
        Self { proxy: proxy.into(), due: VecDeque::new(), open: HashMap::new(), last: 0 }
    }

    pub fn start(&mut self, Order { tap, to }: Order) {
        self.last += 1;
        self.open.insert(self.last, Open { to, missing: 0 });
        self.due.push_back(Body::Tap(v1::TapStart { id: self.last, tap: Some(tap) }));
    }

    /// Whether there is something to say to the proxy.
    pub fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    pub fn next(&mut self) -> Option<Body> {
        self.due.pop_front()
    }

    /// Comes back when a watcher has left.
    pub async fn left(&self) {
        if self.open.is_empty() {
            return pending().await;
        }
        select_all(self.open.values().map(|open| Box::pin(open.to.closed()))).await;
    }

    /// Ends the taps whose watchers have left.
    pub fn look(&mut self) {
        let left: Vec<u64> = self.open.iter().filter(|(_, open)| open.to.is_closed()).map(|(id, _)| *id).collect();
        left.into_iter().for_each(|id| self.stop(id));
    }

    fn stop(&mut self, id: u64) {
        self.open.remove(&id);
        self.due.push_back(Body::Untap(v1::TapStop { id }));
    }

    /// The proxy has told something.
    pub fn heard(&mut self, mut tapped: v1::Tapped) {
        // That a tap has ended may be on its way to the proxy.
        let Some(open) = self.open.get_mut(&tapped.id) else { return };
        let (id, ended) = (tapped.id, !tapped.ended.is_empty());
        tapped.dropped += std::mem::take(&mut open.missing);
        match open.to.try_send((Arc::clone(&self.proxy), tapped)) {
            Ok(()) => {}
            Err(TrySendError::Closed(_)) => return self.stop(id),
            Err(TrySendError::Full((_, tapped))) if !ended => {
                open.missing = tapped.dropped + tapped.events.len() as u64;
            }
            Err(TrySendError::Full(last)) => {
                let to = open.to.clone();
                // How much is missing is worth waiting for; it ends when the watcher leaves.
                tokio::spawn(async move { to.send(last).await });
            }
        }
        if ended {
            self.open.remove(&id);
        }
    }
}

impl Drop for Taps {
    /// The stream has ended.
    fn drop(&mut self) {
        for (id, Open { to, missing }) in self.open.drain() {
            let ended = "its stream to discovery has ended".to_owned();
            // Who has no room for it hears of the proxy when it comes back.
            let _ = to.try_send((Arc::clone(&self.proxy), v1::Tapped { id, events: vec![], dropped: missing, ended }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc::{Receiver, channel};

    fn tapped(id: u64, events: usize) -> v1::Tapped {
        v1::Tapped { id, events: vec![v1::TapEvent::default(); events], ..Default::default() }
    }

    fn opened(taps: &mut Taps, room: usize) -> (u64, Receiver<Told>) {
        let (to, from) = channel(room);
        taps.start(Order { tap: v1::Tap::default(), to });
        let Some(Body::Tap(start)) = taps.next() else { panic!("no start") };
        (start.id, from)
    }

    #[tokio::test]
    async fn a_slow_watcher_loses_requests_and_holds_nobody_up() {
        let mut taps = Taps::of("shop/cart-0");
        let (id, mut from) = opened(&mut taps, 1);
        taps.heard(tapped(id, 2));
        taps.heard(tapped(id, 3));
        taps.heard(tapped(id, 4));
        let (proxy, first) = from.recv().await.unwrap();
        assert_eq!((&*proxy, first.events.len(), first.dropped), ("shop/cart-0", 2, 0));
        taps.heard(tapped(id, 1));
        assert_eq!(from.recv().await.unwrap().1.dropped, 7);
        // The last word waits for room, the stream does not.
        taps.heard(tapped(id, 1));
        taps.heard(v1::Tapped { dropped: 5, ended: "over".to_owned(), ..tapped(id, 0) });
        from.recv().await.unwrap();
        assert_eq!(from.recv().await.unwrap().1.dropped, 5);
        assert!(from.recv().await.is_none() && !taps.is_due());
    }

    #[tokio::test]
    async fn a_watcher_that_has_left_is_told_to_the_proxy() {
        let mut taps = Taps::of("shop/cart-0");
        let ((one, from), (two, mut other)) = (opened(&mut taps, 1), opened(&mut taps, 1));
        drop(from);
        taps.left().await;
        taps.look();
        assert!(matches!(taps.next(), Some(Body::Untap(stop)) if stop.id == one));
        taps.heard(tapped(one, 1));
        assert!(!taps.is_due());
        drop(taps);
        let (_, last) = other.recv().await.unwrap();
        assert!(last.id == two && last.ended.contains("has ended"));
    }
}
