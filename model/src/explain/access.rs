//! Whether the sidecar beside an endpoint lets a request in: the second question of `weftctl explain`, and what is told of it.
//!
//! Asked by weftctl of the endpoint's own proxy, which decides as it does about real connections; carried as JSON. What arrives
//! there is the imagined request after the edits of its way.

use super::{Imagined, Refusal, Way};
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

impl Imagined {
    /// As it is sent once `way` has edited it.
    pub fn sent(&self, way: &Way) -> Self {
        let mut sent = self.clone();
        let edit = &way.request_headers;
        let replaced = |name: &String| edit.remove.contains(name) || edit.set.iter().any(|(set, _)| set == name);
        sent.headers.retain(|(name, _)| !replaced(name));
        sent.headers.extend(edit.set.iter().chain(&edit.add).cloned());
        if let Some(host) = &way.host {
            sent.headers.retain(|(name, _)| name != "host");
            sent.headers.push(("host".to_owned(), host.clone()));
        }
        if let Some(target) = &way.target {
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            (sent.path, sent.query) = (path.to_owned(), query.to_owned());
        }
        sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_arrives_is_what_its_way_makes_of_it() {
        let request: Imagined =
            serde_json::from_value(json!({"method": "GET", "host": "a.b", "port": 80, "path": "/old",
            "query": "q=x", "headers": [["user", "ann"], ["gone", "1"], ["host", "a.b"]]}))
            .unwrap();
        let mut way: Way = serde_json::from_value(json!({"service": {"namespace": "b", "name": "a"}, "port": 80,
            "share": 100.0, "host": "c.b", "target": "/new?r=y", "request_headers":
            {"set": [["user", "bob"]], "add": [["more", "2"]], "remove": ["gone"]}}))
        .unwrap();
        let sent = request.sent(&way);
        assert_eq!((&*sent.path, &*sent.query), ("/new", "r=y"));
        let fields: Vec<String> = sent.headers.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(fields, ["user=bob", "more=2", "host=c.b"]);
        (way.host, way.target, way.request_headers) = Default::default();
        assert_eq!(request.sent(&way), request);
    }
}
