//! Starts HTTP/2 on a connection to an endpoint. Knows nothing of requests, which share the connection later.
//!
//! Between `connect`, which has reached the endpoint, and the pool, which keeps what is opened. Fails with what the `h2`
//! crate's error means before a response head has come: only then is another try a question at all.

use crate::conn::Conn;
use crate::error::Failure;
use bytes::Bytes;
use h2::client::SendRequest;

/// Windows, the same towards clients and endpoints: wide enough for a stream at several GB/s over loopback round trips,
/// small enough to bound a slow reader.
pub const STREAM_WINDOW: u32 = 256 * 1024;
pub const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// What one stream may hold in the send buffer before its source has to wait.
const SEND_BUFFER: usize = 256 * 1024;

/// Starts HTTP/2 on a connection to an endpoint; its driver runs on this worker until the connection ends.
pub async fn open(conn: Conn) -> Result<SendRequest<Bytes>, Failure> {
    let (sender, driver) = h2::client::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(64 * 1024)
        .enable_push(false)
        .handshake::<_, Bytes>(conn)
        .await
        .map_err(|error| failure(&error))?;
    tokio::task::spawn_local(async move {
        if let Err(error) = driver.await {
            tracing::debug!(%error, "upstream HTTP/2 connection ended");
        }
    });
    Ok(sender)
}

/// What an error of an upstream stream means before its response head has come.
pub fn failure(error: &h2::Error) -> Failure {
    match error.reason() {
        Some(h2::Reason::REFUSED_STREAM) => Failure::RefusedStream,
        Some(_) if error.is_go_away() && error.is_remote() => Failure::GoAway,
        _ => Failure::ResetBeforeResponse,
    }
}
