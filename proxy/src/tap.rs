//! Taps: watchers who are told of requests as they end, while they watch.
//!
//! Below `observe`, through which requests come, and beside the stream to discovery, on which watchers come and go. While nobody
//! watches, a request looks at one flag. What a watcher costs is bounded: so many requests a second, a queue, a time; what is beyond
//! is counted, and the watcher is told. Traffic never waits for a watcher.

mod rate;
mod session;
mod wanted;

pub use wanted::{Client, Seen};

use crate::config::Config;
use arc_swap::ArcSwap;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use session::Session;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use weft_proto::v1;
use weft_proto::v1::subscribe_request::Body as Said;
use weft_telemetry::metrics::Registry;

/// Watchers at the same time.
const MOST_SESSIONS: usize = 8;

/// The watchers of this proxy; clones share them.
#[derive(Clone)]
pub struct Taps(Arc<Hub>);

struct Hub {
    own: Own,
    /// Whether anybody watches.
    on: AtomicBool,
    /// Whether anybody wants header fields.
    headers: AtomicBool,
    sessions: ArcSwap<Vec<Arc<Session>>>,
    /// Held while the list changes.
    changing: Mutex<()>,
    metrics: Metrics,
}

/// Who this proxy is.
#[derive(Debug, Clone, Default)]
pub struct Own {
    pub namespace: String,
    pub proxy: String,
    pub account: String,
}

#[derive(Debug, Clone, Default)]
struct Metrics {
    open: Gauge,
    told: Counter,
    dropped: Counter,
}

/// A watcher's place; dropping it takes the watcher out.
struct Opened {
    taps: Taps,
    session: Arc<Session>,
}

impl fmt::Debug for Taps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Taps").field("on", &self.on()).finish_non_exhaustive()
    }
}

impl Taps {
    pub fn new(config: &Config, registry: &mut Registry) -> Self {
        let metrics = Metrics::default();
        registry.register("taps_open", "Watchers of live requests", metrics.open.clone());
        registry.register("tapped_requests", "Requests that watchers were told of", metrics.told.clone());
        let help = "Requests that watchers wanted and were not told of";
        registry.register("tapped_requests_dropped", help, metrics.dropped.clone());
        let (namespace, proxy) = (config.namespace.clone(), config.name.clone());
        Self::of(Own { namespace, proxy, account: config.service_account.clone() }, metrics)
    }

    fn of(own: Own, metrics: Metrics) -> Self {
        Self(Arc::new(Hub {
            own,
            on: AtomicBool::new(false),
            headers: AtomicBool::new(false),
            sessions: ArcSwap::default(),
            changing: Mutex::default(),
            metrics,
        }))
    }

    /// Whether anybody watches: all that is asked while nobody does.
    pub fn on(&self) -> bool {
        self.0.on.load(Relaxed)
    }

    /// Whether anybody wants header fields.
    pub fn headers(&self) -> bool {
        self.0.headers.load(Relaxed)
    }

    pub fn own(&self) -> &Own {
        &self.0.own
    }

    /// A request has ended; `event` is made for each watcher who wants it, told whether with header fields.
    pub fn offer(&self, seen: &Seen<'_>, now: Instant, event: impl Fn(bool) -> v1::TapEvent) {
        for session in self.0.sessions.load().iter().filter(|session| session.wanted.passes(seen)) {
            match session.offer(now, &event) {
                true => self.0.metrics.told.inc(),
                false => self.0.metrics.dropped.inc(),
            };
        }
    }

    /// Lets a watcher in, who is told by way of `to`. The task ends with the watcher's time, with `to`, or when it is aborted.
    pub fn start(&self, id: u64, tap: v1::Tap, to: mpsc::Sender<Said>) -> AbortHandle {
        let task = match self.open(tap) {
            Ok((opened, events)) => tokio::spawn(session::tell(id, Arc::clone(&opened.session), opened, events, to)),
            Err(ended) => tokio::spawn(async move {
                // A stream that has ended takes its watchers with it.
                let _ = to.send(Said::Tapped(v1::Tapped { id, ended, ..Default::default() })).await;
            }),
        };
        task.abort_handle()
    }

    fn open(&self, tap: v1::Tap) -> Result<(Opened, mpsc::Receiver<v1::TapEvent>), String> {
        let (session, events) = Session::new(tap);
        let session = Arc::new(session);
        self.change(|sessions| match sessions.len() < MOST_SESSIONS {
            true => {
                sessions.push(Arc::clone(&session));
                Ok(())
            }
            false => Err(format!("{MOST_SESSIONS} others tap it already: try again")),
        })?;
        Ok((Opened { taps: self.clone(), session }, events))
    }

    fn change<T>(&self, how: impl FnOnce(&mut Vec<Arc<Session>>) -> T) -> T {
        let hub = &self.0;
        // Nothing that can panic is half done.
        let _changing = hub.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sessions = hub.sessions.load().as_ref().clone();
        let done = how(&mut sessions);
        hub.metrics.open.set(i64::try_from(sessions.len()).unwrap_or(i64::MAX));
        hub.headers.store(sessions.iter().any(|session| session.wanted.headers), Relaxed);
        let on = !sessions.is_empty();
        hub.sessions.store(Arc::new(sessions));
        hub.on.store(on, Relaxed);
        done
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.taps.change(|sessions| sessions.retain(|session| !Arc::ptr_eq(session, &self.session)));
    }
}

/// Of nobody in particular; for tests of what stands above.
#[cfg(test)]
impl Default for Taps {
    fn default() -> Self {
        Self::of(Own::default(), Metrics::default())
    }
}

#[cfg(test)]
#[path = "tap/tests.rs"]
mod tests;
