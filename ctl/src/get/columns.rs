//! Which columns the table of each kind has.
//!
//! Made from the model's own form of an object. An object whose form this version does not understand is an error that
//! names it, rather than a row of guesses.

use crate::kind::Kind;
use crate::print::{Table, date, relative, time};
use anyhow::Context as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::SystemTime;
use weft_model::authorization::{Action, Mode, Mtls};
use weft_model::route::{Backend, Grant, Parent, RouteKind, Rule};
use weft_model::{
    AuthorizationPolicy, Endpoint, NamespacePolicy, Protocol, Route, Service, ServiceName, ServicePort, TrafficPolicy,
};
use weft_proto::v1;

/// What belongs into the table beside the usual columns.
#[derive(Debug, Clone, Copy)]
pub struct View {
    pub wide: bool,
    pub namespaces: bool,
}

impl View {
    fn table(self, usual: &[&'static str], wide: &[&'static str]) -> Table {
        let mut headings = usual.to_vec();
        if self.namespaces {
            headings.insert(0, "NAMESPACE");
        }
        if self.wide {
            headings.extend(wide);
        }
        Table::new(&headings)
    }

    fn row(self, table: &mut Table, namespace: &str, mut usual: Vec<String>, wide: Vec<String>) {
        if self.namespaces {
            usual.insert(0, namespace.to_owned());
        }
        if self.wide {
            usual.extend(wide);
        }
        table.row(usual);
    }
}

/// The table of `objects`, all of one kind; `endpoints` are those that a table of services counts.
pub fn objects(kind: Kind, objects: &[v1::Object], endpoints: &[v1::Object], view: View) -> anyhow::Result<Table> {
    match kind {
        Kind::Services => services(objects, endpoints, view),
        Kind::Endpoints => self::endpoints(objects, view),
        Kind::Routes | Kind::HttpRoutes | Kind::GrpcRoutes => routes(objects, view),
        Kind::Grants => grants(objects, view),
        Kind::Policies => policies(objects, view),
        Kind::Authorizations => authorizations(objects, view),
        Kind::Namespaces => namespaces(objects, view),
    }
}

/// The model's form of an object.
pub fn model<M: DeserializeOwned>(object: &v1::Object) -> anyhow::Result<M> {
    serde_json::from_str(&object.model_json).with_context(|| {
        let v1::Object { kind, namespace, name, .. } = object;
        format!("{kind} {namespace}/{name} is in a form unknown to this version; is discovery of another version?")
    })
}

fn services(objects: &[v1::Object], endpoints: &[v1::Object], view: View) -> anyhow::Result<Table> {
    let mut counts: BTreeMap<ServiceName, (usize, usize)> = BTreeMap::new();
    for endpoint in endpoints {
        let endpoint: Endpoint = model(endpoint)?;
        let (ready, all) = counts.entry(endpoint.service.clone()).or_default();
        *all += 1;
        *ready += usize::from(endpoint.takes_new_work());
    }
    let mut table = view.table(&["NAME", "ADDRESS", "PORTS", "READY"], &["TARGETS", "SOURCE"]);
    for object in objects {
        let service: Service = model(object)?;
        let (ready, all) = counts.get(&service.name).copied().unwrap_or_default();
        let targets = service.ports.iter().map(|port| port.target_port);
        let usual = vec![
            object.name.clone(),
            listed(&service.virtual_addresses),
            listed(service.ports.iter().map(port)),
            format!("{ready}/{all}"),
        ];
        view.row(&mut table, &object.namespace, usual, vec![listed(targets), object.source.clone()]);
    }
    Ok(table)
}

/// `80/http`, `6379/tcp (redis)`: number, protocol, and the name where it says more.
fn port(port: &ServicePort) -> String {
    let protocol = match port.protocol {
        Protocol::Detect => "detect",
        Protocol::Http => "http",
        Protocol::Http2 => "http2",
        Protocol::Grpc => "grpc",
        Protocol::Tcp => "tcp",
        Protocol::Tls => "tls",
    };
    match port.name.as_str() {
        name if name.is_empty() || name == protocol => format!("{}/{protocol}", port.port),
        name => format!("{}/{protocol} ({name})", port.port),
    }
}

