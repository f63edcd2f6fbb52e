//! The stream from discovery: subscribes to what is wanted, puts what comes into force, and comes back when it breaks.
//!
//! One task on the control runtime, the only writer of the catalog. Any replica will do; a stream that is silent for 15 s
//! is taken for dead. Until the next one stands, and until its answers are there, everything stays as it was.

use super::doubt::Doubts;
use super::outbox::Outbox;
use super::state::{State, Wish};
use super::{Asked, CatalogMetrics, Feed, disk};
use crate::backoff::Backoff;
use crate::discovery::{Discovery, DiscoveryError};
use crate::questions::Answers;
use crate::state_dir::StateDir;
use crate::tap::Taps;
use crate::trust::{InForce, Told, Trust};
use futures::FutureExt;
use rustls::pki_types::CertificateDer;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout, timeout_at};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};
use weft_identity::rotate::Identity;
use weft_model::ServiceName;
use weft_proto::v1;
use weft_proto::v1::discovery_client::DiscoveryClient;
use weft_proto::v1::subscribe_request::Body as Said;
use weft_proto::v1::subscribe_response::Body;
use weft_telemetry::admin::Condition;

/// Both sides send a beat this often ...
const BEAT: Duration = Duration::from_secs(5);
/// ... and give the other up when nothing has moved for this long.
const SILENCE: Duration = Duration::from_secs(15);
/// From the request to the head of the answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// A stream that lived this long did work: pauses start over.
const STEADY: Duration = Duration::from_secs(5);
/// How often subscriptions that nobody uses are looked for.
const SWEEP: Duration = Duration::from_secs(60);
/// Messages that are there already are taken together and published once.
const BATCH: usize = 512;
/// How long a proxy waits to be ready for the policies of its workload: a discovery that is older does not tell them.
const POLICIES_TIMEOUT: Duration = Duration::from_secs(2);
/// A service with very many endpoints has a large snapshot.
const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;

/// What this proxy knows and would do, as JSON, for `weftctl proxy dump`. Asked on a thread that may block.
pub type Describe = Arc<dyn Fn() -> String + Send + Sync>;

/// What the stream needs of the process.
pub struct Stream {
    pub discovery: Discovery,
    pub identity: Identity,
    pub hello: v1::Hello,
    /// What this workload registers for.
    pub registers: Arc<[ServiceName]>,
    pub describe: Describe,
    pub answers: Answers,
    pub taps: Taps,
    pub trust: Trust,
    pub metrics: CatalogMetrics,
    /// Met once the catalog is worth something: discovery has told this workload's policies, or an earlier process has left a catalog
    /// on disk.
    pub ready: Condition,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("discovery", &self.discovery).field("hello", &self.hello).finish_non_exhaustive()
    }
}

#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error(transparent)]
    Connect(#[from] DiscoveryError),
    #[error("no answer within {ANSWER_TIMEOUT:?}")]
    NoAnswer,
    #[error("{:?}: {}", .0.code(), .0.message())]
    Status(Box<Status>),
    #[error("the other side closed it")]
    Closed,
    #[error("nothing heard for {SILENCE:?}")]
    Silent,
    #[error("nothing taken for {SILENCE:?}")]
    Stuck,
}

impl Stream {
    /// Follows discovery for as long as the process lives, beginning with what is on disk.
    pub async fn run(self, feed: Feed, dir: StateDir) {
        let doubts = Doubts::default();
        let state = State::of(&self.hello.namespace).on(&self.hello.node).guarding(Arc::clone(&self.registers));
        let mut follower = Follower {
            state,
            doubts,
            unguarded: false,
            watchers: HashMap::new(),
            confirming: false,
            feed,
            stream: self,
        };
        follower.restore(dir).await;
        let mut backoff = Backoff::default();
        let mut failures = 0;
        loop {
            let replica = follower.stream.discovery.current();
            let begun = Instant::now();
            let Err(error) = follower.session(replica).await;
            follower.feed.connected(false);
            follower.unguarded = follower.is_misunderstood(&error);
            let metrics = &follower.stream.metrics;
            metrics.connected.set(0);
            metrics.broken.inc();
            if begun.elapsed() >= STEADY {
                backoff.reset();
                failures = 0;
            }
            let address = follower.stream.discovery.address(replica);
            match failures {
                0 => tracing::warn!(address, %error, "no stream from discovery; what is known stays in force"),
                _ => tracing::debug!(address, %error, "still no stream from discovery"),
            }
            follower.stream.discovery.pass_over(replica);
            failures += 1;
            // The other replicas are tried at once; a whole round without success makes a pause.
            if failures % follower.stream.discovery.replicas() == 0 {
                follower.meanwhile(sleep(backoff.pause())).await;
            }
        }
    }
}

/// The task's own state.
struct Follower {
    state: State,
    doubts: Doubts,
    /// The last stream ended over the question for the workload's policies: the next one does without.
    unguarded: bool,
    /// Those that the present stream has brought.
    watchers: HashMap<u64, AbortHandle>,
    /// The present stream's discovery wants to know which certificate is used.
    confirming: bool,
    feed: Feed,
    stream: Stream,
}

