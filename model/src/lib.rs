//! The vocabulary of Weft: names, addresses, identities, services, endpoints, routes and policies.
//!
//! Pure data and pure decisions. Nothing here knows of sockets, tasks, wire formats or stores; every type is
//! validated where it is made, so that whoever holds one may rely on it.

pub mod names;
pub mod address;
pub mod spiffe;
pub mod endpoint;
pub mod service;
pub mod session;
pub mod route;
pub mod balance;
pub mod limits;
pub mod faults;
pub mod policy;
pub mod health;
pub mod throttle;
pub mod authorization;
pub mod view;
pub mod explain;

pub use address::{Cidr, Port};
pub use authorization::{AuthorizationPolicy, NamespacePolicy, WorkloadPolicies};
pub use endpoint::{Endpoint, EndpointState, Hints};
pub use names::ServiceName;
pub use policy::TrafficPolicy;
pub use route::Route;
pub use service::{Protocol, Service, ServicePort};
pub use spiffe::SpiffeId;
pub use view::{Binding, ServiceView};