fn endpoints(objects: &[v1::Object], view: View) -> anyhow::Result<Table> {
    let usual = ["NAME", "SERVICE", "ADDRESS", "STATE", "WEIGHT", "MESHED"];
    let mut table = view.table(&usual, &["PORTS", "ZONE", "NODE", "IDENTITY", "SOURCE"]);
    for object in objects {
        let endpoint: Endpoint = model(object)?;
        let state = serde_json::to_value(endpoint.state)?;
        let usual = vec![
            object.name.clone(),
            endpoint.service.name.clone(),
            listed(&endpoint.addresses),
            state.as_str().unwrap_or_default().to_owned(),
            endpoint.weight.to_string(),
            if endpoint.identity.is_some() { "yes" } else { "no" }.to_owned(),
        ];
        let wide = vec![
            listed(endpoint.ports.iter().map(|(name, port)| format!("{name}={port}"))),
            endpoint.zone.unwrap_or_default(),
            endpoint.node.unwrap_or_default(),
            endpoint.identity.map(|identity| identity.to_string()).unwrap_or_default(),
            object.source.clone(),
        ];
        view.row(&mut table, &object.namespace, usual, wide);
    }
    Ok(table)
}

/// A route as the store keeps it: with what it is attached to.
#[derive(Debug, Deserialize)]
struct AttachedRoute {
    parents: Vec<Parent>,
    route: Route,
}

fn routes(objects: &[v1::Object], view: View) -> anyhow::Result<Table> {
    let usual = ["KIND", "NAME", "SERVICES", "HOSTNAMES", "RULES", "BACKENDS", "ACCEPTED", "RESOLVED"];
    let mut table = view.table(&usual, &["SOURCE"]);
    for object in objects {
        let AttachedRoute { parents, route } = model(object)?;
        let mut backends: Vec<_> = route.rules.iter().flat_map(led_to).collect();
        backends.dedup();
        let usual = vec![
            object.kind.clone(),
            object.name.clone(),
            listed(parents),
            listed(&route.hostnames),
            route.rules.len().to_string(),
            listed(backends),
            judged(object, "Accepted")?,
            judged(object, "ResolvedRefs")?,
        ];
        view.row(&mut table, &object.namespace, usual, vec![object.source.clone()]);
    }
    Ok(table)
}

/// A condition of a route: True, or why not for which of its parents. Empty: a discovery that does not say.
fn judged(object: &v1::Object, condition: &str) -> anyhow::Result<String> {
    if object.status_json.is_empty() {
        return Ok(String::new());
    }
    let status: Value = serde_json::from_str(&object.status_json)?;
    let parents = status["parents"].as_array().into_iter().flatten();
    let conditions = parents.flat_map(|parent| parent["conditions"].as_array().into_iter().flatten());
    let of_type = conditions.filter(|given| given["type"] == condition);
    let reasons = of_type.filter(|given| given["status"] != "True").filter_map(|given| given["reason"].as_str());
    let mut reasons: Vec<_> = reasons.collect();
    reasons.dedup();
    Ok(if reasons.is_empty() { "True".to_owned() } else { format!("False: {}", listed(reasons)) })
}

/// Where a rule's requests go: backends with their weights, or a redirect.
fn led_to(rule: &Rule) -> Vec<String> {
    let backend = |backend: &Backend| format!("{}:{} ({})", backend.service, backend.port, backend.weight);
    match &rule.redirect {
        Some(redirect) => vec![format!("redirect {}", redirect.status)],
        None => rule.backends.iter().map(backend).collect(),
    }
}

fn grants(objects: &[v1::Object], view: View) -> anyhow::Result<Table> {
    let mut table = view.table(&["NAME", "FROM", "TO"], &["SOURCE"]);
    for object in objects {
        let grant: Grant = model(object)?;
        let from = grant.from.iter().map(|(kind, namespace)| match kind {
            RouteKind::Http => format!("HTTPRoute {namespace}"),
            RouteKind::Grpc => format!("GRPCRoute {namespace}"),
        });
        let to = grant.to.iter().map(|name| name.as_deref().unwrap_or("every service"));
        let usual = vec![object.name.clone(), listed(from), listed(to)];
        view.row(&mut table, &object.namespace, usual, vec![object.source.clone()]);
    }
    Ok(table)
}

/// A policy as the store keeps it: with the services it is attached to.
#[derive(Debug, Deserialize)]
struct AttachedPolicy {
    targets: Vec<ServiceName>,
    policy: TrafficPolicy,
}

