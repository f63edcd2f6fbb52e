//! Sealing and opening TLS 1.3 records where they lie (RFC 8446 section 5.2). Pure.
//!
//! rustls makes the keys, in the handshake and whenever they are changed; a record is then changed in place: no byte is copied.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use rustls::ConnectionTrafficSecrets;
use rustls::crypto::cipher::{self, Iv};
use std::io;

/// Before a payload: type, version and length.
pub const HEAD: usize = 5;
/// After it: the type of what is inside, and the tag.
pub const TAIL: usize = 1 + TAG;
/// The largest payload (section 5.1).
pub const PAYLOAD: usize = 16 * 1024;
/// The longest record that a peer may send.
pub const LONGEST: usize = HEAD + PAYLOAD + 256;
const TAG: usize = 16;
/// Type and version of a record that is sealed, whatever is inside.
const SEALED: [u8; 3] = [23, 3, 3];

/// What is inside a record (section 5.1), by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content(pub u8);

impl Content {
    pub const ALERT: Self = Self(21);
    pub const HANDSHAKE: Self = Self(22);
    pub const DATA: Self = Self(23);
}

/// Why a connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("TLS: a record that is not sealed, of type {0}")]
    Bare(u8),
    #[error("TLS: a record of {0} bytes, more than are allowed")]
    Overflow(usize),
    #[error("TLS: a record that was not sealed by the peer, or not in this place")]
    Forged,
    #[error("TLS: the peer ended the connection with alert {0}")]
    Alert(u8),
    #[error("TLS: content of type {0} where there must be none")]
    Unexpected(u8),
    #[error("TLS: records without data, one after the other")]
    Barren,
    #[error("TLS: keys of a cipher suite that nobody asked for")]
    Cipher,
}

impl From<Broken> for io::Error {
    fn from(broken: Broken) -> Self {
        Self::new(io::ErrorKind::InvalidData, broken)
    }
}

/// The key of one direction, and how many records it was used for.
struct Key {
    cipher: LessSafeKey,
    iv: Iv,
    used: u64,
}

impl Key {
    fn new((used, secrets): (u64, ConnectionTrafficSecrets)) -> Result<Self, Broken> {
        let (algorithm, key, iv) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv),
            _ => return Err(Broken::Cipher),
        };
        let key = UnboundKey::new(algorithm, key.as_ref()).map_err(|_| Broken::Cipher)?;
        Ok(Self { cipher: LessSafeKey::new(key), iv, used })
    }

    /// For the next record (section 5.3): none is used twice, as every call counts.
    fn nonce(&mut self) -> Nonce {
        let nonce = cipher::Nonce::new(&self.iv, self.used);
        self.used += 1;
        Nonce::assume_unique_for_key(nonce.0)
    }
}

/// Seals what is sent.
pub struct Sealer {
    key: Key,
    /// How many records its key may seal.
    limit: u64,
}

impl Sealer {
    /// With a key that has been used so many times already, and may be up to `limit`.
    pub fn new(secrets: (u64, ConnectionTrafficSecrets), limit: u64) -> Result<Self, Broken> {
        Ok(Self { key: Key::new(secrets)?, limit })
    }

    /// Whether its key has to be changed before it seals `more` records (section 5.5).
    pub fn is_worn(&self, more: u64) -> bool {
        self.key.used.saturating_add(more) > self.limit
    }

    #[cfg(test)]
    pub fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
    }

    #[cfg(test)]
    pub fn used(&self) -> u64 {
        self.key.used
    }

    /// Makes a record of `bytes`: a payload with room for [`HEAD`] before and [`TAIL`] after it.
    pub fn seal(&mut self, bytes: &mut [u8], content: Content) {
        let (head, body) = bytes.split_at_mut(HEAD);
        let length = u16::try_from(body.len()).expect("a payload is at most 16 KiB").to_be_bytes();
        let header = [SEALED[0], SEALED[1], SEALED[2], length[0], length[1]];
        head.copy_from_slice(&header);
        let (inner, tag) = body.split_at_mut(body.len() - TAG);
        inner[inner.len() - 1] = content.0;
        let nonce = self.key.nonce();
        let sealed = self.key.cipher.seal_in_place_separate_tag(nonce, Aad::from(header), inner);
        tag.copy_from_slice(sealed.expect("a record is shorter than any cipher's limit").as_ref());
    }
}

/// Opens what comes.
pub struct Opener(Key);

