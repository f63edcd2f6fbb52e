//! SPIFFE workload identity: `spiffe://<trust-domain>/ns/<namespace>/sa/<service-account>`.
//!
//! The name a certificate carries and a policy compares. Parsing accepts exactly this shape (SPIFFE-ID specification,
//! section 2, with the path that Istio and Linkerd users know); anything else is an error, never a guess.

use crate::names::{label, subdomain};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// One workload's identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct SpiffeId {
    pub trust_domain: String,
    pub namespace: String,
    pub service_account: String,
}

impl SpiffeId {
    /// Checks all three parts: the trust domain is a lower-case host name, the namespace a label, the account a subdomain.
    pub fn new(trust_domain: &str, namespace: &str, service_account: &str) -> Result<Self, String> {
        let part = |what: &str, e: crate::names::NameError| format!("{what}: {e}");
        Ok(Self {
            trust_domain: subdomain(trust_domain).map_err(|e| part("trust domain", e))?,
            namespace: label(namespace).map_err(|e| part("namespace", e))?,
            service_account: subdomain(service_account).map_err(|e| part("service account", e))?,
        })
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/ns/{}/sa/{}", self.trust_domain, self.namespace, self.service_account)
    }
}

impl FromStr for SpiffeId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.strip_prefix("spiffe://").unwrap_or("").split('/').collect();
        match parts[..] {
            [domain, "ns", namespace, "sa", account] => Self::new(domain, namespace, account),
            _ => Err(format!("{text:?} is not spiffe://<trust-domain>/ns/<namespace>/sa/<service-account>")),
        }
    }
}

impl From<SpiffeId> for String {
    fn from(id: SpiffeId) -> String {
        id.to_string()
    }
}

impl TryFrom<String> for SpiffeId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_value_agree() {
        let id: SpiffeId = "spiffe://weft.local/ns/shop/sa/cart".parse().unwrap();
        assert_eq!(id, SpiffeId::new("weft.local", "shop", "cart").unwrap());
        assert_eq!(id.to_string(), "spiffe://weft.local/ns/shop/sa/cart");
    }

    #[test]
    fn other_shapes_are_refused() {
        for bad in [
            "",
            "spiffe://",
            "spiffe://d/ns/shop/sa/",
            "spiffe://d/ns/shop/sa/a/b",
            "http://d/ns/shop/sa/a",
            "spiffe://D/ns/shop/sa/a",
            "spiffe://d/ns/sh op/sa/a",
        ] {
            assert!(bad.parse::<SpiffeId>().is_err(), "{bad}");
        }
    }
}
