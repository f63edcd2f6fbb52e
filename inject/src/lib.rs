//! What becomes of a pod that is to join the mesh: whether it gets a sidecar, and the JSON Patch that gives it one.
//!
//! Pure: a pod goes in as JSON, a verdict comes out. The webhook (`weft-injector`) and the command line (`weftctl inject`)
//! both ask [`inject`], so that a pod is the same whichever of them saw it first. Fails only with a [`Refusal`], which names
//! every fault of the pod at once.

pub mod names;
pub mod refusal;
pub mod quantity;
pub mod annotations;
pub mod settings;
pub mod decide;
pub mod probes;
pub mod sidecar;
pub mod patch;
pub mod remove;
pub mod documents;
pub mod yaml;

pub use decide::{Decision, Namespace, Skip};
pub use patch::{Outcome, inject};
pub use refusal::Refusal;
pub use remove::remove;
pub use settings::{Flags, Settings};
