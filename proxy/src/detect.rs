//! Tells protocols apart by their first bytes, and reads from a ClientHello which protocols it offers.
//!
//! Pure; `sniff` feeds it what has arrived so far. Both functions are stable: once they have decided, more bytes do not
//! change the answer. Malformed input is never an error here, only something else than what was looked for.

/// What the bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detected {
    NeedMore,
    Http1,
    /// The HTTP/2 connection preface (RFC 9113 section 3.4).
    Http2,
    /// A TLS handshake record.
    Tls,
    Opaque,
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Longer than any registered method.
const MAX_METHOD: usize = 24;

/// What a client's first `bytes` are.
pub fn detect(bytes: &[u8]) -> Detected {
    let shared = bytes.len().min(PREFACE.len());
    match bytes {
        [] => Detected::NeedMore,
        [0x16] => Detected::NeedMore,
        [0x16, 0x03, ..] => Detected::Tls,
        // "PR" is still either; no HTTP/1 method goes on like the preface's first line does.
        _ if bytes[..shared] == PREFACE[..shared] => match shared == PREFACE.len() {
            true => Detected::Http2,
            false => Detected::NeedMore,
        },
        _ => request_line(bytes),
    }
}

/// `method SP target SP HTTP/1.`: decided as soon as the target has begun like one.
fn request_line(bytes: &[u8]) -> Detected {
    let Some(end) = bytes.iter().position(|b| !token(*b)) else {
        return if bytes.len() > MAX_METHOD { Detected::Opaque } else { Detected::NeedMore };
    };
    if end == 0 || end > MAX_METHOD || bytes[end] != b' ' {
        return Detected::Opaque;
    }
    // A line of words ("EHLO there") is told from a request line by its end.
    let target = &bytes[end + 1..];
    match target.iter().position(|b| *b <= b' ' || *b == 0x7f) {
        Some(0) => Detected::Opaque,
        // A path can be long; nothing else than a request, be it a bad one, begins "word /".
        _ if matches!(target.first(), Some(b'/')) => Detected::Http1,
        Some(at) if target[at] == b' ' => version(&target[at + 1..]),
        Some(_) => Detected::Opaque,
        None if target.len() > 4096 => Detected::Opaque,
        None => Detected::NeedMore,
    }
}

fn version(bytes: &[u8]) -> Detected {
    let word = b"HTTP/1.";
    let shared = bytes.len().min(word.len());
    match bytes[..shared] == word[..shared] {
        true if shared == word.len() => Detected::Http1,
        true => Detected::NeedMore,
        false => Detected::Opaque,
    }
}

fn token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What a ClientHello says about application protocols.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hello {
    NeedMore,
    NotTls,
    /// The ALPN protocols offered (RFC 7301), none if the extension is missing.
    Offers(Vec<Vec<u8>>),
}

/// A ClientHello larger than this is not one of ours.
const MAX_HELLO: usize = 16 * 1024;
const ALPN: u16 = 16;

/// The protocols that a ClientHello at the front of `bytes` offers (RFC 8446 section 4.1.2).
pub fn client_hello_alpn(bytes: &[u8]) -> Hello {
    match handshake(bytes) {
        Ok(Some(hello)) => match offers(&hello) {
            Some(protocols) => Hello::Offers(protocols),
            None => Hello::NotTls,
        },
        Ok(None) => Hello::NeedMore,
        Err(()) => Hello::NotTls,
    }
}

/// The handshake message that starts `bytes`, put together from the records it spans. `Ok(None)`: more is needed.
fn handshake(bytes: &[u8]) -> Result<Option<Vec<u8>>, ()> {
    let mut message = Vec::new();
    let mut rest = bytes;
    loop {
        if let [kind, a, b, c, ..] = message[..] {
            let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            if kind != 1 || length > MAX_HELLO {
                return Err(());
            }
            if message.len() >= length + 4 {
                return Ok(Some(message[4..length + 4].to_vec()));
            }
        }
        let expected = [0x16, 0x03];
        let shared = rest.len().min(2);
        if rest[..shared] != expected[..shared] {
            return Err(());
        }
        let [_, _, _, high, low, ..] = *rest else { return Ok(None) };
        let length = usize::from(high) << 8 | usize::from(low);
        if length == 0 || length > MAX_HELLO {
            return Err(());
        }
        let body = &rest[5..];
        message.extend_from_slice(&body[..length.min(body.len())]);
        if body.len() < length {
            // Only what is whole is judged, so that the answer does not depend on how the bytes were cut.
            return match message[..] {
                [kind, ..] if kind != 1 => Err(()),
                _ => Ok(None),
            };
        }
        rest = &body[length..];
    }
}

