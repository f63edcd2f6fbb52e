//! Patterns of identities, hosts and paths: exact, or everything below a point, whole segments at a time.
//!
//! Read from documents and from the wire with the same parser. Fails saying what a pattern may look like; a pattern that
//! exists is in the one form that decisions compare with.

use crate::SpiffeId;
use crate::names::{label, subdomain};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error(
        "{0:?} is not an identity: spiffe://<trust-domain>/ns/<namespace>/sa/<service-account>, \
         spiffe://<trust-domain>/ns/<namespace>/*, spiffe://<trust-domain>/* or *"
    )]
    Identity(String),
    #[error("{0:?} is not a host: a name such as cart.shop or *.shop, without a port")]
    Host(String),
    #[error("{0:?} is not a path: /a/b, or /a/* for /a and all below it; '*' stands nowhere else")]
    Path(String),
    #[error(
        "{0:?} is not in the form that paths are compared in: decoded, without '%', '\\', ';', '?', '#', empty segments, '.' or '..'"
    )]
    PathForm(String),
}

/// Which identities are meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum IdentityPattern {
    /// Every client that has one.
    Any,
    /// All of a trust domain.
    TrustDomain(String),
    /// All of a namespace of a trust domain.
    Namespace {
        trust_domain: String,
        namespace: String,
    },
    Exact(SpiffeId),
}

impl IdentityPattern {
    pub fn matches(&self, id: &SpiffeId) -> bool {
        match self {
            Self::Any => true,
            Self::TrustDomain(domain) => *domain == id.trust_domain,
            Self::Namespace { trust_domain, namespace } => {
                *trust_domain == id.trust_domain && *namespace == id.namespace
            }
            Self::Exact(exact) => exact == id,
        }
    }
}

impl FromStr for IdentityPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let refused = || PatternError::Identity(text.to_owned());
        if text == "*" {
            return Ok(Self::Any);
        }
        let Some(above) = text.strip_suffix("/*") else { return text.parse().map(Self::Exact).map_err(|_| refused()) };
        let parts: Vec<&str> = above.strip_prefix("spiffe://").ok_or_else(refused)?.split('/').collect();
        let domain = subdomain(parts[0]).map_err(|_| refused())?;
        match parts[1..] {
            [] | ["ns"] => Ok(Self::TrustDomain(domain)),
            ["ns", namespace] | ["ns", namespace, "sa"] => {
                let namespace = label(namespace).map_err(|_| refused())?;
                Ok(Self::Namespace { trust_domain: domain, namespace })
            }
            _ => Err(refused()),
        }
    }
}

impl fmt::Display for IdentityPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::TrustDomain(domain) => write!(f, "spiffe://{domain}/*"),
            Self::Namespace { trust_domain, namespace } => write!(f, "spiffe://{trust_domain}/ns/{namespace}/*"),
            Self::Exact(id) => id.fmt(f),
        }
    }
}

/// Which hosts are meant; in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum HostPattern {
    Exact(String),
    /// Names that end in a dot and this.
    Below(String),
}

impl HostPattern {
    /// `host` in lower case, without port and final dot.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == host,
            Self::Below(suffix) => {
                host.strip_suffix(suffix.as_str()).is_some_and(|left| left.len() > 1 && left.ends_with('.'))
            }
        }
    }
}

impl FromStr for HostPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let lower = text.to_ascii_lowercase();
        let read = match lower.strip_prefix("*.") {
            Some(suffix) => subdomain(suffix).map(Self::Below),
            None => subdomain(&lower).map(Self::Exact),
        };
        read.map_err(|_| PatternError::Host(text.to_owned()))
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::Below(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

/// Which paths are meant. A slash at the end does not count.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum PathPattern {
    /// Without a slash at the end; `/` itself is empty.
    Exact(String),
    /// The path itself and everything below it.
    Below(String),
}

impl PathPattern {
    /// What every path that matches begins with.
    pub fn begins(&self) -> &str {
        match self {
            Self::Exact(text) | Self::Below(text) => text,
        }
    }

    /// `path` is normalised, without a slash at the end.
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == path,
            // Whatever is asked for, even `*`.
            Self::Below(above) if above.is_empty() => true,
            Self::Below(above) => {
                path.strip_prefix(above.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
        }
    }
}

