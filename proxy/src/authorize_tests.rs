//! Verdicts, on their own and against a plain reading of the rules.
//! The plain reading is written for clarity, without the scopes that connections keep.

use super::*;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use weft_model::NamespacePolicy;
use weft_model::authorization::{AccessRule, HeaderPattern};

#[derive(Debug, Clone, Default)]
struct Request {
    method: String,
    host: String,
    path: String,
    headers: Vec<(String, String)>,
}

impl RequestView for Request {
    fn method(&self) -> &str {
        &self.method
    }
    fn host(&self) -> &str {
        &self.host
    }
    fn path(&self) -> &str {
        &self.path
    }
    fn query(&self) -> &str {
        ""
    }
    fn headers(&self, name: &str, each: &mut dyn FnMut(&[u8]) -> bool) {
        let _ = self.headers.iter().filter(|(n, _)| n == name).any(|(_, value)| each(value.as_bytes()));
    }

    fn fields(&self, _: &mut dyn FnMut(&str, &[u8])) {}
}

fn get(path: &str) -> Request {
    Request { method: "GET".into(), host: "echo".into(), path: path.into(), headers: Vec::new() }
}

fn id(text: &str) -> SpiffeId {
    format!("spiffe://weft.local/ns/{}", text.replace('/', "/sa/")).parse().unwrap()
}

fn policy(name: &str, action: Action, mode: Mode, rules: Vec<AccessRule>) -> AuthorizationPolicy {
    AuthorizationPolicy { namespace: "test".into(), name: name.into(), action, mode, rules }
}

fn from(pattern: &str) -> AccessRule {
    let from = vec![Source { identities: vec![pattern.parse().unwrap()], ..Source::default() }];
    AccessRule { from, to: Vec::new() }
}

fn to(paths: &[&str]) -> AccessRule {
    let paths = paths.iter().map(|path| path.parse().unwrap()).collect();
    AccessRule { from: Vec::new(), to: vec![Operation { paths, ..Operation::default() }] }
}

struct Case {
    namespace: NamespacePolicy,
    policies: Vec<AuthorizationPolicy>,
}

impl Case {
    fn of(policies: Vec<AuthorizationPolicy>) -> Self {
        Self { namespace: NamespacePolicy::default(), policies }
    }

    fn scope(&self, who: Option<&SpiffeId>) -> Scope {
        let told = WorkloadPolicies { namespace: self.namespace, policies: self.policies.clone(), limits: Vec::new() };
        let table = Arc::new(Table::compile(&told).unwrap());
        table.scope(&Peer { identity: who, address: [10, 0, 0, 9].into(), port: 8080 })
    }

    /// `+policy` or `-policy`, and `?policy` for an audit.
    fn says(&self, who: Option<&SpiffeId>, request: &Request) -> String {
        let verdict = self.scope(who).request(request).unwrap();
        shown(&verdict)
    }
}

fn shown(verdict: &Verdict) -> String {
    let audit = verdict.audit.as_ref().map(|audit| format!(" ?{audit}")).unwrap_or_default();
    format!("{}{}{audit}", if verdict.allowed { '+' } else { '-' }, verdict.policy)
}

#[test]
fn deny_comes_before_allow_and_an_allow_has_to_match() {
    let cart = id("shop/cart");
    let (enforce, deny, allow) = (Mode::Enforce, Action::Deny, Action::Allow);
    let case = Case::of(vec![
        policy("readers", allow, enforce, vec![from("spiffe://weft.local/ns/shop/*")]),
        policy("no-admin", deny, enforce, vec![to(&["/admin/*"])]),
    ]);
    assert_eq!(case.says(Some(&cart), &get("/")), "+test/readers");
    assert_eq!(case.says(Some(&cart), &get("/admin/x")), "-test/no-admin");
    assert_eq!(case.says(Some(&id("bank/a")), &get("/")), "-test/readers");
    assert_eq!(case.says(None, &get("/")), "-test/readers");
    let nobody = Case::of(vec![policy("none", allow, enforce, vec![])]);
    assert_eq!(nobody.says(Some(&cart), &get("/")), "-test/none");
    assert!(nobody.scope(Some(&cart)).settled().is_some(), "nothing of a request matters");
}

