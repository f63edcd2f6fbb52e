//! One side of a proxied connection: a TCP or TLS stream and the bytes read from it but not yet used.
//!
//! The stories hold two of these and move bytes between them. A connection that failed is aborted (RST), so that the
//! peer never takes a broken stream for a complete one; only a clean end is closed in order.

mod tcp;

pub use tcp::{BULK, TURN, Tcp};

use crate::breaker::Permit;
use bytes::{Buf, BufMut, BytesMut};
use socket2::SockRef;
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;
use tokio_util::io::poll_read_buf;

/// How much of a body one read asks for.
pub const READ_CHUNK: usize = 64 * 1024;

thread_local! {
    /// What idle connections of one worker read into, one after the other.
    static ARRIVALS: RefCell<[u8; 4 * 1024]> = const { RefCell::new([0; 4 * 1024]) };
}

/// The stream itself.
#[derive(Debug)]
enum Io {
    Plain(Tcp),
    /// Boxed: a TLS session is large, and most idle connections in a pod are plain ones from the application.
    Tls(Box<TlsStream<Tcp>>),
}

/// A stream and its read buffer.
#[derive(Debug)]
pub struct Conn {
    io: Io,
    /// Bytes received and not yet used.
    pub buf: BytesMut,
    /// A failure that is to be told when what came before it has been.
    failed: Option<io::Error>,
    /// Its place among the connections of its service, where their number is bounded.
    _place: Option<Permit>,
}

impl Conn {
    /// A plain connection; `buf` holds what detection has read of it.
    pub fn plain(stream: TcpStream, buf: BytesMut) -> Self {
        Self { io: Io::Plain(Tcp::new(stream, BytesMut::new())), buf, failed: None, _place: None }
    }

    pub fn tls(mut stream: TlsStream<Tcp>) -> Self {
        match &mut stream {
            TlsStream::Client(stream) => stream.get_mut().1.set_buffer_limit(Some(BULK)),
            TlsStream::Server(stream) => stream.get_mut().1.set_buffer_limit(Some(BULK)),
        }
        Self { io: Io::Tls(Box::new(stream)), buf: BytesMut::new(), failed: None, _place: None }
    }

    /// The same, holding `place` for as long as it is open.
    pub fn holding(self, place: Option<Permit>) -> Self {
        Self { _place: place, ..self }
    }

    fn tcp(&self) -> &TcpStream {
        match &self.io {
            Io::Plain(tcp) => tcp.stream(),
            Io::Tls(tls) => tls.get_ref().0.stream(),
        }
    }

    pub fn is_tls(&self) -> bool {
        matches!(self.io, Io::Tls(_))
    }

    /// The negotiated ALPN protocol.
    pub fn alpn(&self) -> Option<&[u8]> {
        match &self.io {
            Io::Plain(_) => None,
            Io::Tls(tls) => tls.get_ref().1.alpn_protocol(),
        }
    }

