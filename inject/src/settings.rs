//! What the mesh gives every sidecar: image, discovery, trust, resources; from flags that injector and `weftctl` share.
//!
//! Checked once at start. All faults are told at once, each naming its flag; [`Settings`] that exist make pods that the
//! sidecar's own flags accept. Nothing here is read again later but the trust anchors, which may be replaced.

use crate::quantity::Quantity;
use std::path::PathBuf;
use weft_model::names;

/// The flags as they are typed; [`Settings::check`] says what they mean.
#[derive(Debug, Clone, clap::Args)]
// No group of its own: whoever has these flags may call its own ones the same.
#[group(skip)]
pub struct Flags {
    /// Image of sidecar and redirect; `weft-proxy` is in its PATH, beside iptables
    #[arg(long, env = "WEFT_PROXY_IMAGE", value_name = "IMAGE", default_value = concat!("weft-proxy:", env!("CARGO_PKG_VERSION")))]
    pub proxy_image: String,
    /// When nodes pull that image: Always, IfNotPresent or Never
    #[arg(long, env = "WEFT_PROXY_IMAGE_PULL_POLICY", value_name = "POLICY", default_value = "IfNotPresent")]
    pub proxy_image_pull_policy: String,
    /// What a sidecar is unless its pod says otherwise: native or classic
    #[arg(long, env = "WEFT_SIDECAR", value_name = "STYLE", default_value = "native")]
    pub sidecar: String,
    /// Which iptables makes the redirect: nft, or legacy, which needs the capability NET_RAW as well
    #[arg(long, env = "WEFT_REDIRECT_BACKEND", value_name = "BACKEND", default_value = "nft")]
    pub redirect_backend: String,
    /// Where sidecars find discovery, separated by commas
    #[arg(
        long,
        env = "WEFT_PROXY_DISCOVERY",
        value_name = "https://HOST:PORT",
        default_value = "https://weft-discovery.weft-system.svc.cluster.local:15010"
    )]
    pub proxy_discovery: String,
    /// Trust domain of the mesh; also the audience of the tokens by which pods prove who they are
    #[arg(long, env = "WEFT_TRUST_DOMAIN", value_name = "DOMAIN", default_value = "weft.local")]
    pub trust_domain: String,
    /// Domain that mesh names end in
    #[arg(long, env = "WEFT_DOMAIN", value_name = "DOMAIN", default_value = names::DEFAULT_DOMAIN)]
    pub domain: String,
    /// File with the mesh's trust anchors, PEM
    #[arg(long, env = "WEFT_TRUST_ANCHORS", value_name = "FILE")]
    pub trust_anchors: PathBuf,
    /// Namespace of the mesh itself, whose pods never get sidecars
    #[arg(long, env = "WEFT_MESH_NAMESPACE", value_name = "NAMESPACE", default_value = "weft-system")]
    pub mesh_namespace: String,
    /// CPU that is set aside for a sidecar
    #[arg(long, env = "WEFT_PROXY_CPU_REQUEST", value_name = "AMOUNT", default_value = "10m")]
    pub proxy_cpu_request: String,
    /// CPU that a sidecar may take at most; empty: as much as there is
    #[arg(long, env = "WEFT_PROXY_CPU_LIMIT", value_name = "AMOUNT", default_value = "")]
    pub proxy_cpu_limit: String,
    /// Memory that is set aside for a sidecar
    #[arg(long, env = "WEFT_PROXY_MEMORY_REQUEST", value_name = "AMOUNT", default_value = "32Mi")]
    pub proxy_memory_request: String,
    /// Memory that a sidecar may take at most; empty: as much as there is
    #[arg(long, env = "WEFT_PROXY_MEMORY_LIMIT", value_name = "AMOUNT", default_value = "256Mi")]
    pub proxy_memory_limit: String,
}

/// What kind of container the sidecar is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// An init container that keeps running (Kubernetes 1.29).
    Native,
    /// A container beside the application's.
    Classic,
}

impl Style {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "native" => Ok(Self::Native),
            "classic" => Ok(Self::Classic),
            other => Err(format!("{other:?} is neither native nor classic")),
        }
    }
}

/// Which iptables the redirect calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    Nft,
    Legacy,
}

impl Backend {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "nft" => Ok(Self::Nft),
            "legacy" => Ok(Self::Legacy),
            other => Err(format!("{other:?} is neither nft nor legacy")),
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Nft => "nft",
            Self::Legacy => "legacy",
        }
    }

    /// What the redirect must be allowed. The legacy tables are reached through a raw socket, those of nft through netlink.
    pub(crate) fn capabilities(self) -> &'static [&'static str] {
        match self {
            Self::Nft => &["NET_ADMIN"],
            Self::Legacy => &["NET_ADMIN", "NET_RAW"],
        }
    }
}

/// CPU and memory of a sidecar; `None`: nothing is said.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Resources {
    pub cpu_request: Option<Quantity>,
    pub cpu_limit: Option<Quantity>,
    pub memory_request: Option<Quantity>,
    pub memory_limit: Option<Quantity>,
}

/// The checked settings.
#[derive(Debug, Clone)]
pub struct Settings {
    pub image: String,
    pub pull_policy: String,
    pub style: Style,
    pub backend: Backend,
    pub discovery: String,
    pub trust_domain: String,
    pub domain: String,
    pub mesh_namespace: String,
    pub resources: Resources,
    /// PEM.
    pub trust_anchors: String,
}