/// Walks over a ClientHello's fields to its ALPN extension.
fn offers(hello: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut at = Cursor(hello);
    at.take(2 + 32)?;
    at.vector8()?;
    at.vector16()?;
    at.vector8()?;
    if at.0.is_empty() {
        return Some(Vec::new());
    }
    let mut extensions = Cursor(at.vector16()?);
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let body = extensions.vector16()?;
        if kind == ALPN {
            let mut list = Cursor(Cursor(body).vector16()?);
            let mut protocols = Vec::new();
            while !list.0.is_empty() {
                protocols.push(list.vector8()?.to_vec());
            }
            return Some(protocols);
        }
    }
    Some(Vec::new())
}

/// Bounds-checked reading of TLS vectors.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|b| u16::from(b[0]) << 8 | u16::from(b[1]))
    }

    fn vector8(&mut self) -> Option<&'a [u8]> {
        let length = self.take(1)?[0];
        self.take(usize::from(length))
    }

    fn vector16(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(usize::from(length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn first_bytes_of_known_protocols() {
        for (bytes, expected) in [
            (&b""[..], Detected::NeedMore),
            (b"G", Detected::NeedMore),
            (b"GET ", Detected::NeedMore),
            (b"GET /", Detected::Http1),
            (b"OPTIONS * HTTP/1.1\r\n", Detected::Http1),
            (b"GET http://a/ HTTP/1.1\r\n", Detected::Http1),
            (b"CONNECT a:1 HTTP/1.1\r\n", Detected::Http1),
            (b"CONNECT a:1", Detected::NeedMore),
            (b"PRI * HTTP/2.0\r\n", Detected::NeedMore),
            (PREFACE, Detected::Http2),
            (b"\x16\x03\x01", Detected::Tls),
            (b"\x16\x09", Detected::Opaque),
            (b"*1\r\n$4\r\nPING\r\n", Detected::Opaque),
            (b"PING\r\n", Detected::Opaque),
            (b"EHLO there\r\n", Detected::Opaque),
            (b"HELO a b\r\n", Detected::Opaque),
            (b"SSH-2.0-x\r\n", Detected::Opaque),
            (b"\x00\x00\x00\x08\x04\xd2\x16\x2f", Detected::Opaque),
        ] {
            assert_eq!(detect(bytes), expected, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    /// A real ClientHello, as rustls writes it.
    fn hello(alpn: &[&[u8]]) -> Vec<u8> {
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
        let name = rustls_pki_types::ServerName::try_from("a.b").unwrap();
        let mut connection = rustls::ClientConnection::new(config.into(), name).unwrap();
        let mut bytes = Vec::new();
        connection.write_tls(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn the_alpn_of_a_real_client_hello_is_found() {
        assert_eq!(
            client_hello_alpn(&hello(&[b"weft-h2", b"x"])),
            Hello::Offers(vec![b"weft-h2".to_vec(), b"x".to_vec()])
        );
        assert_eq!(client_hello_alpn(&hello(&[])), Hello::Offers(vec![]));
        assert_eq!(client_hello_alpn(b"GET / HTTP/1.1\r\n"), Hello::NotTls);
        // A ServerHello is not a ClientHello.
        assert_eq!(client_hello_alpn(b"\x16\x03\x03\x00\x04\x02\x00\x00\x00"), Hello::NotTls);
    }

    #[test]
    fn a_client_hello_may_be_cut_anywhere() {
        let whole = hello(&[b"weft-tcp"]);
        let expected = client_hello_alpn(&whole);
        for cut in 0..whole.len() {
            assert_eq!(client_hello_alpn(&whole[..cut]), Hello::NeedMore, "{cut}");
        }
        // The same message over two records.
        let (a, b) = whole[5..].split_at(100);
        let record = |part: &[u8]| [&[0x16, 3, 1][..], &(part.len() as u16).to_be_bytes(), part].concat();
        assert_eq!(client_hello_alpn(&[record(a), record(b)].concat()), expected);
    }

    proptest! {
        #[test]
        fn a_decision_stands_whatever_follows(bytes in prop::collection::vec(any::<u8>(), 0..120), cut in any::<prop::sample::Index>()) {
            let early = detect(&bytes[..cut.index(bytes.len() + 1)]);
            if early != Detected::NeedMore {
                prop_assert_eq!(detect(&bytes), early);
            }
        }

        #[test]
        fn damaged_hellos_never_panic(at in 0usize..200, value: u8, cut in 0usize..300) {
            let mut bytes = hello(&[b"weft-h2"]);
            let at = at.min(bytes.len() - 1);
            bytes[at] = value;
            let cut = cut.min(bytes.len());
            let early = client_hello_alpn(&bytes[..cut]);
            if early != Hello::NeedMore {
                prop_assert_eq!(client_hello_alpn(&bytes), early);
            }
        }
    }
}
