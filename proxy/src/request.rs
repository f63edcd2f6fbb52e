//! What decisions may know of a request, whichever version of HTTP it came in.
//!
//! Both engines show their requests this way, and routing and affinity read them. Reading never fails and copies nothing:
//! what is not there is empty.

use weft_model::explain::Imagined;

/// A request as it is decided about.
pub trait RequestView {
    fn method(&self) -> &str;
    /// The authority without its port, in any case.
    fn host(&self) -> &str;
    /// Without the query.
    fn path(&self) -> &str;
    /// Without the question mark; empty when there is none.
    fn query(&self) -> &str;
    /// Calls `each` for every value of the field `name` (lower case), until it returns true.
    fn headers(&self, name: &str, each: &mut dyn FnMut(&[u8]) -> bool);
    /// Calls `each` for the name, in any case, and the value of every field that is passed on.
    fn fields(&self, each: &mut dyn FnMut(&str, &[u8]));
}

impl RequestView for Imagined {
    fn method(&self) -> &str {
        &self.method
    }

    fn host(&self) -> &str {
        let authority = self.headers.iter().find(|(name, _)| name == "host").map_or(&*self.host, |(_, value)| value);
        match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !host.ends_with(':') => host,
            _ => authority,
        }
    }

    fn path(&self) -> &str {
        &self.path
    }

    fn query(&self) -> &str {
        &self.query
    }

    fn headers(&self, name: &str, each: &mut dyn FnMut(&[u8]) -> bool) {
        let _ = self.headers.iter().filter(|(given, _)| given == name).any(|(_, value)| each(value.as_bytes()));
    }

    fn fields(&self, each: &mut dyn FnMut(&str, &[u8])) {
        self.headers.iter().for_each(|(name, value)| each(name, value.as_bytes()));
    }
}
