//! Failures as answers: what the mesh itself says to a client, and why.
//!
//! The last step of a request that could not be served. Every such answer carries `weft-reason` with the same word that
//! the metric and the log have; a gRPC client gets its status in a trailers-only response (gRPC over HTTP/2 protocol).

use crate::error::Failure;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use weft_model::route::HeaderEdit;

/// The response header that names the reason.
pub const REASON: &str = "weft-reason";

/// A whole HTTP/1.1 answer. `close`: the connection ends after it.
pub fn http1(failure: &Failure, close: bool, to_head: bool, out: &mut Vec<u8>) {
    let status = failure.status();
    let phrase = StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or("");
    let body = if to_head { String::new() } else { format!("weft: {failure}\n") };
    let length = format!("weft: {failure}\n").len();
    out.extend_from_slice(format!("HTTP/1.1 {status} {phrase}\r\n").as_bytes());
    out.extend_from_slice(format!("weft-reason: {}\r\n", failure.told()).as_bytes());
    for (name, value) in failure.fields() {
        out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    out.extend_from_slice(format!("content-type: text/plain\r\ncontent-length: {length}\r\n").as_bytes());
    out.extend_from_slice(if close { b"connection: close\r\n\r\n" } else { b"\r\n" });
    out.extend_from_slice(body.as_bytes());
}

/// A whole HTTP/1.1 redirect, with `edit` carried out on it.
pub fn http1_redirect(status: u16, location: &str, edit: &HeaderEdit, close: bool, out: &mut Vec<u8>) {
    let phrase = StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or("");
    out.extend_from_slice(format!("HTTP/1.1 {status} {phrase}\r\n").as_bytes());
    out.extend_from_slice(format!("location: {location}\r\ncontent-length: 0\r\n").as_bytes());
    for (name, value) in edit.set.iter().chain(&edit.add).filter(|(name, _)| name != "location") {
        out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    out.extend_from_slice(if close { b"connection: close\r\n\r\n" } else { b"\r\n" });
}

/// The head of an HTTP/2 redirect, which has no body, with `edit` carried out on it.
pub fn http2_redirect(status: u16, location: &str, edit: &HeaderEdit) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::FOUND);
    let headers = response.headers_mut();
    for (name, value) in edit.set.iter().chain(&edit.add) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_str(value)) {
            headers.append(name, value);
        }
    }
    // What the client asked for is part of it; where that is no header value, there is nowhere to go.
    if let Ok(location) = HeaderValue::from_bytes(location.as_bytes()) {
        headers.insert(http::header::LOCATION, location);
    }
    response
}

/// The head of an HTTP/2 answer, which has no body.
pub fn http2(failure: &Failure, grpc: bool) -> Response<()> {
    let mut response = Response::new(());
    let headers = response.headers_mut();
    // Fixed words and names of documents: always a header's value.
    if let Ok(reason) = HeaderValue::from_str(&failure.told()) {
        headers.insert(REASON, reason);
    }
    add(headers, failure.fields());
    if grpc {
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from(failure.grpc_status()));
        headers.insert("grpc-message", grpc_message(&failure.to_string()));
    } else {
        *response.status_mut() = StatusCode::from_u16(failure.status()).unwrap_or(StatusCode::BAD_GATEWAY);
    }
    response
}

/// Adds `fields`; what does not make one is left out.
pub fn add(headers: &mut HeaderMap, fields: &[(&'static str, String)]) {
    for (name, value) in fields {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.append(*name, value);
        }
    }
}

/// What is wrong with an endpoint's answer, if anything is: a server error, a refusal, or its sidecar saying that the request has not
/// reached the application (`reason`, which the sidecar alone can set between proxies).
pub fn unwelcome(status: u16, reason: Option<&[u8]>) -> Option<Failure> {
    match reason {
        Some(b"connect-refused" | b"connect-failed" | b"connect-timeout") => Some(Failure::Unreached),
        Some(b"overloaded") => Some(Failure::Overloaded),
        Some(b"deadline-exceeded") => Some(Failure::DeadlineExceeded),
        _ => (status == 429 || (500..600).contains(&status)).then_some(Failure::Unwelcome(status)),
    }
}

/// Percent-encoded as `grpc-message` wants it: everything outside printable ASCII, and `%`.
fn grpc_message(text: &str) -> HeaderValue {
    let mut encoded = String::from("weft: ");
    for byte in text.bytes() {
        match byte {
            b'%' | 0..=0x1f | 0x7f.. => encoded.push_str(&format!("%{byte:02X}")),
            printable => encoded.push(printable as char),
        }
    }
    HeaderValue::from_str(&encoded).unwrap_or_else(|_| HeaderValue::from_static("weft"))
}

/// Whether a request is gRPC, by its content type.
pub fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(http::header::CONTENT_TYPE).is_some_and(|v| v.as_bytes().starts_with(b"application/grpc"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_http1_answer_is_complete_and_says_why() {
        let mut out = Vec::new();
        http1(&Failure::NoEndpoints, true, false, &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("HTTP/1.1 503 Service Unavailable\r\nweft-reason: no-endpoints\r\n"), "{text}");
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{text}");
    }

    #[test]
    fn every_failure_says_why_in_every_protocol() {
        use Failure::*;
        let text = || "text".to_owned();
        let all = [
            NoEndpoints,
            NoRoute,
            NoSuchService,
            InvalidBackend,
            ConnectRefused,
            ConnectTimeout,
            ConnectFailed(std::io::ErrorKind::Other),
            TlsFailed(text()),
            PeerIdentity(text()),
            RequestTimeout,
            TryTimeout,
            ResetBeforeResponse,
            ResetMidResponse,
            RefusedStream,
            GoAway,
            StaleConnection,
            Unwelcome(503),
            Unreached,
            MalformedResponse("text"),
            MalformedRequest("text"),
            HeadersTooLarge,
            HeaderTimeout,
        ];
        for failure in &all {
            let mut out = Vec::new();
            http1(failure, false, false, &mut out);
            let line = format!("\r\nweft-reason: {}\r\n", failure.reason());
            assert!(String::from_utf8(out).unwrap().contains(&line), "{failure}");
            for grpc in [false, true] {
                let response = http2(failure, grpc);
                assert_eq!(response.headers()[REASON], failure.reason());
                assert_eq!(response.headers().contains_key("grpc-status"), grpc);
            }
        }
    }

    #[test]
    fn a_redirect_has_a_location_and_the_rules_headers() {
        let edit = HeaderEdit { set: vec![("x-a".into(), "1".into())], ..HeaderEdit::default() };
        let mut out = Vec::new();
        http1_redirect(301, "http://a/b", &edit, false, &mut out);
        let wanted = "HTTP/1.1 301 Moved Permanently\r\nlocation: http://a/b\r\ncontent-length: 0\r\nx-a: 1\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
        let response = http2_redirect(301, "http://a/b", &edit);
        assert_eq!(response.status(), 301);
        assert_eq!(response.headers()["location"], "http://a/b");
        assert_eq!(response.headers()["x-a"], "1");
    }

    #[test]
    fn grpc_clients_get_a_status_in_the_head() {
        let response = http2(&Failure::NoEndpoints, true);
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["grpc-status"], "14");
    }
}