/// A value that cannot exist: a stream only ever ends with an error.
enum Never {}

impl Follower {
    async fn restore(&mut self, dir: StateDir) {
        let loaded = tokio::task::spawn_blocking(move || disk::load(&dir)).await;
        match loaded {
            Ok(Ok(Some(snapshot))) => {
                let (services, revision) = (snapshot.services.len(), snapshot.revision);
                tracing::info!(services, revision, "starting from the catalog on disk");
                self.state.restore(snapshot, Instant::now().into_std());
                self.publish();
                self.stream.ready.met();
            }
            Ok(Ok(None)) => {}
            Ok(Err(error)) => tracing::warn!(%error, file = disk::FILE, "the catalog on disk is not used"),
            Err(error) => tracing::warn!(%error, "the catalog on disk could not be read"),
        }
    }

    fn publish(&self) {
        let metrics = &self.stream.metrics;
        metrics.revision.set(i64::try_from(self.state.revision()).unwrap_or(i64::MAX));
        metrics.subscriptions.set(i64::try_from(self.state.subscriptions()).unwrap_or(i64::MAX));
        self.feed.publish(self.state.snapshot());
    }

    /// Whether `error` is what a discovery says that does not know of workloads' policies.
    fn is_misunderstood(&self, error: &StreamError) -> bool {
        let malformed = matches!(error, StreamError::Status(status) if status.code() == Code::InvalidArgument);
        let misunderstood = malformed && !self.unguarded && !self.state.is_guarded();
        if misunderstood {
            tracing::warn!("discovery is older than this proxy and knows no policies of workloads: nothing is denied");
        }
        misunderstood
    }

