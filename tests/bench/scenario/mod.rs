//! What is measured: one file per scenario.
//!
//! A scenario says what travels and which figures come of it; contenders and load generators do the rest. To add one, write its
//! file and name it in [`all`].

mod kind;
mod closed;
mod http1_small;
mod http2;
mod tcp;
mod paced;
mod churn;
mod memory;

pub use kind::Scenario;

pub fn all() -> Vec<Scenario> {
    vec![
        http1_small::scenario(),
        http2::scenario(),
        tcp::scenario(),
        paced::scenario(),
        churn::scenario(),
        memory::scenario(),
    ]
}

pub fn names() -> String {
    all().iter().map(|scenario| scenario.name).collect::<Vec<_>>().join(", ")
}
