//! What concerns a connection's keys after its handshake: tickets, and keys that are changed (RFC 8446 sections 4.6.1 and 4.6.3).
//!
//! rustls keeps the secrets and derives the next ones; the messages about them are read here.

use super::keys::{Broken, Content, Opener, Sealer};
use rustls::SupportedCipherSuite;
use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use std::io;

const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;
/// "My next record is sealed by a new key, yours need not be."
pub const UPDATED: [u8; 5] = [KEY_UPDATE, 0, 0, 1, 0];

/// How many messages and records without data may follow each other: a peer must not keep a worker busy with nothing.
const BARREN: u32 = 64;
/// The longest message, of which a ticket may be one: it holds the client's certificates.
const MOST: usize = 64 * 1024;

/// rustls' part of a connection.
pub enum Kernel {
    Client(KernelConnection<ClientConnectionData>),
    Server(KernelConnection<ServerConnectionData>),
}

/// What was agreed on, and how far the peer's messages about it have come.
pub struct Session {
    kernel: Kernel,
    /// The beginning of a message; holds no memory while there is none.
    begun: Vec<u8>,
    /// Messages, and records with nothing in them, since data came.
    barren: u32,
}

/// What a message of the peer asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    Nothing,
    /// Its next record is sealed by a new key; `ours` have to be, too.
    NewKey {
        ours: bool,
    },
}

impl Session {
    pub fn new(kernel: Kernel) -> Self {
        Self { kernel, begun: vec![], barren: 0 }
    }

    /// How many records one key may seal.
    pub fn confidentiality_limit(&self) -> u64 {
        let suite = match &self.kernel {
            Kernel::Client(kernel) => kernel.negotiated_cipher_suite(),
            Kernel::Server(kernel) => kernel.negotiated_cipher_suite(),
        };
        match suite {
            SupportedCipherSuite::Tls13(suite) => suite.common.confidentiality_limit,
            SupportedCipherSuite::Tls12(suite) => suite.common.confidentiality_limit,
        }
    }

    /// The next key to seal by.
    pub fn next_sealer(&mut self) -> io::Result<Sealer> {
        let limit = self.confidentiality_limit();
        let next = match &mut self.kernel {
            Kernel::Client(kernel) => kernel.update_tx_secret(),
            Kernel::Server(kernel) => kernel.update_tx_secret(),
        };
        Ok(Sealer::new(next.map_err(invalid)?, limit)?)
    }

    /// The next key to open by.
    pub fn next_opener(&mut self) -> io::Result<Opener> {
        let next = match &mut self.kernel {
            Kernel::Client(kernel) => kernel.update_rx_secret(),
            Kernel::Server(kernel) => kernel.update_rx_secret(),
        };
        Ok(Opener::new(next.map_err(invalid)?)?)
    }

    /// A record of another kind than messages has come, with so much in it. It must not stand between two halves of one.
    pub fn pass(&mut self, content: Content, length: usize) -> Result<(), Broken> {
        if !self.begun.is_empty() {
            return Err(Broken::Unexpected(content.0));
        }
        if content == Content::DATA && length > 0 {
            self.barren = 0;
            return Ok(());
        }
        self.bear_nothing()
    }

    /// Takes up the messages of one record, of which the first may have begun before it, and the last goes on after it.
    pub fn take_up(&mut self, came: &[u8]) -> io::Result<Asked> {
        self.bear_nothing()?;
        let mut joined = std::mem::take(&mut self.begun);
        let mut messages = came;
        if !joined.is_empty() {
            joined.extend_from_slice(came);
            messages = &joined;
        }
        let mut asked = Asked::Nothing;
        while let Some((kind, body, rest)) = split(messages) {
            messages = rest;
            self.bear_nothing()?;
            match (kind, body, &mut self.kernel) {
                (NEW_SESSION_TICKET, ticket, Kernel::Client(kernel)) => {
                    kernel.handle_new_session_ticket(ticket).map_err(invalid)?;
                }
                // The last of its record: what follows is sealed by another key.
                (KEY_UPDATE, &[ours @ 0..=1], _) if rest.is_empty() => asked = Asked::NewKey { ours: ours == 1 },
                _ => return Err(Broken::Unexpected(Content::HANDSHAKE.0).into()),
            }
        }
        if messages.len() > MOST {
            return Err(Broken::Overflow(messages.len()).into());
        }
        self.begun = messages.to_vec();
        Ok(asked)
    }

    fn bear_nothing(&mut self) -> Result<(), Broken> {
        self.barren += 1;
        if self.barren > BARREN { Err(Broken::Barren) } else { Ok(()) }
    }
}

/// The first message: its type and its body, and what follows it (section 4).
fn split(messages: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let &[kind, high, middle, low, ref rest @ ..] = messages else { return None };
    let length = u32::from_be_bytes([0, high, middle, low]) as usize;
    let (body, rest) = rest.split_at_checked(length)?;
    Some((kind, body, rest))
}

/// As tokio-rustls has it: callers find the reason inside.
pub fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
