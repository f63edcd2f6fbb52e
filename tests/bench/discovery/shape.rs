//! How large the world is, who subscribes to what, and how long it is looked at.
//!
//! Pure. Each service has about as many subscribers as any other, and none fewer than another by more than one.

use std::fmt;
use std::time::Duration;
use weft_tests::fleet;

/// Of each service.
pub const ENDPOINTS: usize = 10;
/// Services that one proxy is subscribed to.
const SUBSCRIPTIONS: usize = 20;
/// Services whose endpoints change, at most: more would only be more leases.
const CHANGING: usize = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub services: usize,
    pub proxies: usize,
    /// Subscriptions go to the first of the services, and so do changes.
    pub subscribed: usize,
    /// Changes per second.
    pub rate: u32,
    /// How long changes are made.
    pub window: Duration,
    /// How long nothing happens before.
    pub idle: Duration,
}

impl Shape {
    /// Everything is subscribed to.
    pub fn full(services: usize, proxies: usize, rate: u32, quick: bool) -> Self {
        let (window, idle) = if quick { (10, 5) } else { (30, 10) };
        let seconds = Duration::from_secs;
        let subscribed = services.min(CHANGING);
        Self { services, proxies, subscribed, rate, window: seconds(window), idle: seconds(idle) }
    }

    /// The same streams and changes in a world of any size: what is different comes of the size alone.
    pub fn growth(services: usize, rate: u32, quick: bool) -> Self {
        let window = Duration::from_secs(if quick { 5 } else { 15 });
        Self { services, proxies: 100, subscribed: 100, rate, window, idle: Duration::from_secs(5) }
    }

    /// How many changes are made.
    pub fn changes(&self) -> usize {
        self.rate as usize * self.window.as_secs() as usize
    }

    /// Subscriptions of one proxy.
    fn each(&self) -> usize {
        SUBSCRIPTIONS.min(self.subscribed)
    }

    /// Who is subscribed to any of the services that change: a whole number, for every change is to be heard by as many.
    pub fn listeners(&self) -> u32 {
        (self.proxies * self.each() / self.subscribed) as u32
    }

    /// The services of each proxy: one stretch after the other of a ring.
    pub fn subscriptions(&self) -> Vec<Vec<String>> {
        let each = self.each();
        let service = |place: usize| fleet::service(place % self.subscribed);
        (0..self.proxies).map(|proxy| (proxy * each..(proxy + 1) * each).map(service).collect()).collect()
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { services, proxies, rate, .. } = self;
        let (each, listeners) = (self.each(), self.listeners());
        write!(
            f,
            "{services} services x {ENDPOINTS} endpoints, {proxies} proxies with {each} subscriptions each, \
             {rate} changes/s of which {listeners} proxies hear each"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn every_change_is_heard_by_as_many() {
        for shape in [Shape::full(1_000, 1_000, 100, false), Shape::growth(10_000, 100, true)] {
            let mut listeners = BTreeMap::<String, u32>::new();
            for services in shape.subscriptions() {
                assert_eq!(services.len(), SUBSCRIPTIONS);
                services.into_iter().for_each(|service| *listeners.entry(service).or_default() += 1);
            }
            assert_eq!(listeners.len(), shape.subscribed);
            assert!(listeners.values().all(|count| *count == shape.listeners()), "{shape}");
        }
    }
}
