//! Whether the sidecar beside an endpoint lets a request in: the second question of `weftctl explain`, and what is told of it.
//!
//! Asked by weftctl of the endpoint's own proxy, which decides as it does about real connections; carried as JSON. What arrives
//! there is the imagined request after the edits of its way.

use super::imagined::{Imagined, Refusal};
use crate::SpiffeId;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

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
