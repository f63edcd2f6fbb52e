//! The kinds of traffic, and where the server takes each.
//!
//! Below everything: contenders say where a client dials a kind, the server listens for it.

/// A kind of traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    Http1,
    /// With prior knowledge.
    Http2,
    Tcp,
}

impl Traffic {
    pub const ALL: [Self; 3] = [Self::Http1, Self::Http2, Self::Tcp];

    /// Where the server listens, one port after the other.
    pub const fn port(self) -> u16 {
        8080 + self as u16
    }
}
