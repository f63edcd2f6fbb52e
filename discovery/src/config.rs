//! The configuration of weft-discovery: every value with its default, from flags and `WEFT_*` variables.
//!
//! Read once at the start. All faults are told at once, each naming its flag; a [`Config`] that exists is usable.

mod store;

pub use store::{StoreConfig, StoreFlags};

use crate::authority::SecretName;
use crate::kubernetes::Connection;
use clap::Parser;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use weft_model::{Cidr, address::DEFAULT_VIRTUAL_RANGE, names};
use weft_telemetry::{logs, otlp};

/// The flags as they are typed; [`Config::check`] says what they mean.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "weft-discovery",
    version,
    about = "Weft's control plane: what exists, who is who, and telling every proxy"
)]
pub struct Flags {
    #[command(flatten)]
    pub store: StoreFlags,
    /// Where proxies connect to (TLS)
    #[arg(long, env = "WEFT_LISTEN", default_value = "0.0.0.0:15010")]
    pub listen: String,
    /// The unix socket for weftctl; whoever can open it administers the mesh
    #[arg(long, env = "WEFT_ADMIN_SOCKET", default_value = "/run/weft/discovery.sock")]
    pub admin_socket: PathBuf,
    /// A port of loopback on which weftctl is answered as well, for those who may forward ports to this pod through the API
    /// server of Kubernetes; whoever can reach it administers the mesh. 0: none
    #[arg(long, env = "WEFT_ADMIN_FORWARD_PORT", default_value_t = 0)]
    pub admin_forward_port: u16,
    /// Where metrics and probes are served
    #[arg(long, env = "WEFT_ADMIN_LISTEN", default_value = "127.0.0.1:15014")]
    pub admin_listen: String,
    /// The trust domain of all identities; cannot be changed once the store has a root of trust
    #[arg(long, env = "WEFT_TRUST_DOMAIN", default_value = "weft.local")]
    pub trust_domain: String,
    /// The block that services' virtual addresses are taken from
    #[arg(long, env = "WEFT_VIRTUAL_RANGE", default_value_t = DEFAULT_VIRTUAL_RANGE.to_string())]
    pub virtual_range: String,
    /// A file to write the trust anchors to (PEM), for proxies to be given
    #[arg(long, env = "WEFT_TRUST_ANCHORS_OUT")]
    pub trust_anchors_out: Option<PathBuf>,
    /// A directory with `tls.crt` and `tls.key` (PEM): the root of trust for a store that has none yet; made by default. `tls.crt` may be
    /// an authority below the root, with those between them behind it; `ca.crt` then has the root, and others to be trusted
    #[arg(long, env = "WEFT_ROOT")]
    pub root: Option<PathBuf>,
    /// NAMESPACE/NAME of the Secret behind --root, which is kept equal to the trust anchors while they are replaced
    #[arg(long, env = "WEFT_TRUST_SECRET")]
    pub trust_secret: Option<String>,
    /// How long certificates are valid; their owners renew them at half time
    #[arg(long, env = "WEFT_CERTIFICATE_LIFETIME", default_value = "24h")]
    pub certificate_lifetime: String,
    /// How long a key seals session tokens before a new one takes its place; it opens them for as long again
    #[arg(long, env = "WEFT_SESSION_KEY_LIFETIME", default_value = "30days")]
    pub session_key_lifetime: String,
    /// This replica's name; the host's name by default
    #[arg(long, env = "WEFT_REPLICA")]
    pub replica: Option<String>,
    /// Keep the mesh equal to a Kubernetes cluster: the one this pod is in, or the one that --kubeconfig names
    #[arg(long, env = "WEFT_KUBERNETES")]
    pub kubernetes: bool,
    /// How to reach the API server from outside the cluster; the file's current context is used
    #[arg(long, env = "WEFT_KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
    /// `text` or `json`
    #[arg(long, env = "WEFT_LOG_FORMAT", default_value = "text")]
    pub log_format: String,
    /// Such as `info`, or `warn,weft_discovery=debug`
    #[arg(long, env = "WEFT_LOG_LEVEL", default_value = "info")]
    pub log_level: String,
    #[command(flatten)]
    pub otlp: otlp::Flags,
}

