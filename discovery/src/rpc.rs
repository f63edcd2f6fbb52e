//! What every gRPC service here has in common: who calls, how a failure of the store is told, how times are written.
//!
//! The listener puts a [`Caller`] on every request; its identity comes from the verified client certificate and from
//! nowhere else.

use crate::store::StoreError;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};
use tonic::{Request, Status};
use weft_model::SpiffeId;

/// Who is at the other end of the connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Caller {
    /// `None` on the unix socket.
    pub address: Option<SocketAddr>,
    /// `None`: no client certificate was shown.
    pub identity: Option<SpiffeId>,
    /// The client certificate's serial number, as the ledger writes it.
    pub serial: Option<String>,
}

impl Caller {
    pub fn of<T>(request: &Request<T>) -> Self {
        request.extensions().get::<Caller>().cloned().unwrap_or_default()
    }

    /// The caller's identity, or the refusal for a caller without one.
    pub fn identity(self) -> Result<SpiffeId, Status> {
        let reason = "the connection shows no client certificate: certify first";
        self.identity.ok_or_else(|| Status::unauthenticated(reason))
    }
}

/// What a caller is told when the store refuses or fails.
pub fn store_status(error: StoreError) -> Status {
    let text = error.to_string();
    match error {
        StoreError::LeaseGone(_) => Status::not_found(text),
        StoreError::TooLarge { .. } | StoreError::Invalid(_) => Status::invalid_argument(text),
        StoreError::Unavailable(_) | StoreError::Compacted { .. } | StoreError::Open(_) => Status::unavailable(text),
    }
}

/// Seconds since the epoch, as the wire has them.
pub fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
