//! The smallest HTTP client that can read an admin endpoint from inside a pod.
//!
//! Blocking, one connection per request, HTTP/1.0 so that the end of the connection is the end of the body. Fails with the
//! operating system's own error.

use crate::pods::Pod;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(2);

/// What came back.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Reply {
    /// The first value of the header `name` (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

/// GET `path` from `to`, as the pod.
pub fn get(pod: &Pod, to: SocketAddr, path: &str) -> io::Result<Reply> {
    fetch(pod, to, &format!("GET {path} HTTP/1.0\r\nhost: {to}\r\n\r\n"))
}

/// Sends `request` as it is and reads until the other side closes.
pub fn fetch(pod: &Pod, to: SocketAddr, request: &str) -> io::Result<Reply> {
    let mut stream = pod.within(|| TcpStream::connect_timeout(&to, LIMIT))??;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    parse(&text)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("no HTTP: {:?}", text.lines().next())))
}

fn parse(text: &str) -> Option<Reply> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    Some(Reply { status, headers, body: body.to_owned() })
}

/// Whether `/readyz` says yes, and what it said.
pub(super) fn ready(pod: &Pod, admin: SocketAddr) -> (bool, String) {
    match get(pod, admin, "/readyz") {
        Ok(reply) => (reply.status == 200, format!("/readyz: {} {}", reply.status, reply.body.trim())),
        Err(error) => (false, format!("/readyz: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_taken_apart() {
        let reply = parse("HTTP/1.1 503 Service Unavailable\r\nWeft-Reason: no-endpoints\r\n\r\nsorry\n").unwrap();
        assert_eq!((reply.status, reply.body.as_str()), (503, "sorry\n"));
        assert_eq!(reply.header("weft-reason"), Some("no-endpoints"));
        assert!(parse("hello").is_none());
    }
}
