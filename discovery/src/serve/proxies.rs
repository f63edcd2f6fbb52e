//! The proxies that have a stream open to this replica: what `weftctl status` shows, and the way to ask one something.
//!
//! Written by the streams, read by the admin service. A stream takes itself out when it ends, however it ends.

use super::questions::{Question, Said, Subject};
use super::taps::Order;
use crate::rpc::Caller;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use tokio::sync::{mpsc, oneshot};
use weft_proto::v1;

/// Questions that may wait for one proxy.
const QUESTIONS: usize = 4;
/// Watchers that may wait to be let in, likewise.
const TAPS: usize = 4;

/// One stream.
#[derive(Debug)]
pub struct Session {
    pub hello: v1::Hello,
    pub caller: Caller,
    pub connected: SystemTime,
    pub sent: AtomicU64,
    pub acked: AtomicU64,
    pub subscriptions: AtomicU64,
    pub pending: AtomicU64,
    questions: mpsc::Sender<Question>,
    taps: mpsc::Sender<Order>,
}

/// What is asked of a proxy.
#[derive(Debug)]
pub struct Asked {
    pub questions: mpsc::Receiver<Question>,
    pub taps: mpsc::Receiver<Order>,
}

impl Session {
    /// Asks the proxy about `subject`. `None`: too many are asking already, or the stream has ended.
    pub fn ask(&self, subject: Subject) -> Option<oneshot::Receiver<Said>> {
        let (reply, answer) = oneshot::channel();
        self.questions.try_send(Question { subject, reply }).ok().map(|()| answer)
    }

    /// Has the proxy tell of requests. `false`: too many ask for that already, or the stream has ended.
    pub fn tap(&self, order: Order) -> bool {
        self.taps.try_send(order).is_ok()
    }

    /// Whether the stream goes on.
    pub fn is_open(&self) -> bool {
        !self.taps.is_closed()
    }

    /// The proxy's name with its namespace.
    pub fn name(&self) -> String {
        format!("{}/{}", self.hello.namespace, self.hello.proxy)
    }
}

/// All streams of this replica; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Proxies(Arc<Sessions>);

#[derive(Debug, Default)]
struct Sessions {
    next: AtomicU64,
    open: Mutex<BTreeMap<u64, Arc<Session>>>,
}

/// A stream's entry; dropping it takes the stream out.
#[derive(Debug)]
pub struct Entered {
    number: u64,
    all: Proxies,
    pub session: Arc<Session>,
}

impl Proxies {
    /// Enters a stream.
    pub fn enter(&self, hello: v1::Hello, caller: Caller) -> (Entered, Asked) {
        let ((questions, asked), (taps, ordered)) = (mpsc::channel(QUESTIONS), mpsc::channel(TAPS));
        let zero = AtomicU64::default;
        let (sent, acked, subscriptions, pending) = (zero(), zero(), zero(), zero());
        let connected = SystemTime::now();
        let session =
            Arc::new(Session { hello, caller, connected, sent, acked, subscriptions, pending, questions, taps });
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        self.open().insert(number, session.clone());
        (Entered { number, all: self.clone(), session }, Asked { questions: asked, taps: ordered })
    }

    /// All open streams, by the proxies' names; of one proxy the newest last.
    pub fn list(&self) -> Vec<Arc<Session>> {
        let mut list: Vec<_> = self.open().values().cloned().collect();
        list.sort_by(|a, b| (&a.hello.namespace, &a.hello.proxy).cmp(&(&b.hello.namespace, &b.hello.proxy)));
        list
    }

    /// The newest stream of one proxy.
    pub fn find(&self, namespace: &str, name: &str) -> Option<Arc<Session>> {
        let open = self.open();
        open.values().rev().find(|session| session.hello.namespace == namespace && session.hello.proxy == name).cloned()
    }

    fn open(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Arc<Session>>> {
        // Each change is one insertion or removal, so that a map whose holder panicked is sound.
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.all.open().remove(&self.number);
    }
}