/// The checked configuration.
#[derive(Clone)]
pub struct Config {
    pub store: StoreConfig,
    pub listen: SocketAddr,
    pub admin_socket: PathBuf,
    /// On 127.0.0.1; 0: none.
    pub admin_forward_port: u16,
    pub admin_listen: SocketAddr,
    pub trust_domain: String,
    pub virtual_range: Cidr,
    pub trust_anchors_out: Option<PathBuf>,
    /// The root of trust that the operator brings.
    pub root: Option<PathBuf>,
    /// The Secret that it is mounted from.
    pub trust_secret: Option<SecretName>,
    pub certificate_lifetime: Duration,
    pub session_key_lifetime: Duration,
    pub replica: String,
    /// `None`: there is no Kubernetes.
    pub kubernetes: Option<Connection>,
    pub log_format: logs::Format,
    pub log_level: String,
    /// The collector that metrics are sent to, if there is one.
    pub otlp: otlp::Checked,
}

/// Below it, renewals and the clocks of the machines would get into each other's way.
const SHORTEST_LIFETIME: Duration = Duration::from_secs(60);
const LONGEST_LIFETIME: Duration = Duration::from_secs(90 * 24 * 3600);
const LONGEST_KEY_LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);

impl Config {
    /// What the flags mean, or everything that is wrong with them.
    pub fn check(flags: Flags) -> Result<Self, Vec<String>> {
        let mut faults = Vec::new();
        let store = store::check(&flags.store, &mut faults);
        let listen = keep(socket("--listen", &flags.listen), &mut faults);
        let admin_listen = keep(socket("--admin-listen", &flags.admin_listen), &mut faults);
        let domain = names::subdomain(&flags.trust_domain).map_err(|e| format!("--trust-domain: {e}"));
        let trust_domain = keep(domain, &mut faults);
        let virtual_range = keep(range(&flags.virtual_range), &mut faults);
        let certificate_lifetime =
            keep(lifetime("--certificate-lifetime", &flags.certificate_lifetime, LONGEST_LIFETIME), &mut faults);
        let keys = lifetime("--session-key-lifetime", &flags.session_key_lifetime, LONGEST_KEY_LIFETIME);
        let session_key_lifetime = keep(keys, &mut faults);
        let replica = flags.replica.map_or_else(hostname, Ok);
        let replica = replica.and_then(|name| names::subdomain(&name).map_err(|e| format!("--replica: {e}")));
        let replica = keep(replica, &mut faults);
        let log_format = keep(flags.log_format.parse().map_err(|e| format!("--log-format: {e}")), &mut faults);
        let otlp = flags.otlp.check(&mut |flag, reason| faults.push(format!("{flag}: {reason}")));
        if flags.admin_socket.as_os_str().len() > 100 {
            faults.push(format!("--admin-socket: {} is too long for a unix socket", flags.admin_socket.display()));
        }
        if flags.kubeconfig.is_some() && !flags.kubernetes {
            faults.push("--kubeconfig: means nothing without --kubernetes".to_owned());
        }
        if flags.trust_secret.is_some() && !flags.kubernetes {
            faults.push("--trust-secret: means nothing without --kubernetes".to_owned());
        }
        let secret = flags.trust_secret.as_deref().map(|name| name.parse().map_err(|e| format!("--trust-secret: {e}")));
        let trust_secret = keep(secret.transpose(), &mut faults);
        let kubernetes = flags.kubernetes.then_some(Connection { kubeconfig: flags.kubeconfig });
        let checked = || {
            Some(Self {
                store: store?,
                listen: listen?,
                admin_socket: flags.admin_socket,
                admin_forward_port: flags.admin_forward_port,
                admin_listen: admin_listen?,
                trust_domain: trust_domain?,
                virtual_range: virtual_range?,
                trust_anchors_out: flags.trust_anchors_out,
                root: flags.root,
                trust_secret: trust_secret?,
                certificate_lifetime: certificate_lifetime?,
                session_key_lifetime: session_key_lifetime?,
                replica: replica?,
                kubernetes,
                log_format: log_format?,
                log_level: flags.log_level,
                otlp,
            })
        };
        match checked() {
            Some(config) if faults.is_empty() => Ok(config),
            _ => Err(faults),
        }
    }
}

fn keep<T>(checked: Result<T, String>, faults: &mut Vec<String>) -> Option<T> {
    checked.map_err(|fault| faults.push(fault)).ok()
}

