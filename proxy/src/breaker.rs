//! Circuit breaking: what one proxy has under way with a service, and whether there may be more.
//!
//! Asked by `plan` for requests and retries and by `cluster` for connections and requests that wait for one, if the policy has
//! `circuitBreaker`. Counted for all workers together with atomic numbers: no request waits for another. Refuses at once, so that
//! a service that has become slow costs its clients no more than the bound.

use crate::error::{Failure, Limit};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use weft_model::ServiceName;

/// The breakers of all services. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Breakers(Arc<Mutex<HashMap<ServiceName, Weak<Counts>>>>);

impl Breakers {
    /// The breaker of `service`, the same for all workers.
    pub fn of(&self, service: &ServiceName) -> Breaker {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counts) = all.get(service).and_then(Weak::upgrade) {
            return Breaker(counts);
        }
        all.retain(|_, counts| counts.strong_count() > 0);
        let counts = Arc::default();
        all.insert(service.clone(), Arc::downgrade(&counts));
        Breaker(counts)
    }
}

#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU32,
    pending: AtomicU32,
    retries: AtomicU32,
    connections: AtomicU32,
}

impl Counts {
    fn of(&self, limit: Limit) -> &AtomicU32 {
        match limit {
            Limit::Requests => &self.requests,
            Limit::Pending => &self.pending,
            Limit::Retries => &self.retries,
            Limit::Connections => &self.connections,
        }
    }
}

/// What is under way with one service. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Breaker(Arc<Counts>);

/// A place among what is under way, for as long as the value lives.
#[derive(Debug)]
pub struct Permit {
    counts: Arc<Counts>,
    limit: Limit,
}

impl Breaker {
    /// One more under `limit`, unless there are `most` already. Without a bound nothing is counted.
    pub fn take(&self, limit: Limit, most: Option<NonZeroU32>) -> Result<Option<Permit>, Failure> {
        let Some(most) = most else { return Ok(None) };
        let more = |count: u32| (count < most.get()).then_some(count + 1);
        match self.0.of(limit).fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Ok(Some(Permit { counts: Arc::clone(&self.0), limit })),
            Err(_) => Err(Failure::CircuitOpen(limit)),
        }
    }
}

/// `weft_circuit_breaker`: read when somebody looks. Services that have nothing under a bound have no series, for without a bound
/// nothing is counted.
#[derive(Debug)]
pub struct BreakerGauge(pub Breakers);

impl Collector for BreakerGauge {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "What is under way with a service and bounded by its circuit breaker";
        let mut family = encoder.encode_descriptor("circuit_breaker", help, None, MetricType::Gauge)?;
        let all = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (service, counts) in all.iter().filter_map(|(service, counts)| Some((service, counts.upgrade()?))) {
            for (word, limit) in WORDS {
                let count = counts.of(limit).load(Ordering::Relaxed);
                if count > 0 {
                    let labels = [("service", service.to_string()), ("bound", word.to_owned())];
                    ConstGauge::new(i64::from(count)).encode(family.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }
}

const WORDS: [(&str, Limit); 4] = [
    ("requests", Limit::Requests),
    ("pending", Limit::Pending),
    ("retries", Limit::Retries),
    ("connections", Limit::Connections),
];

impl Drop for Permit {
    fn drop(&mut self) {
        self.counts.of(self.limit).fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn workers_share_a_services_breaker_and_services_do_not() {
        let breakers = Breakers::default();
        let [cart, search] = ["cart", "search"].map(|name| ServiceName::new("shop", name).unwrap());
        let (one, most) = (breakers.of(&cart), NonZeroU32::new(1));
        let held = one.take(Limit::Requests, most).unwrap();
        let refused = breakers.of(&cart).take(Limit::Requests, most);
        assert_eq!(refused.unwrap_err(), Failure::CircuitOpen(Limit::Requests));
        assert!(breakers.of(&cart).take(Limit::Retries, most).is_ok(), "another limit");
        assert!(breakers.of(&search).take(Limit::Requests, most).is_ok(), "another service");
        let mut registry = weft_telemetry::metrics::Registry::new("weft-proxy", "1.2.3");
        registry.register_collector(BreakerGauge(breakers.clone()));
        let text = registry.encode().unwrap();
        assert!(text.contains("weft_circuit_breaker{service=\"cart.shop\",bound=\"requests\"} 1\n"), "{text}");
        assert_eq!(text.matches("weft_circuit_breaker{").count(), 1, "{text}");
        drop(held);
        assert!(breakers.of(&cart).take(Limit::Requests, most).is_ok());
        drop(one);
        breakers.of(&search);
        assert_eq!(breakers.0.lock().unwrap().len(), 1, "what nobody uses is forgotten");
    }

    proptest! {
        /// Never more than the bound, and never refused below it.
        #[test]
        fn the_bound_holds(most in 1u32..20, steps in prop::collection::vec(any::<bool>(), 0..200)) {
            let (breaker, mut held) = (Breaker::default(), Vec::new());
            for come in steps {
                if come {
                    let permit = breaker.take(Limit::Requests, NonZeroU32::new(most));
                    prop_assert_eq!(permit.is_ok(), held.len() < most as usize);
                    held.extend(permit.ok().flatten());
                } else {
                    held.pop();
                }
            }
        }
    }
}
