//! An explanation in which every step has something to say, as it is told.
//!
//! Made of JSON, as the proxy sends it; a terminal's control characters must not get through.

use super::*;
use serde_json::json;

fn request() -> Imagined {
    serde_json::from_value(json!({"method": "GET", "host": "search.shop", "port": 80, "path": "/query", "query": "q=x",
        "headers": [["user", "a\u{1b}[2J"], ["host", "search.shop"]]}))
    .unwrap()
}

fn endpoint(id: &str, standing: serde_json::Value) -> serde_json::Value {
    json!({"id": id, "address": "10.0.0.1:8080", "state": "ready", "weight": 1, "zone": "a", "in_flight": 2,
        "identity": "spiffe://weft.local/ns/shop/sa/search", "latency": {"secs": 0, "nanos": 1_500_000},
        "penalty": {"secs": 1, "nanos": 0}, "standing": standing})
}

fn explanation() -> Explanation {
    let service = json!({"namespace": "shop", "name": "search"});
    let considered = |rule: &str, verdict: &str, missed: serde_json::Value| json!({"kind": "http", "rule": rule, "number": 0, "consumer": false, "verdict": verdict, "missed": missed});
    let limit = |origin: &str| json!({"value": {"secs": 2, "nanos": 0}, "origin": origin});
    let endpoints = [
        endpoint("search-0", json!("candidate")),
        endpoint("search-1", json!({"later": {"unreached": {"secs": 3, "nanos": 0}}})),
        endpoint("search-2", json!({"out": "not-ready"})),
    ];
    serde_json::from_value(json!({
        "from": {"proxy": "cart-0", "namespace": "shop", "zone": "a", "revision": 7, "connected": true, "workers": 2},
        "service": {"service": service, "virtual_addresses": ["198.18.0.1"], "port": 80, "protocol": "http"},
        "routing": {"rule": "r/main", "considered": [
            considered("r/beta", "unmatched", json!([{"part": "header user", "asked": "b", "found": "a"}, {"part": "query parameter lang", "asked": "en"}])),
            considered("r/main", "chosen", json!([])),
        ], "mirrors": [{"service": service, "port": 81, "numerator": 1, "denominator": 10, "refused": false}]},
        "ways": [{"service": service, "port": 80, "share": 66.6667, "target": "/q?q=x",
            "request_headers": {"set": [["x-a", "1"]], "remove": ["x-b"]},
            "tries": {"balancer": "ring-hash", "hash": {"on": {"header": "user"}, "endpoint": "search-0"},
                "session": {"name": "weft"}, "endpoints": endpoints, "idempotent": true,
                "retry": {"value": {"attempts": 2}, "origin": "policy"}, "request": limit("rule"),
                "each_try": {"value": null, "origin": "default"}, "connect": limit("default")}}],
        "outcome": {"refused": {"status": 503, "reason": "no-endpoints", "text": "nobody is there"}},
    }))
    .unwrap()
}

