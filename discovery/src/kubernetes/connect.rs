//! The way to the Kubernetes API server, from inside the cluster or by a kubeconfig.
//!
//! Asked once at the start; what it gives is shared by everything that talks to Kubernetes. Nothing is dialled here, so that
//! discovery starts while the API server is away. Fails naming the flag when there is no way to know where the server is.

use http::header::{HeaderValue, USER_AGENT};
use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use std::path::PathBuf;

/// Who we are in the API server's logs.
const AGENT: &str = concat!("weft-discovery/", env!("CARGO_PKG_VERSION"));

/// Where the API server is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Connection {
    /// `None`: the pod's own service account.
    pub kubeconfig: Option<PathBuf>,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("--kubernetes: this is no pod of a cluster ({0}); give a --kubeconfig")]
    Outside(#[from] InClusterError),
    #[error("--kubeconfig: {}: {error}", file.display())]
    Kubeconfig { file: PathBuf, error: Box<KubeconfigError> },
    #[error("--kubernetes: {0}")]
    Client(Box<kube::Error>),
}

/// A client; must be called on a tokio runtime.
pub async fn connect(connection: &Connection) -> Result<Client, ConnectError> {
    let mut config = match &connection.kubeconfig {
        None => Config::incluster()?,
        Some(file) => {
            let failed = |error| ConnectError::Kubeconfig { file: file.clone(), error: Box::new(error) };
            let kubeconfig = Kubeconfig::read_from(file).map_err(failed)?;
            let options = KubeConfigOptions::default();
            Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(failed)?
        }
    };
    config.headers.push((USER_AGENT, HeaderValue::from_static(AGENT)));
    Client::try_from(config).map_err(|error| ConnectError::Client(Box::new(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn fault(text: &str) -> String {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let connection = Connection { kubeconfig: Some(file.path().to_owned()) };
        connect(&connection).await.map(drop).unwrap_err().to_string()
    }

    #[tokio::test]
    async fn a_kubeconfig_that_says_nothing_is_refused_by_name() {
        let missing = Connection { kubeconfig: Some("/nowhere/kubeconfig".into()) };
        let missing = connect(&missing).await.map(drop).unwrap_err().to_string();
        for said in [missing, fault("").await, fault("]").await, fault("kind: Config\ncurrent-context: x\n").await] {
            assert!(said.starts_with("--kubeconfig: "), "{said}");
        }
    }
}
