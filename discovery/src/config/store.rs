//! What the flags about the store mean: which one, and how etcd is reached.
//!
//! Each fault names its flag. Files are only named here: they are read when they are needed.

use crate::store::{EmbeddedSettings, EtcdSettings, EtcdTls};
use std::path::PathBuf;

/// The flags about the store, as they are typed.
#[derive(Debug, Clone, clap::Args)]
pub struct StoreFlags {
    /// Where the mesh is kept: `embedded:/path/to/file`, or `etcd:http://a:2379,http://b:2379`; `https` wants --store-ca
    #[arg(long, env = "WEFT_STORE", default_value = "embedded:/var/lib/weft/discovery.redb")]
    pub store: String,
    /// What all keys of this mesh begin with in etcd
    #[arg(id = "store-prefix", long = "store-prefix", env = "WEFT_STORE_PREFIX", default_value = "/weft/")]
    pub prefix: String,
    /// File with the authorities that etcd's certificates are signed by, PEM. This file and the next ones are read again for each new
    /// connection
    #[arg(id = "store-ca", long = "store-ca", env = "WEFT_STORE_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// File with the certificate that is shown to etcd, PEM
    #[arg(id = "store-certificate", long = "store-certificate", env = "WEFT_STORE_CERTIFICATE", value_name = "FILE")]
    pub certificate: Option<PathBuf>,
    /// File with its key, PEM
    #[arg(id = "store-key", long = "store-key", env = "WEFT_STORE_KEY", value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// The user of etcd, where it has authentication enabled
    #[arg(id = "store-user", long = "store-user", env = "WEFT_STORE_USER", value_name = "NAME")]
    pub user: Option<String>,
    /// File with that user's password
    #[arg(
        id = "store-password-file",
        long = "store-password-file",
        env = "WEFT_STORE_PASSWORD_FILE",
        value_name = "FILE"
    )]
    pub password_file: Option<PathBuf>,
}

/// Where the mesh is kept.
#[derive(Clone)]
pub enum StoreConfig {
    Embedded(EmbeddedSettings),
    Etcd(EtcdSettings),
}

/// What `--store` and its companions ask for; `None`: something is wrong with them.
pub fn check(flags: &StoreFlags, faults: &mut Vec<String>) -> Option<StoreConfig> {
    let text = &flags.store;
    let mut refused = |reason: &str| {
        faults.push(format!("--store: {text:?} {reason}"));
        None
    };
    match text.split_once(':') {
        Some(("embedded", "")) => refused("names no file: write embedded:/path/to/file"),
        Some(("embedded", path)) => {
            let own = [
                ("--store-ca", flags.ca.is_some()),
                ("--store-certificate", flags.certificate.is_some()),
                ("--store-key", flags.key.is_some()),
                ("--store-user", flags.user.is_some()),
                ("--store-password-file", flags.password_file.is_some()),
            ];
            let wrong = own.iter().filter(|(_, given)| *given);
            faults.extend(wrong.map(|(flag, _)| format!("{flag}: means nothing without etcd")));
            Some(StoreConfig::Embedded(EmbeddedSettings::new(path)))
        }
        Some(("etcd", list)) => etcd(list, flags, faults).map(StoreConfig::Etcd),
        _ => refused("is neither embedded:/path/to/file nor etcd:http://HOST:PORT,..."),
    }
}

fn etcd(list: &str, flags: &StoreFlags, faults: &mut Vec<String>) -> Option<EtcdSettings> {
    let before = faults.len();
    let scheme = if list.trim_start().starts_with("https://") { "https" } else { "http" };
    let endpoints: Vec<String> = list.split(',').map(str::trim).map(str::to_owned).collect();
    if let Some(bad) = endpoints.iter().find(|url| !is_url(url, scheme)) {
        faults.push(format!("--store: {:?} has {bad:?}, which is not {scheme}://HOST:PORT", flags.store));
    }
    let prefix = &flags.prefix;
    if prefix.len() < 2 || !prefix.starts_with('/') || !prefix.ends_with('/') {
        faults.push(format!("--store-prefix: {prefix:?} is not a path such as /weft/"));
    }
    let own = pair("--store-certificate", &flags.certificate, "--store-key", &flags.key, faults);
    let user = pair("--store-user", &flags.user, "--store-password-file", &flags.password_file, faults);
    let tls = match (&flags.ca, scheme) {
        (Some(authorities), "https") => Some(EtcdTls { authorities: authorities.clone(), own }),
        (None, "https") => {
            faults.push("--store-ca: is missing; https wants to know whom to believe that it is etcd".to_owned());
            None
        }
        (given, _) => {
            let own = own.map(|_| "--store-certificate");
            let flag = given.as_ref().map(|_| "--store-ca").or(own);
            faults.extend(flag.map(|flag| format!("{flag}: means nothing without https")));
            None
        }
    };
    let settings = EtcdSettings { endpoints, tls, prefix: prefix.clone(), user, ..EtcdSettings::default() };
    (faults.len() == before).then_some(settings)
}

/// Both or neither.
fn pair<A: Clone, B: Clone>(
    first: &str,
    one: &Option<A>,
    second: &str,
    other: &Option<B>,
    faults: &mut Vec<String>,
) -> Option<(A, B)> {
    match (one, other) {
        (Some(one), Some(other)) => return Some((one.clone(), other.clone())),
        (Some(_), None) => faults.push(format!("{second}: is missing; {first} needs it")),
        (None, Some(_)) => faults.push(format!("{first}: is missing; {second} needs it")),
        (None, None) => {}
    }
    None
}

fn is_url(text: &str, scheme: &str) -> bool {
    let authority = text.parse::<http::Uri>().ok().filter(|uri| uri.scheme_str() == Some(scheme));
    authority.is_some_and(|uri| uri.port_u16().is_some_and(|port| port != 0) && uri.path() == "/")
}
