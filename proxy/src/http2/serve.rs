//! Serves one HTTP/2 client connection: every stream a task of its own on this worker.
//!
//! Draining sends GOAWAY and lets open streams end. Malformed input is answered by the `h2` crate with the code that RFC
//! 9113 asks for; floods of resets or pings are bounded there, too.

use super::exchange;
use crate::conn::Conn;
use crate::connect::http2::{CONNECTION_WINDOW, STREAM_WINDOW};
use crate::plan::Story;
use bytes::Bytes;
use std::rc::Rc;
use tokio::time::timeout;

/// Streams one client connection may have open at once.
const MAX_STREAMS: u32 = 1024;
/// Where the type of the first frame stands: behind the preface's 24 bytes and the frame's length.
const FIRST_TYPE: usize = 24 + 3;
const SETTINGS: u8 = 4;

/// Serves `client` until it leaves, fails, or draining has ended its last stream.
pub async fn serve(story: Rc<impl Story + 'static>, mut client: Conn) -> Result<(), h2::Error> {
    let limits = *story.limits();
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(limits.max_head.try_into().unwrap_or(u32::MAX))
        .max_send_buffer_size(STREAM_WINDOW as usize);
    let handshake = async {
        begins_with_settings(&mut client).await?;
        builder.handshake::<_, Bytes>(client).await
    };
    let slow = || h2::Error::from(h2::Reason::SETTINGS_TIMEOUT);
    let mut connection = timeout(limits.header_timeout, handshake).await.map_err(|_| slow())??;
    let mut leaving = false;
    loop {
        tokio::select! {
            biased;
            accepted = connection.accept() => match accepted {
                None => return Ok(()),
                Some(stream) => {
                    let (request, respond) = stream?;
                    let story = Rc::clone(&story);
                    tokio::task::spawn_local(async move { exchange::serve(&*story, request, respond).await });
                }
            },
            () = story.wait_draining(), if !leaving => {
                leaving = true;
                connection.graceful_shutdown();
            }
        }
    }
}

/// The first frame after the preface has to be SETTINGS (RFC 9113 section 3.4), which `h2` does not insist on.
async fn begins_with_settings(client: &mut Conn) -> Result<(), h2::Error> {
    while client.buf.len() <= FIRST_TYPE {
        if !matches!(client.fill(4 * 1024).await, Ok(n) if n > 0) {
            return Err(h2::Reason::PROTOCOL_ERROR.into());
        }
    }
    match client.buf[FIRST_TYPE] {
        SETTINGS => Ok(()),
        _ => Err(h2::Reason::PROTOCOL_ERROR.into()),
    }
}
