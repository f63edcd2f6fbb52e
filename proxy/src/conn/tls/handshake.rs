//! The TLS handshake of both sides: rustls says what to send and what it needs, the socket is ours.
//!
//! When it is done, rustls gives the keys away (`Session` goes on with what concerns them), as it does for encryption by the kernel.

use super::session::{Kernel, Session, invalid};
use super::{Tls, keys};
use bytes::{Buf, BufMut, BytesMut};
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, InsufficientSizeError, UnbufferedStatus};
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::{CertificateDer, ServerName};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weft_identity::tls::Alpn;

/// What is read at once: most flights fit.
const FLIGHT: usize = 4 * 1024;
/// How much is kept of a peer of whom nothing is known yet, which rustls leaves to its caller.
const MOST: usize = 64 * 1024;
/// The largest body of a record that rustls looks at.
const LARGEST: usize = keys::PAYLOAD + 2048;
const _: () = assert!(MOST + FLIGHT < super::BULK);

/// As the client, who names the server as `name`. An error of TLS has a [`rustls::Error`] inside.
pub async fn connect(stream: TcpStream, config: Arc<ClientConfig>, name: ServerName<'static>) -> io::Result<Tls> {
    let mut connection = UnbufferedClientConnection::new(config, name).map_err(invalid)?;
    let mut shaking = Shaking::new(stream, BytesMut::new());
    shaking.run(&mut connection).await?;
    let alpn = connection.alpn_protocol().and_then(Alpn::from_bytes);
    let (secrets, kernel) = connection.dangerous_into_kernel_connection().map_err(invalid)?;
    shaking.done(alpn, Kernel::Client(kernel), secrets)
}

/// As the server; `ahead` has been read of the stream already. With the connection, the certificate that the client showed.
pub async fn accept(
    stream: TcpStream,
    ahead: BytesMut,
    config: Arc<ServerConfig>,
) -> io::Result<(Tls, Option<CertificateDer<'static>>)> {
    let mut connection = UnbufferedServerConnection::new(config).map_err(invalid)?;
    let mut shaking = Shaking::new(stream, ahead);
    shaking.run(&mut connection).await?;
    let alpn = connection.alpn_protocol().and_then(Alpn::from_bytes);
    let shown = connection.peer_certificates().and_then(<[_]>::first).cloned().map(CertificateDer::into_owned);
    let (secrets, kernel) = connection.dangerous_into_kernel_connection().map_err(invalid)?;
    Ok((shaking.done(alpn, Kernel::Server(kernel), secrets)?, shown))
}

/// What rustls has the same of both sides, but no name for.
trait Side {
    type Data;
    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;
}

impl Side for UnbufferedClientConnection {
    type Data = rustls::client::ClientConnectionData;
    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
}

impl Side for UnbufferedServerConnection {
    type Data = rustls::server::ServerConnectionData;
    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
}

/// What a state of the handshake asks for.
enum Step {
    Again,
    Send,
    Read,
    Done,
}

struct Shaking {
    stream: TcpStream,
    incoming: BytesMut,
    /// So much of it rustls has been shown: never a record behind those that the handshake needs, for what follows is ours.
    shown: usize,
    outgoing: Vec<u8>,
}

impl Shaking {
    fn new(stream: TcpStream, incoming: BytesMut) -> Self {
        Self { stream, incoming, shown: 0, outgoing: vec![] }
    }

    async fn run(&mut self, connection: &mut impl Side) -> io::Result<()> {
        loop {
            match self.step(connection)? {
                Step::Again => {}
                Step::Send => {
                    self.stream.write_all(&self.outgoing).await?;
                    self.outgoing.clear();
                }
                Step::Read => self.show_record().await?,
                Step::Done => return Ok(()),
            }
        }
    }