fn policies(objects: &[v1::Object], view: View) -> anyhow::Result<Table> {
    let usual = ["NAME", "SERVICES", "BALANCER", "AFFINITY", "RETRIES", "TIMEOUT"];
    let mut table = view.table(&usual, &["BUDGET", "CONNECT", "SOURCE"]);
    for object in objects {
        let AttachedPolicy { targets, policy } = model(object)?;
        let retry = &policy.retry;
        let usual = vec![
            object.name.clone(),
            listed(targets),
            policy.balancer.name().to_owned(),
            policy.affinity.map(|session| format!("cookie {}", session.name)).unwrap_or_default(),
            retry.attempts.to_string(),
            policy.timeouts.request.map(precise).unwrap_or_default(),
        ];
        let wide = vec![
            format!("{}% + {}/s", retry.budget_percent, retry.budget_min_per_second),
            precise(policy.timeouts.connect),
            object.source.clone(),
        ];
        view.row(&mut table, &object.namespace, usual, wide);
    }
    Ok(table)
}

/// An authorization policy as the store keeps it: with the services it is for.
#[derive(Debug, Deserialize)]
struct AttachedAuthorization {
    targets: Vec<ServiceName>,
    policy: AuthorizationPolicy,
}

fn authorizations(objects: &[v1::Object], view: View) -> anyhow::Result<Table> {
    let mut table = view.table(&["NAME", "ACTION", "MODE", "SERVICES", "RULES"], &["SOURCE"]);
    for object in objects {
        let AttachedAuthorization { targets, policy } = model(object)?;
        let mode = match policy.mode {
            Mode::Enforce => "enforce",
            Mode::Audit => "audit",
        };
        let services = if targets.is_empty() { "the whole namespace".to_owned() } else { listed(targets) };
        let rules = policy.rules.len().to_string();
        let usual = vec![object.name.clone(), action(policy.action), mode.to_owned(), services, rules];
        view.row(&mut table, &object.namespace, usual, vec![object.source.clone()]);
    }
    Ok(table)
}

fn action(action: Action) -> String {
    match action {
        Action::Allow => "ALLOW",
        Action::Deny => "DENY",
    }
    .to_owned()
}

fn namespaces(objects: &[v1::Object], view: View) -> anyhow::Result<Table> {
    let mut table = view.table(&["NAME", "DEFAULT", "MTLS"], &["SOURCE"]);
    for object in objects {
        let policy: NamespacePolicy = model(object)?;
        let mtls = match policy.mtls {
            Mtls::Permissive => "permissive",
            Mtls::Strict => "strict",
        };
        let usual = vec![object.name.clone(), action(policy.default_action), mtls.to_owned()];
        view.row(&mut table, &object.namespace, usual, vec![object.source.clone()]);
    }
    Ok(table)
}

