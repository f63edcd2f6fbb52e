//! The way to discovery: its admin API over unix sockets, one per replica, or through the API server of Kubernetes (`cluster`).
//!
//! Every command goes through here. A replica that cannot be reached or does not answer in time is passed over for the
//! next; what a replica refuses is refused. Errors name the socket and say what to do next.

mod address;
pub mod cluster;

pub use address::Address;

use cluster::cause;
use std::error::Error;
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::sync::OnceCell;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status};
use weft_proto::v1;
use weft_proto::v1::admin_client::AdminClient;

/// The most that one answer may be: a dump or a listing of a big mesh.
const ANSWER_LIMIT: usize = 256 * 1024 * 1024;

/// Where discovery is asked when nobody says where, and it is on this machine.
const SOCKET: &str = "/run/weft/discovery.sock";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There is no replica to ask.
    #[error("{0}")]
    Nowhere(String),
    #[error("cannot reach discovery at {address}: {reason}; {}", advice(address, *.kind))]
    Unreachable { address: Address, reason: String, kind: Option<io::ErrorKind> },
    #[error("discovery at {address} does not answer ({reason}); see its log, or name another with --discovery")]
    Silent { address: Address, reason: String },
    /// It says itself that it cannot, for the time being.
    #[error("discovery at {address} cannot answer now: {reason}")]
    Unable { address: Address, reason: String },
    #[error("no discovery replica answers:{}", list(.0))]
    Nobody(Vec<CallError>),
    /// The request itself was found wrong, or there is no such thing.
    #[error("{}", .0.message())]
    Refused(Status),
    #[error("discovery at {address} failed: {} ({:?}); see its log", .status.message(), .status.code())]
    Failed { address: Address, status: Status },
}

fn advice(address: &Address, kind: Option<io::ErrorKind>) -> &'static str {
    match (address, kind) {
        (Address::Pod { .. } | Address::Cluster, _) => {
            "weftctl needs the right to create pods/portforward there, and discovery --admin-forward-port=15012"
        }
        (_, Some(io::ErrorKind::PermissionDenied)) => "the socket is not for this user: try as root",
        _ => "is weft-discovery running? name another with --discovery",
    }
}

fn list(errors: &[CallError]) -> String {
    errors.iter().map(|error| format!("\n  {error}")).collect()
}

impl CallError {
    /// What nobody's answer comes to.
    pub fn of_all(mut errors: Vec<Self>) -> Self {
        // One replica's reason reads better without a list around it.
        if errors.len() == 1 { errors.remove(0) } else { Self::Nobody(errors) }
    }

    /// Whether another replica might do better.
    fn concerns_one_replica(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Silent { .. } | Self::Unable { .. })
    }

    /// Whether discovery answered that there is no such object.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(status) if status.code() == Code::NotFound)
    }

    fn from_status(address: &Address, status: Status) -> Self {
        let address = address.clone();
        let reason = status.message().to_owned();
        match status.code() {
            Code::InvalidArgument
            | Code::NotFound
            | Code::FailedPrecondition
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::Aborted => Self::Refused(status),
            Code::Unavailable | Code::DeadlineExceeded if status.source().is_none() => Self::Unable { address, reason },
            // What has a cause did not come from discovery but from the connection to it.
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => Self::Silent { address, reason },
            _ => Self::Failed { address, status },
        }
    }
}

/// A connection to one replica.
pub type Admin = AdminClient<Channel>;

/// The replicas, in the order in which they were named or found.
#[derive(Debug)]
pub struct Discovery {
    named: Vec<Address>,
    cluster: cluster::Flags,
    timeout: Duration,
    /// Looked for once, by the first who asks: not every command does.
    found: OnceCell<Result<Vec<Replica>, String>>,
}

#[derive(Debug)]
struct Replica {
    address: Address,
    /// How its pod is reached; `None`: by its socket.
    way: Option<cluster::Way>,
}

impl Discovery {
    /// `named`: none means the socket of this machine if there is one, and otherwise the cluster.
    pub fn new(named: Vec<Address>, cluster: cluster::Flags, timeout: Duration) -> Self {
        Self { named, cluster, timeout, found: OnceCell::new() }
    }

    /// Which cluster is meant, if it is one, and how long one answer may take.
    pub fn cluster(&self) -> (&cluster::Flags, Duration) {
        (&self.cluster, self.timeout)
    }

    /// A client of the cluster that discovery was found in; `None`: it was not found in one.
    pub async fn kubernetes(&self) -> Option<kube::Client> {
        self.replicas().await.ok()?.iter().find_map(|replica| replica.way.as_ref()).map(cluster::Way::client)
    }

    async fn replicas(&self) -> Result<&[Replica], CallError> {
        let found = self.found.get_or_init(async || self.find().await).await;
        found.as_deref().map_err(|reason| CallError::Nowhere(reason.clone()))
    }

