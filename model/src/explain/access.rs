//! Whether the sidecar beside an endpoint lets a request in: the second question of `weftctl explain`, and what is told of it.
//!
//! Asked by weftctl of the endpoint's own proxy, which decides as it does about real connections; carried as JSON. What arrives
//! there is the imagined request after the edits of its way.

use super::imagined::{Imagined, Refusal};
use crate::SpiffeId;
use crate::limits::RateKey;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::Duration;

/// A connection that nobody opens and the request on it, as they reach the endpoint's proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// Whose decision is asked for: `namespace/name` of the endpoint's proxy.
    pub at: String,
    /// Of the client's proxy, which the endpoint's asks for by mTLS.
    pub identity: SpiffeId,
    /// Where the connection comes from.
    pub address: IpAddr,
    /// Where the application listens.
    pub port: u16,
    /// Its bytes are not read as HTTP.
    pub opaque: bool,
    pub request: Imagined,
}

/// What one endpoint's sidecar says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    pub endpoint: String,
    pub ruling: Ruling,
    /// What it limits; `None`: it was not asked, or could not say.
    #[serde(default)]
    pub limits: Option<Limited>,
}

/// What an endpoint's sidecar limits, as a request of its client would meet it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Limited {
    /// Those that the request falls under.
    pub rates: Vec<RateLeft>,
    /// Requests under way.
    pub requests: Option<Occupied>,
    pub connections: Option<Occupied>,
}

/// One rate limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLeft {
    pub name: String,
    pub requests: u32,
    pub per: Duration,
    pub key: RateKey,
    /// Requests of this client that could come at once.
    pub left: u64,
}

/// Places, and how many of them are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Occupied {
    pub now: u32,
    pub most: u32,
}

/// Whether a request is let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ruling {
    /// The proxy has never been told any policies: all are let in.
    Untold,
    /// No policy concerns this workload.
    Open,
    Allowed {
        /// `namespace/policy`, or `default`, the namespace's.
        policy: String,
        /// One in audit mode that would have denied it.
        #[serde(default)]
        audit: Option<String>,
    },
    Refused {
        /// `None`: the request can be read in several ways, and a policy asks for how it is read.
        #[serde(default)]
        policy: Option<String>,
        /// `None`: the connection is reset.
        #[serde(default)]
        answer: Option<Refusal>,
    },
    /// There is none: nobody decides.
    NoSidecar,
    /// Why nobody knows.
    Unknown(String),
}
