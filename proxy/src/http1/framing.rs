//! How the end of a message's body is found: what `content-length` and `transfer-encoding` say together.
//!
//! Asked by the head once it has seen all fields. Whatever two servers could take for different lengths is refused with
//! the rule that was broken (RFC 9112 sections 6.3 and 11.2).

/// How the end of a body is found (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    None,
    Length(u64),
    Chunked,
    /// Responses only: the connection's end is the body's end.
    UntilClose,
}

/// What the framing fields of one head said.
#[derive(Debug, Default)]
pub struct Lengths {
    length: Option<u64>,
    chunked: bool,
}

impl Lengths {
    /// Notes the value of a `content-length`.
    pub fn add_length(&mut self, value: &[u8]) -> Result<(), &'static str> {
        // "5, 5" is allowed by RFC 9110 but nobody sends it honestly; digits only.
        if value.is_empty() || value.len() > 19 || !value.iter().all(u8::is_ascii_digit) {
            return Err("content-length");
        }
        let length = value.iter().fold(0u64, |n, d| n * 10 + u64::from(d - b'0'));
        match self.length.replace(length) {
            Some(before) if before != length => Err("differing content-length"),
            // The second copy would be forwarded as well: two readings again.
            Some(_) => Err("repeated content-length"),
            None => Ok(()),
        }
    }

    /// Notes the value of a `transfer-encoding`.
    pub fn add_coding(&mut self, value: &[u8]) -> Result<(), &'static str> {
        if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err("transfer-encoding other than chunked");
        }
        self.chunked = true;
        Ok(())
    }

    /// The framing of a request of version 1.`minor`.
    pub fn of_request(&self, minor: u8) -> Result<Framing, &'static str> {
        self.one_of_both()?;
        if self.chunked && minor == 0 {
            return Err("transfer-encoding in HTTP/1.0");
        }
        Ok(match (self.chunked, self.length) {
            (true, _) => Framing::Chunked,
            (false, Some(0) | None) => Framing::None,
            (false, Some(length)) => Framing::Length(length),
        })
    }

    /// The framing of a response with `status`; `to_head` says that the request was HEAD.
    pub fn of_response(&self, status: u16, to_head: bool) -> Result<Framing, &'static str> {
        self.one_of_both()?;
        let bodiless = to_head || status < 200 || status == 204 || status == 304;
        Ok(match (bodiless, self.chunked, self.length) {
            (true, ..) | (false, false, Some(0)) => Framing::None,
            (_, true, _) => Framing::Chunked,
            (_, _, Some(length)) => Framing::Length(length),
            (_, _, None) => Framing::UntilClose,
        })
    }

    fn one_of_both(&self) -> Result<(), &'static str> {
        match self.chunked && self.length.is_some() {
            true => Err("both content-length and transfer-encoding"),
            false => Ok(()),
        }
    }
}
