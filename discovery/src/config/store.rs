//! What the flags about the store mean: which one, and how etcd is reached.
//!
//! Each fault names its flag. Files are only named here: they are read when they are needed.

use super::{Flags, StoreConfig};
use crate::store::{EmbeddedSettings, EtcdSettings, EtcdTls};

/// What `--store` and its companions ask for; `None`: something is wrong with them.
pub fn check(flags: &Flags, faults: &mut Vec<String>) -> Option<StoreConfig> {
    let text = &flags.store;
    let mut refused = |reason: &str| {
        faults.push(format!("--store: {text:?} {reason}"));
        None
    };
    match text.split_once(':') {
        Some(("embedded", "")) => refused("names no file: write embedded:/path/to/file"),
        Some(("embedded", path)) => {
            let own = [
                ("--store-ca", flags.store_ca.is_some()),
                ("--store-certificate", flags.store_certificate.is_some()),
                ("--store-key", flags.store_key.is_some()),
                ("--store-user", flags.store_user.is_some()),
                ("--store-password-file", flags.store_password_file.is_some()),
            ];
            let wrong = own.iter().filter(|(_, given)| *given);
            faults.extend(wrong.map(|(flag, _)| format!("{flag}: means nothing without etcd")));
            Some(StoreConfig::Embedded(EmbeddedSettings::new(path)))
        }
        Some(("etcd", list)) => etcd(list, flags, faults).map(StoreConfig::Etcd),
        _ => refused("is neither embedded:/path/to/file nor etcd:http://HOST:PORT,..."),
    }
}

fn etcd(list: &str, flags: &Flags, faults: &mut Vec<String>) -> Option<EtcdSettings> {
    let before = faults.len();
    let scheme = if list.trim_start().starts_with("https://") { "https" } else { "http" };
    let endpoints: Vec<String> = list.split(',').map(str::trim).map(str::to_owned).collect();
    if let Some(bad) = endpoints.iter().find(|url| !is_url(url, scheme)) {
        faults.push(format!("--store: {:?} has {bad:?}, which is not {scheme}://HOST:PORT", flags.store));
    }
    let prefix = &flags.store_prefix;
    if prefix.len() < 2 || !prefix.starts_with('/') || !prefix.ends_with('/') {
        faults.push(format!("--store-prefix: {prefix:?} is not a path such as /weft/"));
    }
    let own = pair("--store-certificate", &flags.store_certificate, "--store-key", &flags.store_key, faults);
    let user = pair("--store-user", &flags.store_user, "--store-password-file", &flags.store_password_file, faults);
    let tls = match (&flags.store_ca, scheme) {
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
