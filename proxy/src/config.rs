//! Everything that can be set about a proxy, checked before anything starts.
//!
//! From flags and `WEFT_*` environment variables; below everything else. A start with faults names all of them at once and
//! ends with status 2. A [`Config`] that exists is consistent, and nothing in it changes while the process lives.

mod access;
mod application_probes;
mod faults;
mod flags;
mod machine;
mod registration;
mod settings;
mod tracing;

pub use access::{AccessLog, Filter, Number, Test, Text};
pub use application_probes::{Action, ApplicationProbe, ApplicationProbes};
pub use registration::{HealthCheck, Registration};
pub use tracing::{Form, Limits, Sampling, Tracing};

use clap::error::ErrorKind;
use faults::{Faults, duration, parsed};
use flags::Flags;
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;
use weft_identity::tls::Sessions;
use weft_model::balance::Location;
use weft_model::{Cidr, Port, SpiffeId, names};
use weft_telemetry::logs::Format;
use weft_telemetry::otlp::Checked;

/// The configuration of `weft-proxy run`; `--help` says what each value is for.
#[derive(Debug, Clone)]
pub struct Config {
    pub name: String,
    pub namespace: String,
    pub service_account: String,
    pub trust_domain: String,
    pub domain: String,
    pub zone: Option<String>,
    pub node: Option<String>,
    /// 1 to the number of cores.
    pub workers: usize,
    pub outbound_port: u16,
    pub inbound_port: u16,
    /// 0: no DNS.
    pub dns_port: u16,
    /// 0: the redirect is not checked.
    pub check_port: u16,
    pub opaque_ports: Vec<Port>,
    pub admin_listen: SocketAddr,
    /// `https://host:port`, in the order of preference; at least one.
    pub discovery: Vec<String>,
    pub trust_anchors: PathBuf,
    pub join_token_file: Option<PathBuf>,
    /// Of a Kubernetes service account; never together with a join token.
    pub token_file: Option<PathBuf>,
    pub state_dir: PathBuf,
    pub register: Vec<Registration>,
    /// One of each family at most.
    pub address: Vec<IpAddr>,
    pub health_check: Option<HealthCheck>,
    /// By `container/page`.
    pub application_probes: ApplicationProbes,
    pub weight: u32,
    pub priority: u32,
    /// Where the pod stands, for `nearest`.
    pub location: Option<Location>,
    pub detect_timeout: Duration,
    pub resolve_timeout: Duration,
    pub drain_timeout: Duration,
    pub idle_timeout: Duration,
    pub header_timeout: Duration,
    /// Of TLS between sidecars.
    pub sessions: Sessions,
    pub max_header_bytes: usize,
    pub virtual_range: Cidr,
    pub upstream_dns: Vec<SocketAddr>,
    pub log_format: Format,
    /// Directives as `tracing-subscriber` takes them.
    pub log_level: String,
    /// `None`: nothing is traced.
    /// The collector, if there is one.
    pub otlp: Checked,
    pub tracing: Option<Tracing>,
    /// `None`: there is none.
    pub access_log: Option<AccessLog>,
    /// All flags by name, as they are in force, without what is nobody's business.
    pub settings: serde_json::Map<String, serde_json::Value>,
}

/// Header sections may be limited to this at least: less refuses what every browser sends.
const LEAST_HEADER_BYTES: usize = 1024;
/// And to this at most: more is memory that anybody may claim.
const MOST_HEADER_BYTES: usize = 16 * 1024 * 1024;

impl Config {
    /// The workload's SPIFFE ID.
    pub fn identity(&self) -> SpiffeId {
        let parts = (&self.trust_domain, &self.namespace, &self.service_account);
        SpiffeId { trust_domain: parts.0.clone(), namespace: parts.1.clone(), service_account: parts.2.clone() }
    }

    /// The SPIFFE ID that discovery shows.
    pub fn discovery_identity(&self) -> SpiffeId {
        SpiffeId {
            trust_domain: self.trust_domain.clone(),
            namespace: "weft".to_owned(),
            service_account: "weft-discovery".to_owned(),
        }
    }

    /// `name.namespace` of the registration that listens on the local `port`, or `unknown`. A registration that names no
    /// ports listens on whatever the service's target ports are.
    pub fn service_of(&self, port: u16) -> String {
        let listens = |r: &&Registration| r.ports.values().any(|p| p.get() == port);
        let named = self.register.iter().find(listens);
        let any = named.or_else(|| self.register.iter().find(|r| r.ports.is_empty()));
        any.map_or_else(|| "unknown".to_owned(), |r| r.service.to_string())
    }

