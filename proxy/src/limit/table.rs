//! Which keys a rate limit remembers: a table of fixed size, whatever clients do.
//!
//! Eight slots for each set of keys, as in a processor's cache. When a set is full, the key that owes least makes room: it
//! forgets the least, and a key that is at its limit is the last to be forgotten. Lock-free, and exact while no slot changes
//! hands; two threads that want one slot for two keys at the same instant can miscount a request, never more.

use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed};

const WAYS: usize = 8;

/// One key, and when it will owe nothing any more. Both 0 while nobody has it.
#[derive(Debug, Default)]
struct Slot {
    key: AtomicU64,
    due: AtomicU64,
}

#[derive(Debug, Default)]
struct Set([Slot; WAYS]);

#[derive(Debug)]
pub struct Table {
    sets: Box<[Set]>,
    /// Keeps clients from choosing who they share a set with.
    seed: u64,
}

impl Table {
    /// Room for eight times `sets` keys; `sets` is a power of two.
    pub fn new(sets: usize, seed: u64) -> Self {
        debug_assert!(sets.is_power_of_two());
        Self { sets: (0..sets).map(|_| Set::default()).collect(), seed }
    }

    /// What it takes of memory.
    #[cfg(test)]
    pub fn bytes(&self) -> usize {
        std::mem::size_of_val(&*self.sets)
    }

    /// What `key` owes; a key that is new owes nothing.
    pub fn due(&self, key: u64) -> &AtomicU64 {
        // One to one, but for the two keys that share 1, because 0 is nobody.
        let key = (key ^ self.seed).max(1);
        let spread = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let Set(slots) = &self.sets[spread as usize & (self.sets.len() - 1)];
        let found = || slots.iter().find(|slot| slot.key.load(Relaxed) == key);
        if let Some(slot) = found() {
            return &slot.due;
        }
        loop {
            // Chosen before the key is looked for once more: a slot that another thread takes for it meanwhile is either
            // found below or fails the exchange, so that one key does not get two.
            let slots = slots.iter().map(|slot| (slot.due.load(Acquire), slot.key.load(Relaxed), slot));
            let Some((owed, before, slot)) = slots.min_by_key(|(owed, ..)| *owed) else {
                unreachable!("a set has slots")
            };
            if let Some(slot) = found() {
                return &slot.due;
            }
            if slot.key.compare_exchange(before, key, Relaxed, Relaxed).is_ok() {
                // Only what the key before it owed is forgotten: from here on other threads count in this slot.
                let _ = slot.due.compare_exchange(owed, 0, Relaxed, Relaxed);
                return &slot.due;
            }
        }
    }
}
