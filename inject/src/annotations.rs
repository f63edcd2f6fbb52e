//! The annotations by which a pod shapes its sidecar: which there are, what each takes, and reading them.
//!
//! [`ANNOTATIONS`] is the list that the documentation is compared with. Reading finds all faults at once, each naming its
//! key, what stands there and what is allowed. What is not said is left to the mesh's settings.

use crate::quantity::Quantity;
use crate::refusal::Faults;
use crate::settings::Style;
use serde_json::{Map, Value};
use std::time::Duration;
use weft_model::{Cidr, Port};

/// One annotation that a pod may have.
#[derive(Debug)]
pub struct Annotation {
    pub key: &'static str,
    /// What its value may be.
    pub allowed: &'static str,
    /// What holds without it.
    pub default: &'static str,
    /// What it does.
    pub effect: &'static str,
}

const PORTS: &str = "ports (1 to 65535), separated by commas, 64 at most";
const CIDRS: &str = "networks such as 10.0.0.0/8 or fd00::/8, separated by commas, 64 at most";
const CPU: &str = "an amount of CPU, at least 1m: 100m, 0.5, 2";
const MEMORY: &str = "an amount of memory, at least 1Mi: 64Mi, 1Gi";
const SWITCH: &str = "enabled or disabled";
/// How many values a list may have: each becomes a rule that every connection passes.
const LONGEST_LIST: usize = 64;
/// Data threads; the proxy starts no more than it has cores.
const MOST_WORKERS: u8 = 64;
const LONGEST_DRAIN: Duration = Duration::from_secs(3600);

/// A row of [`ANNOTATIONS`].
const fn of(key: &'static str, allowed: &'static str, default: &'static str, effect: &'static str) -> Annotation {
    Annotation { key, allowed, default, effect }
}

/// Every annotation that a pod, or a pod template, may have.
pub const ANNOTATIONS: &[Annotation] = &[
    of(
        "weft.dev/inject",
        SWITCH,
        "what the namespace's label `weft.dev/inject` says; without one `disabled`",
        "Whether the pod gets a sidecar. Also a label, with the same meaning; the pod has the last word over its namespace",
    ),
    of(
        "weft.dev/sidecar",
        "native or classic",
        "`--sidecar` of the injector (`native`)",
        "`native`: an init container with `restartPolicy: Always`, which starts before and ends after the application; \
         `classic`: an ordinary container, for clusters before 1.29",
    ),
    of("weft.dev/exclude-outbound-ports", PORTS, "none", "Connections to these ports leave the pod directly"),
    of("weft.dev/exclude-outbound-cidrs", CIDRS, "none", "Connections to these networks leave the pod directly"),
    of("weft.dev/exclude-inbound-ports", PORTS, "none", "These ports are reached past the sidecar"),
    of(
        "weft.dev/exclude-inbound-cidrs",
        CIDRS,
        "none",
        "Who has an address in these networks reaches the pod past the sidecar",
    ),
    of(
        "weft.dev/opaque-ports",
        PORTS,
        "none",
        "Connections to these ports, in and out, are carried as bytes and never looked at, unless their service declares a protocol",
    ),
    of("weft.dev/dns-capture", SWITCH, "`enabled`", "Whether the sidecar answers the pod's DNS queries"),
    of(
        "weft.dev/rewrite-probes",
        SWITCH,
        "`enabled`",
        "Whether the kubelet's HTTP, TCP and gRPC probes, and HTTP hooks, of the application go through the sidecar",
    ),
    of("weft.dev/workers", "1 to 64", "`1`", "Data threads of the sidecar, at most as many as it has cores"),
    of(
        "weft.dev/drain-timeout",
        "a duration from 1s to 1h, no longer than the pod's terminationGracePeriodSeconds: 10s, 1m",
        "`30s`, or the pod's grace period if that is shorter",
        "How long requests in flight may go on after the sidecar was told to end",
    ),
    of(
        "weft.dev/log-level",
        "off, error, warn, info, debug or trace; also by module, separated by commas: info,weft_proxy=debug",
        "`info`",
        "What the sidecar logs",
    ),
    of("weft.dev/log-format", "text or json", "`text`", "Shape of the sidecar's log lines"),
    of(
        "weft.dev/cpu-request",
        CPU,
        "`--proxy-cpu-request` of the injector (`10m`)",
        "CPU that is set aside for the sidecar",
    ),
    of(
        "weft.dev/cpu-limit",
        CPU,
        "`--proxy-cpu-limit` of the injector (none)",
        "CPU that the sidecar may take at most",
    ),
    of(
        "weft.dev/memory-request",
        MEMORY,
        "`--proxy-memory-request` of the injector (`32Mi`)",
        "Memory that is set aside for the sidecar",
    ),
    of(
        "weft.dev/memory-limit",
        MEMORY,
        "`--proxy-memory-limit` of the injector (`256Mi`)",
        "Memory that the sidecar may take at most",
    ),
];

