//! TLS as it looks from outside (RFC 8446): record boundaries, and what both hellos say in the clear.
//!
//! Fed with a stream's bytes in order. What cannot be a record is an error; what a hello does not say is left out.

/// The longest record there may be: 2^14 and what encryption adds.
const LONGEST: usize = (1 << 14) + 256;

/// That is not TLS.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotTls;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Hello {
    Client { alpn: Vec<String> },
    Server { version: String, cipher: String },
}

/// What some bytes brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) application_bytes: u64,
    pub(super) hello: Option<Hello>,
}

/// Where in the sequence of records a stream is.
#[derive(Debug, Default)]
pub(super) struct Records {
    header: Vec<u8>,
    remaining: usize,
    /// The first record's body, until it is whole: that is where the hello is.
    first: Option<Vec<u8>>,
    begun: bool,
}

impl Records {
    /// Whether nothing has been read yet.
    pub(super) fn untouched(&self) -> bool {
        !self.begun && self.header.is_empty()
    }

    pub(super) fn take(&mut self, mut bytes: &[u8]) -> Result<Progress, NotTls> {
        let mut progress = Progress::default();
        while !bytes.is_empty() {
            if self.remaining == 0 {
                let (header, rest) = bytes.split_at(bytes.len().min(5 - self.header.len()));
                self.header.extend(header);
                bytes = rest;
                self.check_header()?;
                continue;
            }
            let (body, rest) = bytes.split_at(bytes.len().min(self.remaining));
            bytes = rest;
            self.remaining -= body.len();
            if self.header[0] == 23 {
                progress.application_bytes += body.len() as u64;
            }
            if let Some(first) = &mut self.first {
                first.extend(body);
            }
            if self.remaining == 0 {
                self.header.clear();
                if let Some(first) = self.first.take() {
                    progress.hello = hello(&first);
                }
            }
        }
        Ok(progress)
    }

    fn check_header(&mut self) -> Result<(), NotTls> {
        let fits = |at: usize, allowed: std::ops::RangeInclusive<u8>| {
            self.header.get(at).is_none_or(|byte| allowed.contains(byte))
        };
        // change_cipher_spec, alert, handshake, application_data; versions 3.1 (the first hello) to 3.3.
        if !(fits(0, 20..=23) && fits(1, 3..=3) && fits(2, 1..=3)) {
            return Err(NotTls);
        }
        if let [kind, _, _, high, low] = self.header[..] {
            self.remaining = usize::from(u16::from_be_bytes([high, low]));
            if self.remaining > LONGEST || self.remaining == 0 {
                return Err(NotTls);
            }
            if !self.begun && kind == 22 {
                self.first = Some(Vec::new());
            }
            self.begun = true;
        }
        Ok(())
    }
}

/// Reads on through a message; every step is `None` at its end.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// A big-endian number of `count` bytes.
    fn number(&mut self, count: usize) -> Option<usize> {
        Some(self.bytes(count)?.iter().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    /// A vector with a length field of `width` bytes.
    fn vector(&mut self, width: usize) -> Option<Reader<'a>> {
        let length = self.number(width)?;
        self.bytes(length).map(Reader)
    }

    /// The extension `wanted` of an extension list.
    fn extension(&mut self, wanted: usize) -> Option<Reader<'a>> {
        let mut list = self.vector(2)?;
        loop {
            let kind = list.number(2)?;
            let body = list.vector(2)?;
            if kind == wanted {
                return Some(body);
            }
        }
    }
}

/// RFC 8446 section 4.1: the hello in a handshake record.
fn hello(record: &[u8]) -> Option<Hello> {
    let mut record = Reader(record);
    let kind = record.number(1)?;
    let mut body = record.vector(3)?;
    let legacy = body.number(2)?;
    body.bytes(32)?;
    body.vector(1)?;
    match kind {
        1 => {
            body.vector(2)?;
            body.vector(1)?;
            let mut alpn = Vec::new();
            if let Some(mut protocols) = body.extension(16).and_then(|mut body| body.vector(2)) {
                while let Some(protocol) = protocols.vector(1) {
                    alpn.push(String::from_utf8_lossy(protocol.0).into_owned());
                }
            }
            Some(Hello::Client { alpn })
        }
        2 => {
            let cipher = body.number(2)?;
            body.bytes(1)?;
            // supported_versions; without it the old field tells.
            let version = body.extension(43).and_then(|mut body| body.number(2)).unwrap_or(legacy);
            Some(Hello::Server { version: version_name(version), cipher: cipher_name(cipher) })
        }
        _ => None,
    }
}

fn version_name(version: usize) -> String {
    match version {
        0x0304 => "TLS 1.3".to_owned(),
        0x0303 => "TLS 1.2".to_owned(),
        other => format!("{other:#06x}"),
    }
}

fn cipher_name(cipher: usize) -> String {
    match cipher {
        0x1301 => "TLS_AES_128_GCM_SHA256".to_owned(),
        0x1302 => "TLS_AES_256_GCM_SHA384".to_owned(),
        0x1303 => "TLS_CHACHA20_POLY1305_SHA256".to_owned(),
        other => format!("{other:#06x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind, 3, 3][..], &(body.len() as u16).to_be_bytes(), body].concat()
    }

    fn server_hello() -> Vec<u8> {
        let extensions = [0, 43, 0, 2, 3, 4];
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0x13, 0x02, 0, 0, extensions.len() as u8]);
        body.extend(extensions);
        [&[2, 0, 0, body.len() as u8][..], &body].concat()
    }

    fn client_hello() -> Vec<u8> {
        let extensions = [0, 16, 0, 10, 0, 8, 7, b'w', b'e', b'f', b't', b'-', b'h', b'2'];
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0, 2, 0x13, 0x02, 1, 0, 0, extensions.len() as u8]);
        body.extend(extensions);
        [&[1, 0, 0, body.len() as u8][..], &body].concat()
    }

    #[test]
    fn hellos_are_read_however_the_stream_is_cut() {
        let stream = [record(22, &server_hello()), record(20, &[1]), record(23, &[9; 100])].concat();
        for cut in 0..=stream.len() {
            let mut records = Records::default();
            let parts = [records.take(&stream[..cut]).unwrap(), records.take(&stream[cut..]).unwrap()];
            let bytes: u64 = parts.iter().map(|part| part.application_bytes).sum();
            let hello = parts.into_iter().find_map(|part| part.hello).unwrap();
            let expected = Hello::Server { version: "TLS 1.3".into(), cipher: "TLS_AES_256_GCM_SHA384".into() };
            assert_eq!((hello, bytes), (expected, 100));
        }
        let client = Records::default().take(&record(22, &client_hello())).unwrap().hello;
        assert_eq!(client, Some(Hello::Client { alpn: vec!["weft-h2".into()] }));
    }

    #[test]
    fn plaintext_and_broken_records_are_not_tls() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"PRI * HTTP/2.0",
            b"*1\r\n$4\r\nPING\r\n",
            &[22, 3, 3, 255, 255],
            &[23, 3, 3, 0, 0],
        ] {
            assert_eq!(Records::default().take(bytes), Err(NotTls), "{bytes:?}");
        }
        let hello = server_hello();
        for length in 0..hello.len() {
            assert!(
                Records::default().take(&record(22, &hello[..length.max(1)])).unwrap().hello.is_none() || length > 40
            );
        }
    }
}
