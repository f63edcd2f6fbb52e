//! Names of services and namespaces, and how a host name that an application dials maps to them.
//!
//! Stands before everything else: DNS, route matching and subscriptions all start from a [`ServiceName`].
//! Parsing fails with the rule that was broken; a `ServiceName` that exists is always two valid DNS labels.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The cluster domain every mesh name ends in, unless configured otherwise.
pub const DEFAULT_DOMAIN: &str = "cluster.local";

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error(
        "{0:?} is not a DNS label: use 1 to 63 lower-case letters, digits and '-', starting and ending with a letter or digit (RFC 1123)"
    )]
    Label(String),
    #[error("{0:?} is not namespace/name")]
    Shape(String),
}

/// A service, named as in Kubernetes: a namespace and a name, each an RFC 1123 label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ServiceName {
    pub namespace: String,
    pub name: String,
}

impl ServiceName {
    /// Checks both labels.
    pub fn new(namespace: &str, name: &str) -> Result<Self, NameError> {
        Ok(Self { namespace: label(namespace)?, name: label(name)? })
    }

    /// Parses `namespace/name`, the form flags and store keys use.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        match text.split_once('/') {
            Some((namespace, name)) => Self::new(namespace, name),
            None => Err(NameError::Shape(text.to_owned())),
        }
    }

    /// The stable DNS name: `name.namespace.svc.domain`, without a trailing dot.
    pub fn fqdn(&self, domain: &str) -> String {
        format!("{}.{}.svc.{domain}", self.name, self.namespace)
    }
}

/// What a host name within the mesh stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialled {
    pub service: ServiceName,
    /// One endpoint of it, by name.
    pub endpoint: Option<String>,
}

impl Dialled {
    /// `host` as a resolver in `namespace` understands it, with the search path that Kubernetes gives to pods: from `service`
    /// to `endpoint.service.namespace.svc.domain.`, in any case. `None`: no mesh name.
    pub fn of_host(host: &str, namespace: &str, domain: &str) -> Option<Self> {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let host = host.strip_suffix(domain).and_then(|rest| rest.strip_suffix('.')).unwrap_or(&host);
        let labels: Vec<&str> = host.split('.').collect();
        let labels = match labels.split_last() {
            Some((&"svc", rest)) if rest.len() > 1 => rest,
            _ => &labels[..],
        };
        let (endpoint, service, namespace) = match *labels {
            [service] => (None, service, namespace),
            [service, namespace] => (None, service, namespace),
            [endpoint, service, namespace] => (Some(endpoint), service, namespace),
            _ => return None,
        };
        let endpoint = endpoint.map(label).transpose().ok()?;
        Some(Self { service: ServiceName::new(namespace, service).ok()?, endpoint })
    }
}

/// `name.namespace`: how people say it, and how metric labels carry it.
impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.name, self.namespace)
    }
}

/// Checks one RFC 1123 label and returns it owned.
pub fn label(text: &str) -> Result<String, NameError> {
    let bytes = text.as_bytes();
    let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if bytes.len() <= 63 && edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(inner) {
        Ok(text.to_owned())
    } else {
        Err(NameError::Label(text.to_owned()))
    }
}

/// Checks an RFC 1123 subdomain (labels joined by dots, 253 bytes at most): pod and account names.
pub fn subdomain(text: &str) -> Result<String, NameError> {
    if text.len() <= 253 && text.split('.').all(|part| label(part).is_ok()) {
        Ok(text.to_owned())
    } else {
        Err(NameError::Label(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_are_understood_as_in_a_pod() {
        let of = |host: &str| {
            let dialled = Dialled::of_host(host, "shop", "cluster.local")?;
            Some((dialled.service.to_string(), dialled.endpoint.unwrap_or_default()))
        };
        let is = |service: &str, endpoint: &str| Some((service.to_owned(), endpoint.to_owned()));
        for host in [
            "search",
            "search.shop",
            "Search.shop.svc",
            "search.shop.svc.cluster.local",
            "search.shop.svc.cluster.local.",
        ] {
            assert_eq!(of(host), is("search.shop", ""), "{host}");
        }
        assert_eq!(of("search.other"), is("search.other", ""));
        assert_eq!(of("a.search.other"), is("search.other", "a"));
        assert_eq!(of("a.search.other.svc.cluster.local"), is("search.other", "a"));
        for host in ["", "a.b.c.d", "www.example.co.uk.", "under_score.shop", "a..b"] {
            assert_eq!(of(host), None, "{host}");
        }
    }

    #[test]
    fn labels_follow_rfc_1123() {
        for bad in ["", "-a", "a-", "A", "a_b", "a.b", &"a".repeat(64)] {
            assert!(label(bad).is_err(), "{bad}");
        }
        assert!(label(&"a".repeat(63)).is_ok());
        assert!(subdomain("web-0.web").is_ok());
    }
}
