//! Precedence and matching, as the Gateway API specifies them.
//!
//! Requests are made of plain parts, without an HTTP engine: routing sees no more of one than its view shows.

use super::*;
use proptest::prelude::*;
use weft_model::ServiceName;
use weft_model::explain::Verdict;
use weft_model::route::{Backend, PathMatch, Rule, ValueMatch, ValuePattern};

#[derive(Debug)]
struct Asked {
    method: &'static str,
    host: &'static str,
    path: &'static str,
    query: &'static str,
    headers: Vec<(&'static str, &'static str)>,
}

impl RequestView for Asked {
    fn method(&self) -> &str {
        self.method
    }
    fn host(&self) -> &str {
        self.host
    }
    fn path(&self) -> &str {
        self.path
    }
    fn query(&self) -> &str {
        self.query
    }
    fn headers(&self, name: &str, each: &mut dyn FnMut(&[u8]) -> bool) {
        let _ = self.headers.iter().filter(|(n, _)| *n == name).any(|(_, v)| each(v.as_bytes()));
    }

    fn fields(&self, _: &mut dyn FnMut(&str, &[u8])) {}
}

fn get(path: &'static str) -> Asked {
    Asked { method: "GET", host: "cart.shop", path, query: "", headers: vec![] }
}

fn rule(name: &str, matches: Vec<Match>) -> Rule {
    let service = ServiceName::new("shop", name).unwrap();
    let backends = vec![Backend::new(service, 80.try_into().unwrap(), 1)];
    Rule { name: Some(name.into()), matches, backends, ..Rule::default() }
}

fn route(rules: Vec<Rule>) -> Route {
    Route { namespace: "shop".into(), name: "r".into(), rules, ..Route::default() }
}

/// The routes of shop/cart.
fn compiled(routes: &[Route]) -> Table {
    Table::compile(&ServiceName::new("shop", "cart").unwrap(), routes)
}

fn path(path: PathMatch) -> Match {
    Match { path, ..Match::default() }
}

fn chosen(table: &Table, request: &Asked) -> String {
    match table.decide(80, request) {
        Routed::Unrouted => "unrouted".into(),
        Routed::NoMatch => "none".into(),
        Routed::To(rule) => rule.label.trim_start_matches("r/").into(),
    }
}

#[test]
fn paths_are_matched_by_segment_and_the_most_specific_wins() {
    let table = compiled(&[route(vec![
        rule("any", vec![]),
        rule("regex", vec![path(PathMatch::Regex("/v[0-9]+/x".into()))]),
        rule("short", vec![path(PathMatch::Prefix("/a".into()))]),
        rule("long", vec![path(PathMatch::Prefix("/a/b/".into()))]),
        rule("exact", vec![path(PathMatch::Exact("/a/b".into()))]),
    ])]);
    for (asked, expected) in
        [("/", "any"), ("/a", "short"), ("/ab", "any"), ("/a/b", "exact"), ("/a/b/c", "long"), ("/a/bc", "short")]
    {
        assert_eq!(chosen(&table, &get(asked)), expected, "{asked}");
    }
}

#[test]
fn a_regular_expression_matches_the_whole_path_or_nothing() {
    let table = compiled(&[route(vec![rule("regex", vec![path(PathMatch::Regex("/v[0-9]|/w".into()))])])]);
    assert_eq!(chosen(&table, &get("/v1")), "regex");
    assert_eq!(chosen(&table, &get("/v1/x")), "none");
    assert_eq!(chosen(&table, &get("/x/w")), "none");
}

#[test]
fn method_headers_and_query_narrow_a_rule() {
    let value = |name: &str, text: &str| ValueMatch { name: name.into(), value: ValuePattern::Exact(text.into()) };
    let table = compiled(&[route(vec![
        rule("rest", vec![]),
        rule("post", vec![Match { method: Some("POST".into()), ..Match::default() }]),
        rule("beta", vec![Match { headers: vec![value("x-user", "beta")], ..Match::default() }]),
        rule("two", vec![Match { headers: vec![value("x-user", "beta"), value("x-b", "1, 2")], ..Match::default() }]),
        rule("query", vec![Match { query: vec![value("q", "a b")], ..Match::default() }]),
    ])]);
    assert_eq!(chosen(&table, &get("/")), "rest");
    assert_eq!(chosen(&table, &Asked { method: "POST", ..get("/") }), "post");
    assert_eq!(chosen(&table, &Asked { headers: vec![("x-user", "beta")], ..get("/") }), "beta");
    let both = vec![("x-user", "beta"), ("x-b", "1"), ("x-b", "2")];
    assert_eq!(chosen(&table, &Asked { headers: both, ..get("/") }), "two");
    assert_eq!(chosen(&table, &Asked { query: "p=1&q=a%20b&q=c", ..get("/") }), "query");
    assert_eq!(chosen(&table, &Asked { query: "q=c&q=a+b", ..get("/") }), "rest");
}

