//! Leads a port of this process's own loopback to the same port inside a pod, so that one address holds on both sides.
//!
//! Connections are carried as bytes by a thread of its own; one that cannot be made in there is closed out here. Ends,
//! with all its connections, when it is dropped.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::JoinHandle;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;
use weft_examples::pods::Pod;

pub(super) struct Forward {
    port: u16,
    end: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Forward {
    /// Listens on a free port of loopback; whoever connects is led to that port of loopback inside `pod`.
    pub fn to(pod: &Pod) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let end = CancellationToken::new();
        let (pod, ended) = (pod.clone(), end.clone());
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                let _ = ended.run_until_cancelled(accept(listener, pod, port)).await;
            });
        });
        Ok(Self { port, end, thread: Some(thread) })
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.end.cancel();
        // The runtime goes with the thread, and the connections with the runtime.
        self.thread.take().map(JoinHandle::join);
    }
}

async fn accept(listener: std::net::TcpListener, pod: Pod, port: u16) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (outside, _) = listener.accept().await?;
        let pod = pod.clone();
        tokio::spawn(async move {
            if let Ok(inside) = dial(&pod, port) {
                carry(outside, inside).await;
            }
        });
    }
}

/// To loopback: done or refused at once, so that the thread may wait for it.
fn dial(pod: &Pod, port: u16) -> io::Result<TcpStream> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = pod.within(|| std::net::TcpStream::connect(address))??;
    stream.set_nonblocking(true)?;
    TcpStream::from_std(stream)
}

async fn carry(mut outside: TcpStream, mut inside: TcpStream) {
    // Small messages both ways: waiting to fill segments would only add latency to what tests measure.
    let _ = outside.set_nodelay(true).and_then(|()| inside.set_nodelay(true));
    // Whoever ends a connection on one side ends it on the other.
    let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
}
