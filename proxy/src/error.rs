//! Everything that can go wrong with a connection, a request or one attempt of it.
//!
//! The bottom of the crate: every module above names its failures from here. Each says whose fault it was, whether the
//! request may be sent again, and what the client is told; each of these is one exhaustive match.

use std::borrow::Cow;
use std::io::ErrorKind;
use std::sync::Arc;
use weft_model::faults::Answer;

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

/// What a client is told whose request was one too many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateRefusal {
    /// Of the limit.
    pub name: String,
    /// Fields of the answer: when to come again, and how the client stands.
    pub fields: Vec<(&'static str, String)>,
}

/// What circuit breaking bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    Requests,
    Pending,
    Retries,
    Connections,
}

impl Limit {
    /// The word in `weft-reason`, in metrics and in logs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Requests => "max-requests",
            Self::Pending => "max-pending-requests",
            Self::Retries => "max-retries",
            Self::Connections => "max-connections",
        }
    }
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
    #[error("the service refuses most requests; this one was not sent")]
    Throttled,
    #[error("the circuit is open: {}", .0.word())]
    CircuitOpen(Limit),
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
    #[error("the client's deadline has passed")]
    DeadlineExceeded,
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
    #[error("the retry budget is used up; the last try ended with {0}")]
    RetryBudgetExhausted(u16),
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
    #[error("more requests than the limit {} admits", .0.name)]
    RateLimited(Box<RateRefusal>),
    #[error("the endpoint has as many requests under way as it takes")]
    Overloaded,
    #[error("the endpoint has as many connections as it takes")]
    TooManyConnections,
    #[error("a fault that the service's policy asks for")]
    Injected(Answer),
}

impl Failure {
    pub fn side(&self) -> Side {
        match self {
            Self::NoEndpoints
            | Self::NoRoute
            | Self::NoSuchService
            | Self::InvalidBackend
            | Self::Throttled
            | Self::CircuitOpen(_)
            | Self::Injected(_) => Side::Mesh,
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
            | Self::MalformedResponse(_)
            | Self::RetryBudgetExhausted(_)
            | Self::Overloaded
            | Self::TooManyConnections => Side::Endpoint,
            Self::DeadlineExceeded
            | Self::MalformedRequest(_)
            | Self::HeadersTooLarge
            | Self::HeaderTimeout
            | Self::Denied(_)
            | Self::ClientGone
            | Self::RateLimited(_) => Side::Client,
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
            | Self::Unreached
            | Self::Overloaded
            | Self::TooManyConnections => RetrySafety::Always,
            Self::TryTimeout
            | Self::ResetBeforeResponse
            | Self::StaleConnection
            | Self::Unwelcome(_)
            | Self::MalformedResponse(_) => RetrySafety::IfIdempotent,
            Self::NoEndpoints
            | Self::NoRoute
            | Self::NoSuchService
            | Self::InvalidBackend
            | Self::Throttled
            | Self::CircuitOpen(_)
            | Self::RequestTimeout
            | Self::DeadlineExceeded
            | Self::ResetMidResponse
            | Self::RetryBudgetExhausted(_)
            | Self::MalformedRequest(_)
            | Self::HeadersTooLarge
            | Self::HeaderTimeout
            | Self::Denied(_)
            | Self::ClientGone
            | Self::RateLimited(_)
            | Self::Injected(_) => RetrySafety::Never,
        }
    }

    /// The service has said that it does not want the request now, whether it is too busy or has had too many.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Unwelcome(429 | 503) | Self::Overloaded)
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
            | Self::Throttled
            | Self::CircuitOpen(_)
            | Self::ConnectRefused
            | Self::ConnectFailed(_)
            | Self::TlsFailed(_)
            | Self::PeerIdentity(_)
            | Self::RefusedStream
            | Self::GoAway
            | Self::Unreached
            | Self::Overloaded
            | Self::TooManyConnections
            | Self::Injected(Answer::GrpcStatus(_)) => 503,
            Self::RateLimited(_) => 429,
            Self::Unwelcome(status) | Self::RetryBudgetExhausted(status) | Self::Injected(Answer::Status(status)) => {
                *status
            }
            Self::ConnectTimeout | Self::RequestTimeout | Self::DeadlineExceeded | Self::TryTimeout => 504,
        }
    }

    /// The gRPC status code (grpc.io "Status codes") the client gets.
    pub fn grpc_status(&self) -> u16 {
        if let Self::Injected(Answer::GrpcStatus(code)) = self {
            return *code;
        }
        match self.status() {
            400 | 431 => 13,
            401 => 16,
            403 => 7,
            404 => 12,
            429 => 8,
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
            Self::Throttled => "throttled",
            Self::CircuitOpen(limit) => limit.word(),
            Self::ConnectRefused => "connect-refused",
            Self::ConnectTimeout => "connect-timeout",
            Self::ConnectFailed(_) => "connect-failed",
            Self::TlsFailed(_) => "tls-failed",
            Self::PeerIdentity(_) => "peer-identity",
            Self::RequestTimeout => "request-timeout",
            Self::DeadlineExceeded => "deadline-exceeded",
            Self::TryTimeout => "try-timeout",
            Self::ResetBeforeResponse => "reset-before-response",
            Self::ResetMidResponse => "reset-mid-response",
            Self::RefusedStream => "refused-stream",
            Self::GoAway => "go-away",
            Self::StaleConnection => "stale-connection",
            Self::Unwelcome(_) => "endpoint-status",
            Self::Unreached => "unreached",
            Self::RetryBudgetExhausted(_) => "retry-budget-exhausted",
            Self::MalformedResponse(_) => "malformed-response",
            Self::MalformedRequest(_) => "malformed-request",
            Self::HeadersTooLarge => "headers-too-large",
            Self::HeaderTimeout => "header-timeout",
            Self::Denied(_) => "denied",
            Self::ClientGone => "client-gone",
            Self::RateLimited(_) => "rate-limited",
            Self::Overloaded => "overloaded",
            Self::TooManyConnections => "too-many-connections",
            Self::Injected(_) => "fault-injected",
        }
    }

    /// What else the answer says, beside the reason.
    pub fn fields(&self) -> &[(&'static str, String)] {
        match self {
            Self::RateLimited(refusal) => &refusal.fields,
            _ => &[],
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