impl Opener {
    pub fn new(secrets: (u64, ConnectionTrafficSecrets)) -> Result<Self, Broken> {
        Ok(Self(Key::new(secrets)?))
    }

    /// Opens a whole record: what is inside, and how long its payload is, which begins after [`HEAD`] bytes.
    pub fn open(&mut self, record: &mut [u8]) -> Result<(Content, usize), Broken> {
        let (head, body) = record.split_at_mut(HEAD);
        let header = [head[0], head[1], head[2], head[3], head[4]];
        let nonce = self.0.nonce();
        let opened = self.0.cipher.open_in_place(nonce, Aad::from(header), body).map_err(|_| Broken::Forged)?;
        // Zeros may follow the type (section 5.4).
        let at = opened.iter().rposition(|byte| *byte != 0).ok_or(Broken::Unexpected(0))?;
        if at > PAYLOAD {
            return Err(Broken::Overflow(at));
        }
        Ok((Content(opened[at]), at))
    }
}

/// How long the record is that `bytes` begin with; `None`: not enough to tell.
pub fn length(bytes: &[u8]) -> Result<Option<usize>, Broken> {
    let &[kind, _, _, high, low, ..] = bytes else { return Ok(None) };
    let length = HEAD + usize::from(u16::from_be_bytes([high, low]));
    match kind {
        _ if kind != SEALED[0] => Err(Broken::Bare(kind)),
        _ if length > LONGEST => Err(Broken::Overflow(length)),
        _ => Ok(Some(length)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::crypto::cipher::AeadKey;

    fn secrets() -> (u64, ConnectionTrafficSecrets) {
        (7, ConnectionTrafficSecrets::Aes256Gcm { key: AeadKey::from([1; 32]), iv: Iv::new([2; 12]) })
    }

    fn record(payload: &[u8]) -> Vec<u8> {
        [&[0; HEAD][..], payload, &[0; TAIL]].concat()
    }

    #[test]
    fn a_record_is_opened_by_its_peer_in_its_place_and_nowhere_else() {
        let (mut sealer, mut opener) = (Sealer::new(secrets(), 100).unwrap(), Opener::new(secrets()).unwrap());
        let (mut first, mut second) = (record(b"first"), record(b""));
        sealer.seal(&mut first, Content::DATA);
        sealer.seal(&mut second, Content::HANDSHAKE);
        assert_eq!(length(&first[..5]), Ok(Some(first.len())));
        assert_eq!(opener.open(&mut first.clone()), Ok((Content::DATA, 5)));
        assert_eq!(opener.open(&mut second), Ok((Content::HANDSHAKE, 0)));
        assert_eq!(opener.open(&mut first), Err(Broken::Forged), "a second time");
    }

    #[test]
    fn zeros_after_the_type_are_padding() {
        let (mut sealer, mut opener) = (Sealer::new(secrets(), 100).unwrap(), Opener::new(secrets()).unwrap());
        // As a peer does that pads: the type is the last byte that is not zero.
        let mut padded = record(&[&b"payload"[..], &[Content::DATA.0, 0, 0]].concat());
        sealer.seal(&mut padded, Content(0));
        assert_eq!(opener.open(&mut padded), Ok((Content::DATA, 7)));
        assert_eq!(&padded[HEAD..HEAD + 7], b"payload");
        let mut nothing = record(&[0; 10]);
        sealer.seal(&mut nothing, Content(0));
        assert_eq!(opener.open(&mut nothing), Err(Broken::Unexpected(0)));
    }

    #[test]
    fn what_is_not_a_sealed_record_is_refused_by_its_head() {
        assert_eq!(length(&[23, 3, 3, 0]), Ok(None));
        assert_eq!(length(&[22, 3, 3, 0, 5]), Err(Broken::Bare(22)));
        assert_eq!(length(&[23, 3, 3, 0x41, 0]), Ok(Some(LONGEST)));
        assert_eq!(length(&[23, 3, 3, 0x41, 1]), Err(Broken::Overflow(LONGEST + 1)));
        let mut opener = Opener::new(secrets()).unwrap();
        assert_eq!(opener.open(&mut [23, 3, 3, 0, 3, 1, 2, 3]), Err(Broken::Forged), "shorter than a tag");
    }

    #[test]
    fn a_key_is_worn_when_it_has_sealed_what_it_may() {
        let sealer = Sealer::new(secrets(), 10).unwrap();
        assert!(!sealer.is_worn(3) && sealer.is_worn(4));
    }
}
