//! Which endpoint serves a request: the load each has ([`load`]) and the choice between them ([`p2c`]).
//!
//! Pure decisions over one worker's own observations; time and chance are handed in.

pub mod load;
pub mod p2c;

pub use load::Load;
pub use p2c::{Candidate, choose};