fn socket(flag: &str, text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("{flag}: {text:?} is not ADDRESS:PORT, such as 0.0.0.0:15010 or [::]:15010"))
}

fn range(text: &str) -> Result<Cidr, String> {
    let range: Cidr = text.parse().map_err(|e| format!("--virtual-range: {e}"))?;
    if range.size() < 4 {
        return Err(format!("--virtual-range: {range} has room for {} addresses only", range.size()));
    }
    Ok(range)
}

fn lifetime(flag: &str, text: &str, longest: Duration) -> Result<Duration, String> {
    let lifetime = humantime::parse_duration(text)
        .map_err(|_| format!("{flag}: {text:?} is not a duration such as 24h or 30m"))?;
    match (SHORTEST_LIFETIME..=longest).contains(&lifetime) {
        true => Ok(lifetime),
        false => Err(format!("{flag}: {text} is out of range (1m to {}days)", longest.as_secs() / 86_400)),
    }
}

fn hostname() -> Result<String, String> {
    let name = nix::unistd::gethostname().map_err(|e| format!("--replica: the host has no name ({e}): give one"))?;
    Ok(name.to_string_lossy().to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(args: &[&str]) -> Result<Config, Vec<String>> {
        Config::check(Flags::try_parse_from([&["weft-discovery", "--replica", "a"], args].concat()).unwrap())
    }

    #[test]
    fn the_defaults_are_good() {
        let config = check(&[]).ok().unwrap();
        assert_eq!(config.listen.port(), 15010);
        assert!(matches!(config.store, StoreConfig::Embedded(_)));
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let args = "--store=x --listen=15010 --admin-listen=nowhere --trust-domain=Weft --virtual-range=10.0.0.0/40 \
                    --certificate-lifetime=1s --replica=A_b --kubeconfig=/kubeconfig --trust-secret=weft --log-format=xml";
        let args: Vec<&str> = args.split_whitespace().collect();
        let flags = Flags::try_parse_from([&["weft-discovery"], &args[..]].concat()).unwrap();
        let faults = Config::check(flags).err().unwrap();
        for flag in args.iter().filter_map(|arg| arg.split_once('=')).map(|(flag, _)| flag) {
            assert!(
                faults.iter().any(|fault| fault.starts_with(&format!("{flag}:"))),
                "{flag} is missing in {faults:?}"
            );
        }
    }

    #[test]
    fn etcd_over_tls() {
        let etcd = ["--store", "etcd:https://a:2379,https://b:2379"];
        let all = "--store-ca=/ca --store-certificate=/crt --store-key=/key --store-user=weft --store-password-file=/p";
        let all: Vec<&str> = all.split(' ').collect();
        let StoreConfig::Etcd(settings) = check(&[&etcd[..], &all].concat()).ok().unwrap().store else { panic!() };
        assert!(settings.tls.is_some_and(|tls| tls.own.is_some()) && settings.user.is_some());
        for (flags, said) in [
            (&etcd[..], "--store-ca: is missing"),
            (&["--store", "etcd:http://a:2379", "--store-ca=/ca"], "--store-ca: means nothing without https"),
            (
                &["--store", "etcd:https://a:2379,http://b:2379", "--store-ca=/ca"],
                "--store: \"etcd:https://a:2379,http",
            ),
            (
                &["--store", "etcd:https://a:2379", "--store-ca=/ca", "--store-key=/key"],
                "--store-certificate: is missing",
            ),
            (&["--store", "etcd:http://a:2379", "--store-user=a"], "--store-password-file: is missing"),
            (&["--store-user=a", "--store-password-file=/p"], "--store-user: means nothing without etcd"),
        ] {
            let faults = check(flags).err().unwrap();
            assert!(faults.iter().any(|fault| fault.starts_with(said)), "{faults:?} instead of {said}");
        }
    }

    #[test]
    fn stores() {
        assert!(check(&["--store", "etcd:http://127.0.0.1:2379,http://127.0.0.1:2380"]).is_ok());
        for bad in ["etcd:", "etcd:127.0.0.1:2379", "etcd:http://127.0.0.1", "embedded:", "/file", "etcd:http://a:0"] {
            let faults = check(&["--store", bad]).err().unwrap();
            assert!(faults[0].starts_with("--store:"), "{faults:?}");
        }
        assert!(check(&["--store", "etcd:http://127.0.0.1:2379", "--store-prefix", "weft"]).is_err());
    }
}
