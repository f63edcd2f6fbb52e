//! Virtual addresses: which one a service gets, and that no two services ever have the same.
//!
//! Asked by the plan of an apply. What is taken stands in the store as `addresses/<address>` with the service's name as value. A claim
//! holds only in the commit that makes the service, so that of two writers who choose alike the second has to choose again.

use crate::store::{Compare, Op, Revision, Store, StoreError};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::net::IpAddr;
use weft_model::{Cidr, ServiceName};

/// Where taken addresses stand.
const PREFIX: &str = "addresses/";

/// Every address of the range is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("--virtual-range: no address in {0} is free; delete services, or start discovery with a larger range")]
pub struct Exhausted(Cidr);

/// The addresses that are taken, as the store had them at one revision and with the claims made since.
#[derive(Debug, Clone)]
pub struct Pool {
    range: Cidr,
    taken: BTreeMap<IpAddr, Owner>,
}

/// Who has an address, and since when; revision 0: claimed just now.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Owner {
    service: String,
    since: Revision,
}

/// An address for a service, and what has to be in the commit that gives it to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub address: IpAddr,
    pub compares: Vec<Compare>,
    pub ops: Vec<Op>,
}

impl Pool {
    pub async fn read(store: &dyn Store, range: Cidr) -> Result<Self, StoreError> {
        let entries = store.range(PREFIX).await?.entries;
        let taken = entries.into_iter().filter_map(|entry| {
            let address = entry.key.strip_prefix(PREFIX)?.parse().ok()?;
            let service = String::from_utf8_lossy(&entry.value).into_owned();
            Some((address, Owner { service, since: entry.modified }))
        });
        Ok(Self { range, taken: taken.collect() })
    }

    /// The address that is the service's already (its record was lost or cannot be read), or a free one. The search begins where
    /// the name's hash points: a service made anew mostly gets the address it had, and writers at work at the same time
    /// seldom choose alike.
    pub fn claim(&mut self, service: &ServiceName) -> Result<Claim, Exhausted> {
        let owner = value(service);
        if let Some((address, own)) = self.taken.iter().find(|(_, taken)| taken.service == owner) {
            let compares = vec![Compare::Modified(key(*address), own.since)];
            return Ok(Claim { address: *address, compares, ops: Vec::new() });
        }
        let address = self.free(&owner).ok_or(Exhausted(self.range))?;
        self.taken.insert(address, Owner { service: owner.clone(), since: 0 });
        let key = key(address);
        Ok(Claim { address, compares: vec![Compare::Absent(key.clone())], ops: vec![Op::put(key, owner)] })
    }

    /// The addresses that are the service's.
    pub fn of(&self, service: &ServiceName) -> impl Iterator<Item = IpAddr> {
        let owner = value(service);
        self.taken.iter().filter(move |(_, taken)| taken.service == owner).map(|(address, _)| *address)
    }

    fn free(&self, owner: &str) -> Option<IpAddr> {
        // The first address names the block and in IPv4 the last one is its broadcast (RFC 4291 section 2.6.1, RFC 919).
        let usable = self.range.size().saturating_sub(2);
        let start = hash(owner).checked_rem(usable)?;
        // Among one more than are taken, one is free.
        let tries = usable.min(self.taken.len() as u64 + 1);
        let at = |step| self.range.nth(1 + (u128::from(start) + u128::from(step)).rem_euclid(usable.into()) as u64);
        (0..tries).map(at).find(|address| !self.taken.contains_key(address))
    }
}

/// Gives an address back.
pub fn release(address: IpAddr) -> Op {
    Op::delete(key(address))
}

fn key(address: IpAddr) -> String {
    format!("{PREFIX}{address}")
}

fn value(service: &ServiceName) -> String {
    format!("{}/{}", service.namespace, service.name)
}

/// The same on every replica and in every version, so that addresses are, too.
fn hash(text: &str) -> u64 {
    let digest: [u8; 32] = Sha256::digest(text).into();
    digest.into_iter().take(8).fold(0, |number, byte| number << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn pool(range: &str) -> Pool {
        Pool { range: range.parse().unwrap(), taken: BTreeMap::new() }
    }

    fn name(n: usize) -> ServiceName {
        ServiceName::new("shop", &format!("s{n}")).unwrap()
    }

    #[test]
    fn every_address_but_the_first_and_the_last_is_given_once() {
        for range in ["198.18.0.0/24", "fd18::/120"] {
            let mut pool = pool(range);
            let given: BTreeSet<IpAddr> = (0..254).map(|n| pool.claim(&name(n)).unwrap().address).collect();
            assert_eq!(given.len(), 254, "{range}");
            for edge in [0, 255] {
                assert!(!given.contains(&pool.range.nth(edge)), "{range}");
            }
            let reason = pool.claim(&name(254)).unwrap_err().to_string();
            assert!(reason.contains(range), "{reason}");
        }
        let mut large = pool("fd18::/32");
        let address = large.claim(&name(0)).unwrap().address;
        assert!(large.range.contains(address), "{address}");
    }

    #[test]
    fn the_name_decides_where_the_search_begins() {
        let (mut one, mut other) = (pool("198.18.0.0/15"), pool("198.18.0.0/15"));
        let first = one.claim(&name(1)).unwrap();
        one.claim(&name(2)).unwrap();
        other.claim(&name(2)).unwrap();
        assert_eq!(other.claim(&name(1)).unwrap(), first);
        assert_eq!(first.address.to_string(), "198.18.191.24", "another hash would move every service");
    }

    #[test]
    fn what_is_the_services_own_stays_its_own() {
        let mut pool = pool("198.18.0.0/15");
        let (elsewhere, owner) = ("10.96.0.7".parse().unwrap(), "shop/s1".to_owned());
        pool.taken.insert(elsewhere, Owner { service: owner, since: 7 });
        let claim = pool.claim(&name(1)).unwrap();
        assert_eq!((claim.address, claim.ops.len()), (elsewhere, 0), "also when the range is another one now");
        assert_eq!(claim.compares, [Compare::Modified("addresses/10.96.0.7".to_owned(), 7)]);
        assert_eq!(pool.of(&name(1)).collect::<Vec<_>>(), [elsewhere]);
        assert_eq!(pool.of(&name(2)).count(), 0);
    }
}
