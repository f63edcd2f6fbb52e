//! An HTTP/1 request as routing sees it: borrowed parts of the head, nothing copied.
//!
//! Between the head and the story that plans the request. Never fails: the head has been checked already, and what routing
//! cannot read as text matches nothing.

use super::head::Head;
use crate::request::RequestView;

/// Parts of one request head. What is not UTF-8 shows as empty and matches nothing that is not empty.
pub struct View<'a> {
    head: &'a Head,
    host: &'a str,
    path: &'a str,
    query: &'a str,
}

impl<'a> View<'a> {
    pub fn new(head: &'a Head) -> Self {
        let target = text(head.target());
        // Absolute form: the path begins after the authority.
        let origin = match (!target.starts_with('/')).then(|| target.split_once("://")).flatten() {
            Some((_, rest)) => rest.find(['/', '?']).map_or("/", |at| &rest[at..]),
            None => target,
        };
        let (path, query) = origin.split_once('?').unwrap_or((origin, ""));
        let path = if path.is_empty() { "/" } else { path };
        Self { head, host: without_port(text(head.authority())), path, query }
    }
}

impl RequestView for View<'_> {
    fn method(&self) -> &str {
        text(self.head.method())
    }

    fn host(&self) -> &str {
        self.host
    }

    fn path(&self) -> &str {
        self.path
    }

    fn query(&self) -> &str {
        self.query
    }

    fn headers(&self, name: &str, each: &mut dyn FnMut(&[u8]) -> bool) {
        for value in self.head.values(name) {
            if each(value) {
                break;
            }
        }
    }

    fn fields(&self, each: &mut dyn FnMut(&str, &[u8])) {
        self.head.each_field(each);
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or("")
}

/// The authority without its port; an IPv6 literal keeps its brackets.
fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !host.ends_with(':') => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(request: &str) -> (String, String, String) {
        let mut head = Head::default();
        head.read_request(request.as_bytes()).unwrap();
        let view = View::new(&head);
        (view.host().into(), view.path().into(), view.query().into())
    }

    #[test]
    fn host_path_and_query_are_told_apart() {
        let is = |h: &str, p: &str, q: &str| (h.to_owned(), p.to_owned(), q.to_owned());
        assert_eq!(parts("GET /a/b?c=d?e HTTP/1.1\r\nHost: cart.shop:8080\r\n\r\n"), is("cart.shop", "/a/b", "c=d?e"));
        assert_eq!(parts("GET http://x.y:1/z HTTP/1.1\r\nHost: o\r\n\r\n"), is("x.y", "/z", ""));
        assert_eq!(parts("GET http://x.y HTTP/1.1\r\nHost: o\r\n\r\n"), is("x.y", "/", ""));
        assert_eq!(parts("GET /?u=http://a/b HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"), is("[::1]", "/", "u=http://a/b"));
    }
}
