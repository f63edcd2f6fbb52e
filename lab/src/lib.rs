//! What other measurements of ours show their figures with as well.
//!
//! The laboratory itself is the program; these are the parts of it that know nothing of balancers.

pub mod chart;
pub mod page;
