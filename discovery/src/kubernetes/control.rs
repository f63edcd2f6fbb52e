//! The controller: keeps the store equal to the cluster, for as long as this replica leads.
//!
//! Level triggered: a change only says what to look at; what is written follows from what is there. Everything is looked at
//! again now and then. What fails stays due and is tried again after a pause that grows; what is told to proxies stays as it was.

use super::cluster::{Cluster, Due, News};
use super::describe::{Described, describe};
use super::facts::ObjectName;
use super::keep::{Keeper, WriteError};
use super::report::Reporter;
use super::status::{self, Verdict};
use super::watch::{self, Watches};
use crate::leader::{Election, Lead};
use crate::metrics::Metrics;
use crate::record::{Content, Key, Record, Source};
use crate::registry::Registry;
use crate::store::{Revision, Store, StoreError};
use crate::translate::{Fault, Kind};
use bytes::Bytes;
use kube::Client;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;
use weft_model::route::RouteKind;

/// How often everything is looked at again, with a random part of as much again.
const RESYNC: Duration = Duration::from_secs(300);
/// Pauses after failures, with a random part.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How often the statuses of documents are looked at, where the world is another than before.
const LOOK: Duration = Duration::from_millis(500);
/// News taken in together.
const TOGETHER: usize = 1024;
/// What the replicas of a mesh elect their controller for.
const OFFICE: &str = "kubernetes";

/// What the controller works with.
pub struct Controller {
    pub client: Client,
    pub store: Arc<dyn Store>,
    /// Says what became of routes.
    pub registry: Registry,
    pub trust_domain: String,
    /// This replica.
    pub replica: String,
    pub metrics: Metrics,
}

/// One leadership.
struct Reign<'a> {
    controller: &'a Controller,
    lead: &'a Lead,
    keeper: Keeper<'a>,
    cluster: Cluster,
    due: Due,
    verdicts: BTreeMap<(Kind, ObjectName), Verdict>,
    reporter: Reporter,
    /// The world that statuses were last made of; `None`: they have to be made anew in any case.
    looked: Option<Revision>,
    resync: Instant,
    /// Nothing is written before.
    rest: Option<Instant>,
    pause: Duration,
}

impl Controller {
    /// Leads whenever it is elected, until it is told to stop.
    pub async fn run(self, shutdown: CancellationToken) {
        let election = Election::new(self.store.clone(), OFFICE, &self.replica);
        loop {
            let lead = tokio::select! {
                lead = election.win() => lead,
                () = shutdown.cancelled() => return,
            };
            self.metrics.controller_leading.set(1);
            let stopped = tokio::select! {
                () = Reign::new(&self, &lead).rule() => false,
                () = shutdown.cancelled() => true,
            };
            self.metrics.controller_leading.set(0);
            // So that another can begin at once; if it was lost, nothing is left to give up.
            lead.resign().await;
            if stopped {
                return;
            }
            tracing::warn!("this replica leads no more");
        }
    }
}

impl<'a> Reign<'a> {
    fn new(controller: &'a Controller, lead: &'a Lead) -> Self {
        let keeper = Keeper::new(controller.store.clone(), lead, controller.metrics.clone());
        Self {
            keeper,
            cluster: Cluster::default(),
            due: Due::default(),
            verdicts: BTreeMap::new(),
            reporter: Reporter::start(controller.client.clone(), controller.metrics.clone()),
            looked: None,
            resync: later(),
            rest: None,
            pause: FIRST_PAUSE,
            controller,
            lead,
        }
    }

