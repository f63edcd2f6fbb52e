//! What is measured: one file per scenario.
//!
//! A scenario says what travels and which figures come of it; contenders and load generators do the rest. To add one, write its
//! file and name it in [`all`].

mod kind;
mod closed;
mod http1_small;
mod http2;
mod grpc_streaming;
mod tcp;
mod http1_large;
mod paced;
mod churn;
mod churn_tcp;
mod features;
mod memory;

pub use kind::Scenario;

pub fn all() -> Vec<Scenario> {
    vec![
        http1_small::scenario(),
        http2::scenario(),
        grpc_streaming::scenario(),
        tcp::scenario(),
        http1_large::scenario(),
        paced::scenario(),
        churn::scenario(),
        churn_tcp::scenario(),
        churn_tcp::full(),
        features::scenario(),
        memory::scenario(),
    ]
}

pub fn names() -> String {
    all().iter().map(|scenario| scenario.name).collect::<Vec<_>>().join(", ")
}