    /// Does `work` and notes questions; they are asked when the next stream begins.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                target = self.feed.question() => drop(self.state.want(target, Instant::now().into_std())),
            }
        }
    }

    /// One stream from beginning to end.
    async fn session(&mut self, replica: usize) -> Result<Never, StreamError> {
        let discovery = self.stream.discovery.clone();
        let tls = discovery.client(&self.stream.identity);
        let channel = self.meanwhile(discovery.connect(replica, tls)).await?;
        let (requests, queued) = mpsc::channel(16);
        let hello = Said::Hello(v1::Hello { newcomer: !self.state.is_guarded(), ..self.stream.hello.clone() });
        // Has room: it is the first.
        let _ = requests.try_send(v1::SubscribeRequest { body: Some(hello) });
        let mut client = DiscoveryClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let answer = timeout(ANSWER_TIMEOUT, client.subscribe(ReceiverStream::new(queued)));
        let answer = self.meanwhile(answer).await.map_err(|_| StreamError::NoAnswer)?;
        let messages = answer.map_err(|status| StreamError::Status(Box::new(status)))?.into_inner();
        tracing::info!(address = discovery.address(replica), "following discovery");
        self.stream.metrics.connected.set(1);
        self.feed.connected(true);
        self.follow(&requests, messages).await
    }

    async fn follow(
        &mut self,
        requests: &mpsc::Sender<v1::SubscribeRequest>,
        mut messages: Streaming<v1::SubscribeResponse>,
    ) -> Result<Never, StreamError> {
        let mut outbox = Outbox::default();
        outbox.extend(self.state.begin(!self.unguarded));
        let untold = sleep(POLICIES_TIMEOUT);
        tokio::pin!(untold);
        let mut waiting = true;
        let (answered, mut answers) = mpsc::channel(1);
        // Those of the stream before have ended with it.
        self.watchers.clear();
        self.confirming = false;
        let mut in_force = self.stream.trust.in_force();
        let (mut beat, mut sweep) = (interval(BEAT), interval(SWEEP));
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut heard, mut moved) = (Instant::now(), Instant::now());
        loop {
            if outbox.is_empty() {
                moved = Instant::now();
            }
            tokio::select! {
                room = timeout_at(moved + SILENCE, requests.reserve()), if !outbox.is_empty() => {
                    let room = room.map_err(|_| StreamError::Stuck)?.map_err(|_| StreamError::Closed)?;
                    if let Some(request) = outbox.pop() {
                        room.send(request);
                    }
                    moved = Instant::now();
                }
                message = timeout_at(heard + SILENCE, messages.next()) => {
                    let message = message.map_err(|_| StreamError::Silent)?.ok_or(StreamError::Closed)?;
                    heard = Instant::now();
                    self.take(message, &mut messages, &mut outbox, &answered)?;
                }
                asked = self.feed.asked() => outbox.extend(match asked {
                    Asked::Question(target) => self.state.want(target, Instant::now().into_std()),
                    Asked::Doubt(name) => self.doubt(&name),
                }),
                Some(said) = answers.recv(), if outbox.has_room() => outbox.answer(said),
                Ok(()) = in_force.changed(), if self.confirming => {
                    outbox.confirm(in_force.borrow_and_update().as_ref().map(confirmed));
                }
                () = &mut untold, if waiting => {
                    waiting = false;
                    self.stream.ready.met();
                }
                _ = beat.tick() => outbox.beat(),
                _ = sweep.tick() => {
                    let ended = self.state.sweep(Instant::now().into_std());
                    if !ended.is_empty() {
                        tracing::debug!(count = ended.len(), "ending subscriptions that nobody uses");
                        outbox.extend(ended);
                        self.publish();
                    }
                }
            }
        }
    }

    /// What to say about a service of which an endpoint cannot be reached.
    fn doubt(&mut self, name: &ServiceName) -> Vec<Wish> {
        if !self.doubts.ask(name, Instant::now().into_std()) {
            return Vec::new();
        }
        let wishes = self.state.doubt(name);
        if !wishes.is_empty() {
            tracing::debug!(service = %name, "an endpoint cannot be reached; asking discovery afresh");
            self.stream.metrics.renewed.inc();
        }
        wishes
    }

    /// Takes `message` and all that have arrived with it, then publishes and acknowledges them at once.
    fn take(
        &mut self,
        message: Result<v1::SubscribeResponse, Status>,
        messages: &mut Streaming<v1::SubscribeResponse>,
        outbox: &mut Outbox,
        answered: &mpsc::Sender<Said>,
    ) -> Result<(), StreamError> {
        let mut next = Some(message);
        let mut changed = false;
        let mut result = Ok(());
        for _ in 0..BATCH {
            match next.take() {
                Some(Ok(message)) => changed |= self.one(message, outbox, answered),
                Some(Err(status)) => {
                    result = Err(StreamError::Status(Box::new(status)));
                    break;
                }
                None => break,
            }
            // What an end of the stream means is for the next round to find out.
            next = messages.next().now_or_never().flatten();
        }
        if let Some(left) = next.take() {
            changed |= left.is_ok_and(|message| self.one(message, outbox, answered));
        }
        if changed {
            self.publish();
            if self.state.is_guarded() {
                self.stream.ready.met();
            }
            outbox.ack(self.state.revision());
        }
        result
    }

    /// Whether the message may have changed anything.
    fn one(&mut self, message: v1::SubscribeResponse, outbox: &mut Outbox, answered: &mpsc::Sender<Said>) -> bool {
        self.stream.metrics.messages.inc();
        match &message.body {
            Some(Body::Beat(_)) | None => return false,
            Some(Body::Dump(request)) => {
                let (id, answered, describe) = (request.id, answered.clone(), self.stream.describe.clone());
                tokio::task::spawn_blocking(move || {
                    // A stream that ended meanwhile takes the question with it.
                    let _ = answered.blocking_send(Said::Dump(v1::DumpResponse { id, json: describe() }));
                });
                return false;
            }
            Some(Body::Ask(ask)) => {
                let (id, answered) = (ask.id, answered.clone());
                let answer = (self.stream.answers)(ask.topic.clone(), ask.json.clone());
                tokio::spawn(async move {
                    let said = answer.await.map_or_else(v1::answer::Said::Refused, v1::answer::Said::Json);
                    let _ = answered.send(Said::Answer(v1::Answer { id, said: Some(said) })).await;
                });
                return false;
            }
            Some(Body::Tap(v1::TapStart { id, tap })) => {
                self.watchers.retain(|_, task| !task.is_finished());
                let task = self.stream.taps.start(*id, tap.clone().unwrap_or_default(), answered.clone());
                self.watchers.insert(*id, task);
                return false;
            }
            Some(Body::Untap(v1::TapStop { id })) => {
                if let Some(task) = self.watchers.remove(id) {
                    task.abort();
                }
                return false;
            }
            Some(Body::TrustAnchors(v1::TrustAnchors { anchors, issuing })) => {
                let anchors = anchors.iter().cloned().map(CertificateDer::from).collect();
                self.stream.trust.tell(Told { anchors, issuing: issuing.clone().into() });
                self.confirming = true;
                outbox.confirm(self.stream.trust.in_force().borrow().as_ref().map(confirmed));
                return false;
            }
            Some(
                Body::Snapshot(_)
                | Body::Delta(_)
                | Body::Gone(_)
                | Body::Binding(_)
                | Body::SessionKeys(_)
                | Body::Policies(_),
            ) => {}
        }
        let wishes: Vec<Wish> = match self.state.apply(message, Instant::now().into_std()) {
            Ok(wishes) => wishes,
            Err((error, wishes)) => {
                self.stream.metrics.refused.inc();
                tracing::warn!(%error, "a message from discovery is refused; what was known stays");
                wishes
            }
        };
        outbox.extend(wishes);
        true
    }
}

fn confirmed(InForce { serial, anchors }: &InForce) -> Said {
    Said::Trusting(v1::Trusting { serial: serial.clone(), anchors: anchors.clone() })
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
