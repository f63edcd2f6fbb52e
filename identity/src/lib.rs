//! Workload identity: keys and certificates, the TLS configurations made of them, and their replacement while in use.
//!
//! Everything here uses the aws-lc-rs provider by name, never a process-wide default, and speaks TLS 1.3 only. The
//! peer's SPIFFE ID is what is verified; host names and addresses play no part.

mod provider;
pub mod spiffe;
pub mod certificate;
pub mod tls;
pub mod rotate;

pub use provider::provider;
