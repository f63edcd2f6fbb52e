//! What is measured: one file per scenario.
//!
//! A scenario says what travels and how much of it at once; contenders and the load generator do the rest. To add one, write
//! its file and name it in [`all`].

mod http1_small;

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

pub fn all() -> Vec<Scenario> {
    vec![http1_small::scenario()]
}

pub fn names() -> String {
    all().iter().map(|scenario| scenario.name).collect::<Vec<_>>().join(", ")
}