    /// Until somebody else leads.
    async fn rule(mut self) {
        let mut watches = watch::start(&self.controller.client);
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let rest = self.rest.unwrap_or_else(Instant::now);
            tokio::select! {
                news = watches.news.recv() => match news {
                    Some(news) => self.hear(news, &mut watches),
                    // The watches never end by themselves.
                    None => return,
                },
                // Between two pieces of work: what becomes of a write that is under way is seen and counted. The fence keeps it harmless.
                () = self.lead.lost() => return,
                _ = looks.tick() => {
                    self.report();
                    continue;
                }
                () = sleep_until(self.resync) => {
                    self.resync = later();
                    self.keeper.doubt();
                    self.looked = None;
                }
                () = sleep_until(rest), if self.rest.is_some() => self.rest = None,
            }
            if self.rest.is_some() || !self.cluster.is_complete() {
                continue;
            }
            match self.work(&mut watches).await {
                Ok(()) => self.pause = FIRST_PAUSE,
                Err(WriteError::Deposed) => return,
                Err(error) => {
                    tracing::warn!(%error, "the store is not equal to the cluster yet; trying again");
                    self.rest = Some(Instant::now() + self.pause.mul_f64(0.5 + fastrand::f64() / 2.0));
                    self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    fn hear(&mut self, news: News, watches: &mut Watches) {
        self.cluster.take(news, &mut self.due);
        for _ in 0..TOGETHER {
            match watches.news.try_recv() {
                Ok(news) => self.cluster.take(news, &mut self.due),
                Err(_) => return,
            }
        }
    }

    /// Does what is due, hearing the news in between, so that what changed twice is written once.
    async fn work(&mut self, watches: &mut Watches) -> Result<(), WriteError> {
        if self.keeper.is_stale() {
            self.keeper.read().await?;
            self.everything();
        }
        while let Some(name) = self.due.services.pop_first() {
            let described = describe(&name, &self.cluster, &self.controller.trust_domain);
            let wanted = described.map(|described| records(&described)).unwrap_or_default();
            let kept = self.keeper.keep_service(&name, wanted).await;
            if let Err(error) = passable(kept, &name.to_string()) {
                self.due.services.insert(name);
                return Err(error);
            }
            if let Ok(news) = watches.news.try_recv() {
                self.hear(news, watches);
            }
        }
        while let Some(document) = self.due.documents.pop_first() {
            if let Err(error) = self.document(&document).await {
                self.due.documents.insert(document);
                return Err(error);
            }
        }
        Ok(())
    }

    async fn document(&mut self, due: &(Kind, ObjectName)) -> Result<(), WriteError> {
        let (kind, (namespace, name)) = due;
        let Some(key) = Key::of(*kind, namespace, name).map(|key| key.to_string()) else { return Ok(()) };
        let document = self.cluster.documents.get(kind).and_then(|cache| cache.get(&due.1));
        let attached = document.filter(|document| !document.is_detached(*kind));
        let translated = attached.map(|document| document.translate(*kind, &self.controller.trust_domain));
        self.looked = None;
        match (&translated, document) {
            (Some(translated), _) => drop(self.verdicts.insert(due.clone(), Verdict::of(*kind, translated))),
            (None, Some(_)) => drop(self.verdicts.insert(due.clone(), Verdict::Detached)),
            (None, None) => drop(self.verdicts.remove(due)),
        }
        let wanted = match translated {
            None => None,
            Some(Ok(partial)) => {
                self.tell(&partial.faults, "rules of a route are dropped");
                Some(Content::of(&partial.translated, Source::Kubernetes).encode())
            }
            Some(Err(faults)) => {
                // What was in force stays in force; its status says why.
                self.tell(&faults, "a document is not taken");
                return Ok(());
            }
        };
        passable(self.keeper.keep_record(&key, wanted).await, &key)
    }

    fn tell(&self, faults: &[Fault], what: &str) {
        if !faults.is_empty() {
            self.controller.metrics.faults.inc_by(faults.len() as u64);
            let faults = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            tracing::warn!(faults, "{what}");
        }
    }

    /// Has statuses written that are not as they should be, if anything can have changed.
    fn report(&mut self) {
        let world = self.controller.registry.world();
        if self.verdicts.is_empty() || self.looked == Some(world.revision()) || !self.reporter.is_idle() {
            return;
        }
        let patches = status::patches(&self.cluster, &self.verdicts, &world, SystemTime::now());
        // What is being written is looked at once more, to see that it is said.
        self.looked = patches.is_empty().then(|| world.revision());
        if !patches.is_empty() {
            self.reporter.write(patches);
        }
    }

    /// Everything that there is, and everything that is to be no more.
    fn everything(&mut self) {
        let services = self.cluster.services.iter();
        self.due.services.extend(services.filter_map(|((ns, name), _)| weft_model::ServiceName::new(ns, name).ok()));
        for (kind, cache) in &self.cluster.documents {
            self.due.documents.extend(cache.iter().map(|(name, _)| (*kind, name.clone())));
        }
        for key in self.keeper.ours().filter_map(|key| Key::parse(key)?.ok()) {
            match key {
                Key::Service(service) | Key::Endpoint { service, .. } => drop(self.due.services.insert(service)),
                other => self.due.documents.extend(document_of(other)),
            }
        }
    }
}

fn later() -> Instant {
    Instant::now() + RESYNC.mul_f64(1.0 + fastrand::f64())
}

/// What can never be written must not keep everything else from being written.
fn passable(kept: Result<(), WriteError>, what: &str) -> Result<(), WriteError> {
    match kept {
        Err(WriteError::Store(error @ (StoreError::TooLarge { .. } | StoreError::Invalid(_)))) => {
            tracing::error!(%error, what, "cannot be written; what was in force stays");
            Ok(())
        }
        other => other,
    }
}

/// The document that a record is of.
fn document_of(key: Key) -> Option<(Kind, ObjectName)> {
    Some(match key {
        Key::Route { kind: RouteKind::Http, namespace, name } => (Kind::HttpRoute, (namespace, name)),
        Key::Route { kind: RouteKind::Grpc, namespace, name } => (Kind::GrpcRoute, (namespace, name)),
        Key::Grant { namespace, name } => (Kind::ReferenceGrant, (namespace, name)),
        Key::Policy { namespace, name } => (Kind::TrafficPolicy, (namespace, name)),
        Key::Authorization { namespace, name } => (Kind::AuthorizationPolicy, (namespace, name)),
        Key::Namespace { namespace, name } => (Kind::NamespacePolicy, (namespace, name)),
        Key::Service(_) | Key::Endpoint { .. } | Key::Withdrawal(_) | Key::SessionKeys => return None,
    })
}

/// The records of a service and its endpoints, by key.
fn records(described: &Described) -> BTreeMap<String, Bytes> {
    let source = Source::Kubernetes;
    let service = Record { model: described.service.clone(), document: Some(described.document()), source };
    let own = (Key::Service(described.service.name.clone()).to_string(), service.encode());
    let endpoints = described.endpoints.values().map(|endpoint| {
        let record = Record { model: endpoint.clone(), document: None, source };
        (Key::endpoint(endpoint).to_string(), record.encode())
    });
    endpoints.chain([own]).collect()
}
