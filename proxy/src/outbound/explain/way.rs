//! One plan, told: backend, edits, endpoints and where they stand, and what bounds each try.
//!
//! Pure reading of a plan and of the loads of its cluster. At most so many endpoints are listed; those that are chosen among
//! come first.

use crate::cluster::Upstream;
use crate::error::Failure;
use crate::plan::{Plan, Target};
use crate::request::RequestView;
use crate::retry;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use weft_model::explain::{
    Behind, Candidate, Hashed, Imagined, InForce, MAX_LISTED, Origin, Refusal, Session, Standing, Tries, Way,
};
use weft_model::policy::{Retry, Timeouts};
use weft_model::session::Carrier;
use weft_model::{Port, ServiceName};

/// A way whose requests are refused before an endpoint is looked for.
pub fn refused(service: ServiceName, port: Port, share: f64, failure: &Failure) -> Way {
    let (request_headers, response_headers) = Default::default();
    let refused = Some(refusal(failure));
    Way {
        service,
        port,
        share,
        refused,
        host: None,
        target: None,
        request_headers,
        response_headers,
        tries: None,
        access: None,
    }
}

/// The way that `plan` goes, which `share` percent of the requests take; `None`: it does not lead to a service.
pub fn of(plan: &Plan, share: f64, request: &Imagined, now: Instant) -> Option<Way> {
    let Target::Service { known, port, .. } = &plan.target else { return None };
    let tries = tries(plan, request, now)?;
    let nobody = !tries.endpoints.iter().any(|endpoint| endpoint.standing == Standing::Candidate);
    let rule = plan.rule.as_ref();
    Some(Way {
        service: known.view.service.name.clone(),
        port: known.view.service.ports[*port].port,
        share,
        refused: nobody.then(|| refusal(&Failure::NoEndpoints)),
        host: rule.and_then(|rule| rule.host().map(str::to_owned)),
        target: rule.and_then(|rule| rule.target.clone()),
        request_headers: rule.and_then(|rule| rule.request_headers().cloned()).unwrap_or_default(),
        response_headers: rule.and_then(|rule| rule.response_headers().cloned()).unwrap_or_default(),
        tries: Some(tries),
        access: None,
    })
}

fn tries(plan: &Plan, request: &Imagined, now: Instant) -> Option<Tries> {
    let Target::Service { cluster, known, only, session, key, .. } = &plan.target else { return None };
    let policy = &known.view.policy;
    let named = only.as_ref().or(session.as_ref().and_then(|held| held.home()));
    let mut standings = cluster.standings(*key, now);
    let balanced = cluster.keyed(*key, now).map(|upstream| upstream.endpoint.id.clone());
    if let Some(named) = named {
        standings.iter_mut().for_each(|(upstream, standing)| {
            *standing = match standing {
                _ if Rc::ptr_eq(upstream, named) => Standing::Candidate,
                Standing::Out(unfit) => Standing::Out(*unfit),
                _ => Standing::Later(Behind::NotNamed),
            }
        });
    }
    standings.sort_by_key(|(_, standing)| match standing {
        Standing::Candidate => 0,
        Standing::Later(_) => 1,
        Standing::Out(_) => 2,
    });
    let unlisted = standings.len().saturating_sub(MAX_LISTED);
    standings.truncate(MAX_LISTED);
    let idempotent = retry::idempotent(request.method().as_bytes());
    let endpoints = standings.into_iter().map(|(upstream, standing)| candidate(plan, &upstream, standing, now));
    Some(Tries {
        balancer: policy.balancer.name().to_owned(),
        hash: policy.balancer.hash_key().map(|on| Hashed { on: on.clone(), endpoint: balanced }),
        session: session.as_ref().filter(|_| only.is_none()).map(|held| Session {
            name: held.session().name.clone(),
            header: held.session().carrier == Carrier::Header,
            endpoint: held.home().map(|upstream| upstream.endpoint.id.clone()),
        }),
        endpoints: endpoints.collect(),
        unlisted,
        idempotent,
        hedged_after: plan.patience(idempotent),
        ..bounds(plan, &policy.retry, &policy.timeouts)
    })
}

/// What bounds the tries, and who said so.
fn bounds(plan: &Plan, retry: &Retry, timeouts: &Timeouts) -> Tries {
    let rule = plan.rule.as_ref();
    let origin = |by_rule: bool, by_policy: bool| match (by_rule, by_policy) {
        (true, _) => Origin::Rule,
        (false, true) => Origin::Policy,
        (false, false) => Origin::Default,
    };
    let usual = (Retry::default(), Timeouts::default());
    let said = |of: fn(&crate::route::CompiledRule) -> Option<Duration>| rule.is_some_and(|r| of(r.rule()).is_some());
    Tries {
        balancer: String::new(),
        hash: None,
        session: None,
        endpoints: Vec::new(),
        unlisted: 0,
        idempotent: false,
        hedged_after: None,
        retry: InForce {
            value: plan.retry().clone(),
            origin: origin(rule.is_some_and(|rule| rule.retry.is_some()), *retry != usual.0),
        },
        request: InForce {
            value: plan.request_timeout,
            origin: origin(said(|rule| rule.request_timeout), timeouts.request != usual.1.request),
        },
        each_try: InForce {
            value: plan.try_timeout,
            origin: origin(said(|rule| rule.backend_timeout), retry.per_try_timeout != usual.0.per_try_timeout),
        },
        connect: InForce { value: plan.connect_timeout(), origin: origin(false, timeouts.connect != usual.1.connect) },
    }
}

fn candidate(plan: &Plan, upstream: &Rc<Upstream>, standing: Standing, now: Instant) -> Candidate {
    let endpoint = &upstream.endpoint;
    let port = plan.port_of(upstream);
    Candidate {
        id: endpoint.id.clone(),
        address: endpoint.addresses.first().map(|address| SocketAddr::new(*address, port)),
        state: endpoint.state,
        weight: endpoint.weight,
        zone: endpoint.zone.clone(),
        identity: upstream.expected().cloned(),
        in_flight: upstream.load.pending(),
        latency: upstream.load.latency(now, plan.decay()),
        penalty: upstream.load.penalty(now, plan.decay()),
        standing,
    }
}

/// What is said in place of an answer.
pub fn refusal(failure: &Failure) -> Refusal {
    Refusal { status: failure.status(), reason: failure.reason().to_owned(), text: failure.to_string() }
}
