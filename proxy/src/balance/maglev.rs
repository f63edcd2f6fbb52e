//! Consistent hashing by Maglev's table (Eisenbud et al., NSDI 2016, section 3.4): nearly even, and found in one step.
//!
//! Every endpoint goes through the table in an order of its own and takes the next free entry when it is its turn; turns come
//! by weight. When an endpoint goes, few entries change beside its own. Built when endpoints change.

use super::hash;

/// Entries looked at before all endpoints are.
const STEPS: usize = 64;
/// An entry that nobody has taken yet.
const FREE: u32 = u32::MAX;

/// The table of one service.
#[derive(Debug)]
pub struct Table {
    entries: Box<[u32]>,
}

/// The order in which one endpoint goes through the table.
struct Walk {
    at: u32,
    next: u64,
    step: u64,
    /// Turns by weight: it may take an entry when it has earned one.
    weight: u64,
    earned: u64,
}

impl Table {
    /// Of endpoints by `hashes` of their names and `weights`; weight 0 has no entries. `size` has to be a prime, which
    /// discovery and the wire have checked: only then does every walk come past every entry.
    pub fn new(hashes: &[u64], weights: &[u32], size: u32) -> Self {
        let length = u64::from(size.max(2));
        let mut walks: Vec<Walk> = Vec::new();
        for (at, (hash, weight)) in hashes.iter().zip(weights).enumerate().filter(|(_, (_, weight))| **weight > 0) {
            let step = hash::mix(!hash) % (length - 1) + 1;
            walks.push(Walk { at: at as u32, next: hash % length, step, weight: u64::from(*weight), earned: 0 });
        }
        // Names, not positions, decide who comes first: a new endpoint changes nobody's turn.
        walks.sort_unstable_by_key(|walk| hashes[walk.at as usize]);
        let heaviest = walks.iter().map(|walk| walk.weight).max().unwrap_or(1);
        let mut entries = vec![FREE; length as usize];
        let mut free = if walks.is_empty() { 0 } else { length };
        while free > 0 {
            for walk in &mut walks {
                walk.earned += walk.weight;
                if walk.earned >= heaviest && free > 0 {
                    walk.earned -= heaviest;
                    walk.take(&mut entries);
                    free -= 1;
                }
            }
        }
        Self { entries: entries.into() }
    }

    /// Whose `key` is: the endpoint of its entry, or the first usable one after it.
    pub fn find(&self, key: u64, hashes: &[u64], usable: &impl Fn(usize) -> bool) -> Option<usize> {
        let start = (key % self.entries.len() as u64) as usize;
        // Where passed-over keys go depends on the key, not only on its entry, so that they spread.
        let step = (hash::mix(key) % (self.entries.len() as u64 - 1) + 1) as usize;
        let mut at = start;
        for _ in 0..STEPS {
            match self.entries[at] {
                FREE => return None,
                endpoint if usable(endpoint as usize) => return Some(endpoint as usize),
                _ => at = (at + step) % self.entries.len(),
            }
        }
        hash::rendezvous(key, hashes, usable)
    }

    /// The entries, by endpoint.
    pub fn entries(&self) -> &[u32] {
        &self.entries
    }
}

impl Walk {
    fn take(&mut self, entries: &mut [u32]) {
        loop {
            let place = self.next as usize;
            self.next = (self.next + self.step) % entries.len() as u64;
            if entries[place] == FREE {
                entries[place] = self.at;
                return;
            }
        }
    }
}

#[cfg(test)]
#[path = "maglev_tests.rs"]
mod tests;