impl Settings {
    /// What the flags mean, or everything that is wrong with them. `anchors` is what `--trust-anchors` holds.
    pub fn check(flags: &Flags, anchors: &str) -> Result<Self, Vec<String>> {
        let mut faults = Vec::new();
        let f = &mut faults;
        let amount = |text: &str, parse: fn(&str) -> Result<Quantity, String>| match text {
            "" => Ok(None),
            text => parse(text).map(Some),
        };
        let resources = Resources {
            cpu_request: keep("--proxy-cpu-request", amount(&flags.proxy_cpu_request, Quantity::cpu), f).flatten(),
            cpu_limit: keep("--proxy-cpu-limit", amount(&flags.proxy_cpu_limit, Quantity::cpu), f).flatten(),
            memory_request: keep("--proxy-memory-request", amount(&flags.proxy_memory_request, Quantity::memory), f)
                .flatten(),
            memory_limit: keep("--proxy-memory-limit", amount(&flags.proxy_memory_limit, Quantity::memory), f)
                .flatten(),
        };
        let image = keep("--proxy-image", image(&flags.proxy_image), f);
        let pull_policy = keep("--proxy-image-pull-policy", pull_policy(&flags.proxy_image_pull_policy), f);
        let style = keep("--sidecar", Style::parse(&flags.sidecar), f);
        let backend = keep("--redirect-backend", Backend::parse(&flags.redirect_backend), f);
        let discovery = keep("--proxy-discovery", urls(&flags.proxy_discovery), f);
        let trust_domain = keep("--trust-domain", names::subdomain(&flags.trust_domain), f);
        let domain = keep("--domain", names::subdomain(&flags.domain), f);
        let mesh_namespace = keep("--mesh-namespace", names::label(&flags.mesh_namespace), f);
        let trust_anchors = keep("--trust-anchors", self::anchors(anchors), f);
        let checked = || {
            Some(Self {
                image: image?,
                pull_policy: pull_policy?,
                style: style?,
                backend: backend?,
                discovery: discovery?,
                trust_domain: trust_domain?,
                domain: domain?,
                mesh_namespace: mesh_namespace?,
                resources,
                trust_anchors: trust_anchors?,
            })
        };
        match checked() {
            Some(settings) if faults.is_empty() => Ok(settings),
            _ => Err(faults),
        }
    }
}

fn keep<T, E: std::fmt::Display>(flag: &str, checked: Result<T, E>, faults: &mut Vec<String>) -> Option<T> {
    checked.map_err(|reason| faults.push(format!("{flag}: {reason}"))).ok()
}

fn image(text: &str) -> Result<String, String> {
    match !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic()) {
        true => Ok(text.to_owned()),
        false => Err(format!("{text:?} is not an image")),
    }
}

fn pull_policy(text: &str) -> Result<String, String> {
    match ["Always", "IfNotPresent", "Never"].contains(&text) {
        true => Ok(text.to_owned()),
        false => Err(format!("{text:?} is none of Always, IfNotPresent and Never")),
    }
}

fn urls(text: &str) -> Result<String, String> {
    let sound = |url: &str| {
        let authority = url.strip_prefix("https://").unwrap_or("");
        authority
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<weft_model::Port>().is_ok())
    };
    match text.split(',').all(sound) {
        true => Ok(text.to_owned()),
        false => Err(format!("{text:?} is not https://HOST:PORT, or several separated by commas")),
    }
}

/// The certificates alone, so that whatever else is in the file does not travel with every pod.
fn anchors(pem: &str) -> Result<String, String> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let mut all = String::new();
    for part in pem.split(BEGIN).skip(1) {
        let (body, _) = part.split_once(END).ok_or("a certificate without an end")?;
        all.push_str(&format!("{BEGIN}{}{END}\n", body.replace('\r', "")));
    }
    if all.is_empty() { Err("no certificate (PEM) in it".to_owned()) } else { Ok(all) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use clap::Parser;

    pub(crate) const ANCHOR: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        flags: Flags,
    }

    fn flags(args: &[&str]) -> Flags {
        Program::try_parse_from([&["test", "--trust-anchors", "/a.pem"], args].concat()).unwrap().flags
    }

    /// The defaults with `args`.
    pub(crate) fn settings(args: &[&str]) -> Settings {
        Settings::check(&flags(args), ANCHOR).unwrap()
    }

    #[test]
    fn the_defaults_are_good() {
        let settings = settings(&[]);
        assert_eq!(settings.image, format!("weft-proxy:{}", env!("CARGO_PKG_VERSION")));
        assert_eq!(settings.style, Style::Native);
        assert!(settings.resources.cpu_limit.is_none() && settings.resources.memory_limit.is_some());
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let args = "--proxy-image= --proxy-image-pull-policy=Sometimes --sidecar=ambient --redirect-backend=pf \
                    --proxy-discovery=http://a:1 --trust-domain=A_b --domain=. --mesh-namespace=a.b --proxy-cpu-request=x \
                    --proxy-cpu-limit=0 --proxy-memory-request=1 --proxy-memory-limit=x";
        let args: Vec<&str> = args.split_whitespace().collect();
        let faults = Settings::check(&flags(&args), "nothing").unwrap_err();
        let named = args.iter().filter_map(|arg| arg.split_once('=')).map(|(flag, _)| flag).chain(["--trust-anchors"]);
        for flag in named {
            assert!(faults.iter().any(|fault| fault.starts_with(&format!("{flag}: "))), "{flag} in {faults:?}");
        }
    }

    #[test]
    fn only_certificates_travel() {
        let text = format!("# mesh\n{ANCHOR}-----BEGIN PRIVATE KEY-----\nBBBB\n-----END PRIVATE KEY-----\n{ANCHOR}");
        assert_eq!(anchors(&text).unwrap(), ANCHOR.repeat(2));
        assert!(anchors("-----BEGIN CERTIFICATE-----\nAAAA").is_err());
    }
}
