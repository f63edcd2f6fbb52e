//! Why a part of the mesh is not there.
//!
//! What failed to start brings the end of its log along, so that nobody has to look for it.

use std::time::Duration;

/// How long a part may take to come up.
pub const START_LIMIT: Duration = Duration::from_secs(20);

/// Why a part of the mesh is not there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Pods(#[from] crate::pods::Error),
    #[error("{what} is not ready after {waited:?}: {said}\n{log}")]
    NotReady { what: String, waited: Duration, said: String, log: String },
    #[error("{what} ended: {status}\n{log}")]
    Ended { what: String, status: String, log: String },
    #[error("{0} is neither in WEFT_BIN_DIR nor beside this program; build it first (cargo build --bins)")]
    NoBinary(String),
    #[error("`weftctl {command}` said nothing that can be used: {output}")]
    Answer { command: String, output: String },
}
