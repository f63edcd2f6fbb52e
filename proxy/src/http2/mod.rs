//! HTTP/2: connections from clients ([`serve`]), and one request on its way from a client's stream to an endpoint's
//! ([`exchange`]). The protocol itself is the `h2` crate's; what is decided here is where a stream goes and how it ends.

pub mod body;
pub mod exchange;
pub mod mirror;
pub mod rewrite;
pub mod serve;
pub mod view;
