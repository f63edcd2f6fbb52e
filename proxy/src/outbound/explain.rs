//! What would become of a request that nobody sends: the way of a real one, told step by step.
//!
//! For `weftctl explain`, on a worker's thread, where loads live. Decides by the functions that requests call, and sends,
//! counts and draws nothing. Fails, in words for people, where a real connection would not reach the mesh.

mod way;

use super::{Outbound, dialled};
use crate::catalog::{Answer, Known};
use crate::error::Failure;
use crate::plan::{Held, Plan};
use crate::route::{Chosen, CompiledRule, Routed};
use crate::worker::Worker;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use weft_model::explain::{Addressed, Asked, Explanation, Imagined, Mirrored, Outcome, Routing, Way};
use weft_model::names::Dialled;
use weft_model::{Binding, Protocol, ServiceName};

/// The answer to `question`, both in JSON; or why there is none.
pub async fn answer(worker: &Rc<Worker>, question: &str) -> Result<String, String> {
    let request: Imagined = serde_json::from_str(question).map_err(|error| format!("malformed question: {error}"))?;
    let explanation = explain(worker, &request).await?;
    serde_json::to_string(&explanation).map_err(|error| error.to_string())
}

async fn explain(worker: &Rc<Worker>, request: &Imagined) -> Result<Explanation, String> {
    let outbound = dial(worker, request).await?;
    let known = outbound.present();
    let view = &known.view;
    let Some(port) = view.service.ports.get(outbound.port) else {
        return Err(format!("the ports of service {} have changed this very moment: ask again", view.service.name));
    };
    let shared = &worker.shared;
    let from = Asked {
        proxy: shared.config.name.clone(),
        namespace: shared.config.namespace.clone(),
        zone: shared.config.zone.clone(),
        identity: Some(shared.identity.credentials().id.clone()),
        addresses: shared.config.address.clone(),
        revision: shared.catalog.revision(),
        connected: shared.catalog.connected(),
        workers: shared.config.workers,
    };
    let service = Addressed {
        service: view.service.name.clone(),
        virtual_addresses: view.service.virtual_addresses.clone(),
        port: port.port,
        protocol: port.protocol,
        endpoint: outbound.endpoint.clone(),
    };
    let (routing, ways, outcome) = match outbound.skips_routes(port.protocol) {
        Some(why) => outbound.past_routes(&known, why, request),
        None => outbound.through_routes(&known, port.port.get(), request).await,
    };
    Ok(Explanation { from, service, routing, ways, outcome })
}

/// As if the application had dialled the host and port of `request`.
async fn dial(worker: &Rc<Worker>, request: &Imagined) -> Result<Outbound, String> {
    let (config, catalog) = (&worker.shared.config, &worker.shared.catalog);
    let host = &request.host;
    let (service, endpoint) = match host.parse::<IpAddr>() {
        Ok(address) => match catalog.bind(address).await {
            Some(Binding::Service(service)) => (service, None),
            Some(Binding::Endpoint { service, id }) => (service, Some(id)),
            Some(Binding::Unknown) => return Err(format!("{host} is no address of the mesh: it is passed through")),
            None => return Err(format!("nobody can say whether {host} is an address of the mesh: discovery is away")),
        },
        Err(_) => match Dialled::of_host(host, &config.namespace, &config.domain) {
            Some(Dialled { service, endpoint }) => (service, endpoint),
            None => return Err(format!("{host} is no name of the mesh: it is passed through")),
        },
    };
    let known = match catalog.lookup(&service).await {
        Answer::Known(known) => known,
        Answer::Absent => return Err(format!("{host} is no name of the mesh: there is no service {service}")),
        Answer::Unanswered => {
            return Err(format!("nobody can say whether there is a service {service}: discovery is away"));
        }
    };
    if let Some(id) = endpoint.as_ref().filter(|id| !known.view.endpoints.contains_key(*id)) {
        return Err(format!("{host} is no name of the mesh: service {service} has no endpoint {id}"));
    }
    let Some(port) = dialled(&known, endpoint.as_deref(), request.port) else {
        return Err(no_port(&service, request.port, &known.view.service.ports));
    };
    let source = config.address.first().copied();
    Ok(Outbound::new(Rc::clone(worker), known, port, endpoint, source))
}

