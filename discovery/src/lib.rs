//! The control plane's parts, in the order in which a document travels: source, store, registry, stream.
//!
//! A library so that tests can hold the parts one by one; `main.rs` only starts it.

pub mod translate;
pub mod record;
pub mod store;