    /// Whether undeclared connections to `port` are carried as bytes.
    pub fn is_opaque(&self, port: u16) -> bool {
        self.opaque_ports.iter().any(|opaque| opaque.get() == port)
    }

    fn check(flags: Flags) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let f = &mut faults;
        let (settings, otlp) = (settings::of(&flags), f.otlp(flags.otlp));
        let mut config = Self {
            name: f.take("--name", &flags.name, names::subdomain),
            namespace: f.take("--namespace", &flags.namespace, names::label),
            service_account: f.take("--service-account", &flags.service_account, names::subdomain),
            trust_domain: f.take("--trust-domain", &flags.trust_domain, names::subdomain),
            domain: f.take("--domain", &flags.domain, names::subdomain),
            zone: flags.zone.filter(|zone| !zone.is_empty()),
            node: flags.node.filter(|node| !node.is_empty()),
            workers: f.take("--workers", &flags.workers, workers),
            outbound_port: f.take("--outbound-port", &flags.outbound_port, port),
            inbound_port: f.take("--inbound-port", &flags.inbound_port, port),
            dns_port: f.take("--dns-port", &flags.dns_port, parsed),
            check_port: f.take("--check-port", &flags.check_port, parsed),
            opaque_ports: f.opaque_ports(&flags.opaque_ports),
            admin_listen: f.take_or("--admin-listen", &flags.admin_listen, parsed, ([0, 0, 0, 0], 0).into()),
            discovery: flags.discovery.iter().map(|url| f.take("--discovery", url, discovery)).collect(),
            trust_anchors: f.take("--trust-anchors", &flags.trust_anchors, path),
            join_token_file: f.file("--join-token-file", flags.join_token_file.as_deref()),
            token_file: f.file("--token-file", flags.token_file.as_deref()),
            state_dir: f.take("--state-dir", &flags.state_dir, path),
            register: f.registrations(&flags.register, &flags.namespace),
            address: f.addresses(&flags.address, !flags.register.is_empty()),
            health_check: f.take("--health-check", &flags.health_check, HealthCheck::parse),
            application_probes: f.take("--application-probes", &flags.application_probes, application_probes::parse),
            weight: f.take("--weight", &flags.weight, parsed),
            priority: f.take("--priority", &flags.priority, parsed),
            location: flags
                .location
                .as_ref()
                .and_then(|text| f.take("--location", text.as_str(), |t| parsed(t).map(Some))),
            detect_timeout: f.take("--detect-timeout", &flags.detect_timeout, duration),
            resolve_timeout: f.take("--resolve-timeout", &flags.resolve_timeout, duration),
            drain_timeout: f.take("--drain-timeout", &flags.drain_timeout, duration),
            idle_timeout: f.take("--idle-timeout", &flags.idle_timeout, duration),
            header_timeout: f.take("--header-timeout", &flags.header_timeout, duration),
            sessions: if flags.full_handshakes { Sessions::Forgotten } else { Sessions::Resumed },
            max_header_bytes: f.take("--max-header-bytes", &flags.max_header_bytes, header_bytes),
            virtual_range: f.take_or(
                "--virtual-range",
                &flags.virtual_range,
                |t| t.parse::<Cidr>(),
                weft_model::address::DEFAULT_VIRTUAL_RANGE,
            ),
            upstream_dns: f.name_servers(&flags.upstream_dns),
            log_format: f.take("--log-format", &flags.log_format, |t| t.parse::<Format>()),
            log_level: flags.log_level,
            tracing: f.tracing(flags.tracing, otlp.collector.is_some()),
            access_log: f.access_log(flags.access, otlp.collector.is_some()),
            otlp,
            settings,
        };
        settings::settle(&mut config.settings, config.workers, &config.address, &config.upstream_dns);
        faults.proofs(&config);
        faults.ports(&config);
        if faults.is_empty() { Ok(config) } else { Err(faults) }
    }
}

impl Faults {
    fn file(&mut self, flag: &str, given: Option<&str>) -> Option<PathBuf> {
        given.map(|file| self.take(flag, file, path))
    }

    fn registrations(&mut self, texts: &[String], namespace: &str) -> Vec<Registration> {
        let mut seen = HashSet::new();
        let mut all = Vec::with_capacity(texts.len());
        for text in texts.iter().filter(|text| !text.is_empty()) {
            match Registration::parse(text, namespace) {
                Ok(one) if seen.insert(one.service.clone()) => all.push(one),
                Ok(twin) => self.add("--register", format!("{} is there twice", twin.service)),
                Err(reason) => self.add("--register", format!("{text:?}: {reason}")),
            }
        }
        all
    }

