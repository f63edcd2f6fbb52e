//! What decisions may know of a request, whichever version of HTTP it came in.
//!
//! Both engines show their requests this way, and routing and affinity read them. Reading never fails and copies nothing:
//! what is not there is empty.

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
}
