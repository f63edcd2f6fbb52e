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
    ("weft-injector", BELOW_BINARIES),
    ("weft-ctl", BELOW_BINARIES),
    // The shop's applications know nothing of the mesh; the demo drives it through its binaries.
    ("weft-examples", &[]),
];

const BELOW_BINARIES: &[&str] = &["weft-model", "weft-proto", "weft-identity", "weft-telemetry"];

/// The crate that may import everything.
pub const SEES_ALL: &str = "weft-tests";

/// The crate whose modules stand in layers.
pub const LAYERED: &str = "weft-proxy";

/// The proxy's layers from the top down: a module imports only from layers below its own.
pub const LAYERS: &[(&str, &[&str])] = &[
    ("run", &["run"]),
    ("stories", &["outbound", "inbound"]),
    ("input and output", &["accept", "pool", "connect", "forward", "tunnel", "catalog", "dns", "drain", "redirect"]),
    ("decisions", &["detect", "authorize", "limit", "route", "retry", "balance", "breaker", "affinity", "respond"]),
    ("error and config", &["error", "config"]),
];

/// Imports between modules of one layer that are meant, and why.
pub const SIBLINGS: &[(&str, &str, &str)] = &[];