    async fn find(&self) -> Result<Vec<Replica>, String> {
        let socket = |address: &Address| Replica { address: address.clone(), way: None };
        if !self.named.is_empty() {
            return Ok(self.named.iter().map(socket).collect());
        }
        if !self.cluster.is_asked_for() && Path::new(SOCKET).exists() {
            return Ok(vec![socket(&Address::Socket(SOCKET.into()))]);
        }
        let found = tokio::time::timeout(self.timeout, cluster::find(&self.cluster, self.timeout)).await;
        let late = || format!("the API server does not answer within {}", humantime::format_duration(self.timeout));
        let ways = found.map_err(|_| late())?.map_err(|error| error.to_string())?;
        Ok(ways.into_iter().map(|way| Replica { address: way.address(), way: Some(way) }).collect())
    }

    /// The answer of the first replica that answers.
    pub async fn call<T>(&self, ask: impl AsyncFn(Admin) -> Result<Response<T>, Status>) -> Result<T, CallError> {
        let mut errors = Vec::new();
        for replica in self.replicas().await? {
            match self.ask(replica, &ask).await {
                Err(error) if error.concerns_one_replica() => errors.push(error),
                answer => return answer,
            }
        }
        Err(CallError::of_all(errors))
    }

    /// The answer of every replica.
    pub async fn each<T>(
        &self,
        ask: impl AsyncFn(Admin) -> Result<Response<T>, Status>,
    ) -> Vec<(&Address, Result<T, CallError>)> {
        let replicas = match self.replicas().await {
            Ok(replicas) => replicas,
            Err(nowhere) => return vec![(&Address::Cluster, Err(nowhere))],
        };
        let mut answers = Vec::new();
        for replica in replicas {
            answers.push((&replica.address, self.ask(replica, &ask).await));
        }
        answers
    }

    async fn ask<T>(
        &self,
        Replica { address, way }: &Replica,
        ask: &impl AsyncFn(Admin) -> Result<Response<T>, Status>,
    ) -> Result<T, CallError> {
        let answer = tokio::time::timeout(self.timeout, async {
            let channel = match way {
                None => connect(address).await?,
                Some(way) => way.channel().await.map_err(|reason| unreachable(address, reason, None))?,
            };
            let admin = AdminClient::new(channel).max_decoding_message_size(ANSWER_LIMIT);
            ask(admin).await.map(Response::into_inner).map_err(|status| CallError::from_status(address, status))
        });
        answer.await.unwrap_or_else(|_| {
            let reason = format!("nothing heard for {}", humantime::format_duration(self.timeout));
            Err(CallError::Silent { address: address.clone(), reason })
        })
    }

    /// Asks the proxy, through whichever replica it is connected to. `None`: it is connected to none of them.
    pub async fn ask_proxy(&self, proxy: &str, topic: &str, json: String) -> Result<Option<String>, CallError> {
        let request = v1::AskProxyRequest { proxy: proxy.to_owned(), topic: topic.to_owned(), json };
        let mut failure = None;
        for (_, answer) in self.each(async |mut admin| admin.ask_proxy(request.clone()).await).await {
            match answer {
                Ok(answer) => return Ok(Some(answer.json)),
                Err(error) if error.is_not_found() => {}
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        // A replica that did not answer may be the one that knows it.
        failure.map_or(Ok(None), Err)
    }
}

fn unreachable(address: &Address, reason: String, kind: Option<io::ErrorKind>) -> CallError {
    CallError::Unreachable { address: address.clone(), reason, kind }
}

async fn connect(address: &Address) -> Result<Channel, CallError> {
    let path = address.to_string().replacen("unix://", "unix:", 1);
    let endpoint = Endpoint::from_shared(path).map_err(|error| unreachable(address, error.to_string(), None))?;
    endpoint.connect().await.map_err(|error| {
        let cause = cause(&error);
        unreachable(address, cause.to_string(), cause.downcast_ref().map(io::Error::kind))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_socket_path() {
        for text in ["unix:///run/a.sock", "unix:/run/a.sock", "/run/a.sock"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), "unix:///run/a.sock");
        }
        for text in ["", "unix://", "http://localhost:1"] {
            assert!(text.parse::<Address>().unwrap_err().contains("unix:///run/weft/discovery.sock"));
        }
    }

    async fn refused(replicas: &[&str], timeout: Duration) -> String {
        let discovery = Discovery::new(
            replicas.iter().map(|text| text.parse().unwrap()).collect(),
            cluster::Flags::default(),
            timeout,
        );
        let answer = discovery.call(async |mut admin| admin.status(weft_proto::v1::StatusRequest {}).await).await;
        answer.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn a_missing_socket_is_named_with_what_to_do() {
        let one = refused(&["/nonexistent/a.sock"], Duration::from_secs(5)).await;
        assert_eq!(
            one,
            "cannot reach discovery at unix:///nonexistent/a.sock: No such file or directory (os error 2); \
             is weft-discovery running? name another with --discovery"
        );
        let two = refused(&["/nonexistent/a.sock", "/nonexistent/b.sock"], Duration::from_secs(5)).await;
        assert!(two.starts_with("no discovery replica answers:\n  cannot reach"), "{two}");
        assert!(two.contains("b.sock"), "{two}");
    }

    #[tokio::test]
    async fn a_replica_that_hangs_is_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hung.sock");
        let _listener = tokio::net::UnixListener::bind(&path).unwrap();
        let error = refused(&[path.to_str().unwrap()], Duration::from_millis(50)).await;
        assert!(error.contains("does not answer (nothing heard for 50ms)"), "{error}");
    }
}
