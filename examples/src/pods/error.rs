//! Why a pod, or something in it, could not be made.
//!
//! Every step names itself, so that the message alone says what to look at.

use std::io;

/// Why a pod, or something in it, could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    #[error("`{command}` failed: {output}")]
    Command { command: String, output: String },
    #[error("{0:?} is no name for a pod: use 1 to 40 lower-case letters, digits and '-'")]
    Name(String),
    #[error("the network already has a pod {0:?}")]
    Taken(String),
    #[error("waited {waited:.1?} in vain: {what}")]
    Deadline { what: String, waited: std::time::Duration },
    #[error("the process is about to end")]
    Closing,
}

impl Error {
    /// Names the step in which an operating system call failed.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what: what.into(), source }
    }
}
