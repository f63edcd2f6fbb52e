//! What is decided about each request of a connection that an application has opened: service, route, backend, session.
//!
//! **outbound** -> `Story::plan` -> engines. Reads the newest view for every request, so that a connection that stays open
//! follows its service's configuration. Fails with the reason that the client is told.

use super::Outbound;
use crate::affinity;
use crate::catalog::{Answer, Known};
use crate::drain::Direction;
use crate::error::Failure;
use crate::plan::{Limits, Mirrored, Place, Plan, Planned, Redirected, Story, Target};
use crate::request::RequestView;
use crate::route::{Chosen, CompiledRule, Routed};
use std::sync::Arc;
use std::time::Duration;
use weft_model::policy::HashKey;
use weft_model::route::{Backend, Mirror, Rule};

impl Outbound {
    /// The newest view of the dialled service.
    pub(super) fn present(&self) -> Arc<Known> {
        self.worker.shared.catalog.peek(&self.service).unwrap_or_else(|| Arc::clone(&self.known))
    }

    /// Straight to the dialled service, past all routes.
    pub(super) fn straight(&self, known: Arc<Known>, cookie: impl Fn(&str) -> Option<String>) -> Plan {
        let port = self.port.min(known.view.service.ports.len().saturating_sub(1));
        self.towards(known, port, cookie)
    }

    /// To `port` of the service in `known`; `cookie` gives the value of the request's cookie of that name.
    fn towards(&self, known: Arc<Known>, port: usize, cookie: impl Fn(&str) -> Option<String>) -> Plan {
        let cluster = self.worker.cluster(&known);
        let upstreams = cluster.upstreams();
        let only = self.endpoint.as_ref().and_then(|id| upstreams.iter().find(|u| u.endpoint.id == *id).cloned());
        let session = known.view.policy.affinity.as_ref().and_then(|affinity| {
            let token = cookie(&affinity.name)?;
            upstreams.iter().find(|u| u.token == token && u.endpoint.takes_new_work()).cloned()
        });
        // What else a request is hashed by is known with the request.
        let key = match known.view.policy.balancer.hash_key() {
            Some(HashKey::SourceAddress) => Some(self.source),
            _ => None,
        };
        Plan {
            request_timeout: known.view.policy.timeouts.request,
            try_timeout: known.view.policy.retry.per_try_timeout,
            rule: None,
            mirrors: Vec::new(),
            place: Place::default(),
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
            let plan = self.towards(known, port, |_| None).keyed_by(request);
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

impl Story for Outbound {
    async fn plan(&self, request: &impl RequestView) -> Result<Planned, Failure> {
        let known = self.present();
        let Some(port) = known.view.service.ports.get(self.port) else { return Err(Failure::NoRoute) };
        if self.endpoint.is_some() {
            // Dialled by its own address: no route may lead elsewhere.
            return Ok(Planned::Forward(self.straight(known, |_| None)));
        }
        let cookie = |name: &str| affinity::requested(request, name);
        let rule = match known.table.decide(port.port.get(), request) {
            Routed::Unrouted => {
                return Ok(Planned::Forward(self.straight(Arc::clone(&known), cookie).keyed_by(request)));
            }
            Routed::NoMatch => return Err(Failure::NoRoute),
            Routed::To(rule) => Arc::clone(rule),
        };
        if let Some(location) = rule.location(request, port.port.get()) {
            let cluster = self.worker.cluster(&known);
            return Ok(Planned::Redirect(Redirected { rule, location, cluster }));
        }
        let mirrors = self.mirrors(&known, &rule, request);
        let chosen = Chosen::by(rule, fastrand::u64(..)).ok_or(Failure::InvalidBackend)?;
        let (target, port) = self.backend(&known, chosen.backend()).await?;
        let rule = chosen.rule();
        let (request_timeout, try_timeout) = (rule.request_timeout, rule.backend_timeout);
        let limited = |limit: &Duration| *limit != Rule::NO_LIMIT;
        let carried = chosen.carry(request, &target.view.policy.retry);
        let plan = self.towards(target, port, cookie).keyed_by(request);
        Ok(Planned::Forward(Plan {
            request_timeout: request_timeout.or(plan.request_timeout).filter(limited),
            try_timeout: try_timeout.or(plan.try_timeout).filter(limited),
            rule: Some(carried),
            mirrors,
            ..plan
        }))
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