fn precise(duration: std::time::Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// The certificates discovery has signed.
pub fn certificates(certificates: &[v1::Certificate], wide: bool, now: SystemTime) -> Table {
    let view = View { wide, namespaces: false };
    let mut table = view.table(&["IDENTITY", "PROXY", "EXPIRES"], &["NOT BEFORE", "NOT AFTER", "SERIAL"]);
    for certificate in certificates {
        let v1::Certificate { identity, proxy, serial, not_before, not_after, .. } = certificate;
        let expires = relative(time(*not_after), now);
        let wide = vec![date(*not_before), date(*not_after), serial.clone()];
        view.row(&mut table, "", vec![identity.clone(), proxy.clone(), expires], wide);
    }
    table
}

fn listed(items: impl IntoIterator<Item = impl Display>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}

/// A certificate for tests of what is said of one.
#[cfg(test)]
pub fn example() -> v1::Certificate {
    v1::Certificate {
        identity: "spiffe://weft.local/ns/shop/sa/cart".to_owned(),
        proxy: "cart-0".to_owned(),
        serial: "4a".to_owned(),
        not_before: 1_000,
        not_after: 87_400,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use weft_model::SpiffeId;

    const PLAIN: View = View { wide: false, namespaces: false };
    const WIDE: View = View { wide: true, namespaces: true };

    fn object(kind: &str, name: &str, model: &impl serde::Serialize) -> v1::Object {
        v1::Object {
            kind: kind.to_owned(),
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            source: "apply".to_owned(),
            document_json: String::new(),
            model_json: serde_json::to_string(model).unwrap(),
            status_json: String::new(),
        }
    }

    fn cart() -> Value {
        json!({"namespace": "shop", "name": "cart"})
    }

    fn endpoint(id: &str, state: &str) -> v1::Object {
        let identity = SpiffeId::new("weft.local", "shop", "cart").unwrap();
        let model =
            json!({"id": id, "service": cart(), "addresses": ["10.0.0.1"], "state": state, "identity": identity});
        object("Endpoint", id, &model)
    }

    #[test]
    fn services_count_their_ready_endpoints() {
        let ports = json!([
            {"name": "http", "port": 80, "target_port": 8080, "protocol": "http"},
            {"name": "cache", "port": 6379, "target_port": 6379, "protocol": "tcp"},
        ]);
        let model = json!({"name": cart(), "virtual_addresses": ["198.18.0.1"], "ports": ports});
        let services = [object("Service", "cart", &model)];
        let endpoints = [endpoint("cart-0", "ready"), endpoint("cart-1", "not-ready")];
        let table = objects(Kind::Services, &services, &endpoints, PLAIN).unwrap().render();
        assert_eq!(
            table,
            "NAME  ADDRESS     PORTS                     READY\ncart  198.18.0.1  80/http,6379/tcp (cache)  1/2\n"
        );
        let table = objects(Kind::Services, &services, &endpoints, WIDE).unwrap().render();
        assert!(table.starts_with("NAMESPACE  NAME"), "{table}");
        assert!(table.contains("8080,6379  apply"), "{table}");
    }

    #[test]
    fn endpoints_say_whether_they_are_meshed() {
        let table = objects(Kind::Endpoints, &[endpoint("cart-0", "terminating")], &[], PLAIN).unwrap().render();
        let row: Vec<_> = table.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(row, ["cart-0", "cart", "10.0.0.1", "terminating", "1", "yes"]);
        let table = objects(Kind::Endpoints, &[endpoint("cart-0", "ready")], &[], WIDE).unwrap().render();
        assert!(table.contains("spiffe://weft.local/ns/shop/sa/cart"), "{table}");
    }

    #[test]
    fn routes_and_policies_say_what_they_are_attached_to() {
        let backends = json!([
            {"service": cart(), "port": 80, "weight": 9},
            {"service": {"namespace": "shop", "name": "cart-next"}, "port": 80, "weight": 1},
        ]);
        let route = json!({"namespace": "shop", "name": "canary", "rules": [{"backends": backends}]});
        let mut routes = [object("HTTPRoute", "canary", &json!({"parents": [cart()], "route": route}))];
        routes[0].status_json = json!({"parents": [{"conditions": [
            {"type": "Accepted", "status": "True", "reason": "Accepted"},
            {"type": "ResolvedRefs", "status": "False", "reason": "BackendNotFound"},
        ]}]})
        .to_string();
        let table = objects(Kind::Routes, &routes, &[], PLAIN).unwrap().render();
        assert!(table.contains("True      False: BackendNotFound"), "{table}");
        assert!(table.contains("cart.shop:80 (9),cart-next.shop:80 (1)"), "{table}");

        let moved =
            json!({"namespace": "shop", "name": "moved", "rules": [{"redirect": {"status": 301}, "backends": []}]});
        let routes = [object("HTTPRoute", "moved", &json!({"parents": [cart()], "route": moved}))];
        assert!(objects(Kind::Routes, &routes, &[], PLAIN).unwrap().render().contains("redirect 301"));

        let grant = json!({"namespace": "shop", "from": [["http", "web"]], "to": [null, "cart"]});
        let table = objects(Kind::Grants, &[object("ReferenceGrant", "web", &grant)], &[], PLAIN).unwrap().render();
        assert!(table.contains("HTTPRoute web") && table.contains("every service,cart"), "{table}");

        let policy = json!({"targets": [cart()], "policy": TrafficPolicy::default()});
        let table = objects(Kind::Policies, &[object("TrafficPolicy", "sticky", &policy)], &[], WIDE).unwrap().render();
        let row: Vec<_> = table.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(&row[..8], ["shop", "sticky", "cart.shop", "p2c-ewma", "-", "2", "-", "20%"]);
    }

    #[test]
    fn certificates_say_when_they_end() {
        let table = certificates(&[example()], true, time(4_600)).render();
        assert!(table.contains("cart-0  in 23h   1970-01-01T00:16:40Z  1970-01-02T00:16:40Z  4a"), "{table}");
    }

    #[test]
    fn an_unknown_form_is_an_error_that_names_the_object() {
        let error = objects(Kind::Services, &[object("Service", "cart", &json!({}))], &[], PLAIN).unwrap_err();
        assert!(error.to_string().contains("Service shop/cart"), "{error}");
    }
}
