//! Where an HTTP/1.1 message ends: as much of the protocol as the benchmark's own ends have to know.
//!
//! Understands messages with a content-length or without a body; what it does not understand has no end, and its reader gives
//! up. Below everything that reads requests or responses.

/// The first message in some bytes, all of which is there.
#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    /// Head and body together.
    pub length: usize,
    /// As [`Head::last`].
    pub last: bool,
}

/// What the first head in some bytes says.
#[derive(Debug, PartialEq, Eq)]
pub struct Head {
    /// Of the head itself.
    pub length: usize,
    /// Of the body that follows it.
    pub body: usize,
    /// `connection: close`: the last one on its connection.
    pub last: bool,
}

/// The first head in `bytes`; `None` while a part of it is missing.
pub fn head(bytes: &[u8]) -> Option<Head> {
    let length = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(&bytes[..length]).ok()?;
    let value = |name: &str| {
        let fields = text.lines().filter_map(|line| line.split_once(':'));
        fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    };
    let body = value("content-length").and_then(|length| length.parse::<usize>().ok()).unwrap_or(0);
    let last = value("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    Some(Head { length, body, last })
}

/// The first message in `bytes`; `None` while a part of it is missing.
pub fn first(bytes: &[u8]) -> Option<Message> {
    let Head { length, body, last } = head(bytes)?;
    (bytes.len() >= length + body).then_some(Message { length: length + body, last })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_ends_with_its_body() {
        let bytes = b"POST / HTTP/1.1\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabcGET";
        assert_eq!(first(bytes), Some(Message { length: bytes.len() - 3, last: true }));
        assert_eq!(first(&bytes[..bytes.len() - 4]), None);
        assert_eq!(first(b"GET / HTTP/1.1\r\n\r\n"), Some(Message { length: 18, last: false }));
        assert_eq!(first(b"GET / HTTP/1.1\r\n"), None);
        assert_eq!(head(&bytes[..bytes.len() - 5]).map(|head| head.body), Some(3));
    }
}