#[test]
fn defaults_and_strict_mtls() {
    assert!(Table::compile(&WorkloadPolicies::default()).is_none());
    let cart = id("shop/cart");
    let mut case = Case::of(vec![]);
    case.namespace.default_action = Action::Deny;
    assert_eq!(case.says(Some(&cart), &get("/")), "-default");
    case.namespace = NamespacePolicy { default_action: Action::Allow, mtls: Mtls::Strict };
    assert_eq!(case.says(Some(&cart), &get("/")), "+default");
    assert_eq!(case.says(None, &get("/")), "-mtls");
    assert_eq!(shown(&case.scope(None).opaque()), "-mtls");
}

#[test]
fn an_audit_tells_and_lets_pass() {
    let cart = id("shop/cart");
    let case = Case::of(vec![policy("no-admin", Action::Deny, Mode::Audit, vec![to(&["/admin/*"])])]);
    assert_eq!(case.says(Some(&cart), &get("/admin")), "+default ?test/no-admin");
    assert_eq!(case.says(Some(&cart), &get("/x")), "+default");
    assert_eq!(case.says(Some(&cart), &get("/x\\y")), "+default ?test/no-admin");
    let case =
        Case::of(vec![policy("readers", Action::Allow, Mode::Audit, vec![from("spiffe://weft.local/ns/web/*")])]);
    assert_eq!(case.says(Some(&cart), &get("/")), "+default ?test/readers");
    assert_eq!(case.says(Some(&id("web/a")), &get("/")), "+default");
}

#[test]
fn opaque_connections_match_by_client_and_port_only() {
    let cart = id("shop/cart");
    let deny = |rule: AccessRule| Case::of(vec![policy("no", Action::Deny, Mode::Enforce, vec![rule])]);
    let allow = |rule: AccessRule| Case::of(vec![policy("yes", Action::Allow, Mode::Enforce, vec![rule])]);
    let opaque = |case: Case| shown(&case.scope(Some(&cart)).opaque());
    assert_eq!(opaque(deny(to(&["/admin"]))), "+default");
    let at = |port: u16| {
        let mut rule = to(&["/admin"]);
        rule.to[0].ports.push(port.try_into().unwrap());
        rule
    };
    assert_eq!(opaque(deny(at(8080))), "-test/no", "HTTP is spoken there, as the policy says");
    assert_eq!(opaque(deny(at(6379))), "+default");
    assert_eq!(opaque(allow(at(8080))), "-test/yes");
    assert_eq!(opaque(allow(from("spiffe://weft.local/ns/shop/*"))), "+test/yes");
}

#[test]
fn an_ambiguous_path_matters_only_where_a_path_is_asked_for() {
    let cart = id("shop/cart");
    let case = Case::of(vec![policy("no", Action::Deny, Mode::Enforce, vec![to(&["/admin"])])]);
    assert!(case.scope(Some(&cart)).request(&get("/a\\b")).is_err());
    let case = Case::of(vec![policy("yes", Action::Allow, Mode::Enforce, vec![from("*")])]);
    assert_eq!(case.says(Some(&cart), &get("/a\\b")), "+test/yes");
}

#[test]
fn requests_do_not_hide_in_an_upgrade() {
    let cart = id("shop/cart");
    let case = Case::of(vec![policy("no", Action::Deny, Mode::Enforce, vec![to(&["/admin"])])]);
    let upgrade = |to: &str| Request { headers: vec![("upgrade".into(), to.into())], ..get("/x") };
    assert!(case.scope(Some(&cart)).request(&upgrade("websocket, H2C")).is_err());
    assert_eq!(case.says(Some(&cart), &upgrade("websocket")), "+default");
}

