//! The control plane's parts, in the order in which a document travels: source, store, registry, stream.
//!
//! A library so that tests can hold the parts one by one; `main.rs` only starts it.

pub mod run;
pub mod replica;
pub mod config;
pub mod listen;
pub mod rpc;
pub mod metrics;
pub mod admin;
pub mod leader;
pub mod kubernetes;
pub mod apply;
pub mod register;
pub mod translate;
pub mod addresses;
pub mod record;
pub mod counted;
pub mod store;
pub mod registry;
pub mod serve;
pub mod authority;
