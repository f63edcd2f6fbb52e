//! Which endpoint serves a request: the load each has ([`load`]), the choice between them, and who is admitted to it.
//!
//! Pure decisions over one worker's own observations; time and chance are handed in. [`chooser`] puts together what a
//! service's policy asks for; the other files are one balancer, or one question, each.

pub mod chooser;
pub mod p2c;
pub mod robin;
pub mod ring;
pub mod maglev;
pub mod subset;
pub mod draw;
pub mod hash;
pub mod load;
pub mod eject;

pub use chooser::{Candidate, Chooser, Member};
pub use load::Load;
