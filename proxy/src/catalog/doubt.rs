//! Which services are asked for afresh because an endpoint could not be reached again and again.
//!
//! Pure. Workers report what they meet, discovery is asked at most every so often for each service, so that an endpoint that is
//! gone, but whose removal went astray, cannot live for ever, and one that is merely down costs next to nothing.

use std::collections::HashMap;
use std::time::{Duration, Instant};
use weft_model::ServiceName;

/// The least time between two such questions about a service.
const AFRESH_EVERY: Duration = Duration::from_secs(10);

/// When services were asked for afresh.
#[derive(Debug, Default)]
pub struct Doubts {
    asked: HashMap<ServiceName, Instant>,
}

impl Doubts {
    /// Whether `name` is to be asked for afresh at `now`.
    pub fn ask(&mut self, name: &ServiceName, now: Instant) -> bool {
        let recent = |asked: &Instant| now.saturating_duration_since(*asked) < AFRESH_EVERY;
        if self.asked.get(name).is_some_and(recent) {
            return false;
        }
        self.asked.retain(|_, asked| recent(asked));
        self.asked.insert(name.clone(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_asked_for_once_in_a_while() {
        let (mut doubts, start) = (Doubts::default(), Instant::now());
        let [cart, search] = ["cart", "search"].map(|name| ServiceName::new("shop", name).unwrap());
        assert!(doubts.ask(&cart, start) && doubts.ask(&search, start));
        assert!(!doubts.ask(&cart, start + AFRESH_EVERY / 2));
        assert!(doubts.ask(&cart, start + AFRESH_EVERY));
        assert_eq!(doubts.asked.len(), 1, "what has run out is forgotten");
    }
}