#[test]
fn the_most_specific_host_name_wins_over_a_better_path() {
    let named = |name: &str, hostnames: &[&str], path_match| Route {
        hostnames: hostnames.iter().map(|h| (*h).to_owned()).collect(),
        ..route(vec![rule(name, vec![path(path_match)])])
    };
    let table = compiled(&[
        named("wild", &["*.shop"], PathMatch::Exact("/a".into())),
        named("exact", &["cart.shop"], PathMatch::default()),
        named("other", &["x.y"], PathMatch::Exact("/a".into())),
    ]);
    assert_eq!(chosen(&table, &get("/a")), "exact");
    assert_eq!(chosen(&table, &Asked { host: "SEARCH.shop", ..get("/a") }), "wild");
    assert_eq!(chosen(&table, &Asked { host: "shop", ..get("/a") }), "none");
}

#[test]
fn a_route_binds_only_its_port_and_older_routes_win() {
    let first = Route { port: Some(80.try_into().unwrap()), ..route(vec![rule("old", vec![])]) };
    let second = route(vec![rule("new", vec![])]);
    assert_eq!(chosen(&compiled(&[first.clone(), second]), &get("/")), "old");
    let table = compiled(&[first]);
    assert!(matches!(table.decide(81, &get("/")), Routed::Unrouted));
    assert!(matches!(compiled(&[]).decide(80, &get("/")), Routed::Unrouted));
}

#[test]
fn ties_go_to_the_older_route_then_to_the_earlier_rule() {
    let header = |name: &str| ValueMatch { name: name.into(), value: ValuePattern::Exact("1".into()) };
    let by = |names: &[&str]| Match { headers: names.iter().map(|n| header(n)).collect(), ..Match::default() };
    let older = route(vec![rule("first", vec![by(&["a"])]), rule("second", vec![by(&["b"])])]);
    let newer = route(vec![rule("newer", vec![by(&["a"])]), rule("both", vec![by(&["a", "b"])])]);
    let table = compiled(&[older, newer]);
    assert_eq!(chosen(&table, &Asked { headers: vec![("a", "1")], ..get("/") }), "first");
    assert_eq!(chosen(&table, &Asked { headers: vec![("b", "1")], ..get("/") }), "second");
    assert_eq!(chosen(&table, &Asked { headers: vec![("a", "1"), ("b", "1")], ..get("/") }), "both");
}

#[test]
fn a_path_beats_a_method_beats_headers_beat_parameters() {
    let one = |name: &str| vec![ValueMatch { name: name.into(), value: ValuePattern::Regex("[0-9]".into()) }];
    let prefix = |prefix: &str| PathMatch::Prefix(prefix.into());
    let table = compiled(&[route(vec![
        rule("query", vec![Match { query: one("q"), ..Match::default() }]),
        rule("header", vec![Match { headers: one("h"), ..Match::default() }]),
        rule("method", vec![Match { method: Some("GET".into()), ..Match::default() }]),
        rule("path", vec![Match { path: prefix("/p"), ..Match::default() }]),
    ])]);
    let all = |path| Asked { query: "q=1", headers: vec![("h", "2")], ..get(path) };
    assert_eq!(chosen(&table, &all("/p/x")), "path");
    assert_eq!(chosen(&table, &all("/x")), "method");
    assert_eq!(chosen(&table, &Asked { method: "PUT", ..all("/x") }), "header");
    assert_eq!(chosen(&table, &Asked { method: "PUT", headers: vec![("h", "xx")], ..all("/x") }), "query");
    assert_eq!(chosen(&table, &Asked { method: "PUT", query: "q=12", headers: vec![], ..all("/x") }), "none");
}

#[test]
fn of_the_groups_of_routes_on_a_port_one_is_in_force() {
    let only = |path_match| vec![path(PathMatch::Exact(path_match))];
    let producer = route(vec![rule("producer", only("/p".into()))]);
    let consumer = Route {
        namespace: "web".into(),
        port: Some(80.try_into().unwrap()),
        ..route(vec![rule("consumer", only("/c".into()))])
    };
    let grpc = Route { kind: RouteKind::Grpc, ..route(vec![rule("grpc", only("/g".into()))]) };
    let table = compiled(&[producer.clone(), consumer.clone()]);
    assert_eq!(chosen(&table, &get("/c")), "consumer");
    assert_eq!(chosen(&table, &get("/p")), "none", "the producer's routes are not merged with a consumer's");
    assert!(matches!(table.decide(81, &get("/p")), Routed::To(_)), "they are in force on the other ports");
    let table = compiled(&[producer.clone(), grpc.clone()]);
    assert_eq!((chosen(&table, &get("/g")), chosen(&table, &get("/p"))), ("grpc".into(), "none".into()));
    let table = compiled(&[producer, grpc, consumer]);
    assert_eq!((chosen(&table, &get("/c")), chosen(&table, &get("/g"))), ("consumer".into(), "none".into()));
}

