//! One side of a proxied connection: a TCP or TLS stream and the bytes read from it but not yet used.
//!
//! The stories hold two of these and move bytes between them. A connection that failed is aborted (RST), so that the
//! peer never takes a broken stream for a complete one; only a clean end is closed in order.

mod passage;
pub mod tls;

pub use passage::{BULK, Passage, TURN};
pub use tls::Tls;

use crate::breaker::Permit;
use bytes::{Buf, BytesMut};
use socket2::SockRef;
use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::io::poll_read_buf;
use weft_identity::tls::Alpn;

/// How much of a body one read asks for.
pub const READ_CHUNK: usize = 64 * 1024;

/// What is read at once of a connection that was idle.
const FIRST: usize = 4 * 1024;

thread_local! {
    /// What idle connections of one worker read into, one after the other.
    static ARRIVALS: RefCell<[u8; FIRST]> = const { RefCell::new([0; FIRST]) };
}

/// The stream itself.
#[derive(Debug)]
enum Io {
    Plain(TcpStream),
    /// Boxed: a TLS session is large, and most idle connections in a pod are plain ones from the application.
    Tls(Box<Tls>),
}

/// A stream and its read buffer.
#[derive(Debug)]
pub struct Conn {
    io: Io,
    /// Bytes received and not yet used.
    pub buf: BytesMut,
    /// Its place among the connections of its service, where their number is bounded.
    _place: Option<Permit>,
}

impl Conn {
    /// A plain connection; `buf` holds what detection has read of it.
    pub fn plain(stream: TcpStream, buf: BytesMut) -> Self {
        Self { io: Io::Plain(stream), buf, _place: None }
    }

    pub fn tls(tls: Tls) -> Self {
        Self { io: Io::Tls(Box::new(tls)), buf: BytesMut::new(), _place: None }
    }

    /// The same, holding `place` for as long as it is open.
    pub fn holding(self, place: Option<Permit>) -> Self {
        Self { _place: place, ..self }
    }

    fn tcp(&self) -> &TcpStream {
        match &self.io {
            Io::Plain(tcp) => tcp,
            Io::Tls(tls) => tls.stream(),
        }
    }

    pub fn is_tls(&self) -> bool {
        matches!(self.io, Io::Tls(_))
    }

    /// The negotiated ALPN protocol.
    pub fn alpn(&self) -> Option<Alpn> {
        match &self.io {
            Io::Plain(_) => None,
            Io::Tls(tls) => tls.alpn(),
        }
    }

    /// Reads about `room` more bytes into `buf`; 0 is the end of the stream.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(tcp) => {
                self.buf.reserve(room);
                poll_read_buf(Pin::new(tcp), cx, &mut self.buf)
            }
            Io::Tls(tls) => tls.poll_give(cx, room, |bytes| self.buf.extend_from_slice(bytes)),
        }
    }

    /// Reads what comes first on an idle connection into `buf`, which is empty and holds no memory while nothing comes.
    pub async fn fill_idle(&mut self) -> io::Result<usize> {
        debug_assert!(self.buf.is_empty(), "bytes would change their order");
        self.buf = BytesMut::new();
        std::future::poll_fn(|cx| self.poll_first(cx)).await
    }

    fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Tls(tls) => tls.poll_give(cx, FIRST, |bytes| self.buf.extend_from_slice(bytes)),
            Io::Plain(tcp) => ARRIVALS.with_borrow_mut(|arrivals| {
                let mut read = ReadBuf::new(arrivals);
                ready!(Pin::new(tcp).poll_read(cx, &mut read))?;
                self.buf.extend_from_slice(read.filled());
                Poll::Ready(Ok(read.filled().len()))
            }),
        }
    }

    /// Completes when nothing more will come: with whether that was in order. What comes instead is kept in `buf`; while there is
    /// something, nobody looks behind it.
    pub fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.buf.is_empty() {
            return Poll::Pending;
        }
        match ready!(self.poll_first(cx))? {
            0 => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    }

    /// Fills `passage` with what has come, past `buf`; how many bytes, 0 is the end of the stream.
    pub fn poll_load(&mut self, cx: &mut Context<'_>, passage: &mut Passage) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(tcp) => passage.poll_read(cx, tcp),
            Io::Tls(tls) => tls.poll_load(cx, passage),
        }
    }

    /// Sends what is in `passage`; what cannot be sent now, nor kept until the next flush, is appended to `rest`. Only after
    /// a flush that has come to its end.
    pub fn send_loaded(&mut self, cx: &mut Context<'_>, passage: &mut Passage, rest: &mut BytesMut) -> io::Result<()> {
        match &mut self.io {
            Io::Plain(tcp) => passage.write(cx, tcp, rest).map(|_| ()),
            Io::Tls(tls) => tls.send(cx, passage),
        }
    }

    /// [`Self::poll_fill`] as a future.
    pub async fn fill(&mut self, room: usize) -> io::Result<usize> {
        std::future::poll_fn(|cx| self.poll_fill(cx, room)).await
    }

    pub fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Io::Tls(tls) => tls.poll_write(cx, &[IoSlice::new(bytes)]),
        }
    }

    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(_) => Poll::Ready(Ok(())),
            Io::Tls(tls) => tls.poll_flush(cx),
        }
    }

    /// Ends the writing direction in order (FIN, preceded by TLS `close_notify`).
    pub fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Io::Tls(tls) => tls.poll_finish(cx),
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
        let is_ahead = !self.buf.is_empty() || matches!(&self.io, Io::Tls(tls) if tls.is_ahead());
        is_ahead || SockRef::from(self.tcp()).recv_with_flags(&mut byte, flags).is_ok_and(|n| n > 0)
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
        match &mut self.io {
            Io::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Io::Tls(tls) => tls.poll_give(cx, buf.remaining(), |bytes| buf.put_slice(bytes)).map_ok(|_| ()),
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
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Io::Tls(tls) => tls.poll_write(cx, bufs),
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
