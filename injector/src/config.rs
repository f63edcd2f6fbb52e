//! The configuration of weft-injector: every value with its default, from flags and `WEFT_*` variables.
//!
//! Read once at the start. All faults are told at once, each naming its flag. What goes into pods is
//! [`weft_inject::Settings`]'s, whose flags `weftctl inject` has as well.

use clap::Parser;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use weft_inject::Settings;
use weft_model::names;
use weft_telemetry::{logs, otlp};

/// The flags as they are typed; [`Config::check`] says what they mean.
#[derive(Debug, Clone, Parser)]
#[command(name = "weft-injector", version, about = "Weft's admission webhook: puts the sidecar into pods")]
pub struct Flags {
    #[command(flatten)]
    pub pods: weft_inject::Flags,
    /// Where the API server sends its reviews (TLS)
    #[arg(long, env = "WEFT_LISTEN", value_name = "ADDRESS:PORT", default_value = "[::]:8443")]
    pub listen: String,
    /// Where metrics and probes are served
    #[arg(long, env = "WEFT_ADMIN_LISTEN", value_name = "ADDRESS:PORT", default_value = "[::]:15020")]
    pub admin_listen: String,
    /// The Service in the mesh's namespace that leads to the injector; its certificate has this name
    #[arg(long, env = "WEFT_SERVICE", value_name = "NAME", default_value = "weft-injector")]
    pub service: String,
    /// More names or addresses for the certificate, separated by commas
    #[arg(long, env = "WEFT_CERTIFICATE_NAMES", value_name = "NAME", value_delimiter = ',')]
    pub certificate_names: Vec<String>,
    /// The Secret in the mesh's namespace that all replicas keep their keys in; made if it is missing
    #[arg(long, env = "WEFT_SECRET", value_name = "NAME", default_value = "weft-injector-tls")]
    pub secret: String,
    /// The MutatingWebhookConfiguration whose `caBundle` is kept up to date
    #[arg(long, env = "WEFT_WEBHOOK_CONFIGURATION", value_name = "NAME", default_value = "weft-injector")]
    pub webhook_configuration: String,
    /// How long the certificate is valid; it is replaced at half time. Its authority lives twelve times as long
    #[arg(long, env = "WEFT_CERTIFICATE_LIFETIME", value_name = "DURATION", default_value = "30days")]
    pub certificate_lifetime: String,
    /// `text` or `json`
    #[arg(long, env = "WEFT_LOG_FORMAT", default_value = "text")]
    pub log_format: String,
    /// Such as `info`, or `warn,weft_injector=debug`
    #[arg(long, env = "WEFT_LOG_LEVEL", default_value = "info")]
    pub log_level: String,
    #[command(flatten)]
    pub otlp: otlp::Flags,
}

/// The checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    pub pods: weft_inject::Flags,
    pub settings: Settings,
    pub listen: SocketAddr,
    pub admin_listen: SocketAddr,
    /// DNS names and addresses.
    pub certificate_names: Vec<String>,
    pub secret: String,
    pub webhook_configuration: String,
    pub certificate_lifetime: Duration,
    pub log_format: logs::Format,
    pub log_level: String,
    /// The collector that metrics are sent to, if there is one.
    pub otlp: otlp::Checked,
}

/// Below it, the API server would not hear of a new authority in time.
const SHORTEST_LIFETIME: Duration = Duration::from_secs(10);
const LONGEST_LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);