#[test]
fn every_step_is_told_in_80_columns() {
    let text = tell(&request(), &explanation(), false);
    for wanted in [
        "request   GET /query?q=x\n",
        "user: a\\u{1b}[2J\n",
        "from      shop/cart-0, zone a, at revision 7\n",
        "service   search.shop, port 80 (http), 198.18.0.1\n",
        "header user: it is a, not",
        "there is none, not en",
        "r/main, match 0: matches: this rule applies\n",
        "mirror    1 of 10 copied to search.shop:81\n",
        "backend   search.shop:80, 66.7 % of the requests\n",
        "rewrite   path /q?q=x\n",
        "headers   of the request: set x-a: 1; remove x-b\n",
        "balancer  ring-hash on header user, which gives search-0\n",
        "session   by cookie weft; none yet",
        "1.5ms+1s  yes\n",
        "later: unreached, 3s\n",
        "no: not ready\n",
        "mtls      to spiffe://weft.local/ns/shop/sa/search\n",
        "request 2s (rule), each try no limit (default), connect 2s",
        "retries   2 at most (policy): ",
        "result    refused: 503, weft-reason: no-endpoints (nobody is there)\n",
    ] {
        assert!(text.contains(wanted), "{wanted:?} is not in\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    assert!(!text.contains('\u{1b}') && text.lines().all(|line| line.trim_end() == line));
    assert!(tell(&request(), &explanation(), true).contains("\x1b[31mrefused"));
}

#[test]
fn the_other_end_is_told_in_one_step() {
    let answer = json!({"status": 403, "reason": "denied-by=shop/no-admin", "text": "denied"});
    for (ruling, wanted, end) in [
        (json!("untold"), "search-0 was never told any policies: let in", "sent to an endpoint"),
        (json!("open"), "search-0 lets it in: no policy concerns it", "sent to an endpoint"),
        (
            json!({"allowed": {"policy": "default"}}),
            "search-0 lets it in by the namespace's default",
            "sent to an endpoint",
        ),
        (
            json!({"allowed": {"policy": "shop/readers", "audit": "shop/trial"}}),
            "search-0 lets it in by policy shop/readers; shop/trial, which is in audit mode, would deny it",
            "sent to an endpoint",
        ),
        (
            json!({"refused": {"policy": "shop/no-admin", "answer": answer}}),
            "denied at search-0 by policy shop/no-admin: refused: 403, weft-reason: denied-by=shop/no-admin (denied)",
            "",
        ),
        (
            json!({"refused": {"policy": "shop/by-port"}}),
            "denied at search-0 by policy shop/by-port: the connection is reset",
            "reset by the endpoint's sidecar",
        ),
        (json!("no-sidecar"), "search-0 has no sidecar: nobody decides", "sent to an endpoint"),
        (json!({"unknown": "upgrade it"}), "whether search-0 lets it in is unknown: upgrade it", "sent to an endpoint"),
    ] {
        let mut explanation = explanation();
        explanation.outcome = Outcome::Forwarded;
        let ruling = serde_json::from_value(ruling).unwrap();
        explanation.ways[0].access = Some(Access { endpoint: "search-0".to_owned(), ruling, limits: None });
        let text = tell(&request(), &explanation, false);
        let (_, told) = text.split_once("\naccess    ").unwrap();
        let (told, result) = told.split_once("\n\nresult    ").unwrap();
        let told: Vec<&str> = told.split_whitespace().collect();
        assert_eq!(told.join(" "), wanted);
        assert!(result.contains(end), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
    }
}

#[test]
fn what_the_other_end_limits_is_told_line_by_line() {
    let mut explanation = explanation();
    let limits = json!({
        "rates": [
            {"name": "reports", "requests": 3, "per": {"secs": 3600, "nanos": 0}, "key": "identity", "left": 2},
            {"name": "all", "requests": 500, "per": {"secs": 1, "nanos": 0}, "key": "service", "left": 0},
        ],
        "requests": {"now": 3, "most": 20}, "connections": {"now": 1, "most": 1000},
    });
    let access = json!({"endpoint": "search-0", "ruling": "open", "limits": limits});
    explanation.ways[0].access = Some(serde_json::from_value(access).unwrap());
    explanation.outcome = Outcome::Forwarded;
    let text = tell(&request(), &explanation, false);
    for wanted in [
        "limits    rate reports: 3 in 3600s for each identity, 2 left\n",
        "          rate all: 500 in 1s for all clients together, none left: refused with",
        "          requests under way: 3 of 20\n",
        "          connections: 1 of 1000\n",
    ] {
        assert!(text.contains(wanted), "{wanted:?} in {text}");
    }
}

#[test]
fn hedging_is_told_where_the_policy_wants_it() {
    let mut explanation = explanation();
    let tries = explanation.ways[0].tries.as_mut().unwrap();
    let after = Duration::from_millis(50);
    tries.retry.value.hedge = Some(Hedge { after, percentile: None });
    tries.hedged_after = Some(after);
    let text = tell(&request(), &explanation, false);
    assert!(text.contains("hedging   another endpoint is asked as well without an answer after 50ms\n"), "{text}");
    explanation.ways[0].tries.as_mut().unwrap().hedged_after = None;
    let text = tell(&request(), &explanation, false);
    assert!(text.contains("hedging   no: only one endpoint may have this request\n"), "{text}");
}
