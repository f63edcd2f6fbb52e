//! Whether the program can do its work: a set of named conditions, all of which must hold.
//!
//! Set by the parts that know, read by `/readyz`. A condition that is required and never met keeps the program unready,
//! with the reason it was last given.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The conditions of one program; clones share them. No conditions: ready.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<BTreeMap<&'static str, Option<String>>>>);

/// One condition, held by the part that knows about it.
#[derive(Debug, Clone)]
pub struct Condition {
    name: &'static str,
    all: Readiness,
}

impl Readiness {
    /// Adds a condition that is not met yet, because of `reason`.
    pub fn require(&self, name: &'static str, reason: &str) -> Condition {
        self.set(name, Some(reason.to_owned()));
        Condition { name, all: self.clone() }
    }

    /// The conditions that are not met, each with its reason.
    pub fn unmet(&self) -> Vec<(&'static str, String)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter_map(|(name, reason)| Some((*name, reason.clone()?))).collect()
    }

    fn set(&self, name: &'static str, reason: Option<String>) {
        // Each change is one insertion, so that a map whose holder panicked is sound.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name, reason);
    }
}

impl Condition {
    pub fn met(&self) {
        self.all.set(self.name, None);
    }

    pub fn unmet(&self, reason: &str) {
        self.all.set(self.name, Some(reason.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_conditions_have_to_hold() {
        let readiness = Readiness::default();
        assert!(readiness.unmet().is_empty());
        let (one, two) = (readiness.require("store", "not read yet"), readiness.require("leader", "unknown"));
        one.met();
        assert_eq!(readiness.unmet(), [("leader", "unknown".to_owned())]);
        two.met();
        one.unmet("connection lost");
        assert_eq!(readiness.unmet(), [("store", "connection lost".to_owned())]);
    }
}
