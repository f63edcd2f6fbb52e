//! One proxy's stream, from Hello to its end.
//!
//! Changes wait as a set of targets, never as messages: the next message is computed when the proxy's connection has room
//! for it, from what was told last and what is so then. A slow proxy therefore costs a set of names, and delays nobody.

use super::confirm::{self, Confirmations};
use super::difference::{self, Told};
use super::guard::Guard;
use super::proxies::{Asked, Entered, Proxies};
use super::questions::{self, Questions};
use super::taps::Taps;
use crate::authority::{Authority, Trust};
use crate::metrics::{Metrics, Outcome, Push};
use crate::registry::{Pending, Registry, Subscriber, Target, Versioned};
use crate::rpc::Caller;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc::{Permit, Sender};
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use weft_model::session::SessionKey;
use weft_model::{Binding, ServiceName};
use weft_proto::v1;
use weft_proto::v1::subscribe_request::Body as Request;
use weft_proto::v1::subscribe_response::Body as Response;

/// How long the last word of a stream may wait for a proxy that reads slowly.
const LAST_WORD: Duration = Duration::from_secs(1);

/// How a stream is kept.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How often a beat is sent.
    pub beat: Duration,
    /// A stream that brings nothing for this long is closed.
    pub silence: Duration,
    /// Targets that one stream may be subscribed to.
    pub subscriptions: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { beat: Duration::from_secs(5), silence: Duration::from_secs(15), subscriptions: 10_000 }
    }
}

/// What all streams of a replica share.
#[derive(Clone)]
pub struct Supply {
    pub registry: Registry,
    pub proxies: Proxies,
    pub authority: Arc<Authority>,
    pub metrics: Metrics,
    pub settings: Settings,
    /// Streams end when it is cancelled.
    pub shutdown: CancellationToken,
}

/// One stream and what its proxy has been told.
pub struct Stream {
    supply: Supply,
    to: Sender<Result<v1::SubscribeResponse, Status>>,
    entered: Entered,
    asked: Asked,
    trust: watch::Receiver<Arc<Trust>>,
    confirmations: Confirmations,
    state: State,
}

/// What changes while the stream goes on.
struct State {
    subscriber: Subscriber,
    services: HashMap<ServiceName, Told>,
    /// `None`: nothing told yet.
    addresses: HashMap<IpAddr, Option<Binding>>,
    guard: Guard,
    /// Targets to be looked at; what changes meanwhile piles up at the subscriber, each target once.
    due: Vec<Target>,
    pending: Pending,
    beat_due: bool,
    trust_due: Option<Arc<Trust>>,
    questions: Questions,
    taps: Taps,
    heard: Instant,
}

