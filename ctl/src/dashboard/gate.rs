//! Who may see the page: browsers on this machine that were given the token, and no page of anybody else's.
//!
//! Before everything that is served. Host and Origin have to be our own, against names that are made to lead here (DNS
//! rebinding) and other sites' scripts; the token of the printed link works once and becomes a cookie that scripts cannot read.

use aws_lc_rs::rand;
use http::{HeaderMap, header};
use std::net::SocketAddr;
use std::sync::Mutex;
use subtle::ConstantTimeEq as _;

/// Bytes of randomness in a token.
const STRENGTH: usize = 32;

/// Why a request is turned away.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("refused: the request is for host {0:?}, and this page is only served as {1}")]
    Host(String, String),
    #[error("refused: the request comes from a page of {0:?}; only this page itself may ask")]
    Origin(String),
    #[error("refused: the link's token is wrong or has been used; `weftctl dashboard` prints a new one")]
    Token,
    #[error("refused: open the link that `weftctl dashboard` printed; it works once, in one browser")]
    Stranger,
}

/// The secrets of one run, and where it is served.
#[derive(Debug)]
pub struct Gate {
    /// As the Host header names this server.
    hosts: Vec<String>,
    /// Taken by the first who shows it.
    token: Mutex<Option<String>>,
    session: String,
    /// Cookies do not tell ports apart, so this one's name does.
    cookie: String,
}

impl Gate {
    /// For a server at `address`; the token that opens it.
    pub fn new(address: SocketAddr) -> Result<(Self, String), aws_lc_rs::error::Unspecified> {
        let (token, session) = (secret()?, secret()?);
        let port = address.port();
        let mut hosts = vec![address.to_string(), format!("localhost:{port}")];
        if port == 80 {
            hosts.extend([address.ip().to_string(), "localhost".to_owned()]);
        }
        let gate =
            Self { hosts, token: Mutex::new(Some(token.clone())), session, cookie: format!("weft-dashboard-{port}") };
        Ok((gate, token))
    }

    /// Whether the request was meant for this server, by nobody else's page.
    pub fn ours(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let host = text(headers, header::HOST).unwrap_or_default();
        if !self.hosts.iter().any(|own| own.eq_ignore_ascii_case(host)) {
            return Err(Refusal::Host(host.to_owned(), self.hosts[0].clone()));
        }
        let foreign = |origin: &&str| match origin.strip_prefix("http://") {
            Some(name) => !self.hosts.iter().any(|own| own.eq_ignore_ascii_case(name)),
            None => true,
        };
        let origins = headers.get_all(header::ORIGIN).iter().map(|origin| origin.to_str().unwrap_or("unreadable"));
        match origins.into_iter().find(foreign) {
            Some(origin) => Err(Refusal::Origin(origin.to_owned())),
            None => Ok(()),
        }
    }

    /// The cookie for whoever shows the token; it works once.
    pub fn exchange(&self, shown: &str) -> Result<String, Refusal> {
        let mut token = self.token.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !token.as_deref().is_some_and(|token| same(token, shown)) {
            return Err(Refusal::Token);
        }
        *token = None;
        Ok(format!("{}={}; HttpOnly; SameSite=Strict; Path=/", self.cookie, self.session))
    }

    /// Whether the request carries the cookie.
    pub fn knows(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let known = pairs.any(|(name, value)| name == self.cookie && same(value, &self.session));
        known.then_some(()).ok_or(Refusal::Stranger)
    }
}

/// Takes as long for a wrong secret as for a right one.
fn same(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

fn secret() -> Result<String, aws_lc_rs::error::Unspecified> {
    let mut bytes = [0; STRENGTH];
    rand::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate() -> (Gate, String) {
        Gate::new("127.0.0.1:4000".parse().unwrap()).unwrap()
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_our_own_host_and_origin_pass() {
        let (gate, _) = gate();
        for good in [
            headers(&[("host", "127.0.0.1:4000")]),
            headers(&[("host", "LOCALHOST:4000"), ("origin", "http://localhost:4000")]),
        ] {
            assert_eq!(gate.ours(&good), Ok(()));
        }
        for host in
            ["", "127.0.0.1", "127.0.0.1:4001", "evil.example:4000", "127.0.0.1:4000.evil.example", "[::1]:4000"]
        {
            let refusal = gate.ours(&headers(&[("host", host)])).unwrap_err();
            assert_eq!(refusal, Refusal::Host(host.to_owned(), "127.0.0.1:4000".to_owned()));
        }
        assert!(gate.ours(&HeaderMap::new()).is_err(), "no Host at all");
        for origin in ["null", "", "http://evil.example", "https://127.0.0.1:4000", "http://127.0.0.1:4001"] {
            let refusal = gate.ours(&headers(&[("host", "127.0.0.1:4000"), ("origin", origin)])).unwrap_err();
            assert_eq!(refusal, Refusal::Origin(origin.to_owned()));
        }
    }

    #[test]
    fn the_token_works_once_and_becomes_a_cookie() {
        let (gate, token) = gate();
        assert_eq!(token.len(), 64);
        for wrong in ["", "x", &token[1..], &format!("{token}0")] {
            assert_eq!(gate.exchange(wrong), Err(Refusal::Token), "{wrong:?} does not use it up");
        }
        let cookie = gate.exchange(&token).unwrap();
        assert!(cookie.ends_with("; HttpOnly; SameSite=Strict; Path=/"), "{cookie}");
        assert!(!cookie.contains(&token), "the token is of no use once it was seen");
        assert_eq!(gate.exchange(&token), Err(Refusal::Token));

        let pair = cookie.split(';').next().unwrap();
        assert_eq!(gate.knows(&headers(&[("cookie", &format!("other=1; {pair}"))])), Ok(()));
        for stranger in ["", "weft-dashboard-4000=", "weft-dashboard-4000=0", &pair.replace("4000", "4001")] {
            assert_eq!(gate.knows(&headers(&[("cookie", stranger)])), Err(Refusal::Stranger), "{stranger}");
        }
        let other = gate_with_the_same_port();
        assert!(other.knows(&headers(&[("cookie", pair)])).is_err(), "another run's cookie");
    }

    fn gate_with_the_same_port() -> Gate {
        gate().0
    }
}
