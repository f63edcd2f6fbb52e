//! What the API server checks beside types: bounds, patterns, and what belongs together (CEL).
//!
//! The bounds are those of the translator, which checks them again for documents that come otherwise. A path that a
//! schema does not have is a fault, so that a field that was renamed takes its rules along.

use serde_json::{Value, json};

/// A path below `spec`, with `[]` for the elements of a list, and the keywords to add there.
pub type Rule = (&'static str, Value);

const MOST: i64 = 1_000_000;
/// Go's durations, as the Gateway API bounds them (GEP-2257).
const DURATION: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";
const LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

/// Adds the rule's keywords to the schema.
pub fn add(schema: &mut Value, (path, keywords): &Rule) -> Result<(), String> {
    let mut here = schema;
    for step in path.split('.').filter(|step| !step.is_empty()) {
        let name = step.trim_end_matches("[]");
        here = here.pointer_mut(&format!("/properties/{name}")).ok_or_else(|| format!("there is no {name}"))?;
        if step.ends_with("[]") {
            here = here.get_mut("items").ok_or_else(|| format!("{name} is no list"))?;
        }
    }
    for (keyword, value) in keywords.as_object().into_iter().flatten() {
        here[keyword] = value.clone();
    }
    Ok(())
}

fn whole(low: i64, high: i64) -> Value {
    json!({ "minimum": low, "maximum": high })
}

/// A list of `low` to `high` elements.
fn list(low: u32, high: u32) -> Value {
    json!({ "minItems": low, "maxItems": high })
}

fn words(allowed: &[&str]) -> Value {
    json!({ "enum": allowed })
}

fn label() -> Value {
    json!({ "minLength": 1, "maxLength": 63, "pattern": LABEL })
}

/// Rules in CEL; the message is what people read.
fn cel(rules: &[(String, &str)]) -> Value {
    let rule = |(rule, message): &(String, &str)| json!({ "rule": rule, "message": message });
    json!({ "x-kubernetes-validations": rules.iter().map(rule).collect::<Vec<_>>() })
}

/// Exactly one of these fields.
fn one_of(fields: &[&str], message: &str) -> Value {
    let has: Vec<String> = fields.iter().map(|field| format!("has(self.{field})")).collect();
    cel(&[(format!("[{}].filter(given, given).size() == 1", has.join(", ")), message)])
}

/// A duration, with bounds as CEL compares it: `> 0s`.
fn time(bounds: &[&str]) -> Value {
    let mut keywords = json!({ "maxLength": 32, "pattern": DURATION });
    let rule = |bound: &&str| {
        let (comparison, limit) = bound.split_once(' ').expect("a comparison and a duration");
        let says = match comparison {
            ">" => "longer than",
            ">=" => "at least",
            _ => "at most",
        };
        json!({ "rule": format!("duration(self) {comparison} duration('{limit}')"), "message": format!("must be {says} {limit}") })
    };
    if !bounds.is_empty() {
        keywords["x-kubernetes-validations"] = bounds.iter().map(rule).collect();
    }
    keywords
}

/// References to Services of the same namespace, each once.
fn targets() -> Vec<Rule> {
    vec![
        (
            "targetRefs",
            json!({ "minItems": 1, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"] }),
        ),
        ("targetRefs[].group", words(&[""])),
        ("targetRefs[].kind", words(&["Service"])),
        ("targetRefs[].name", label()),
    ]
}

pub fn traffic_policy() -> Vec<Rule> {
    [targets(), load_balancer(), session(), retry(), health(), limits(), faults(), outlier(), breaker()].concat()
}

fn load_balancer() -> Vec<Rule> {
    const ALGORITHMS: [&str; 11] = [
        "p2c-ewma",
        "least-request",
        "weighted-least-request",
        "round-robin",
        "weighted-round-robin",
        "random",
        "source-ip-hash",
        "ring-hash",
        "maglev",
        "nearest",
        "prequal",
    ];
    let hash_on = "!has(self.sourceAddress) || self.sourceAddress";
    let mut hashed = one_of(
        &["sourceAddress", "header", "cookie", "queryParam"],
        "hashOn needs exactly one of sourceAddress: true, header, cookie, queryParam",
    );
    let sourced = json!({ "rule": hash_on, "message": "sourceAddress is true or left out" });
    hashed["x-kubernetes-validations"].as_array_mut().expect("it has a rule").push(sourced);
    vec![
        ("loadBalancer", readers()),
        ("loadBalancer.algorithm", words(&ALGORITHMS)),
        ("loadBalancer.choices", whole(1, 100)),
        ("loadBalancer.ewmaDecay", time(&["> 0s"])),
        ("loadBalancer.failover", list(1, 100)),
        ("loadBalancer.hashOn", hashed),
        ("loadBalancer.hashOn.header", json!({ "minLength": 1 })),
        ("loadBalancer.hashOn.cookie", json!({ "minLength": 1 })),
        ("loadBalancer.hashOn.queryParam", json!({ "minLength": 1 })),
        ("loadBalancer.loadReports.blackout", time(&["<= 1h"])),
        ("loadBalancer.loadReports.expiry", time(&["> 0s", "<= 24h"])),
        ("loadBalancer.loadReports.errorPenaltyPercent", whole(0, 1000)),
        ("loadBalancer.maxInFlight", whole(1, MOST)),
        ("loadBalancer.maxLoadPercent", whole(101, 10_000)),
        ("loadBalancer.panicThreshold", whole(0, 100)),
        ("loadBalancer.probesPerRequest", whole(1, 10)),
        ("loadBalancer.ringSize", whole(1024, 1_048_576)),
        ("loadBalancer.slowStart.window", time(&["> 0s", "<= 1h"])),
        ("loadBalancer.subsetSize", whole(1, MOST)),
        ("loadBalancer.tableSize", whole(251, 1_048_573)),
        ("loadBalancer.zoneAware.maxInFlight", whole(1, MOST)),
    ]
}

/// Fields that only some algorithms read.
fn readers() -> Value {
    let by_weight =
        &["p2c-ewma", "least-request", "weighted-least-request", "round-robin", "weighted-round-robin", "random"];
    let fields: [(&str, &[&str]); 9] = [
        ("ewmaDecay", &["p2c-ewma"]),
        ("choices", &["least-request", "weighted-least-request"]),
        ("hashOn", &["ring-hash", "maglev"]),
        ("ringSize", &["ring-hash"]),
        ("tableSize", &["maglev", "source-ip-hash"]),
        ("maxInFlight", &["nearest"]),
        ("probesPerRequest", &["prequal"]),
        ("maxLoadPercent", &["ring-hash", "maglev", "source-ip-hash"]),
        ("loadReports", by_weight),
    ];
    let named = |algorithms: &[&str]| algorithms.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
    let only = |(field, algorithms): &(&str, &[&str])| {
        let default = if algorithms.contains(&"p2c-ewma") { "true" } else { "false" };
        let chosen = format!("(has(self.algorithm) ? self.algorithm in [{}] : {default})", named(algorithms));
        let message = format!("{field} is only for {}", algorithms.join(" and "));
        json!({ "rule": format!("!has(self.{field}) || {chosen}"), "message": message, "fieldPath": format!(".{field}") })
    };
    let mut rules: Vec<Value> = fields.iter().map(only).collect();
    rules.push(json!({
        "rule": "!has(self.algorithm) || !(self.algorithm in ['ring-hash', 'maglev']) || has(self.hashOn)",
        "message": "hashOn is missing: say what sessions are told apart by",
    }));
    json!({ "x-kubernetes-validations": rules })
}

fn session() -> Vec<Rule> {
    let open = "!has(self.sameSite) || self.sameSite != 'None' || (has(self.secure) && self.secure)".to_owned();
    vec![
        ("sessionAffinity.cookie", cel(&[(open, "sameSite None is only for cookies that are secure")])),
        ("sessionAffinity.cookie.name", json!({ "minLength": 1, "maxLength": 128 })),
        ("sessionAffinity.cookie.idleTimeout", time(&[">= 1s"])),
        ("sessionAffinity.cookie.ttl", time(&[">= 1s"])),
        ("sessionAffinity.cookie.sameSite", words(&["Strict", "Lax", "None"])),
        ("sessionAffinity.cookie.path", json!({ "pattern": "^/" })),
    ]
}

fn retry() -> Vec<Rule> {
    let ordered = "!has(self.base) || !has(self.max) || duration(self.max) >= duration(self.base)".to_owned();
    let another = "!has(self.hedge) || !has(self.attempts) || self.attempts > 0".to_owned();
    vec![
        ("retry", cel(&[(another, "hedge needs attempts: asking a second endpoint is another try")])),
        ("retry.attempts", whole(0, 10)),
        ("retry.backoff", cel(&[(ordered, "max is shorter than base")])),
        ("retry.backoff.base", time(&["> 0s", "<= 1m"])),
        ("retry.backoff.max", time(&["> 0s", "<= 1m"])),
        ("retry.backoff.maxRetryAfter", time(&["<= 1m"])),
        ("retry.budget.minPerSecond", whole(0, MOST)),
        ("retry.budget.percent", whole(0, 100)),
        ("retry.hedge.after", time(&["> 0s", "<= 1m"])),
        ("retry.hedge.percentile", whole(1, 99)),
        ("retry.perTryTimeout", time(&["> 0s"])),
        ("retry.replayBytes", whole(0, 16 * 1024 * 1024)),
        ("retry.statusCodes[]", whole(400, 599)),
        ("timeouts.connect", time(&["> 0s"])),
        ("timeouts.request", time(&[])),
    ]
}

fn health() -> Vec<Rule> {
    vec![
        ("healthCheck", one_of(&["tcp", "http", "grpc"], "a health check needs exactly one of tcp, http, grpc")),
        ("healthCheck.grpc.service", json!({ "maxLength": 256, "pattern": "^[A-Za-z0-9._-]*$" })),
        ("healthCheck.healthyThreshold", whole(1, 100)),
        ("healthCheck.http.expectedStatuses[]", whole(100, 599)),
        ("healthCheck.http.path", json!({ "maxLength": 1024, "pattern": "^/[^#]*$" })),
        ("healthCheck.interval", time(&[">= 100ms", "<= 1h"])),
        ("healthCheck.jitter", whole(0, 100)),
        ("healthCheck.port", whole(1, 65_535)),
        ("healthCheck.timeout", time(&["> 0s", "<= 1m"])),
        ("healthCheck.unhealthyThreshold", whole(1, 100)),
        ("throttle.k", whole(1, 100)),
    ]
}

fn limits() -> Vec<Rule> {
    // What is left out counts with its default.
    let ordered = "(has(self.min) ? self.min : 3) <= (has(self.max) ? self.max : 1000)".to_owned();
    let seconds = "duration(self).getMilliseconds() % 1000 == 0";
    let mut per = time(&["> 0s", "<= 24h"]);
    let whole_seconds = json!({ "rule": seconds, "message": "must be whole seconds" });
    per["x-kubernetes-validations"].as_array_mut().expect("it has bounds").push(whole_seconds);
    vec![
        (
            "limits.concurrency",
            one_of(&["max", "adaptive"], "a limit of concurrency needs exactly one of max and adaptive"),
        ),
        ("limits.concurrency.max", whole(1, MOST)),
        ("limits.concurrency.adaptive", cel(&[(ordered, "min is more than max")])),
        ("limits.concurrency.adaptive.max", whole(1, MOST)),
        ("limits.concurrency.adaptive.min", whole(1, MOST)),
        ("limits.connections", whole(1, MOST)),
        ("limits.rate", json!({ "maxItems": 16 })),
        ("limits.rate[].burst", whole(1, MOST)),
        ("limits.rate[].key", words(&["service", "identity", "address"])),
        ("limits.rate[].matches", json!({ "maxItems": 8 })),
        ("limits.rate[].name", label()),
        ("limits.rate[].per", per),
        ("limits.rate[].requests", whole(1, MOST)),
    ]
}

fn faults() -> Vec<Rule> {
    vec![
        ("faults", cel(&[("has(self.delay) || has(self.abort)".to_owned(), "faults need delay, abort or both")])),
        ("faults.abort", one_of(&["status", "grpcStatus"], "an abort needs exactly one of status and grpcStatus")),
        ("faults.abort.grpcStatus", whole(1, 16)),
        ("faults.abort.percent", whole(1, 100)),
        ("faults.abort.status", whole(400, 599)),
        ("faults.delay.duration", time(&["> 0s", "<= 5m"])),
        ("faults.delay.percent", whole(1, 100)),
        ("faults.matches", json!({ "maxItems": 8 })),
    ]
}

fn outlier() -> Vec<Rule> {
    let ordered = "!has(self.maxEjectionTime) || duration(self.maxEjectionTime) >= \
                   duration(has(self.baseEjectionTime) ? self.baseEjectionTime : '30s')"
        .to_owned();
    vec![
        ("outlierDetection", cel(&[(ordered, "maxEjectionTime is shorter than baseEjectionTime")])),
        ("outlierDetection.baseEjectionTime", time(&["> 0s"])),
        ("outlierDetection.consecutiveGatewayErrors", whole(0, MOST)),
        ("outlierDetection.consecutiveLocalFailures", whole(0, MOST)),
        ("outlierDetection.interval", time(&["> 0s"])),
        ("outlierDetection.maxEjectionPercent", whole(1, 100)),
        ("outlierDetection.maxEjectionTime", time(&["> 0s"])),
        ("outlierDetection.successRate.minimumEndpoints", whole(2, MOST)),
        ("outlierDetection.successRate.minimumRequests", whole(1, MOST)),
        ("outlierDetection.successRate.stdevFactor", whole(1, MOST)),
    ]
}

fn breaker() -> Vec<Rule> {
    [
        "circuitBreaker.maxConnections",
        "circuitBreaker.maxPendingRequests",
        "circuitBreaker.maxRequests",
        "circuitBreaker.maxRetries",
    ]
    .map(|path| (path, whole(1, MOST)))
    .into()
}

pub fn authorization_policy() -> Vec<Rule> {
    let denies = "!has(self.action) || self.action != 'DENY' || (has(self.rules) && self.rules.size() > 0)".to_owned();
    let mut rules = vec![
        ("", cel(&[(denies, "a DENY policy without rules denies nothing; {} as rule denies everything")])),
        ("rules", json!({ "maxItems": 64 })),
        ("rules[].from[]", json!({ "minProperties": 1 })),
        ("rules[].from[].namespaces[]", label()),
        ("rules[].to[]", json!({ "minProperties": 1 })),
        ("rules[].to[].headers[].name", json!({ "minLength": 1 })),
        ("rules[].to[].methods[]", json!({ "pattern": "^[^a-z\\s]+$" })),
        ("rules[].to[].paths[]", json!({ "pattern": "^/" })),
        ("rules[].to[].ports[]", whole(1, 65_535)),
    ];
    let lists = [
        "rules[].from",
        "rules[].from[].cidrs",
        "rules[].from[].identities",
        "rules[].from[].namespaces",
        "rules[].to",
        "rules[].to[].headers",
        "rules[].to[].hosts",
        "rules[].to[].methods",
        "rules[].to[].paths",
        "rules[].to[].ports",
    ];
    rules.extend(lists.map(|path| (path, list(1, 256))));
    [targets(), rules].concat()
}
