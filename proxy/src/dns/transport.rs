//! How a query came, which bounds how long its answer may be and how it is handed on.
//!
//! Below everything else of the name server, which all speaks of it.

/// UDP loses what is too long; TCP carries any answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}
