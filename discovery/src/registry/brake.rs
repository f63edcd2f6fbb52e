//! The brake: keeps a service's last good endpoints for a while when most of them vanish at once.
//!
//! Asked by `state` for every endpoint that was lost, that is: whose lease ran out, or that was missing when the store was read
//! again. What was withdrawn on purpose never comes here and is gone at once. Pure; time is given.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};
use weft_model::{Endpoint, ServiceName};

/// When the brake goes on, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrakeSettings {
    /// Services with fewer endpoints are never braked: of two, losing one or both is an everyday event.
    pub min_endpoints: usize,
    /// The brake goes on when more than this share of the endpoints, in percent, is lost ...
    pub share_percent: usize,
    /// ... within this time, because leases that lapse for one reason do not lapse in one moment.
    pub window: Duration,
    /// How long an endpoint that was lost is kept.
    pub grace: Duration,
}

impl Default for BrakeSettings {
    fn default() -> Self {
        Self { min_endpoints: 4, share_percent: 50, window: Duration::from_secs(10), grace: Duration::from_secs(30) }
    }
}

pub(super) struct Brake {
    settings: BrakeSettings,
    losses: HashMap<ServiceName, Losses>,
}

#[derive(Default)]
struct Losses {
    /// Whether these endpoints are still shown.
    on: bool,
    lost: BTreeMap<String, (Endpoint, Instant)>,
}

impl Brake {
    pub(super) fn new(settings: BrakeSettings) -> Self {
        Self { settings, losses: HashMap::new() }
    }

    /// An endpoint was lost, and `left` are there without it. `true`: the brake has just gone on.
    pub(super) fn lost(&mut self, endpoint: Endpoint, left: usize, now: Instant) -> bool {
        let settings = &self.settings;
        let losses = self.losses.entry(endpoint.service.clone()).or_default();
        if !losses.on {
            losses.lost.retain(|_, (_, at)| *at + settings.window > now);
        }
        losses.lost.insert(endpoint.id.clone(), (endpoint, now));
        let (lost, all) = (losses.lost.len(), losses.lost.len() + left);
        let goes_on = !losses.on && all >= settings.min_endpoints && lost * 100 > all * settings.share_percent;
        losses.on |= goes_on;
        goes_on
    }

    /// An endpoint is back, or was withdrawn on purpose.
    pub(super) fn settled(&mut self, service: &ServiceName, id: &str) {
        if let Some(losses) = self.losses.get_mut(service) {
            losses.lost.remove(id);
            if losses.lost.is_empty() {
                self.losses.remove(service);
            }
        }
    }

    /// What the brake keeps of a service.
    pub(super) fn kept(&self, service: &ServiceName) -> impl Iterator<Item = &Endpoint> {
        let losses = self.losses.get(service).filter(|losses| losses.on);
        losses.into_iter().flat_map(|losses| losses.lost.values().map(|(endpoint, _)| endpoint))
    }

    /// Lets go of what was kept long enough and says whose endpoints these were.
    pub(super) fn pass(&mut self, now: Instant) -> Vec<ServiceName> {
        let settings = &self.settings;
        let mut released = Vec::new();
        self.losses.retain(|service, losses| {
            let (before, time) = (losses.lost.len(), if losses.on { settings.grace } else { settings.window });
            losses.lost.retain(|_, (_, at)| *at + time > now);
            if losses.on && losses.lost.len() < before {
                released.push(service.clone());
            }
            !losses.lost.is_empty()
        });
        released
    }

    /// When [`Brake::pass`] has something to do.
    pub(super) fn next(&self) -> Option<Instant> {
        let end = |losses: &Losses| {
            let time = if losses.on { self.settings.grace } else { self.settings.window };
            losses.lost.values().map(|(_, at)| *at + time).min()
        };
        self.losses.values().filter_map(end).min()
    }

    /// The services that are braked, in no particular order.
    pub(super) fn on(&self) -> impl Iterator<Item = &ServiceName> {
        self.losses.iter().filter(|(_, losses)| losses.on).map(|(service, _)| service)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(id: usize) -> Endpoint {
        let service = ServiceName::new("shop", "cart").unwrap();
        let addresses = vec!["10.0.0.1".parse().unwrap()];
        let ports = BTreeMap::new();
        let (weight, state) = (1, weft_model::EndpointState::Ready);
        Endpoint {
            id: id.to_string(),
            service,
            addresses,
            ports,
            weight,
            zone: None,
            node: None,
            hints: Default::default(),
            hostname: None,
            priority: 0,
            location: None,
            identity: None,
            state,
        }
    }

    fn kept(brake: &Brake) -> Vec<&str> {
        brake.kept(&endpoint(0).service).map(|e| e.id.as_str()).collect()
    }

    #[test]
    fn goes_on_when_more_than_half_is_lost_within_the_window() {
        let start = Instant::now();
        let mut brake = Brake::new(BrakeSettings::default());
        assert!(!brake.lost(endpoint(0), 3, start));
        assert!(!brake.lost(endpoint(1), 2, start));
        assert_eq!(kept(&brake), [""; 0], "half is not more than half");
        assert!(brake.lost(endpoint(2), 1, start + Duration::from_secs(9)));
        assert_eq!(kept(&brake), ["0", "1", "2"]);
        assert!(!brake.lost(endpoint(3), 0, start + Duration::from_secs(20)), "it is on already");
        assert_eq!((kept(&brake).len(), brake.on().count()), (4, 1));
    }

    #[test]
    fn stays_off_for_losses_far_apart_and_for_small_services() {
        let start = Instant::now();
        let mut brake = Brake::new(BrakeSettings::default());
        for i in 0..4 {
            assert!(!brake.lost(endpoint(i), 3 - i, start + Duration::from_secs(11 * i as u64)));
        }
        let mut brake = Brake::new(BrakeSettings::default());
        for i in 0..3 {
            assert!(!brake.lost(endpoint(i), 2 - i, start));
        }
        assert_eq!(kept(&brake), [""; 0]);
        assert_eq!(brake.pass(start + Duration::from_secs(10)), []);
        assert_eq!(brake.next(), None);
    }

    #[test]
    fn lets_go_after_the_grace_time_or_when_the_matter_is_settled() {
        let start = Instant::now();
        let mut brake = Brake::new(BrakeSettings::default());
        for i in 0..4 {
            brake.lost(endpoint(i), 3 - i, start);
        }
        brake.settled(&endpoint(0).service, "1");
        assert_eq!(kept(&brake), ["0", "2", "3"]);
        assert_eq!(brake.next(), Some(start + Duration::from_secs(30)));
        assert_eq!(brake.pass(start + Duration::from_secs(29)), []);
        assert_eq!(brake.pass(start + Duration::from_secs(30)), [endpoint(0).service]);
        assert_eq!((kept(&brake), brake.on().count()), (vec![], 0));
    }
}
