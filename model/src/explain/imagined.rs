//! What `weftctl explain` asks about, and the answer that the mesh itself would give.
//!
//! Data for both questions: what a client's proxy would do, and whether the endpoint's lets it in.

use serde::{Deserialize, Serialize};

/// A request that nobody sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imagined {
    pub method: String,
    /// Where it is sent: a name or an address, without brackets.
    pub host: String,
    pub port: u16,
    /// Without the query.
    pub path: String,
    /// Without the question mark.
    pub query: String,
    /// Names in lower case; `host` is among them.
    pub headers: Vec<(String, String)>,
}

/// An answer of the mesh's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub status: u16,
    /// The word in `weft-reason`.
    pub reason: String,
    pub text: String,
}
