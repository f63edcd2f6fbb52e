//! Sessions: how a client is led back to the endpoint that served it first, and the keys that only proxies have for it.
//!
//! Part of a policy or of a route's rule; the proxy's `affinity` makes and reads the tokens. Data only. A key never shows in
//! what is printed for debugging.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// A session that a client carries with it (GEP-1619 calls it persistent).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Of the cookie, or of the header (lower case).
    pub name: String,
    /// How long a session lasts from its first request on, as proxies judge it.
    #[serde(default, alias = "ttl")]
    pub absolute_timeout: Option<Duration>,
    /// A session that brings no request for so long has ended.
    #[serde(default)]
    pub idle_timeout: Option<Duration>,
    #[serde(default)]
    pub carrier: Carrier,
}

/// Where a client carries its session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Carrier {
    Cookie(CookieAttributes),
    /// The client repeats the header of the response in its requests.
    Header,
}

impl Default for Carrier {
    fn default() -> Self {
        Self::Cookie(CookieAttributes::default())
    }
}

/// What browsers are told about the cookie. It is always `HttpOnly`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CookieAttributes {
    /// It outlives the browser: `Max-Age` is what is left of the session's absolute time-out, which has to be given.
    pub permanent: bool,
    pub same_site: SameSite,
    /// Only over TLS.
    pub secure: bool,
    /// Begins with `/`.
    pub path: String,
}

impl Default for CookieAttributes {
    fn default() -> Self {
        Self { permanent: false, same_site: SameSite::Lax, secure: false, path: "/".to_owned() }
    }
}

/// Whether browsers send the cookie with requests that other sites cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SameSite {
    Strict,
    #[default]
    Lax,
    /// With [`CookieAttributes::secure`] only.
    None,
}

impl SameSite {
    /// As it stands in the cookie.
    pub fn word(self) -> &'static str {
        match self {
            Self::Strict => "Strict",
            Self::Lax => "Lax",
            Self::None => "None",
        }
    }
}

/// A secret of the whole mesh that session tokens are sealed with.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionKey {
    /// Stands in every token, unsealed.
    pub id: u32,
    pub secret: [u8; 32],
    /// Seconds since the epoch: tokens are sealed with the newest key for which this has come; by then every proxy can open
    /// them.
    pub from: u64,
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionKey").field("id", &self.id).field("from", &self.from).finish_non_exhaustive()
    }
}