impl FromStr for PathPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let (path, below) = match text.strip_suffix("/*") {
            Some(above) => (above, true),
            None => (text.strip_suffix('/').unwrap_or(text), false),
        };
        let rooted = path.starts_with('/') || (path.is_empty() && !text.is_empty());
        if !rooted || path.contains('*') {
            return Err(PatternError::Path(text.to_owned()));
        }
        let plain = |segment: &str| !matches!(segment, "" | "." | "..");
        let odd = |c: char| c.is_control() || matches!(c, '%' | '\\' | ';' | '?' | '#');
        if path.contains(odd) || !path.split('/').skip(1).all(plain) {
            return Err(PatternError::PathForm(text.to_owned()));
        }
        Ok(if below { Self::Below(path.to_owned()) } else { Self::Exact(path.to_owned()) })
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(path) if path.is_empty() => f.write_str("/"),
            Self::Exact(path) => f.write_str(path),
            Self::Below(path) => write!(f, "{path}/*"),
        }
    }
}

macro_rules! as_text {
    ($($pattern:ty),*) => {$(
        impl From<$pattern> for String {
            fn from(pattern: $pattern) -> String {
                pattern.to_string()
            }
        }

        impl TryFrom<String> for $pattern {
            type Error = PatternError;

            fn try_from(text: String) -> Result<Self, PatternError> {
                text.parse()
            }
        }
    )*};
}

as_text!(IdentityPattern, HostPattern, PathPattern);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_match_whole_segments() {
        let cart: SpiffeId = "spiffe://weft.local/ns/shop/sa/cart".parse().unwrap();
        let matches = |text: &str| text.parse::<IdentityPattern>().unwrap().matches(&cart);
        for yes in ["*", "spiffe://weft.local/*", "spiffe://weft.local/ns/shop/*", "spiffe://weft.local/ns/shop/sa/*"] {
            assert!(matches(yes), "{yes}");
        }
        assert!(matches("spiffe://weft.local/ns/shop/sa/cart"));
        for no in ["spiffe://weft.loc/*", "spiffe://weft.local/ns/sho/*", "spiffe://weft.local/ns/shop/sa/car"] {
            assert!(!matches(no), "{no}");
        }
        for bad in ["", "cart", "spiffe://weft.local/ns/shop*", "spiffe://*/ns/shop/*", "spiffe://a/x/*", "/*"] {
            assert!(bad.parse::<IdentityPattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_match_whole_segments() {
        let matches = |pattern: &str, path: &str| pattern.parse::<PathPattern>().unwrap().matches(path);
        assert!(matches("/admin", "/admin") && matches("/admin/", "/admin") && matches("/", ""));
        assert!(matches("/admin/*", "/admin") && matches("/admin/*", "/admin/a/b") && matches("/*", "/x"));
        assert!(!matches("/admin", "/admin/a") && !matches("/admin/*", "/administrator") && !matches("/", "/x"));
        for bad in ["", "admin", "/a*", "/*/a", "/a/**", "/a//b", "/a/./b", "/a/../b", "/a%20", "/a;b", "/a\\b", "/a?b"]
        {
            assert!(bad.parse::<PathPattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn hosts_match_in_any_case_and_whole_labels() {
        let matches = |pattern: &str, host: &str| pattern.parse::<HostPattern>().unwrap().matches(host);
        assert!(matches("Cart.Shop", "cart.shop") && matches("*.shop", "a.cart.shop"));
        assert!(!matches("*.shop", "shop") && !matches("*.shop", "workshop") && !matches("*.shop", ".shop"));
        for bad in ["", "*", "a:80", "a*", "*.*.a"] {
            assert!(bad.parse::<HostPattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn patterns_are_written_as_they_are_read() {
        for text in ["*", "spiffe://weft.local/*", "spiffe://weft.local/ns/shop/*", "spiffe://weft.local/ns/a/sa/b"] {
            assert_eq!(text.parse::<IdentityPattern>().unwrap().to_string(), text);
        }
        for text in ["/", "/*", "/a", "/a/b/*"] {
            assert_eq!(text.parse::<PathPattern>().unwrap().to_string(), text);
        }
        for text in ["a.b", "*.b"] {
            assert_eq!(text.parse::<HostPattern>().unwrap().to_string(), text);
        }
    }
}
