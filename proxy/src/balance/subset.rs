//! Which part of a big service's endpoints one client uses, so that connections do not grow with clients times endpoints.
//!
//! Deterministic subsetting after the Google SRE book, chapter 20, for sizes that need not divide the number of endpoints:
//! the clients of a workload are dealt the endpoints of a shuffled list in turn. Clients numbered from 0 without gaps use
//! every endpoint equally often, within one.

use super::hash;

/// Where a client stands among those of its workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Client {
    /// Shared by the workload.
    group: u64,
    number: u64,
}

impl Client {
    /// By the proxy's name: `cart-7` is number 7 of `cart`. A name that does not end in a number is one at random, whose
    /// endpoints are as evenly spread as chance makes them.
    pub fn named(name: &str) -> Self {
        let numbered = name.rsplit_once('-').and_then(|(group, number)| Some((group, number.parse().ok()?)));
        match numbered {
            Some((group, number)) => Self { group: hash::of(group.as_bytes()), number },
            None => Self { group: 0, number: hash::of(name.as_bytes()) },
        }
    }

    /// `size` different indices below `n`, or all.
    pub fn subset(self, n: usize, size: usize) -> Vec<usize> {
        if size >= n {
            return (0..n).collect();
        }
        // So many clients together use every endpoint equally often; the next block has another shuffle, so that not always
        // the same endpoints share the load of one that fails.
        let block = (n / gcd(n, size)) as u64;
        let mut order: Vec<usize> = (0..n).collect();
        let shuffle = hash::mix(self.group ^ hash::mix(self.number / block));
        order.sort_unstable_by_key(|at| hash::mix(shuffle ^ hash::mix(*at as u64)));
        let start = (self.number % block) as usize * size % n;
        (start..start + size).map(|place| order[place % n]).collect()
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_say_who_is_who() {
        assert_eq!(Client::named("cart-7").number, 7);
        assert_eq!(Client::named("cart-7").group, Client::named("cart-8").group);
        assert_ne!(Client::named("cart-7").group, Client::named("web-7").group);
        assert_ne!(Client::named("cart-x7k2p").number, Client::named("cart-x7k2q").number);
    }

    proptest! {
        #[test]
        fn every_endpoint_has_as_many_clients_as_any_other_within_one(n in 1usize..120, size in 1usize..40, clients in 0u64..300) {
            let mut used = vec![0; n];
            for number in 0..clients {
                let subset = Client::named(&format!("cart-{number}")).subset(n, size);
                prop_assert_eq!(subset.iter().collect::<BTreeSet<_>>().len(), size.min(n));
                subset.into_iter().for_each(|at| used[at] += 1);
            }
            prop_assert!(used.iter().max().unwrap() - used.iter().min().unwrap() <= 1, "{:?}", used);
        }
    }
}