    fn addresses(&mut self, texts: &[String], needed: bool) -> Vec<IpAddr> {
        if texts.is_empty() {
            let found = machine::addresses();
            if found.is_empty() && needed {
                self.add("--address", "no interface has a global address that could be registered; name one");
            }
            return found;
        }
        let mut all: Vec<IpAddr> = Vec::with_capacity(2);
        for text in texts {
            match text.parse::<IpAddr>() {
                Err(error) => self.add("--address", format!("{text:?}: {error}")),
                Ok(one) if one.is_unspecified() || one.is_multicast() => {
                    self.add("--address", format!("{one} is not the address of a workload"));
                }
                Ok(one) if all.iter().any(|known| known.is_ipv4() == one.is_ipv4()) => {
                    self.add("--address", format!("{one} is the second address of its family"));
                }
                Ok(one) => all.push(one),
            }
        }
        all
    }

    fn opaque_ports(&mut self, texts: &[String]) -> Vec<Port> {
        let parsed = |text: &String| parsed(text).map_err(|reason| self.add("--opaque-ports", reason)).ok();
        texts.iter().filter(|text| !text.is_empty()).filter_map(parsed).collect()
    }

    fn name_servers(&mut self, texts: &[String]) -> Vec<SocketAddr> {
        if texts.is_empty() {
            return machine::name_servers();
        }
        let server = |text: &str| {
            let bare = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, machine::DNS_PORT));
            bare.or_else(|_| parsed::<SocketAddr>(text))
        };
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        texts.iter().map(|text| self.take_or("--upstream-dns", text, server, nowhere)).collect()
    }

    fn proofs(&mut self, config: &Config) {
        if config.token_file.is_some() && config.join_token_file.is_some() {
            self.add("--token-file", "not together with --join-token-file: one of them proves who the workload is");
        }
    }

    /// Two listeners never share a port.
    fn ports(&mut self, config: &Config) {
        let admin = ("--admin-listen", config.admin_listen.port());
        let listeners = [
            ("--outbound-port", config.outbound_port),
            ("--inbound-port", config.inbound_port),
            ("--dns-port", config.dns_port),
            ("--check-port", config.check_port),
            admin,
        ];
        for (n, (flag, port)) in listeners.iter().enumerate().filter(|(_, (_, port))| *port != 0) {
            if let Some((other, _)) = listeners[..n].iter().find(|(_, taken)| taken == port) {
                self.add(flag, format!("{port} is that of {other}, too"));
            }
        }
    }
}

fn workers(text: &str) -> Result<usize, String> {
    let wanted: NonZeroUsize = parsed(text)?;
    Ok(wanted.min(std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)).get())
}

fn port(text: &str) -> Result<u16, String> {
    parsed::<Port>(text).map(Port::get)
}

fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("empty".to_owned()) } else { Ok(PathBuf::from(text)) }
}

fn header_bytes(text: &str) -> Result<usize, String> {
    let bytes = parsed(text)?;
    match (LEAST_HEADER_BYTES..=MOST_HEADER_BYTES).contains(&bytes) {
        true => Ok(bytes),
        false => Err(format!("{bytes} is not between {LEAST_HEADER_BYTES} and {MOST_HEADER_BYTES}")),
    }
}

fn discovery(text: &str) -> Result<String, String> {
    let refused = || format!("{text:?} is not https://HOST:PORT");
    let uri: http::Uri = text.parse().map_err(|_| refused())?;
    let bare = uri.path_and_query().is_none_or(|path| path == "/") && !text.contains('@');
    let whole = uri.scheme_str() == Some("https") && uri.host().is_some_and(|host| !host.is_empty());
    match uri.port_u16() {
        Some(port) if port != 0 && whole && bare => Ok(text.trim_end_matches('/').to_owned()),
        _ => Err(refused()),
    }
}

impl clap::Args for Config {
    fn augment_args(command: clap::Command) -> clap::Command {
        Flags::augment_args(command)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Flags::augment_args_for_update(command)
    }
}

impl clap::FromArgMatches for Config {
    fn from_arg_matches(matches: &clap::ArgMatches) -> Result<Self, clap::Error> {
        let flags = Flags::from_arg_matches(matches)?;
        Self::check(flags).map_err(|faults| {
            let lines = faults.lines();
            clap::Error::raw(ErrorKind::ValueValidation, format!("the configuration has faults:\n  {lines}\n"))
        })
    }

    fn update_from_arg_matches(&mut self, matches: &clap::ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests;
