//! Where each part stands: which crates may import which, and the proxy's layers from the stories down to the errors.
//!
//! Data for `rules.rs`, taken from ARCHITECTURE.md. What is not named here has no place yet: naming it is a decision.

/// A crate and the crates of ours it may import. `tests` may see all.
pub const CRATES: &[(&str, &[&str])] = &[
    ("weft-model", &[]),
    ("weft-telemetry", &[]),
    ("weft-proto", &["weft-model"]),
    ("weft-identity", &["weft-model"]),
    ("weft-proxy", BELOW_BINARIES),
    ("weft-discovery", BELOW_BINARIES),
    // What becomes of a pod, for the webhook and the command line alike.
    ("weft-inject", &["weft-model"]),
    ("weft-injector", WITH_INJECT),
    ("weft-ctl", WITH_INJECT),
    // The laboratory runs the very balancers of the proxy.
    ("weft-lab", &["weft-model", "weft-proxy"]),
    // The shop's applications know nothing of the mesh; the demo drives it through its binaries.
    ("weft-examples", &[]),
];

const BELOW_BINARIES: &[&str] = &["weft-model", "weft-proto", "weft-identity", "weft-telemetry"];

const WITH_INJECT: &[&str] = &["weft-model", "weft-proto", "weft-identity", "weft-telemetry", "weft-inject"];

/// What the tests of any crate may use as well: it starts pods, stores and servers, and imports nothing of ours.
pub const FOR_TESTS: &str = "weft-examples";

/// The crate that may import everything.
pub const SEES_ALL: &str = "weft-tests";

/// The crate whose modules stand in layers.
pub const LAYERED: &str = "weft-proxy";

/// The proxy's layers from the top down: a module imports only from layers below its own, never from its own.
pub const LAYERS: &[(&str, &[&str])] = &[
    ("process", &["run"]),
    (
        "beside the path",
        &["admin", "describe", "dns", "health", "register", "certify", "redirect", "kubelet", "wait", "footprint"],
    ),
    ("a worker's thread", &["serve"]),
    ("stories", &["outbound", "inbound"]),
    ("engines", &["http1", "http2"]),
    ("one request", &["plan"]),
    ("what is told of one request", &["record"]),
    ("one worker's state", &["worker"]),
    ("one service's state", &["cluster", "gate"]),
    ("input and output", &["accept", "sniff", "tunnel", "pool", "probe", "connect", "catalog", "metrics", "observe"]),
    ("what those stand on", &["conn", "discovery", "questions", "tap", "trust", "state_dir", "drain", "ejections"]),
    (
        "decisions",
        &[
            "detect",
            "authorize",
            "deadline",
            "route",
            "throttle",
            "retry",
            "balance",
            "affinity",
            "respond",
            "backoff",
            "limit",
            "fault",
            "breaker",
            "trace",
            "access",
        ],
    ),
    ("ground", &["request", "prefixes", "hex", "error", "config"]),
];
