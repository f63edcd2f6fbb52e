//! What is measured: one file per scenario.
//!
//! A scenario says what travels and how much of it at once; contenders and the load generator do the rest. To add one, write
//! its file and name it in [`all`].

mod load;
mod http1_small;

pub use load::Scenario;

pub fn all() -> Vec<Scenario> {
    vec![http1_small::scenario()]
}

pub fn names() -> String {
    all().iter().map(|scenario| scenario.name).collect::<Vec<_>>().join(", ")
}
