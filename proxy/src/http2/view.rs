//! An HTTP/2 request as routing sees it: borrowed parts of its head, nothing copied.
//!
//! Between the stream's head and the story that plans the request. Never fails: the `h2` crate has checked the head already.

use crate::request::RequestView;
use http::request::Parts;

/// Parts of one request head.
pub struct View<'a>(&'a Parts);

impl<'a> View<'a> {
    pub fn new(head: &'a Parts) -> Self {
        Self(head)
    }
}

impl RequestView for View<'_> {
    fn method(&self) -> &str {
        self.0.method.as_str()
    }

    fn host(&self) -> &str {
        self.0.uri.host().unwrap_or("")
    }

    fn path(&self) -> &str {
        self.0.uri.path()
    }

    fn query(&self) -> &str {
        self.0.uri.query().unwrap_or("")
    }

    fn headers(&self, name: &str, each: &mut dyn FnMut(&[u8]) -> bool) {
        for value in self.0.headers.get_all(name) {
            if each(value.as_bytes()) {
                break;
            }
        }
    }

    fn fields(&self, each: &mut dyn FnMut(&str, &[u8])) {
        self.0.headers.iter().for_each(|(name, value)| each(name.as_str(), value.as_bytes()));
    }
}