    /// Reads more into `buf`; 0 is the end of the stream.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<usize>> {
        let mut buf = std::mem::take(&mut self.buf);
        buf.reserve(room);
        let filled = poll_read_buf(Pin::new(&mut *self), cx, &mut buf);
        self.buf = buf;
        filled
    }

    /// Reads all that has come and fits `into`, of TLS record after record; 0 is the end of the stream.
    pub fn poll_gather(&mut self, cx: &mut Context<'_>, into: &mut impl BufMut) -> Poll<io::Result<usize>> {
        let mut gathered = 0;
        while into.has_remaining_mut() {
            match poll_read_buf(Pin::new(&mut *self), cx, into) {
                Poll::Ready(Ok(n)) if n > 0 => gathered += n,
                Poll::Ready(Err(failure)) if gathered > 0 => {
                    self.failed = Some(failure);
                    break;
                }
                // An end is told again.
                _ if gathered > 0 => break,
                other => return other,
            }
            if !self.is_tls() {
                break;
            }
        }
        Poll::Ready(Ok(gathered))
    }

    /// Reads as much more of a body as has come into `buf`, up to [`READ_CHUNK`]; 0 is the end of the stream.
    pub fn poll_fill_body(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut buf = std::mem::take(&mut self.buf);
        buf.reserve(READ_CHUNK);
        let filled = self.poll_gather(cx, &mut (&mut buf).limit(READ_CHUNK));
        self.buf = buf;
        filled
    }

    /// Reads what comes first on an idle connection into `buf`, which is empty and holds no memory while nothing comes.
    pub async fn fill_idle(&mut self) -> io::Result<usize> {
        debug_assert!(self.buf.is_empty(), "bytes would change their order");
        self.buf = BytesMut::new();
        std::future::poll_fn(|cx| {
            ARRIVALS.with_borrow_mut(|arrivals| {
                let mut read = ReadBuf::new(arrivals);
                ready!(Pin::new(&mut *self).poll_read(cx, &mut read))?;
                self.buf.extend_from_slice(read.filled());
                Poll::Ready(Ok(read.filled().len()))
            })
        })
        .await
    }

    /// [`Self::poll_fill`] as a future.
    pub async fn fill(&mut self, room: usize) -> io::Result<usize> {
        std::future::poll_fn(|cx| self.poll_fill(cx, room)).await
    }

    pub fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Io::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(_) => Poll::Ready(Ok(())),
            Io::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    /// Ends the writing direction in order (FIN, preceded by TLS `close_notify`).
    pub fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Io::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }

    /// Writes all of `bytes` and flushes.
    pub async fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        std::future::poll_fn(|cx| {
            while !bytes.is_empty() {
                match ready!(self.poll_send(cx, bytes))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    n => bytes = &bytes[n..],
                }
            }
            self.poll_flush(cx)
        })
        .await
    }

    /// Ends the writing direction in order, then waits (bounded) for the peer to do the same, so that what was written
    /// is not lost to an RST provoked by unread input.
    pub async fn finish(mut self) {
        if std::future::poll_fn(|cx| self.poll_finish(cx)).await.is_err() {
            return;
        }
        let drained = async {
            let mut left = 256 * 1024usize;
            while let Ok(n) = self.fill(4096).await {
                left = left.saturating_sub(n);
                self.buf.clear();
                if n == 0 || left == 0 {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(std::time::Duration::from_secs(1), drained).await;
    }

    /// Ends the connection with an RST: the peer must not take what it has for all there is.
    pub fn abort(self) {
        // Fails only on a socket that is gone already.
        let _ = self.tcp().set_zero_linger();
    }

    /// Whether bytes have come that nobody has read, also those that the reactor has not told of yet.
    pub fn has_arrived(&self) -> bool {
        let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
        let mut byte = [std::mem::MaybeUninit::uninit()];
        !self.buf.is_empty() || SockRef::from(self.tcp()).recv_with_flags(&mut byte, flags).is_ok_and(|n| n > 0)
    }

    /// A pooled connection is worth reusing when nothing at all has arrived on it since, its end included.
    pub fn idle_and_alive(&mut self) -> bool {
        if !self.buf.is_empty() {
            return false;
        }
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let alive = self.poll_fill(&mut cx, 64).is_pending();
        self.buf = BytesMut::new();
        alive
    }
}

/// What has been buffered comes first: the HTTP/2 codec reads through this.
impl AsyncRead for Conn {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.buf.is_empty() {
            let n = self.buf.len().min(buf.remaining());
            buf.put_slice(&self.buf[..n]);
            self.buf.advance(n);
            return Poll::Ready(Ok(()));
        }
        if let Some(failure) = self.failed.take() {
            return Poll::Ready(Err(failure));
        }
        match &mut self.io {
            Io::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Io::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Conn {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Io::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Conn::poll_flush(&mut self, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_finish(cx)
    }
}

#[cfg(test)]
mod tests;