/// What a pod's annotations say; what they leave open is `None` or empty.
#[derive(Debug, Default)]
pub(crate) struct Choices {
    pub style: Option<Style>,
    pub exclude_outbound_ports: Vec<Port>,
    pub exclude_outbound_cidrs: Vec<Cidr>,
    pub exclude_inbound_ports: Vec<Port>,
    pub exclude_inbound_cidrs: Vec<Cidr>,
    pub opaque_ports: Vec<Port>,
    pub dns_capture: Option<bool>,
    pub rewrite_probes: Option<bool>,
    pub workers: Option<u8>,
    pub drain_timeout: Option<Duration>,
    pub log_level: Option<String>,
    pub log_format: Option<String>,
    pub cpu_request: Option<Quantity>,
    pub cpu_limit: Option<Quantity>,
    pub memory_request: Option<Quantity>,
    pub memory_limit: Option<Quantity>,
}

impl Choices {
    /// Reads all annotations of ours, and notes what is wrong with them.
    pub fn read(annotations: &Map<String, Value>, faults: &mut Faults) -> Self {
        let mut reader = Reader { annotations, faults };
        let r = &mut reader;
        Self {
            style: r.take("sidecar", Style::parse),
            exclude_outbound_ports: r.take("exclude-outbound-ports", list).unwrap_or_default(),
            exclude_outbound_cidrs: r.take("exclude-outbound-cidrs", list).unwrap_or_default(),
            exclude_inbound_ports: r.take("exclude-inbound-ports", list).unwrap_or_default(),
            exclude_inbound_cidrs: r.take("exclude-inbound-cidrs", list).unwrap_or_default(),
            opaque_ports: r.take("opaque-ports", list).unwrap_or_default(),
            dns_capture: r.take("dns-capture", switch),
            rewrite_probes: r.take("rewrite-probes", switch),
            workers: r.take("workers", workers),
            drain_timeout: r.take("drain-timeout", drain_timeout),
            log_level: r.take("log-level", log_level),
            log_format: r.take("log-format", log_format),
            cpu_request: r.take("cpu-request", Quantity::cpu),
            cpu_limit: r.take("cpu-limit", Quantity::cpu),
            memory_request: r.take("memory-request", Quantity::memory),
            memory_limit: r.take("memory-limit", Quantity::memory),
        }
    }
}

/// Annotations that begin as ours do and are none of ours: said to whoever wrote them, as they do nothing.
pub(crate) fn unknown(annotations: &Map<String, Value>) -> Vec<String> {
    use crate::names::{INJECTED, PREFIX, TRUST_ANCHORS};
    let known = |key: &str| ANNOTATIONS.iter().any(|a| a.key == key) || [INJECTED, TRUST_ANCHORS].contains(&key);
    let ours = annotations.keys().filter(|key| key.starts_with(PREFIX) && !known(key));
    ours.map(|key| format!("{key} is no annotation that the injector knows; it has no effect on the sidecar")).collect()
}

/// `enabled` or `disabled`.
pub(crate) fn switch(text: &str) -> Result<bool, String> {
    match text {
        "enabled" => Ok(true),
        "disabled" => Ok(false),
        other => Err(format!("{other:?} is neither enabled nor disabled")),
    }
}

struct Reader<'a> {
    annotations: &'a Map<String, Value>,
    faults: &'a mut Faults,
}

impl Reader<'_> {
    /// `key` without its prefix.
    fn take<T>(&mut self, key: &str, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let known = ANNOTATIONS.iter().find(|known| known.key.strip_prefix(crate::names::PREFIX) == Some(key));
        let known = known.expect("every annotation that is read stands in the list");
        let parsed = match self.annotations.get(known.key)? {
            Value::String(text) => parse(text.trim()),
            other => Err(format!("{other} is no text; put it into quotes")),
        };
        parsed.map_err(|reason| self.faults.add(known.key, format!("{reason}; allowed: {}", known.allowed))).ok()
    }
}

fn list<T: std::str::FromStr>(text: &str) -> Result<Vec<T>, String> {
    let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    if parts.len() > LONGEST_LIST {
        return Err(format!("{} values", parts.len()));
    }
    parts.iter().map(|part| part.parse().map_err(|_| format!("{part:?} is none of these"))).collect()
}

fn workers(text: &str) -> Result<u8, String> {
    let number = text.parse().ok().filter(|number| (1..=MOST_WORKERS).contains(number));
    number.ok_or_else(|| format!("{text:?} is not a number of threads"))
}

fn drain_timeout(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| format!("{text:?}: {error}"))?;
    match (Duration::from_secs(1)..=LONGEST_DRAIN).contains(&duration) {
        true => Ok(duration),
        false => Err(format!("{text:?} is out of bounds")),
    }
}

/// Directives that cannot make the sidecar refuse to start.
fn log_level(text: &str) -> Result<String, String> {
    let level = |text: &str| ["off", "error", "warn", "info", "debug", "trace"].contains(&text);
    let module = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "_:".contains(c));
    let sound = |directive: &str| match directive.split_once('=') {
        Some((target, wanted)) => module(target) && level(wanted),
        None => level(directive),
    };
    match text.split(',').all(sound) {
        true => Ok(text.to_owned()),
        false => Err(format!("{text:?} is not what to log")),
    }
}

fn log_format(text: &str) -> Result<String, String> {
    match text {
        "text" | "json" => Ok(text.to_owned()),
        other => Err(format!("{other:?} is neither text nor json")),
    }
}

#[cfg(test)]
#[path = "annotations_tests.rs"]
mod tests;