fn no_port(service: &ServiceName, asked: u16, ports: &[weft_model::ServicePort]) -> String {
    let has: Vec<String> = ports.iter().map(|p| format!("{} ({})", p.port, p.name)).collect();
    format!("service {service} has no port {asked}: a connection there is reset; it has {}", has.join(", "))
}

type Told = (Routing, Vec<Way>, Outcome);

impl Outbound {
    fn skips_routes(&self, protocol: Protocol) -> Option<&'static str> {
        match protocol {
            _ if self.endpoint.is_some() => Some("an endpoint's own address is past all routes"),
            Protocol::Tcp | Protocol::Tls => Some("the port is not HTTP: its bytes are carried as they are"),
            Protocol::Detect | Protocol::Http | Protocol::Http2 | Protocol::Grpc => None,
        }
    }

    fn past_routes(&self, known: &Arc<Known>, why: &str, request: &Imagined) -> Told {
        let ways = Vec::from_iter(self.way(&self.straight(Arc::clone(known), None), 100.0, request));
        let outcome = outcome(&ways);
        (Routing { skipped: Some(why.to_owned()), ..Routing::default() }, ways, outcome)
    }

    async fn through_routes(&self, known: &Arc<Known>, port: u16, request: &Imagined) -> Told {
        let considered = known.table.why(port, request);
        let routing = Routing { considered, ..Routing::default() };
        let rule = match known.table.decide(port, request) {
            Routed::Unrouted => {
                let held = self.held(known.affinity.as_ref(), request);
                let plan = self.straight(Arc::clone(known), held).keyed_by(request);
                let ways = Vec::from_iter(self.way(&plan, 100.0, request));
                let outcome = outcome(&ways);
                return (routing, ways, outcome);
            }
            Routed::NoMatch => return (routing, Vec::new(), Outcome::Refused(way::refusal(&Failure::NoRoute))),
            Routed::To(rule) => Arc::clone(rule),
        };
        let mirrors = rule.mirrors().iter().map(|m| Mirrored {
            service: m.service.clone(),
            port: m.port,
            numerator: m.numerator,
            denominator: m.denominator,
            refused: m.refused,
        });
        let routing = Routing { rule: Some(rule.label.clone()), mirrors: mirrors.collect(), ..routing };
        if let Some(location) = rule.location(request, port) {
            let status = rule.redirect.as_ref().map_or(302, |redirect| redirect.status);
            return (routing, Vec::new(), Outcome::Redirected { status, location });
        }
        let mut ways = Vec::new();
        let held = || self.held(rule.session.as_ref().or(known.affinity.as_ref()), request);
        match self.kept(known, &rule, held().as_ref()).await {
            Some(at) => ways.extend(self.backend_way(known, &rule, at, 100.0, held(), request).await),
            None => {
                for (at, share) in rule.shares().filter(|(_, share)| *share > 0.0) {
                    ways.extend(self.backend_way(known, &rule, at, share * 100.0, held(), request).await);
                }
            }
        }
        let outcome = outcome(&ways);
        (routing, ways, outcome)
    }

    /// What becomes of requests that fall to the backend number `at`.
    async fn backend_way(
        &self,
        known: &Arc<Known>,
        rule: &Arc<CompiledRule>,
        at: usize,
        share: f64,
        held: Option<Held>,
        request: &Imagined,
    ) -> Option<Way> {
        let chosen = Chosen::at(Arc::clone(rule), at)?;
        let (service, port) = (chosen.backend().service.clone(), chosen.backend().port);
        match self.by_rule(known, chosen, held, request).await {
            Ok(plan) => self.way(&plan, share, request),
            Err(failure) => Some(way::refused(service, port, share, &failure)),
        }
    }

    fn way(&self, plan: &Plan, share: f64, request: &Imagined) -> Option<Way> {
        way::of(plan, share, request, Instant::now())
    }
}

/// Refused, when every way is; without any, a rule has no backend.
fn outcome(ways: &[Way]) -> Outcome {
    let none = way::refusal(&Failure::InvalidBackend);
    match ways.iter().find(|way| way.refused.is_none()) {
        Some(_) => Outcome::Forwarded,
        None => Outcome::Refused(ways.first().and_then(|way| way.refused.clone()).unwrap_or(none)),
    }
}
