//! Everything that can go wrong with a connection, a request or one attempt of it.
//!
//! The bottom of the crate: every module above names its failures from here. Each says whose fault it was, whether the
//! request may be sent again, and what the client is told; each of these is one exhaustive match.

use std::borrow::Cow;
use std::io::ErrorKind;
use std::sync::Arc;

/// Which side of the proxy a failure belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Client,
    Mesh,
    Endpoint,
}

/// Whether a request that failed may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetrySafety {
    /// It was certainly not processed.
    Always,
    /// It may have been processed (RFC 9110 section 9.2.2).
    IfIdempotent,
    Never,
}

/// A failure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("the service has no endpoint that takes requests")]
    NoEndpoints,
    #[error("no rule of the service's routes matches the request")]
    NoRoute,
    #[error("the mesh knows no such service")]
    NoSuchService,
    #[error("the route's backend does not exist, or must not be referred to")]
    InvalidBackend,
    #[error("the endpoint refused the connection")]
    ConnectRefused,
    #[error("the endpoint did not accept the connection in time")]
    ConnectTimeout,
    #[error("the connection to the endpoint failed: {0}")]
    ConnectFailed(ErrorKind),
    #[error("the TLS handshake with the endpoint failed: {0}")]
    TlsFailed(String),
    #[error("the endpoint is not who it should be: {0}")]
    PeerIdentity(String),
    #[error("the request took longer than its time-out")]
    RequestTimeout,
    #[error("the endpoint did not answer within the time for one try")]
    TryTimeout,
    #[error("the endpoint closed the connection before it answered")]
    ResetBeforeResponse,
    #[error("the endpoint closed the connection within its answer")]
    ResetMidResponse,
    #[error("the endpoint refused the stream")]
    RefusedStream,
    #[error("the endpoint is going away")]
    GoAway,
    #[error("an idle connection to the endpoint had been closed")]
    StaleConnection,
    #[error("the endpoint answered {0}")]
    Unwelcome(u16),
    #[error("the endpoint's sidecar could not reach it")]
    Unreached,
    #[error("the endpoint's answer is malformed: {0}")]
    MalformedResponse(&'static str),
    #[error("the request is malformed: {0}")]
    MalformedRequest(&'static str),
    #[error("the request's head is larger than allowed")]
    HeadersTooLarge,
    #[error("the request's head did not arrive in time")]
    HeaderTimeout,
    #[error("not allowed (denied by {0})")]
    Denied(Arc<str>),
    #[error("the client went away")]
    ClientGone,
}

impl Failure {
    pub fn side(&self) -> Side {
        match self {
            Self::NoEndpoints | Self::NoRoute | Self::NoSuchService | Self::InvalidBackend => Side::Mesh,
            Self::ConnectRefused
            | Self::ConnectTimeout
            | Self::ConnectFailed(_)
            | Self::TlsFailed(_)
            | Self::PeerIdentity(_)
            | Self::RequestTimeout
            | Self::TryTimeout
            | Self::ResetBeforeResponse
            | Self::ResetMidResponse
            | Self::RefusedStream
            | Self::GoAway
            | Self::StaleConnection
            | Self::Unwelcome(_)
            | Self::Unreached
            | Self::MalformedResponse(_) => Side::Endpoint,
            Self::MalformedRequest(_)
            | Self::HeadersTooLarge
            | Self::HeaderTimeout
            | Self::Denied(_)
            | Self::ClientGone => Side::Client,
        }
    }

    pub fn safety(&self) -> RetrySafety {
        match self {
            Self::ConnectRefused
            | Self::ConnectTimeout
            | Self::ConnectFailed(_)
            | Self::TlsFailed(_)
            | Self::PeerIdentity(_)
            | Self::RefusedStream
            | Self::GoAway
            | Self::Unreached => RetrySafety::Always,
            Self::TryTimeout
            | Self::ResetBeforeResponse
            | Self::StaleConnection
            | Self::Unwelcome(_)
            | Self::MalformedResponse(_) => RetrySafety::IfIdempotent,
            Self::NoEndpoints
            | Self::NoRoute
            | Self::NoSuchService
            | Self::InvalidBackend
            | Self::RequestTimeout
            | Self::ResetMidResponse
            | Self::MalformedRequest(_)
            | Self::HeadersTooLarge
            | Self::HeaderTimeout
            | Self::Denied(_)
            | Self::ClientGone => RetrySafety::Never,
        }
    }

    /// The HTTP status the client gets.
    pub fn status(&self) -> u16 {
        match self {
            Self::MalformedRequest(_) => 400,
            Self::Denied(_) => 403,
            Self::NoRoute => 404,
            Self::HeaderTimeout => 408,
            Self::HeadersTooLarge => 431,
            Self::InvalidBackend => 500,
            // Nobody sees it; nginx's number for a client that left.
            Self::ClientGone => 499,
            Self::ResetBeforeResponse | Self::ResetMidResponse | Self::StaleConnection | Self::MalformedResponse(_) => {
                502
            }
            Self::NoEndpoints
            | Self::NoSuchService
            | Self::ConnectRefused
            | Self::ConnectFailed(_)
            | Self::TlsFailed(_)
            | Self::PeerIdentity(_)
            | Self::RefusedStream
            | Self::GoAway
            | Self::Unreached => 503,
            Self::Unwelcome(status) => *status,
            Self::ConnectTimeout | Self::RequestTimeout | Self::TryTimeout => 504,
        }
    }

    /// The gRPC status code (grpc.io "Status codes") the client gets.
    pub fn grpc_status(&self) -> u16 {
        match self.status() {
            400 | 431 => 13,
            403 => 7,
            404 => 12,
            408 | 504 => 4,
            499 => 1,
            _ => 14,
        }
    }

    /// The word in `weft-reason`, in metrics and in logs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoEndpoints => "no-endpoints",
            Self::NoRoute => "no-route",
            Self::NoSuchService => "no-such-service",
            Self::InvalidBackend => "invalid-backend",
            Self::ConnectRefused => "connect-refused",
            Self::ConnectTimeout => "connect-timeout",
            Self::ConnectFailed(_) => "connect-failed",
            Self::TlsFailed(_) => "tls-failed",
            Self::PeerIdentity(_) => "peer-identity",
            Self::RequestTimeout => "request-timeout",
            Self::TryTimeout => "try-timeout",
            Self::ResetBeforeResponse => "reset-before-response",
            Self::ResetMidResponse => "reset-mid-response",
            Self::RefusedStream => "refused-stream",
            Self::GoAway => "go-away",
            Self::StaleConnection => "stale-connection",
            Self::Unwelcome(_) => "endpoint-status",
            Self::Unreached => "unreached",
            Self::MalformedResponse(_) => "malformed-response",
            Self::MalformedRequest(_) => "malformed-request",
            Self::HeadersTooLarge => "headers-too-large",
            Self::HeaderTimeout => "header-timeout",
            Self::Denied(_) => "denied",
            Self::ClientGone => "client-gone",
        }
    }

    /// What `weft-reason` says: the reason, and of a refusal whose it was.
    pub fn told(&self) -> Cow<'static, str> {
        match self {
            Self::Denied(by) => format!("denied-by={by}").into(),
            other => other.reason().into(),
        }
    }
}
