//! Precedence and matching, as the Gateway API specifies them.
//!
//! Requests are made of plain parts, without an HTTP engine: routing sees no more of one than its view shows.

use super::*;
use weft_model::ServiceName;
use weft_model::route::Rule;

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
}

fn get(path: &'static str) -> Asked {
    Asked { method: "GET", host: "cart.shop", path, query: "", headers: vec![] }
}

fn rule(name: &str, matches: Vec<Match>) -> Rule {
    let service = ServiceName::new("shop", name).unwrap();
    let backends = vec![Backend { service, port: 80.try_into().unwrap(), weight: 1 }];
    Rule { name: Some(name.into()), matches, backends, ..Rule::default() }
}

fn route(rules: Vec<Rule>) -> Route {
    Route { namespace: "shop".into(), name: "r".into(), port: None, hostnames: vec![], rules }
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
    let table = Table::compile(&[route(vec![
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
    let table = Table::compile(&[route(vec![rule("regex", vec![path(PathMatch::Regex("/v[0-9]|/w".into()))])])]);
    assert_eq!(chosen(&table, &get("/v1")), "regex");
    assert_eq!(chosen(&table, &get("/v1/x")), "none");
    assert_eq!(chosen(&table, &get("/x/w")), "none");
}

#[test]
fn method_headers_and_query_narrow_a_rule() {
    let value = |name: &str, text: &str| ValueMatch { name: name.into(), value: ValuePattern::Exact(text.into()) };
    let table = Table::compile(&[route(vec![
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
    let table = Table::compile(&[
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
    assert_eq!(chosen(&Table::compile(&[first.clone(), second]), &get("/")), "old");
    let table = Table::compile(&[first]);
    assert!(matches!(table.decide(81, &get("/")), Routed::Unrouted));
    assert!(matches!(Table::default().decide(80, &get("/")), Routed::Unrouted));
}

#[test]
fn backends_get_their_share() {
    let mut split = rule("split", vec![]);
    let service = |name: &str| ServiceName::new("shop", name).unwrap();
    let backend = |name: &str, weight| Backend { service: service(name), port: 80.try_into().unwrap(), weight };
    split.backends = vec![backend("a", 3), backend("b", 0), backend("c", 1)];
    let table = Table::compile(&[route(vec![split])]);
    let request = get("/");
    let Routed::To(rule) = table.decide(80, &request) else { panic!("no rule") };
    let share = |name: &str| (0..400).filter(|n| rule.backend(*n).is_some_and(|b| b.service.name == name)).count();
    assert_eq!((share("a"), share("b"), share("c")), (300, 0, 100));
}
