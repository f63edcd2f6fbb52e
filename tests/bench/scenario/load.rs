//! What a scenario has to say: what travels, and how much of it at once.
//!
//! Below the scenarios, which each fill one in; data without behaviour.

/// One kind of load.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub name: &'static str,
    /// A sentence for people.
    pub about: &'static str,
    /// Open at the same time, kept alive.
    pub connections: u32,
    /// Bytes in a request's body.
    pub request_body: usize,
    /// Bytes in a response's body.
    pub response_body: usize,
}
