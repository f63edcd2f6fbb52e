//! The TLS handshake of both sides: rustls says what to send and what it needs, the socket is ours.
//!
//! When it is done, rustls gives the keys away (`Session` goes on with what concerns them), as it does for encryption by the kernel.

use super::session::Session;
use super::{Tls, keys};
use bytes::{Buf, BytesMut};
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

/// As the client, who names the server as `name`. An error of TLS has a [`rustls::Error`] inside.
pub async fn connect(stream: TcpStream, config: Arc<ClientConfig>, name: ServerName<'static>) -> io::Result<Tls> {
    let mut connection = UnbufferedClientConnection::new(config, name).map_err(invalid)?;
    let mut shaking = Shaking::new(stream, BytesMut::new());
    shaking.run(&mut connection).await?;
    let alpn = connection.alpn_protocol().and_then(Alpn::from_bytes);
    let (secrets, kernel) = connection.dangerous_into_kernel_connection().map_err(invalid)?;
    shaking.done(alpn, Session::Client(kernel), secrets)
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
    Ok((shaking.done(alpn, Session::Server(kernel), secrets)?, shown))
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
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
    outgoing: Vec<u8>,
    /// The peer may be done first: what it sent with its last flight is opened by rustls.
    opened: BytesMut,
    ended: bool,
}

impl Shaking {
    fn new(stream: TcpStream, incoming: BytesMut) -> Self {
        Self { stream, incoming, outgoing: vec![], opened: BytesMut::new(), ended: false }
    }

    async fn run(&mut self, connection: &mut impl Side) -> io::Result<()> {
        loop {
            match self.step(connection)? {
                Step::Again => {}
                Step::Send => {
                    self.stream.write_all(&self.outgoing).await?;
                    self.outgoing.clear();
                }
                Step::Read => {
                    self.incoming.reserve(FLIGHT);
                    if self.stream.read_buf(&mut self.incoming).await? == 0 {
                        return Err(io::Error::new(
                            io::ErrorKind::UnexpectedEof,
                            "the peer left during the TLS handshake",
                        ));
                    }
                }
                Step::Done => return Ok(()),
            }
        }
    }

    fn step(&mut self, connection: &mut impl Side) -> io::Result<Step> {
        let UnbufferedStatus { discard, state, .. } = connection.process(&mut self.incoming);
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
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    self.opened.extend_from_slice(record.map_err(invalid)?.payload);
                }
                Step::Again
            }
            Ok(ConnectionState::PeerClosed) => {
                self.ended = true;
                Step::Again
            }
            Ok(ConnectionState::WriteTraffic(_)) => Step::Done,
            Ok(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) => {
                self.incoming.advance(discard);
                self.last_words(connection);
                return Err(invalid(error));
            }
        };
        self.incoming.advance(discard);
        Ok(step)
    }

    /// Tells the peer by an alert why it is over, if the socket takes it at once.
    fn last_words(&mut self, connection: &mut impl Side) {
        // rustls looks at what it has not used up again, even now.
        if let Ok(ConnectionState::EncodeTlsData(mut data)) = connection.process(&mut self.incoming).state {
            encode(&mut data, &mut self.outgoing);
            // The error that ended the handshake is the one to tell.
            let _ = self.stream.try_write(&self.outgoing);
        }
    }

    fn done(self, alpn: Option<Alpn>, session: Session, secrets: rustls::ExtractedSecrets) -> io::Result<Tls> {
        let limit = session.confidentiality_limit();
        Ok(Tls {
            sealer: keys::Sealer::new(secrets.tx, limit)?,
            opener: keys::Opener::new(secrets.rx)?,
            stream: self.stream,
            session,
            alpn,
            sealed: if self.incoming.is_empty() { BytesMut::new() } else { self.incoming },
            opened: self.opened,
            unsent: BytesMut::new(),
            bulk: false,
            owes_key: false,
            ended: self.ended,
            finishing: false,
            failed: None,
        })
    }
}

fn encode<Data>(data: &mut EncodeTlsData<'_, Data>, outgoing: &mut Vec<u8>) {
    let begin = outgoing.len();
    if let Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) = data.encode(&mut []) {
        outgoing.resize(begin + required_size, 0);
        let _ = data.encode(&mut outgoing[begin..]);
    }
}