/// Why a stream ends: a word for the metric, and what the proxy is told.
type End = (&'static str, Status);

/// Tells a proxy to go to another replica.
pub fn shutting_down() -> Status {
    Status::unavailable("this replica is shutting down: go to another one")
}

impl Stream {
    pub fn new(
        supply: &Supply,
        hello: v1::Hello,
        caller: Caller,
        to: Sender<Result<v1::SubscribeResponse, Status>>,
    ) -> Self {
        let guard = Guard::of(&hello);
        let confirmations = Confirmations::of(supply.authority.clone(), &caller);
        let mut trust = supply.authority.watch();
        let (entered, asked) = supply.proxies.enter(hello, caller);
        let mut subscriber = supply.registry.changes();
        // Every proxy is told, unasked.
        subscriber.watch(Target::SessionKeys);
        let state = State {
            pending: subscriber.pending(),
            subscriber,
            services: HashMap::new(),
            addresses: HashMap::new(),
            guard,
            due: Vec::new(),
            beat_due: false,
            trust_due: Some(trust.borrow_and_update().clone()),
            questions: Questions::default(),
            taps: Taps::of(&entered.session.name()),
            heard: Instant::now(),
        };
        Self { supply: supply.clone(), to, entered, asked, trust, confirmations, state }
    }

    pub async fn run(mut self, mut from: Streaming<v1::SubscribeRequest>) {
        self.supply.metrics.subscribers.inc();
        let (outcome, status) = self.talk(&mut from).await;
        self.supply.metrics.subscribers.dec();
        self.supply.metrics.subscriptions.dec_by(self.state.subscriptions() as i64);
        self.supply.metrics.streams_ended.get_or_create(&Outcome::of(outcome)).inc();
        let hello = &self.entered.session.hello;
        tracing::info!(proxy = hello.proxy, namespace = hello.namespace, outcome, "the stream has ended");
        let _ = tokio::time::timeout(LAST_WORD, self.to.send(Err(status))).await;
    }

    async fn talk(&mut self, from: &mut Streaming<v1::SubscribeRequest>) -> End {
        let mut beats = tokio::time::interval(self.supply.settings.beat);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if let Err(end) = self.step(from, &mut beats).await {
                return end;
            }
            self.entered.session.pending.store(self.state.pending(), Ordering::Relaxed);
        }
    }

    /// Waits for one thing to happen and deals with it.
    async fn step(&mut self, from: &mut Streaming<v1::SubscribeRequest>, beats: &mut Interval) -> Result<(), End> {
        let to = self.to.clone();
        let state = &mut self.state;
        let speak = !state.due.is_empty()
            || state.beat_due
            || state.trust_due.is_some()
            || state.questions.is_due()
            || state.taps.is_due();
        tokio::select! {
            () = self.supply.shutdown.cancelled() => Err(("shutdown", shutting_down())),
            () = tokio::time::sleep_until(state.heard + self.supply.settings.silence) => {
                Err(("silent", Status::deadline_exceeded("nothing was heard from the proxy")))
            }
            message = from.message() => match message {
                Ok(Some(v1::SubscribeRequest { body: Some(body) })) => self.hear(body),
                Ok(Some(_)) => Err(("malformed", Status::invalid_argument("a message without a body"))),
                Ok(None) => Err(("closed", Status::ok(""))),
                Err(status) => Err(("broken", status)),
            },
            _ = beats.tick() => {
                state.beat_due = true;
                Ok(())
            }
            Ok(()) = self.trust.changed() => {
                state.trust_due = Some(self.trust.borrow_and_update().clone());
                Ok(())
            }
            Some(question) = self.asked.questions.recv() => {
                state.questions.push(question);
                Ok(())
            }
            Some(order) = self.asked.taps.recv() => {
                state.taps.start(order);
                Ok(())
            }
            () = state.taps.left() => {
                state.taps.look();
                Ok(())
            }
            changed = state.subscriber.next(), if state.due.is_empty() => {
                state.due = changed;
                Ok(())
            }
            room = to.reserve(), if speak => match room {
                Ok(room) => {
                    let message = state.next_message(&self.supply.registry);
                    send(room, message, &self.entered, &self.supply.metrics);
                    self.entered.session.pending.store(state.pending(), Ordering::Relaxed);
                    Ok(())
                }
                Err(_) => Err(("closed", Status::ok(""))),
            },
        }
    }

    fn hear(&mut self, body: Request) -> Result<(), End> {
        self.state.heard = Instant::now();
        match body {
            Request::Hello(_) => {
                return Err(("malformed", Status::invalid_argument("Hello is only for the first message")));
            }
            Request::Subscribe(target) => self.subscribe(target)?,
            Request::Unsubscribe(target) => {
                let removed = self.state.unsubscribe(parse(target)?);
                self.supply.metrics.subscriptions.dec_by(i64::from(removed));
            }
            Request::Ack(ack) => drop(self.entered.session.acked.fetch_max(ack.revision, Ordering::Relaxed)),
            Request::Beat(_) => {}
            Request::Dump(dump) => self.state.questions.answered(dump.id, Ok(dump.json)),
            Request::Answer(answer) => self.state.questions.answered(answer.id, questions::said(answer.said)),
            Request::Tapped(tapped) => self.state.taps.heard(tapped),
            Request::Trusting(trusting) => self.confirmations.heard(trusting),
        }
        self.entered.session.subscriptions.store(self.state.subscriptions() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn subscribe(&mut self, target: v1::Target) -> Result<(), End> {
        let limit = self.supply.settings.subscriptions;
        if let Some(v1::target::By::Workload(workload)) = target.by {
            self.state.guard.subscribe(workload, &mut self.state.subscriber).map_err(malformed)?;
            return Ok(());
        }
        if target.by.is_none() {
            // Of a newer proxy, which can do without; ending the stream would cost it all the rest.
            tracing::warn!(proxy = self.entered.session.hello.proxy, "a subscription of a kind that is not known here");
            return Ok(());
        }
        let doubted = target.doubted;
        let target = parse(target)?;
        if let (true, Target::Service(name)) = (doubted, &target) {
            self.supply.registry.doubt(name);
        }
        if self.state.subscribe(target, limit)? {
            self.supply.metrics.subscriptions.inc();
        }
        Ok(())
    }
}

impl State {
    fn subscriptions(&self) -> usize {
        self.services.len() + self.addresses.len()
    }

    /// Targets with changes that were not sent yet.
    fn pending(&self) -> u64 {
        (self.pending.count() + self.due.len()) as u64
    }

    /// Whether it is new. Subscribing again has the present state sent again.
    fn subscribe(&mut self, target: Target, limit: usize) -> Result<bool, End> {
        let full = self.subscriptions() >= limit;
        let known = match &target {
            Target::Service(name) => self.services.contains_key(name),
            Target::Address(address) => self.addresses.contains_key(address),
            Target::SessionKeys | Target::Guard(_) | Target::Workload { .. } => true,
        };
        if full && !known {
            let reason = format!("a stream may have {limit} subscriptions: unsubscribe from what is not dialled");
            return Err(("too-many", Status::resource_exhausted(reason)));
        }
        match &target {
            Target::Service(name) => drop(self.services.insert(name.clone(), Told::Nothing)),
            Target::Address(address) => drop(self.addresses.insert(*address, None)),
            Target::SessionKeys | Target::Guard(_) | Target::Workload { .. } => {}
        }
        if !self.subscriber.watch(target.clone()) && !self.due.contains(&target) {
            self.due.push(target);
        }
        Ok(!known)
    }

    /// Whether it was subscribed to.
    fn unsubscribe(&mut self, target: Target) -> bool {
        let known = match &target {
            Target::Service(name) => self.services.remove(name).is_some(),
            Target::Address(address) => self.addresses.remove(address).is_some(),
            Target::SessionKeys | Target::Guard(_) | Target::Workload { .. } => return false,
        };
        self.subscriber.unwatch(&target);
        self.due.retain(|due| *due != target);
        known
    }

    /// The next thing to say, if the change that was due is one for this proxy.
    fn next_message(&mut self, registry: &Registry) -> Option<v1::SubscribeResponse> {
        let world = registry.world();
        let body = if std::mem::take(&mut self.beat_due) {
            Some(Response::Beat(v1::Beat {}))
        } else if let Some(trust) = self.trust_due.take() {
            Some(confirm::told(&trust))
        } else if self.questions.is_due() {
            self.questions.next()
        } else if self.taps.is_due() {
            self.taps.next()
        } else {
            match self.due.pop()? {
                Target::Service(name) => self.service(&name, world.service(&name)),
                Target::Address(address) => self.address(address, world.binding(address)),
                Target::SessionKeys => session_keys(world.session_keys()),
                Target::Guard(_) | Target::Workload { .. } => self.guard.next(&world),
            }
        };
        body.map(|body| v1::SubscribeResponse { revision: world.revision(), body: Some(body) })
    }

    fn service(&mut self, name: &ServiceName, now: Option<&Arc<Versioned>>) -> Option<Response> {
        let told = self.services.get_mut(name)?;
        let message = difference::service(name, told, now);
        *told = now.map_or(Told::Gone, |now| Told::View(now.clone()));
        message
    }

    fn address(&mut self, address: IpAddr, now: Binding) -> Option<Response> {
        let told = self.addresses.get_mut(&address)?;
        let news = told.as_ref() != Some(&now);
        let message = news.then(|| Response::Binding((address, &now).into()));
        *told = Some(now);
        message
    }
}

/// None while there are none: every store has them once an authority has been opened on it.
fn session_keys(keys: &[SessionKey]) -> Option<Response> {
    let keys: Vec<_> = keys.iter().map(Into::into).collect();
    (!keys.is_empty()).then_some(Response::SessionKeys(v1::SessionKeys { keys }))
}

fn send(
    room: Permit<'_, Result<v1::SubscribeResponse, Status>>,
    message: Option<v1::SubscribeResponse>,
    entered: &Entered,
    metrics: &Metrics,
) {
    let Some(message) = message else { return };
    let kind = match &message.body {
        Some(Response::Snapshot(_)) => "snapshot",
        Some(Response::Delta(_)) => "delta",
        Some(Response::Gone(_)) => "gone",
        Some(Response::Binding(_)) => "binding",
        Some(Response::Policies(_)) => "policies",
        Some(Response::Dump(_)) => "dump",
        Some(Response::Ask(_)) => "ask",
        Some(Response::Tap(_) | Response::Untap(_)) => "tap",
        Some(Response::SessionKeys(_)) => "session-keys",
        Some(Response::TrustAnchors(_)) => "trust-anchors",
        Some(Response::Beat(_)) | None => "beat",
    };
    metrics.pushes.get_or_create(&Push { kind }).inc();
    if !matches!(kind, "beat" | "dump" | "ask" | "tap" | "trust-anchors") {
        entered.session.sent.fetch_max(message.revision, Ordering::Relaxed);
    }
    room.send(Ok(message));
}

fn malformed(reason: String) -> End {
    ("malformed", Status::invalid_argument(reason))
}

fn parse(target: v1::Target) -> Result<Target, End> {
    use v1::target::By;
    let refuse = malformed;
    match target.by {
        Some(By::Service(name)) => {
            ServiceName::parse(&name).map(Target::Service).map_err(|e| refuse(format!("target.service: {e}")))
        }
        Some(By::Address(text)) => text
            .parse()
            .map(Target::Address)
            .map_err(|_| refuse(format!("target.address: {text:?} is not an IP address"))),
        Some(By::Workload(_)) => Err(refuse("target.workload: lasts as long as the stream".to_owned())),
        None => Err(refuse("target: names neither a service nor an address".to_owned())),
    }
}
