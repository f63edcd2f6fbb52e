//! Where a replica of discovery is asked: a socket of this machine, or a pod of a cluster.
//!
//! As people type it and read it. A text that is no unix socket is refused with what to write.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a replica is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Its admin socket on this machine.
    Socket(PathBuf),
    /// Its pod, through the API server of Kubernetes.
    Pod { namespace: String, name: String },
    /// Some pod of the cluster, while none is known.
    Cluster,
}

impl FromStr for Address {
    type Err = String;

    /// `unix:///path`, `unix:path` or a bare path.
    fn from_str(text: &str) -> Result<Self, String> {
        let path = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:")).unwrap_or(text);
        if path.is_empty() || path.contains("://") {
            return Err("the admin API is served on a unix socket: write unix:///run/weft/discovery.sock".to_owned());
        }
        Ok(Self::Socket(path.into()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "unix://{}", path.display()),
            Self::Pod { namespace, name } => write!(f, "pod {namespace}/{name}"),
            Self::Cluster => f.write_str("the cluster"),
        }
    }
}
