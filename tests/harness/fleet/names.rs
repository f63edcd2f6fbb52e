//! What everything in a fleet is called.
//!
//! Below all of its parts.

/// The namespace of all that a fleet is about.
pub const NAMESPACE: &str = "fleet";

/// The `n`th service.
pub fn service(n: usize) -> String {
    format!("service-{n}")
}