proptest! {
    /// However many rules there are, the one that is found matches, and none that matches has a greater rank.
    #[test]
    fn what_is_found_is_the_best_that_matches(
        rules in prop::collection::vec(("(/[ab]){0,3}", any::<bool>(), prop::option::of("GET|PUT"), 0usize..3), 1..8),
        asked in "(/[ab]){1,4}",
    ) {
        let asked: &'static str = asked.leak();
        let headers = |count: usize| (0..count).map(|n| ValueMatch {
            name: format!("h{n}"),
            value: ValuePattern::Exact("1".into()),
        }).collect();
        let matches = rules.iter().map(|(path, exact, method, count)| Match {
            path: if *exact { PathMatch::Exact(format!("/{}", path.trim_start_matches('/'))) }
                else { PathMatch::Prefix(format!("/{}", path.trim_start_matches('/'))) },
            method: method.clone(),
            headers: headers(*count),
            query: vec![],
        });
        let matches: Vec<Match> = matches.collect();
        let named = matches.iter().enumerate().map(|(n, m)| rule(&n.to_string(), vec![m.clone()])).collect();
        let request = Asked { headers: vec![("h0", "1")], ..get(asked) };
        let compiled: Vec<_> = matches.iter().map(|m| Matcher::compile(m).unwrap()).collect();
        let best = compiled.iter().filter(|m| m.matches(&request)).map(Matcher::rank).max();
        let expected = best.and_then(|best| compiled.iter().position(|m| m.matches(&request) && m.rank() == best));
        let expected = expected.map_or("none".to_owned(), |n| n.to_string());
        prop_assert_eq!(chosen(&super::tests::compiled(&[route(named)]), &request), expected);
    }

    /// What is said of why agrees with what is done, for tables of all kinds of routes and any request.
    #[test]
    fn the_reasons_agree_with_the_decision(routes in prop::collection::vec(any_route(), 0..4), request in any_request(), port in 80u16..82) {
        let table = compiled(&routes);
        let why = table.why(port, &request);
        let chosen: Vec<_> = why.iter().filter(|c| c.verdict == Verdict::Chosen).collect();
        match table.decide(port, &request) {
            Routed::To(rule) => {
                prop_assert_eq!(chosen.len(), 1);
                prop_assert_eq!(&chosen[0].rule, &rule.label);
            }
            Routed::NoMatch => prop_assert!(chosen.is_empty() && why.iter().all(|c| c.verdict != Verdict::Outranked)),
            Routed::Unrouted => prop_assert!(why.iter().all(|c| c.verdict == Verdict::OtherPort)),
        }
        for (considered, entry) in why.iter().zip(&table.entries) {
            let matches = entry.host_rank(request.host()).is_some() && entry.matcher.matches(&request);
            prop_assert_eq!(considered.missed.is_empty(), matches);
            prop_assert_eq!(considered.verdict == Verdict::Unmatched, !matches && entry.is_for(port) && Some(entry.group) == table.group(port));
        }
    }
}

fn any_value() -> impl Strategy<Value = ValueMatch> {
    let pattern = prop_oneof!["[xy]".prop_map(ValuePattern::Exact), Just(ValuePattern::Regex("x|y".into()))];
    ("[ab]", pattern).prop_map(|(name, value)| ValueMatch { name, value })
}

fn any_match() -> impl Strategy<Value = Match> {
    let path = prop_oneof![
        "/[ab]{0,2}".prop_map(PathMatch::Exact),
        "/[ab]{0,1}".prop_map(PathMatch::Prefix),
        Just(PathMatch::Regex("/a+".into())),
    ];
    let values = || prop::collection::vec(any_value(), 0..2);
    (path, prop::option::of("GET|PUT"), values(), values()).prop_map(|(path, method, headers, query)| Match {
        path,
        method,
        headers,
        query,
    })
}

fn any_route() -> impl Strategy<Value = Route> {
    let rules = prop::collection::vec(prop::collection::vec(any_match(), 0..3), 1..3);
    let hosts = prop::collection::vec(prop::sample::select(vec!["cart.shop", "*.shop", "other"]), 0..2);
    let kind = prop::sample::select(vec![RouteKind::Http, RouteKind::Http, RouteKind::Grpc]);
    let bound = (prop::option::of(80u16..82), prop::sample::select(vec!["shop", "shop", "web"]), "[a-z]{3}", kind);
    (rules, hosts, bound).prop_map(|(rules, hosts, (port, namespace, name, kind))| Route {
        kind,
        namespace: namespace.into(),
        name,
        port: port.map(|port| port.try_into().unwrap()),
        hostnames: hosts.into_iter().map(str::to_owned).collect(),
        rules: rules.into_iter().enumerate().map(|(n, matches)| rule(&n.to_string(), matches)).collect(),
    })
}

fn any_request() -> impl Strategy<Value = Asked> {
    let headers =
        prop::collection::vec((prop::sample::select(vec!["a", "b"]), prop::sample::select(vec!["x", "z"])), 0..3);
    let select = prop::sample::select::<&'static str>;
    (
        select(vec!["GET", "PUT"]),
        select(vec!["cart.shop", "x.shop", "none"]),
        select(vec!["/", "/a", "/aa", "/b/a"]),
        select(vec!["", "a=x", "b=z&a=y", "a=%78"]),
        headers,
    )
        .prop_map(|(method, host, path, query, headers)| Asked { method, host, path, query, headers })
}
