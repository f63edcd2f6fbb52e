//! The parts of a `TrafficPolicy`: what each becomes, and what mistakes are told.
//!
//! A module for each part; documents as wholes are in the target `documents`.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod balancers;
mod checks;
mod limits;
mod resilience;

use weft_discovery::translate::{Object, translate};
use weft_model::TrafficPolicy;

/// What a policy with this in its `spec` says, or every fault in it.
fn read(given: &str) -> Result<TrafficPolicy, Vec<String>> {
    let yaml = format!(
        "{{apiVersion: weft.dev/v1alpha1, kind: TrafficPolicy, metadata: {{name: x, namespace: shop}}, \
         spec: {{targetRefs: [{{kind: Service, name: cart}}], {given}}}}}"
    );
    match translate(&yaml, "weft.local") {
        Ok(mut all) => match all.remove(0).object {
            Object::Policy { policy, .. } => Ok(*policy),
            _ => panic!("it is a policy"),
        },
        Err(faults) => Err(faults.iter().map(ToString::to_string).collect()),
    }
}
