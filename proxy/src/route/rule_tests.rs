//! Shares, rewritten targets and locations, with the specification's own table of prefixes.
//!
//! Requests are made of a path and a query: a rule sees no more of them once it has matched.

use super::*;
use proptest::prelude::*;
use weft_model::ServiceName;

struct Asked(&'static str, &'static str);

impl RequestView for Asked {
    fn method(&self) -> &str {
        "GET"
    }
    fn host(&self) -> &str {
        "cart.shop"
    }
    fn path(&self) -> &str {
        self.0
    }
    fn query(&self) -> &str {
        self.1
    }
    fn headers(&self, _: &str, _: &mut dyn FnMut(&[u8]) -> bool) {}

    fn fields(&self, _: &mut dyn FnMut(&str, &[u8])) {}
}

fn compiled(rule: &Rule) -> CompiledRule {
    CompiledRule::compile(&Route { name: "r".into(), ..Route::default() }, 0, rule)
}

fn under(prefix: &str) -> Vec<Match> {
    vec![Match { path: PathMatch::Prefix(prefix.into()), ..Match::default() }]
}

fn backend(name: &str, weight: u32) -> Backend {
    Backend::new(ServiceName::new("shop", name).unwrap(), 80.try_into().unwrap(), weight)
}

#[test]
fn backends_get_their_share() {
    let backends = vec![backend("a", 3), backend("b", 0), backend("c", 1)];
    let rule = compiled(&Rule { backends, ..Rule::default() });
    let share = |at: usize| (0..400).filter(|n| rule.pick(*n) == Some(at)).count();
    assert_eq!((share(0), share(1), share(2)), (300, 0, 100));
    assert_eq!(compiled(&Rule::default()).pick(1), None);
}

proptest! {
    #[test]
    fn shares_are_exact_over_a_whole_turn(weights in prop::collection::vec(0u32..20, 1..6)) {
        let backends: Vec<_> = weights.iter().map(|weight| backend("a", *weight)).collect();
        let rule = compiled(&Rule { backends, ..Rule::default() });
        let total: u64 = weights.iter().map(|w| u64::from(*w)).sum();
        for (at, weight) in weights.iter().enumerate() {
            let share = (0..total).filter(|n| rule.pick(*n) == Some(at)).count();
            prop_assert_eq!(share as u32, *weight);
        }
    }
}

/// The table at `HTTPPathModifier.replacePrefixMatch` of the Gateway API's reference.
#[test]
fn a_prefix_is_replaced_by_whole_segments() {
    for (asked, prefix, new, seen) in [
        ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
        ("/foo", "/foo", "/xyz", "/xyz"),
        ("/foo/", "/foo", "/xyz", "/xyz/"),
        ("/foo/bar", "/foo", "/", "/bar"),
        ("/foo/", "/foo", "/", "/"),
        ("/foo", "/foo", "/", "/"),
        ("/foo", "/", "/xyz", "/xyz/foo"),
    ] {
        let rewrite = Rewrite { hostname: None, path: Some(PathRewrite::Prefix(new.into())) };
        let rule = compiled(&Rule { matches: under(prefix), rewrite: Some(rewrite), ..Rule::default() });
        assert_eq!(rule.target(&Asked(asked, "")).as_deref(), Some(seen), "{asked} {prefix} {new}");
    }
}

#[test]
fn the_query_stays() {
    let rewrite = Rewrite { hostname: None, path: Some(PathRewrite::Full("/new".into())) };
    let rule = compiled(&Rule { rewrite: Some(rewrite), ..Rule::default() });
    assert_eq!(rule.target(&Asked("/old", "q=1")).as_deref(), Some("/new?q=1"));
    assert_eq!(compiled(&Rule::default()).target(&Asked("/old", "")), None);
}

#[test]
fn a_location_says_what_changes_and_keeps_the_rest() {
    let at = |redirect: Redirect| {
        let rule = compiled(&Rule { matches: under("/a"), redirect: Some(redirect), ..Rule::default() });
        rule.location(&Asked("/a/b", "q=1"), 8080).unwrap()
    };
    let port = |port: u16| Some(port.try_into().unwrap());
    let same = Redirect::default;
    assert_eq!(at(same()), "http://cart.shop:8080/a/b?q=1");
    assert_eq!(at(Redirect { hostname: Some("x.y".into()), ..same() }), "http://x.y:8080/a/b?q=1");
    assert_eq!(at(Redirect { scheme: Some(Scheme::Https), ..same() }), "https://cart.shop/a/b?q=1");
    assert_eq!(
        at(Redirect { scheme: Some(Scheme::Https), port: port(8443), ..same() }),
        "https://cart.shop:8443/a/b?q=1"
    );
    assert_eq!(at(Redirect { port: port(80), ..same() }), "http://cart.shop/a/b?q=1");
    assert_eq!(
        at(Redirect { path: Some(PathRewrite::Prefix("/c".into())), ..same() }),
        "http://cart.shop:8080/c/b?q=1"
    );
    assert_eq!(compiled(&Rule::default()).location(&Asked("/", ""), 80), None);
}

#[test]
fn mirrors_get_their_share_and_refused_ones_nothing() {
    let mirror = |numerator, refused| Mirror {
        service: ServiceName::new("shop", "copy").unwrap(),
        port: 80.try_into().unwrap(),
        refused,
        numerator,
        denominator: 100,
    };
    let rule = compiled(&Rule { mirrors: vec![mirror(25, false), mirror(100, true)], ..Rule::default() });
    let copies: usize = (0..100).map(|n| rule.mirrored(|_| n).count()).sum();
    assert_eq!(copies, 25);
}

#[test]
fn what_the_rule_leaves_open_about_retries_is_the_policys() {
    let retry = RouteRetry { attempts: Some(5), ..RouteRetry::default() };
    let rule = compiled(&Rule { retry: Some(retry), ..Rule::default() });
    let policy = Retry { budget_percent: 7, ..Retry::default() };
    assert_eq!(rule.retry(&policy), Some(Box::new(Retry { attempts: 5, ..policy.clone() })));
    assert_eq!(compiled(&Rule::default()).retry(&policy), None);
}
