//! What active checks have found of each endpoint: a flag that all workers, and all versions of its service, share.
//!
//! Made with the snapshot for services whose policy asks for checks; set by `health`, read by every pick. An endpoint is
//! taken for healthy until checks have found otherwise, and again when it has moved.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use weft_model::ServiceView;

/// One endpoint's flag. Equal if it is the very same.
#[derive(Debug, Clone)]
pub struct Health(Arc<AtomicBool>);

impl Health {
    fn good() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }

    pub fn is_good(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub fn set(&self, good: bool) {
        self.0.store(good, Ordering::Relaxed);
    }
}

impl PartialEq for Health {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Flags by the endpoints' IDs.
pub(super) type Flags = HashMap<String, Health>;

/// Flags for the endpoints of `view`; those that `before` had, where it was the same endpoint checked in the same way.
pub(super) fn flags(view: &ServiceView, before: Option<(&ServiceView, &Flags)>) -> Flags {
    if view.policy.health_check.is_none() {
        return Flags::new();
    }
    let before = before.filter(|(old, _)| old.policy.health_check == view.policy.health_check);
    let kept = |id: &String| {
        let (old, flags) = before?;
        let same = old.endpoints.get(id)?.addresses == view.endpoints.get(id)?.addresses;
        flags.get(id).filter(|_| same).cloned()
    };
    view.endpoints.keys().map(|id| (id.clone(), kept(id).unwrap_or_else(Health::good))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::view;
    use super::*;
    use weft_model::health::{HealthCheck, Probe};

    fn checked() -> ServiceView {
        let mut view = view("shop/cart", &[("a", 1), ("b", 1)]);
        view.policy.health_check = Some(HealthCheck::of(Probe::Tcp));
        view
    }

    #[test]
    fn only_services_that_are_checked_have_flags() {
        assert_eq!(flags(&view("shop/cart", &[("a", 1)]), None), Flags::new());
        assert!(flags(&checked(), None).values().all(Health::is_good));
    }

    #[test]
    fn a_finding_is_kept_as_long_as_it_means_the_same() {
        let (view, other) = (checked(), HealthCheck::of(Probe::Grpc { service: String::new() }));
        let before = flags(&view, None);
        before["a"].set(false);
        let good = |next: &ServiceView| flags(next, Some((&view, &before)))["a"].is_good();
        let mut next = view.clone();
        next.endpoints.remove("b");
        next.endpoints.get_mut("a").unwrap().weight = 7;
        assert!(!good(&next));
        assert_eq!(flags(&next, Some((&view, &before)))["a"], before["a"]);
        next.endpoints.get_mut("a").unwrap().addresses = vec!["10.9.9.9".parse().unwrap()];
        assert!(good(&next), "it is another endpoint");
        let mut next = view.clone();
        next.policy.health_check = Some(other);
        assert!(good(&next), "it was another question");
    }
}
