//! The ledger of certificates: who has what until when, and who uses which.
//!
//! A record ends with its certificate (a lease). Owners say which certificate they have put in force and whom they trust; what came before
//! that one is used by nobody. Pure: a rotation of the root rests on [`in_use`], which calls in use whatever nobody has called replaced.

use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use weft_model::SpiffeId;

/// Discovery's own workload: no join token may stand for it.
pub const OWN_NAMESPACE: &str = "weft";
pub const OWN_ACCOUNT: &str = "weft-discovery";

/// How the owner of a certificate first proved who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proven {
    /// By a join token, which need not be there any more when the certificate is renewed.
    #[default]
    Joined,
    /// By a service account's token, which has to be shown each time.
    Account,
}

/// What is kept of an issued certificate, as long as it is valid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    pub identity: SpiffeId,
    /// The proxy that asked for it.
    pub proxy: String,
    pub serial: String,
    #[serde(default)]
    pub proof: Proven,
    /// Seconds since the epoch.
    pub not_before: i64,
    pub not_after: i64,
    /// Fingerprint of the anchor it leads to; empty: an older discovery has signed it.
    #[serde(default)]
    pub anchor: String,
    /// Certificates that its owner had before.
    #[serde(default)]
    pub renewals: u64,
    /// Fingerprints of the anchors that the owner trusts, by its own word, since it uses this certificate.
    #[serde(default)]
    pub trusts: Option<Vec<String>>,
    /// Somebody has said that its owner is gone for good, and the owner has not come back since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forgotten: bool,
    /// The store's revision that made the record: later ones are greater.
    #[serde(skip)]
    pub made: u64,
}

impl Ledger {
    /// Who has it: a proxy of this name in this namespace.
    pub fn owner(&self) -> (&str, &str) {
        (&self.identity.namespace, &self.proxy)
    }
}

/// Those that somebody may still use: none that is older than one of which its owner has said that it is in force, and none whose owner is
/// forgotten.
pub fn in_use(all: Vec<Ledger>) -> Vec<Ledger> {
    let mut newest: HashMap<(String, String), u64> = HashMap::new();
    for ledger in all.iter().filter(|ledger| ledger.trusts.is_some()) {
        let (namespace, proxy) = ledger.owner();
        let known = newest.entry((namespace.to_owned(), proxy.to_owned())).or_default();
        *known = ledger.made.max(*known);
    }
    let replaced = |ledger: &Ledger| {
        let (namespace, proxy) = ledger.owner();
        newest.get(&(namespace.to_owned(), proxy.to_owned())).is_some_and(|newest| ledger.made < *newest)
    };
    all.into_iter().filter(|ledger| !ledger.forgotten && !replaced(ledger)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(proxy: &str, made: u64, confirmed: bool) -> Ledger {
        Ledger {
            identity: SpiffeId::new("weft.local", "shop", "cart").unwrap(),
            proxy: proxy.to_owned(),
            serial: made.to_string(),
            proof: Proven::Joined,
            not_before: 0,
            not_after: 1,
            anchor: String::new(),
            renewals: 0,
            trusts: confirmed.then(Vec::new),
            forgotten: false,
            made,
        }
    }

    fn serials(all: Vec<Ledger>) -> Vec<String> {
        let mut serials: Vec<_> = in_use(all).into_iter().map(|ledger| ledger.serial).collect();
        serials.sort();
        serials
    }

    #[test]
    fn what_came_before_a_confirmed_one_is_used_by_nobody() {
        let all = || vec![ledger("a", 1, true), ledger("a", 2, true), ledger("a", 3, false), ledger("b", 4, false)];
        assert_eq!(serials(all()), ["2", "3", "4"], "the third may have got lost on the way");
        assert_eq!(serials(all().into_iter().rev().collect()), ["2", "3", "4"]);
        assert_eq!(serials(vec![ledger("a", 1, false), ledger("a", 2, false)]), ["1", "2"], "nobody said anything");
        let mut other = ledger("a", 9, true);
        other.identity.namespace = "bank".to_owned();
        assert_eq!(serials(vec![ledger("a", 1, true), other]), ["1", "9"], "of another namespace");
        let forgotten = Ledger { forgotten: true, ..ledger("a", 2, true) };
        let gone = serials(vec![ledger("a", 1, true), forgotten.clone()]);
        assert!(gone.is_empty(), "gone for good, with what it had before: {gone:?}");
        assert_eq!(serials(vec![forgotten, ledger("a", 3, false)]), ["3"], "back again");
    }

    #[test]
    fn records_of_an_older_discovery_are_read() {
        let old = r#"{"identity":"spiffe://weft.local/ns/shop/sa/cart","proxy":"cart-0","serial":"4a","not_before":1,"not_after":2}"#;
        let read: Ledger = serde_json::from_str(old).unwrap();
        assert_eq!((read.anchor.as_str(), read.trusts), ("", None));
    }
}
