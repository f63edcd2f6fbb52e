//! A name server on the node that knows no names: NXDOMAIN, whatever is asked.
//!
//! What a pod's resolv.conf points at answers at once, as on any machine, so that a resolver tries its next search domain
//! without waiting. Queries that are not whole are dropped.

use super::error::Error;
use super::pod::Pod;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How soon the server notices that it is to end.
const LOOK_UP: Duration = Duration::from_millis(50);
/// The largest query anybody sends over UDP.
const LONGEST: usize = 4096;

/// Answers until it is dropped.
#[derive(Debug)]
pub struct NameServer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    /// Serves port 53 (UDP) of `node`, the address that every pod's resolv.conf names.
    pub fn start(node: &Pod) -> Result<Self, Error> {
        let failed = || Error::io("serve names on the node");
        let socket = node.within(|| UdpSocket::bind((node.ip(), 53))).map_err(failed())?.map_err(failed())?;
        socket.set_read_timeout(Some(LOOK_UP)).map_err(failed())?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut query = [0; LONGEST];
            while !told.load(Ordering::Relaxed) {
                // Errors are the timeout, or that an earlier client has gone.
                let Ok((length, client)) = socket.recv_from(&mut query) else { continue };
                if let Some(answer) = unknown(&query[..length]) {
                    let _ = socket.send_to(&answer, client);
                }
            }
        });
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The question again, with the header of a negative answer (RFC 1035 section 4.1).
fn unknown(query: &[u8]) -> Option<Vec<u8>> {
    let mut end = 12;
    loop {
        match usize::from(*query.get(end)?) {
            0 => break,
            label if label < 64 => end += 1 + label,
            // Nobody compresses a question.
            _ => return None,
        }
    }
    let mut answer = query.get(..end + 5)?.to_vec();
    answer[2] = 0x80 | (answer[2] & 0x79);
    answer[3] = 0x80 | 3;
    answer[4..12].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_comes_back_as_unknown_and_fragments_do_not() {
        let query =
            b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x01a\x02bc\x00\x00\x1c\x00\x01\x00\x00\x29\x04\xd0";
        let answer = unknown(query).unwrap();
        assert_eq!(answer, b"\x12\x34\x81\x83\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x02bc\x00\x00\x1c\x00\x01");
        for length in 0..21 {
            assert_eq!(unknown(&query[..length]), None, "{length}");
        }
    }
}