#[test]
fn allow_needs_every_reading() {
    let cart = id("shop/cart");
    let case = Case::of(vec![policy("public", Action::Allow, Mode::Enforce, vec![to(&["/public/*"])])]);
    for (path, allowed) in [
        ("/public/x", true),
        ("/public//x", true),
        ("/public/a%20b;v=1", true),
        ("/public/../admin", false),
        ("/admin/../public", false),
        ("//public", false),
        ("/x%2f..%2fpublic", false),
    ] {
        let verdict = case.scope(Some(&cart)).request(&get(path));
        assert_eq!(verdict.is_ok_and(|verdict| verdict.allowed), allowed, "{path}");
    }
}

#[test]
fn headers_methods_and_hosts() {
    let cart = id("shop/cart");
    let operation = Operation {
        methods: vec!["POST".into()],
        hosts: vec!["*.shop".parse().unwrap()],
        headers: vec![HeaderPattern { name: "x-role".into(), value: Some("admin".into()) }],
        ..Operation::default()
    };
    let rule = AccessRule { from: Vec::new(), to: vec![operation] };
    let request = |method: &str, host: &str, roles: &[&str]| Request {
        method: method.into(),
        host: host.into(),
        path: "/".into(),
        headers: roles.iter().map(|role| ("x-role".to_owned(), (*role).to_owned())).collect(),
    };
    let deny = Case::of(vec![policy("no", Action::Deny, Mode::Enforce, vec![rule.clone()])]);
    let allow = Case::of(vec![policy("yes", Action::Allow, Mode::Enforce, vec![rule])]);
    let denied = |request: &Request| deny.says(Some(&cart), request) == "-test/no";
    let allowed = |request: &Request| allow.says(Some(&cart), request) == "+test/yes";
    let exact = request("POST", "Cart.SHOP.", &["admin"]);
    assert!(denied(&exact) && allowed(&exact));
    for other in [request("POST", "cart.shop", &["admin", "user"]), request("post", "cart.shop", &["admin"])] {
        assert!(denied(&other) && !allowed(&other), "{other:?}");
    }
    for other in
        [request("GET", "cart.shop", &["admin"]), request("POST", "shop", &["admin"]), request("POST", "a.shop", &[])]
    {
        assert!(!denied(&other) && !allowed(&other), "{other:?}");
    }
    let mut two = request("POST", "cart.bank", &["admin"]);
    two.headers.push(("host".into(), "cart.shop".into()));
    assert!(denied(&two) && !allowed(&two), "two hosts");
}

/// What the documentation says, without anything prepared in advance.
fn plainly(told: &WorkloadPolicies, peer: &Peer<'_>, request: &Request) -> (bool, String) {
    let source = |s: &Source| {
        let known = |f: &dyn Fn(&SpiffeId) -> bool| peer.identity.is_some_and(f);
        (s.identities.is_empty() || known(&|id| s.identities.iter().any(|p| p.matches(id))))
            && (s.namespaces.is_empty() || known(&|id| s.namespaces.contains(&id.namespace)))
            && (s.cidrs.is_empty() || s.cidrs.iter().any(|cidr| cidr.contains(peer.address)))
    };
    let operation = |o: &Operation| {
        (o.ports.is_empty() || o.ports.iter().any(|port| port.get() == peer.port))
            && (o.methods.is_empty() || o.methods.contains(&request.method))
            && (o.paths.is_empty() || o.paths.iter().any(|pattern| pattern.matches(request.path.trim_end_matches('/'))))
    };
    let matches = |policy: &&AuthorizationPolicy| {
        policy.rules.iter().any(|rule| {
            (rule.from.is_empty() || rule.from.iter().any(source))
                && (rule.to.is_empty() || rule.to.iter().any(operation))
        })
    };
    let name = |policy: &AuthorizationPolicy| format!("{}/{}", policy.namespace, policy.name);
    if told.namespace.mtls == Mtls::Strict && peer.identity.is_none() {
        return (false, "mtls".into());
    }
    let of = |action| told.policies.iter().filter(move |p| p.action == action && p.mode == Mode::Enforce);
    if let Some(denying) = of(Action::Deny).find(matches) {
        return (false, name(denying));
    }
    match (of(Action::Allow).next(), of(Action::Allow).find(matches)) {
        (_, Some(granting)) => (true, name(granting)),
        (Some(first), None) => (false, name(first)),
        (None, None) => (told.namespace.default_action == Action::Allow, "default".into()),
    }
}

