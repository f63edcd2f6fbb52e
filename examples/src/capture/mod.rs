//! What really goes over the wire between pods: a capture on the node, taken apart down to the TLS handshakes.
//!
//! Sees each frame between two pods once, follows the TCP streams it saw from their start and says what they carry. Traffic
//! with the node itself (discovery, probes) is not looked at. A frame that cannot be read is left out.

mod flow;
mod tls;

pub use flow::{Plaintext, Seen};

use crate::pods::{Error, Network, Pod};
use flow::Flows;
use nix::sys::socket::sockopt::{RcvBufForce, ReceiveTimeout};
use nix::sys::socket::{AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt, socket};
use nix::sys::time::{TimeVal, TimeValLike};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Room for the largest frame that segmentation offload makes.
const FRAME: usize = 128 * 1024;
/// The kernel's share, so that a moment without the processor loses nothing.
const BUFFER: usize = 32 * 1024 * 1024;
/// How long a capture that is told to stop still reads what had already arrived.
const LAST_LOOK: Duration = Duration::from_millis(200);

/// A capture that goes on until it is stopped or dropped.
#[derive(Debug)]
pub struct Capture {
    stop: Arc<AtomicBool>,
    reader: Option<JoinHandle<Seen>>,
}

impl Capture {
    /// Looks at all frames between the network's pods from now on.
    pub fn start(network: &Network) -> Result<Self, Error> {
        let node = network.node().clone();
        let failed = || Error::io("open a capture on the node");
        let socket = node.within(open).map_err(failed())?.map_err(|errno| failed()(errno.into()))?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let reader = std::thread::spawn(move || read(&socket, &node, &told));
        Ok(Self { stop, reader: Some(reader) })
    }

    /// Ends the capture and says what it saw.
    pub fn stop(mut self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.reader.take().and_then(|reader| reader.join().ok()).unwrap_or_default()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn open() -> nix::Result<OwnedFd> {
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)?;
    setsockopt(&socket, RcvBufForce, &BUFFER)?;
    // So that the reader looks up now and then, whether it is to stop.
    setsockopt(&socket, ReceiveTimeout, &TimeVal::milliseconds(50))?;
    Ok(socket)
}

fn read(socket: &OwnedFd, node: &Pod, told: &AtomicBool) -> Seen {
    let mut frame = vec![0; FRAME];
    let mut flows = Flows::new([IpAddr::from(node.ip()), node.ip6().into()]);
    let mut ending: Option<Instant> = None;
    loop {
        if told.load(Ordering::Relaxed) && ending.get_or_insert_with(Instant::now).elapsed() > LAST_LOOK {
            break;
        }
        // Errors are the timeout, or a signal; nothing that the next call would not tell again.
        let Ok((length, from)) = recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut frame) else {
            // All that had arrived before the end has been read.
            if ending.is_some() {
                break;
            }
            continue;
        };
        // Every frame enters the bridge at one port and leaves it at another: count it where it enters.
        if from.is_some_and(|from| from.pkttype() == libc::PACKET_OUTGOING) {
            continue;
        }
        // Without an answer from `get` the frame is longer than FRAME, which no device here sends.
        if let Some(frame) = frame.get(..length) {
            flows.frame(frame);
        }
    }
    flows.into_seen()
}
