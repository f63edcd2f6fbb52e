//! What concerns a connection's keys after its handshake: tickets, and keys that are changed (RFC 8446 sections 4.6.1 and 4.6.3).
//!
//! rustls keeps the secrets and derives the next ones; the messages about them are read here.

use super::keys::{Broken, Opener, Sealer};
use rustls::SupportedCipherSuite;
use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use std::io;

const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;
/// "My next record is sealed by a new key, yours need not be."
pub const UPDATED: [u8; 5] = [KEY_UPDATE, 0, 0, 1, 0];

/// rustls' part of a connection.
pub enum Session {
    Client(KernelConnection<ClientConnectionData>),
    Server(KernelConnection<ServerConnectionData>),
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
    /// How many records one key may seal.
    pub fn confidentiality_limit(&self) -> u64 {
        let suite = match self {
            Self::Client(kernel) => kernel.negotiated_cipher_suite(),
            Self::Server(kernel) => kernel.negotiated_cipher_suite(),
        };
        match suite {
            SupportedCipherSuite::Tls13(suite) => suite.common.confidentiality_limit,
            SupportedCipherSuite::Tls12(suite) => suite.common.confidentiality_limit,
        }
    }

    /// The next key to seal by.
    pub fn next_sealer(&mut self) -> io::Result<Sealer> {
        let limit = self.confidentiality_limit();
        let next = match self {
            Self::Client(kernel) => kernel.update_tx_secret(),
            Self::Server(kernel) => kernel.update_tx_secret(),
        };
        Ok(Sealer::new(next.map_err(invalid)?, limit)?)
    }

    /// The next key to open by.
    pub fn next_opener(&mut self) -> io::Result<Opener> {
        let next = match self {
            Self::Client(kernel) => kernel.update_rx_secret(),
            Self::Server(kernel) => kernel.update_rx_secret(),
        };
        Ok(Opener::new(next.map_err(invalid)?)?)
    }

    /// Takes up the handshake messages of one record. In pieces over several records they do not come: a ticket fits one.
    pub fn take_up(&mut self, mut messages: &[u8]) -> io::Result<Asked> {
        let mut asked = Asked::Nothing;
        while let Some((kind, body, rest)) = split(messages) {
            messages = rest;
            match (kind, body, &mut *self) {
                (NEW_SESSION_TICKET, ticket, Self::Client(kernel)) => {
                    kernel.handle_new_session_ticket(ticket).map_err(invalid)?;
                }
                // The last of its record: what follows is sealed by another key.
                (KEY_UPDATE, &[ours @ 0..=1], _) if rest.is_empty() => asked = Asked::NewKey { ours: ours == 1 },
                _ => return Err(Broken::Unexpected(Self::HANDSHAKE).into()),
            }
        }
        if messages.is_empty() { Ok(asked) } else { Err(Broken::Unexpected(Self::HANDSHAKE).into()) }
    }

    const HANDSHAKE: u8 = super::keys::Content::HANDSHAKE.0;
}

/// The first message: its type and its body, and what follows it (section 4).
fn split(messages: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let &[kind, high, middle, low, ref rest @ ..] = messages else { return None };
    let length = u32::from_be_bytes([0, high, middle, low]) as usize;
    let (body, rest) = rest.split_at_checked(length)?;
    Some((kind, body, rest))
}

fn invalid(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
