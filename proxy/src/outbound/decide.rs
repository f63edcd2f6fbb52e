//! What is decided about each request of a connection that an application has opened: service, route, backend, session.
//!
//! **outbound** -> `Story::plan` -> engines. Reads the newest view for every request, so that a connection that stays open
//! follows its service's configuration. Fails with the reason that the client is told.

use super::Outbound;
use crate::catalog::{Answer, Known};
use crate::drain::Direction;
use crate::error::Failure;
use crate::plan::{Held, Limits, Mirrored, Place, Plan, Planned, Redirected, Story, Target};
use crate::record::{Observed, Watch};
use crate::request::RequestView;
use crate::route::{Chosen, CompiledRule, Routed};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use weft_model::Endpoint;
use weft_model::policy::HashKey;
use weft_model::route::{Backend, Mirror, Rule};
use weft_model::session::Session;

impl Outbound {
    /// The newest view of the dialled service.
    pub(super) fn present(&self) -> Arc<Known> {
        self.worker.shared.catalog.peek(&self.service).unwrap_or_else(|| Arc::clone(&self.known))
    }

    /// Straight to the dialled service, past all routes.
    pub(super) fn straight(&self, known: Arc<Known>, held: Option<Held>) -> Plan {
        let port = self.port.min(known.view.service.ports.len().saturating_sub(1));
        self.towards(known, port, held)
    }

    /// What `request` shows of its session, where sessions are kept.
    pub(super) fn held(&self, session: Option<&Arc<Session>>, request: &impl RequestView) -> Option<Held> {
        let keys = || Arc::clone(&self.worker.shared.catalog.snapshot().session_keys);
        session.map(|session| Held::asked(session, keys(), request))
    }

    /// To `port` of the service in `known`.
    fn towards(&self, known: Arc<Known>, port: usize, held: Option<Held>) -> Plan {
        let cluster = self.worker.cluster(&known);
        let upstreams = cluster.upstreams();
        let only = self.endpoint.as_ref().and_then(|id| upstreams.iter().find(|u| u.endpoint.id == *id).cloned());
        let session = held.map(|held| Box::new(held.among(&upstreams)));
        // What else a request is hashed by is known with the request.
        let key = match known.view.policy.balancer.hash_key() {
            Some(HashKey::SourceAddress) => Some(self.source),
            _ => None,
        };
        Plan {
            request_timeout: known.view.policy.timeouts.request,
            deadline: None,
            try_timeout: known.view.policy.retry.per_try_timeout,
            rule: None,
            mirrors: Vec::new(),
            admission: None,
            place: Place::default(),
            observed: Observed::default(),
            target: Target::Service { cluster, known, port, only, session, key },
        }
    }

    /// The view and port of a rule's backend.
    async fn backend(&self, present: &Arc<Known>, backend: &Backend) -> Result<(Arc<Known>, usize), Failure> {
        let target = match backend.service == self.service {
            _ if backend.refused => return Err(Failure::InvalidBackend),
            true => Arc::clone(present),
            false => match self.worker.shared.catalog.lookup(&backend.service).await {
                Answer::Known(known) => known,
                Answer::Absent => return Err(Failure::InvalidBackend),
                Answer::Unanswered => return Err(Failure::NoSuchService),
            },
        };
        let port = target.view.service.ports.iter().position(|p| p.port == backend.port);
        port.map(|port| (target, port)).ok_or(Failure::InvalidBackend)
    }

    /// The backend that a session keeps to, however the weights are now: its number in the rule.
    pub(super) async fn kept(&self, present: &Arc<Known>, rule: &CompiledRule, held: Option<&Held>) -> Option<usize> {
        let held = held.filter(|held| held.is_shown())?;
        for (n, backend) in rule.backends().iter().enumerate() {
            let Ok((target, _)) = self.backend(present, backend).await else { continue };
            if !held.is_of(target.home) {
                continue;
            }
            // Its endpoint is gone: another of the same backend, if that may have more.
            let stays = || backend.weight > 0 && target.view.endpoints.values().any(Endpoint::takes_new_work);
            if held.find(&self.worker.cluster(&target).upstreams()).is_some() || stays() {
                return Some(n);
            }
        }
        None
    }