    /// Has rustls see one record more.
    async fn show_record(&mut self) -> io::Result<()> {
        loop {
            // Also where a record is there: no more than this is left over for those after the handshake.
            if self.incoming.len() >= MOST + FLIGHT {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a TLS handshake of more than 64 KiB"));
            }
            if let Some(length) = next_record(&self.incoming[self.shown..]) {
                self.shown += length;
                return Ok(());
            }
            self.incoming.reserve(FLIGHT);
            if self.stream.read_buf(&mut (&mut self.incoming).limit(FLIGHT)).await? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the peer left during the TLS handshake"));
            }
        }
    }

    fn step(&mut self, connection: &mut impl Side) -> io::Result<Step> {
        let UnbufferedStatus { discard, state, .. } = connection.process(&mut self.incoming[..self.shown]);
        let step = match state {
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                encode(&mut data, &mut self.outgoing);
                Step::Again
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                Step::Send
            }
            Ok(ConnectionState::BlockedHandshake) => Step::Read,
            Ok(ConnectionState::WriteTraffic(_)) => Step::Done,
            // The peer has taken its leave.
            Ok(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) => {
                self.discard(discard);
                self.last_words(connection);
                return Err(invalid(error));
            }
        };
        self.discard(discard);
        Ok(step)
    }

    fn discard(&mut self, used: usize) {
        self.incoming.advance(used);
        self.shown -= used;
    }

    /// Tells the peer by an alert why it is over, if the socket takes it at once.
    fn last_words(&mut self, connection: &mut impl Side) {
        // rustls looks at what it has not used up again, even now.
        if let Ok(ConnectionState::EncodeTlsData(mut data)) = connection.process(&mut self.incoming[..self.shown]).state
        {
            encode(&mut data, &mut self.outgoing);
            // The error that ended the handshake is the one to tell.
            let _ = self.stream.try_write(&self.outgoing);
        }
    }

    fn done(self, alpn: Option<Alpn>, kernel: Kernel, secrets: rustls::ExtractedSecrets) -> io::Result<Tls> {
        let session = Session::new(kernel);
        let limit = session.confidentiality_limit();
        Ok(Tls {
            sealer: keys::Sealer::new(secrets.tx, limit)?,
            opener: keys::Opener::new(secrets.rx)?,
            stream: self.stream,
            session,
            alpn,
            sealed: if self.incoming.is_empty() { BytesMut::new() } else { self.incoming },
            opened: BytesMut::new(),
            unsent: BytesMut::new(),
            bulk: false,
            owes_key: false,
            ended: false,
            finishing: false,
            failed: None,
        })
    }
}

/// How long the first record is, if all of it is there. Of one that rustls refuses by its head, the head is all.
fn next_record(bytes: &[u8]) -> Option<usize> {
    let &[kind, _, _, high, low, ..] = bytes else { return None };
    let body = usize::from(u16::from_be_bytes([high, low]));
    let is_record = (20..=23).contains(&kind) && body <= LARGEST;
    let length = if is_record { keys::HEAD + body } else { keys::HEAD };
    (length <= bytes.len()).then_some(length)
}

fn encode<Data>(data: &mut EncodeTlsData<'_, Data>, outgoing: &mut Vec<u8>) {
    let begin = outgoing.len();
    if let Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) = data.encode(&mut []) {
        outgoing.resize(begin + required_size, 0);
        let _ = data.encode(&mut outgoing[begin..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_shown_when_all_of_it_is_there() {
        let record = [&[22, 3, 1, 0, 3][..], b"abc", &[23, 3, 3]].concat();
        for there in 0..8 {
            assert_eq!(next_record(&record[..there]), None, "{there} bytes");
        }
        assert_eq!(next_record(&record), Some(8));
        assert_eq!(next_record(&[20, 3, 3, 0, 0]), Some(5));
    }

    #[test]
    fn what_is_no_record_is_shown_at_once() {
        assert_eq!(next_record(b"HTTP/1.1 400 Bad Request"), Some(5));
        assert_eq!(next_record(b"220 mail.example ready"), Some(5));
        assert_eq!(next_record(&[22, 3, 3, 0xff, 0xff]), Some(5));
    }
}