impl Config {
    /// What the flags mean, or everything that is wrong with them.
    pub fn check(flags: Flags) -> Result<Self, Vec<String>> {
        let mut faults = Vec::new();
        let settings = read(&flags.pods.trust_anchors)
            .map_err(|fault| vec![fault])
            .and_then(|anchors| Settings::check(&flags.pods, &anchors))
            .map_err(|all| faults.extend(all))
            .ok();
        let f = &mut faults;
        let listen = keep("--listen", socket(&flags.listen), f);
        let admin_listen = keep("--admin-listen", socket(&flags.admin_listen), f);
        let service = keep("--service", names::label(&flags.service), f);
        let secret = keep("--secret", names::subdomain(&flags.secret), f);
        let webhook_configuration = keep("--webhook-configuration", names::subdomain(&flags.webhook_configuration), f);
        let lifetime = keep("--certificate-lifetime", lifetime(&flags.certificate_lifetime), f);
        let log_format = keep("--log-format", flags.log_format.parse::<logs::Format>(), f);
        let otlp = flags.otlp.check(&mut |flag, reason| f.push(format!("{flag}: {reason}")));
        let more = flags.certificate_names.iter().filter(|name| !name.is_empty());
        let more: Vec<String> = more.filter_map(|name| keep("--certificate-names", host(name), f)).collect();
        let checked = || {
            let (settings, service) = (settings?, service?);
            let name = format!("{service}.{}.svc", settings.mesh_namespace);
            let full = format!("{name}.{}", settings.domain);
            Some(Self {
                certificate_names: [name, full].into_iter().chain(more).collect(),
                pods: flags.pods,
                settings,
                listen: listen?,
                admin_listen: admin_listen?,
                secret: secret?,
                webhook_configuration: webhook_configuration?,
                certificate_lifetime: lifetime?,
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

/// What the file with the trust anchors holds.
pub fn read(anchors: &Path) -> Result<String, String> {
    std::fs::read_to_string(anchors).map_err(|error| format!("--trust-anchors: {}: {error}", anchors.display()))
}

fn keep<T, E: std::fmt::Display>(flag: &str, checked: Result<T, E>, faults: &mut Vec<String>) -> Option<T> {
    checked.map_err(|reason| faults.push(format!("{flag}: {reason}"))).ok()
}

fn socket(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("{text:?} is not ADDRESS:PORT, such as 0.0.0.0:8443 or [::]:8443"))
}

fn host(text: &str) -> Result<String, String> {
    if text.parse::<std::net::IpAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    names::subdomain(text).map_err(|error| error.to_string())
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let lifetime = humantime::parse_duration(text).map_err(|_| format!("{text:?} is not a duration such as 30days"))?;
    match (SHORTEST_LIFETIME..=LONGEST_LIFETIME).contains(&lifetime) {
        true => Ok(lifetime),
        false => Err(format!("{text:?} is out of range (10s to 365days)")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_agree_with_each_other() {
        <Flags as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let args = "--listen=8443 --admin-listen=x --service=a.b --secret=A_b --webhook-configuration=_ \
                    --certificate-lifetime=1s --log-format=xml --certificate-names=a,B_ --trust-anchors=/nonexistent.pem";
        let args: Vec<&str> = args.split_whitespace().collect();
        let flags = Flags::try_parse_from([&["weft-injector"], &args[..]].concat()).unwrap();
        let faults = Config::check(flags).err().unwrap();
        for flag in args.iter().filter_map(|arg| arg.split_once('=')).map(|(flag, _)| flag) {
            assert!(faults.iter().any(|fault| fault.starts_with(&format!("{flag}: "))), "{flag} in {faults:?}");
        }
    }

    #[test]
    fn the_certificate_is_for_the_service_and_what_else_is_asked() {
        let file = std::env::temp_dir().join(format!("weft-injector-anchors-{}", std::process::id()));
        std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
        let anchors = format!("--trust-anchors={}", file.display());
        let args = ["weft-injector", anchors.as_str(), "--certificate-names=127.0.0.1,injector.example"];
        let config = Config::check(Flags::try_parse_from(args).unwrap());
        std::fs::remove_file(&file).unwrap();
        let names = [
            "weft-injector.weft-system.svc",
            "weft-injector.weft-system.svc.cluster.local",
            "127.0.0.1",
            "injector.example",
        ];
        assert_eq!(config.unwrap().certificate_names, names);
    }
}
