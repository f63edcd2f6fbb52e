//! Which endpoint serves a request: the load each has ([`load`]), the choice between them, and who is admitted to it.
//!
//! Pure decisions over one worker's own observations; time and chance are handed in. [`chooser`] puts together what a
//! service's policy asks for; the other files are one balancer, or one question, each.

pub mod chooser;
mod admission;
mod standing;
mod failover;
mod hints;
mod part;
mod member;
pub mod p2c;
pub mod robin;
pub mod ring;
pub mod maglev;
pub mod prequal;
mod probed;
mod nearest;
pub mod subset;
pub mod draw;
pub mod hash;
pub mod load;
pub mod orca;
mod weights;
pub mod eject;

#[cfg(test)]
mod growth_tests;

pub use chooser::Chooser;
pub use hints::Followed;
pub use load::Load;
pub use member::{Candidate, Here, Member};
