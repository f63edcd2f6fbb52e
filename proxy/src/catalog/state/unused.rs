//! Which subscriptions end: what nobody has used for a while, and what has told nothing when there is too much of it.
//!
//! Part of [`State`]. What routes and addresses in use lead to is in use as well.

use super::super::Target;
use super::{Said, ServiceEntry, State, Wish};
use crate::catalog::snapshot::Usage;
use std::collections::HashSet;
use std::time::{Duration, Instant};
use weft_model::{Binding, ServiceName};

/// Subscriptions that nobody uses end after this time.
pub const UNUSED_LIMIT: Duration = Duration::from_secs(600);
/// Subscriptions whose answer is "unknown", or has not come: an application that dials all the world ends here. Discovery
/// ends streams with more than 10,000 subscriptions, so this leaves room for what is known.
pub const MAX_UNANSWERED: usize = 8_000;
/// How many of those are given up at once when there are too many.
pub(super) const EVICTED: usize = MAX_UNANSWERED / 10;

impl State {
    /// Ends what nobody has used for [`UNUSED_LIMIT`]. What routes and addresses in use lead to counts as used.
    pub fn sweep(&mut self, now: Instant) -> Vec<Wish> {
        let mut needed = Vec::new();
        let stale = |last_used: &mut Instant, usage: &Usage| {
            if usage.take() {
                *last_used = now;
            }
            now.saturating_duration_since(*last_used) >= UNUSED_LIMIT
        };
        let mut wishes = Vec::new();
        self.addresses.retain(|address, entry| {
            let keep = !stale(&mut entry.last_used, &entry.usage);
            match &entry.binding {
                Some(Binding::Service(service) | Binding::Endpoint { service, .. }) if keep => {
                    needed.push(service.clone())
                }
                _ if !keep => wishes.push(Wish::Unsubscribe(Target::Address(*address))),
                _ => {}
            }
            keep
        });
        for (name, entry) in &mut self.services {
            if !stale(&mut entry.last_used, &entry.usage) {
                needed.push(name.clone());
            }
        }
        let needed = self.with_backends(needed);
        self.services.retain(|name, _| {
            let keep = needed.contains(name);
            if !keep {
                wishes.push(Wish::Unsubscribe(Target::Service(name.clone())));
            }
            keep
        });
        wishes
    }

    /// `names` and all services that their routes lead to.
    fn with_backends(&self, mut names: Vec<ServiceName>) -> HashSet<ServiceName> {
        let mut all = HashSet::new();
        while let Some(name) = names.pop() {
            if let Some(ServiceEntry { said: Said::Known(known), .. }) = self.services.get(&name) {
                names.extend(known.view.led_to().filter(|backend| !all.contains(*backend)).cloned());
            }
            all.insert(name);
        }
        all
    }

    /// Keeps the number of subscriptions that have told nothing bounded, giving up those that were used longest ago.
    pub(super) fn evict(&mut self, wishes: &mut Vec<Wish>) {
        if self.subscriptions() <= MAX_UNANSWERED {
            return;
        }
        let nothing = |said: &Said| !matches!(said, Said::Known(_));
        // Counting first: collecting would allocate at every question.
        let services = self.services.values().filter(|entry| nothing(&entry.said)).count();
        let untold = |binding: &Option<Binding>| matches!(binding, None | Some(Binding::Unknown));
        let addresses = self.addresses.values().filter(|entry| untold(&entry.binding)).count();
        if services + addresses <= MAX_UNANSWERED {
            return;
        }
        let services = self.services.iter().filter(|(_, entry)| nothing(&entry.said));
        let services = services.map(|(name, entry)| (entry.last_used, Target::Service(name.clone())));
        let addresses = self.addresses.iter().filter(|(_, entry)| untold(&entry.binding));
        let addresses = addresses.map(|(address, entry)| (entry.last_used, Target::Address(*address)));
        let mut idle: Vec<(Instant, Target)> = services.chain(addresses).collect();
        idle.select_nth_unstable_by_key(EVICTED, |(last_used, _)| *last_used);
        for (_, target) in idle.into_iter().take(EVICTED) {
            match &target {
                Target::Service(name) => drop(self.services.remove(name)),
                Target::Address(address) => drop(self.addresses.remove(address)),
            }
            wishes.push(Wish::Unsubscribe(target));
        }
    }
}
