//! Waiting for a condition, never for a length of time.
//!
//! Used wherever something starts, ends or spreads. Fails at the deadline, naming what was waited for.

use super::error::Error;
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

/// Pauses between two looks: short at first, since most things happen soon.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// Calls `look` until it returns something, and that at least once. Blocks the thread.
pub fn poll_until<T>(deadline: Instant, what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T, Error> {
    let started = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            return Err(Error::Deadline { what: what.to_owned(), waited: started.elapsed() });
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// [`poll_until`] for tasks.
pub async fn poll_until_async<T, F: Future<Output = Option<T>>>(
    deadline: Instant,
    what: &str,
    mut look: impl FnMut() -> F,
) -> Result<T, Error> {
    let started = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        if let Some(found) = look().await {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            return Err(Error::Deadline { what: what.to_owned(), waited: started.elapsed() });
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// A TCP port of the machine's own loopback that was free a moment ago. Inside pods every port is free: choose there.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