fn some<T: Clone + std::fmt::Debug + 'static>(of: &[T]) -> impl Strategy<Value = Vec<T>> + use<T> {
    vec(prop::sample::select(of.to_vec()), 0..2)
}

prop_compose! {
    fn any_operation()(
        ports in some(&[8080.try_into().unwrap(), 6379.try_into().unwrap()]),
        methods in some(&["GET".to_owned(), "POST".to_owned()]),
        paths in vec(prop::sample::select(vec!["/a", "/a/*", "/*", "/a/b", "/ab/*", "/"]), 0..3),
    ) -> Operation {
        let paths = paths.iter().map(|path| path.parse().unwrap()).collect();
        Operation { ports, methods, paths, ..Operation::default() }
    }
}

prop_compose! {
    fn any_rule()(
        identities in some(&["*".parse().unwrap(), "spiffe://weft.local/ns/shop/*".parse().unwrap()]),
        namespaces in some(&["shop".to_owned(), "web".to_owned()]),
        cidrs in some(&["10.0.0.0/8".parse().unwrap(), "10.0.0.9".parse().unwrap(), "fd00::/8".parse().unwrap()]),
        to in vec(any_operation(), 0..4),
        from: bool,
    ) -> AccessRule {
        let source = Source { identities, namespaces, cidrs };
        AccessRule { from: from.then_some(source).into_iter().collect(), to }
    }
}

proptest! {
    #[test]
    fn what_is_prepared_decides_as_what_is_written(
        policies in vec((any::<bool>(), any::<bool>(), vec(any_rule(), 0..3)), 0..5),
        deny: bool,
        strict: bool,
        who in of(prop::sample::select(vec!["shop/cart", "web/front", "bank/a"])),
        port in prop::sample::select(vec![8080u16, 6379, 80]),
        last in 1..11u8,
        method in prop::sample::select(vec!["GET", "POST", "PUT"]),
        path in prop::sample::select(vec!["/", "/a", "/a/", "/a/b", "/a/b/c", "/b", "/ab"]),
    ) {
        let action = |deny| if deny { Action::Deny } else { Action::Allow };
        let policies = policies.into_iter().enumerate().map(|(n, (deny, audit, rules))| {
            policy(&format!("p{n}"), action(deny), if audit { Mode::Audit } else { Mode::Enforce }, rules)
        });
        let mtls = if strict { Mtls::Strict } else { Mtls::Permissive };
        let namespace = NamespacePolicy { default_action: action(deny), mtls };
        let told = WorkloadPolicies { namespace, policies: policies.collect(), limits: Vec::new() };
        let identity = who.map(id);
        let peer = Peer { identity: identity.as_ref(), address: [10, 0, 0, last].into(), port };
        let request = Request { method: method.into(), ..get(path) };
        let wanted = plainly(&told, &peer, &request);
        match Table::compile(&told).map(Arc::new) {
            None => prop_assert!(wanted.0),
            Some(table) => {
                let scope = table.scope(&peer);
                let verdict = scope.request(&request).unwrap();
                prop_assert_eq!((verdict.allowed, verdict.policy.to_string()), wanted);
                if let Some(settled) = scope.settled() {
                    prop_assert_eq!(&verdict, settled);
                }
                prop_assert!(verdict.allowed || verdict.audit.is_none());
            }
        }
    }
}