    /// Copies of a request, as far as their services are known and there is room for them.
    fn mirrors(&self, present: &Arc<Known>, rule: &Arc<CompiledRule>, request: &impl RequestView) -> Vec<Mirrored> {
        let mirrored = rule.mirrored(|below| fastrand::u32(..below.max(1)));
        let copy = |mirror: &Mirror| {
            let known = match mirror.service == self.service {
                true => Arc::clone(present),
                false => self.worker.shared.catalog.peek(&mirror.service)?,
            };
            let port = known.view.service.ports.iter().position(|p| p.port == mirror.port)?;
            let permit = self.worker.mirror_permit()?;
            let plan = self.towards(known, port, None).keyed_by(request);
            let plan = Plan { request_timeout: None, ..plan };
            Some(Mirrored { plan, label: Arc::clone(rule), permit })
        };
        mirrored
            .filter_map(|mirror| {
                let made = copy(mirror);
                if made.is_none() {
                    self.mirror_dropped();
                }
                made
            })
            .collect()
    }
}

impl Outbound {
    /// To the backend that was `chosen`, as its rule wants it.
    pub(super) async fn by_rule(
        &self,
        present: &Arc<Known>,
        chosen: Chosen,
        held: Option<Held>,
        request: &impl RequestView,
    ) -> Result<Plan, Failure> {
        let (target, port) = self.backend(present, chosen.backend()).await?;
        let rule = chosen.rule();
        let (request_timeout, try_timeout) = (rule.request_timeout, rule.backend_timeout);
        let limited = |limit: &Duration| *limit != Rule::NO_LIMIT;
        let carried = chosen.carry(request, &target.view.policy.retry);
        // Where neither rule nor dialled service keeps sessions, the backend's own service may.
        let held = held.or_else(|| self.held(target.affinity.as_ref(), request));
        let plan = self.towards(target, port, held).keyed_by(request);
        Ok(Plan {
            request_timeout: request_timeout.or(plan.request_timeout).filter(limited),
            try_timeout: try_timeout.or(plan.try_timeout).filter(limited),
            rule: Some(carried),
            ..plan
        })
    }

    /// Where the routes lead `request`.
    async fn routed(&self, request: &impl RequestView) -> Result<Planned, Failure> {
        let known = self.present();
        let Some(port) = known.view.service.ports.get(self.port) else { return Err(Failure::NoRoute) };
        if self.endpoint.is_some() {
            // Dialled by its own address: no route may lead elsewhere.
            return Ok(Planned::Forward(self.straight(known, None)));
        }
        let rule = match known.table.decide(port.port.get(), request) {
            Routed::Unrouted => {
                let held = self.held(known.affinity.as_ref(), request);
                return Ok(Planned::Forward(self.straight(Arc::clone(&known), held).keyed_by(request)));
            }
            Routed::NoMatch => return Err(Failure::NoRoute),
            Routed::To(rule) => Arc::clone(rule),
        };
        if let Some(location) = rule.location(request, port.port.get()) {
            let cluster = self.worker.cluster(&known);
            return Ok(Planned::Redirect(Redirected { rule, location, cluster }));
        }
        let mirrors = self.mirrors(&known, &rule, request);
        // The rule's sessions, or else those of the service that was dialled, go over all backends.
        let held = self.held(rule.session.as_ref().or(known.affinity.as_ref()), request);
        let kept = self.kept(&known, &rule, held.as_ref()).await.and_then(|n| Chosen::at(Arc::clone(&rule), n));
        let chosen = kept.or_else(|| Chosen::by(rule, fastrand::u64(..))).ok_or(Failure::InvalidBackend)?;
        Ok(Planned::Forward(Plan { mirrors, ..self.by_rule(&known, chosen, held, request).await? }))
    }
}

impl Story for Outbound {
    async fn plan(&self, request: &impl RequestView) -> Result<Planned, Failure> {
        match self.routed(request).await? {
            Planned::Forward(plan) => self.suffer(plan, request).await.map(Planned::Forward),
            redirect => Ok(redirect),
        }
    }

    fn added(&self) -> &[(&'static str, String)] {
        &[]
    }

    fn removed(&self) -> &'static [&'static str] {
        &[]
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn draining(&self) -> bool {
        self.worker.shared.drain.begun()
    }

    async fn wait_draining(&self) {
        self.worker.shared.drain.wait_begun().await;
    }

    async fn wait_closed(&self) {
        self.worker.shared.drain.wait_closed(Direction::Outbound).await;
    }

    fn watch(&self) -> Option<&Rc<Watch>> {
        self.worker.shared.observer.listens().then(|| self.watch.get_or_init(|| self.watched()))
    }

    fn mirror_dropped(&self) {
        self.worker.shared.metrics.mirror_dropped();
    }

    fn refused(&self, protocol: &'static str, failure: &Failure, took: Duration) {
        if matches!(failure, Failure::MalformedRequest(_) | Failure::HeadersTooLarge) {
            self.worker.shared.metrics.malformed(protocol);
        }
        self.worker.cluster(&self.present()).unserved.record("", failure.status(), failure.reason(), took);
    }
}
