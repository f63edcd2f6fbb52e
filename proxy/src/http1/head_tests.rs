//! What heads are accepted, what they mean, and which are refused because two servers could read them differently.
//!
//! Bytes in; what counts is what would be written for the next hop, and where the body ends.

use super::*;

fn request(text: &str) -> Result<Head, HeadError> {
    let mut head = Head::default();
    match head.read_request(text.as_bytes())? {
        Some(n) => {
            assert_eq!(n, text.len(), "the whole head is taken");
            Ok(head)
        }
        None => Err(HeadError::Malformed("incomplete")),
    }
}

fn written(head: &Head) -> String {
    let mut out = Vec::new();
    head.write_request(&mut out, None);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_plain_request_is_forwarded_as_it_came() {
    let head = request("GET /a?b=c HTTP/1.1\r\nHost: cart.shop:80\r\nX-Case: Kept \r\n\r\n").unwrap();
    assert_eq!(written(&head), "GET /a?b=c HTTP/1.1\r\nHost: cart.shop:80\r\nX-Case: Kept\r\n");
    assert_eq!(head.authority(), b"cart.shop:80");
    assert_eq!(head.framing(), Framing::None);
    assert!(head.persistent());
}

#[test]
fn hop_by_hop_fields_stay_behind() {
    let head = request(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Private\r\nKeep-Alive: 5\r\nX-Private: 1\r\nTE: gzip\r\nProxy-Connection: x\r\n\r\n",
    )
    .unwrap();
    assert_eq!(written(&head), "GET / HTTP/1.1\r\nHost: a\r\n");
    assert!(!head.persistent());
}

#[test]
fn no_connection_list_takes_away_what_frames_the_message() {
    let head =
        request("POST / HTTP/1.1\r\nHost: a\r\nConnection: host, content-length\r\nContent-Length: 3\r\n\r\n").unwrap();
    assert!(written(&head).contains("Content-Length: 3"));
    assert!(written(&head).contains("Host: a"));
}

#[test]
fn every_connection_field_names_what_belongs_to_this_hop() {
    let mut head = Head::default();
    let text = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nconnection: x-private\r\nx-private: 1\r\n\r\n";
    head.read_request(text).unwrap().unwrap();
    assert_eq!(head.values("x-private").count(), 0);
}

#[test]
fn an_upgrade_is_kept_only_with_its_connection_token() {
    let asked = request("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n").unwrap();
    assert!(asked.hop.upgrade && written(&asked).contains("Upgrade: websocket"));
    let stray = request("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n").unwrap();
    assert!(!stray.hop.upgrade && !written(&stray).contains("Upgrade"));
}

#[test]
fn the_authority_of_an_absolute_target_wins() {
    let head = request("GET http://cart.shop/x HTTP/1.1\r\nHost: other\r\n\r\n").unwrap();
    assert_eq!(head.authority(), b"cart.shop");
    let connect = request("CONNECT db.shop:5432 HTTP/1.1\r\nHost: db.shop:5432\r\n\r\n").unwrap();
    assert_eq!(connect.authority(), b"db.shop:5432");
}

#[test]
fn ambiguous_requests_are_refused() {
    for (text, why) in [
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
            "both content-length and transfer-encoding",
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", "differing content-length"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n", "repeated content-length"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\n", "content-length"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\n", "content-length"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", "content-length"),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "transfer-encoding other than chunked",
        ),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", "transfer-encoding other than chunked"),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "transfer-encoding other than chunked",
        ),
        ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", "transfer-encoding in HTTP/1.0"),
        ("GET / HTTP/1.1\r\n\r\n", "no host"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "more than one host"),
        ("GET / HTTP/1.1\nHost: a\n\n", "bare LF"),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", "field name"),
        ("GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", "field name"),
        ("GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n", "field value"),
        ("GET / HTTP/3.7\r\nHost: a\r\n\r\n", "version"),
        ("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", "method or target"),
    ] {
        assert_eq!(request(text).err(), Some(HeadError::Malformed(why)), "{text:?}");
    }
}

#[test]
fn responses_are_framed_by_status_and_method() {
    let read = |text: &str, to_head| {
        let mut head = Head::default();
        head.read_response(text.as_bytes(), to_head).map(|n| (n.is_some(), head.framing(), head.status))
    };
    assert_eq!(read("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false), Ok((true, Framing::Length(5), 200)));
    assert_eq!(read("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true), Ok((true, Framing::None, 200)));
    assert_eq!(read("HTTP/1.1 200 OK\r\n\r\n", false), Ok((true, Framing::UntilClose, 200)));
    assert_eq!(read("HTTP/1.1 304 \r\nContent-Length: 5\r\n\r\n", false), Ok((true, Framing::None, 304)));
    assert_eq!(read("HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n", false), Ok((true, Framing::Chunked, 200)));
    assert!(read("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", false).is_err());
    assert_eq!(read("HTTP/1.1 20", false), Ok((false, Framing::None, 0)));
}

#[test]
fn the_status_line_is_written_again() {
    let mut head = Head::default();
    head.read_response(b"HTTP/1.0 404 Not Found\r\nA: b\r\n\r\n", false).unwrap();
    let mut out = Vec::new();
    head.write_response(&mut out);
    assert_eq!(out, b"HTTP/1.1 404 Not Found\r\nA: b\r\n");
}
