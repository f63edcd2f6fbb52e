//! HTTP/1, forwarded byte for byte where nothing has to change. Written here because it is the hot path: a request without
//! a body costs one read and one write on each side; a connection between two requests costs next to no memory.
//!
//! `serve` (a client's connection) > `exchange` (one attempt), `hedge` (two at once), `mirror` (a copy) > `rewrite` (heads as they are passed on) > `pump` (one body), `scratch` (their memory) > `head`, `body` (what the bytes mean) >
//! `framing` (where a body ends).

pub mod serve;
pub mod view;
pub mod answer;
pub mod exchange;
pub mod hedge;
pub mod mirror;
pub mod rewrite;
pub mod pump;
pub mod scratch;
pub mod head;
pub mod body;
pub mod framing;
