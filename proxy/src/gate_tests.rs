//! What a policy's limits let through, and what they tell clients.
//!
//! Without a network: a request is its path, a client its address or identity.

use super::*;
use std::num::NonZeroU32;
use weft_model::limits::Concurrency as Limited;
use weft_model::route::{Match, PathMatch};

struct Get(&'static str);

impl RequestView for Get {
    fn method(&self) -> &str {
        "GET"
    }
    fn host(&self) -> &str {
        "cart"
    }
    fn path(&self) -> &str {
        self.0
    }
    fn query(&self) -> &str {
        ""
    }
    fn headers(&self, _name: &str, _each: &mut dyn FnMut(&[u8]) -> bool) {}

    fn fields(&self, _: &mut dyn FnMut(&str, &[u8])) {}
}

fn some(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

fn rate(name: &str, requests: u32, key: RateKey, path: &str) -> RateLimit {
    let matches = vec![Match { path: PathMatch::Prefix(path.to_owned()), ..Match::default() }];
    let (requests, per) = (some(requests), Duration::from_secs(10));
    RateLimit { name: name.to_owned(), requests, per, burst: requests, key, matches }
}

fn peer(address: &str) -> Peer {
    Peer::at(SocketAddr::new(address.parse().unwrap(), 1))
}

#[test]
fn a_limit_holds_for_its_paths_and_for_each_client() {
    let now = Instant::now();
    let limits = Limits { rate: vec![rate("logins", 2, RateKey::Address, "/login")], ..Limits::default() };
    let gate = Gate::new(&limits, None, now);
    let (a, b) = (peer("10.0.0.1"), peer("10.0.0.2"));
    let first = gate.admit(&Get("/login"), &a, now).unwrap();
    assert_eq!(first.told[0], ("ratelimit-policy", "\"logins\";q=2;w=10".to_owned()));
    assert_eq!(first.told[1], ("ratelimit", "\"logins\";r=1;t=5".to_owned()));
    assert!(gate.admit(&Get("/login/x"), &a, now).is_ok());
    let refused = gate.admit(&Get("/login"), &a, now).unwrap_err();
    assert_eq!((refused.status(), refused.grpc_status(), refused.reason()), (429, 8, "rate-limited"));
    assert!(refused.fields().contains(&("retry-after", "5".to_owned())), "{refused:?}");
    assert!(refused.fields().contains(&("ratelimit", "\"logins\";r=0;t=10".to_owned())), "{refused:?}");
    assert!(gate.admit(&Get("/login"), &b, now).is_ok());
    let elsewhere = gate.admit(&Get("/"), &a, now).unwrap();
    assert!(elsewhere.told.is_empty());
}

#[test]
fn clients_are_told_apart_by_identity_where_they_have_one() {
    let now = Instant::now();
    let limits = Limits { rate: vec![rate("each", 1, RateKey::Identity, "/")], ..Limits::default() };
    let gate = Gate::new(&limits, None, now);
    let known = |address: &str, id: &str| {
        let mut peer = peer(address);
        peer.known_as(id);
        peer
    };
    assert!(gate.admit(&Get("/"), &known("10.0.0.1", "spiffe://a/ns/b/sa/c"), now).is_ok());
    assert!(gate.admit(&Get("/"), &known("10.0.0.2", "spiffe://a/ns/b/sa/c"), now).is_err());
    assert!(gate.admit(&Get("/"), &known("10.0.0.1", "spiffe://a/ns/b/sa/d"), now).is_ok());
    assert!(gate.admit(&Get("/"), &peer("10.0.0.1"), now).is_ok());
    assert!(gate.admit(&Get("/"), &peer("::ffff:10.0.0.1"), now).is_err());
}

#[test]
fn every_limit_is_told_and_every_one_counts() {
    let now = Instant::now();
    let both = vec![rate("all", 3, RateKey::Service, "/"), rate("each", 2, RateKey::Address, "/")];
    let gate = Gate::new(&Limits { rate: both, ..Limits::default() }, None, now);
    let told = gate.admit(&Get("/"), &peer("10.0.0.1"), now).unwrap().told;
    assert_eq!(told[0].1, "\"all\";q=3;w=10, \"each\";q=2;w=10");
    assert!(gate.admit(&Get("/"), &peer("10.0.0.2"), now).is_ok());
    assert!(gate.admit(&Get("/"), &peer("10.0.0.3"), now).is_ok());
    assert!(gate.admit(&Get("/"), &peer("10.0.0.4"), now).is_err());
}

#[test]
fn a_new_policy_keeps_the_state_of_what_stays() {
    let now = Instant::now();
    let limits = Limits { rate: vec![rate("all", 1, RateKey::Service, "/")], ..Limits::default() };
    let gate = Gate::new(&limits, None, now);
    assert!(gate.admit(&Get("/"), &peer("10.0.0.1"), now).is_ok());
    let more = Limits { concurrency: Some(Limited::Fixed { max: some(1) }), ..limits };
    let next = Gate::new(&more, Some(&gate), now);
    assert!(matches!(next.admit(&Get("/"), &peer("10.0.0.1"), now), Err(Failure::RateLimited(_))));
    let none = Limits { rate: vec![], ..more };
    let last = Gate::new(&none, Some(&next), now);
    let held = last.admit(&Get("/"), &peer("10.0.0.1"), now).unwrap();
    assert!(matches!(last.admit(&Get("/"), &peer("10.0.0.1"), now), Err(Failure::Overloaded)));
    drop(held);
    assert!(last.admit(&Get("/"), &peer("10.0.0.1"), now).is_ok());
}
