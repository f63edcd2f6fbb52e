//! Load: one file per way to make it, each of which counts what came back.
//!
//! All of them refuse a run in which anything failed, because failures are quick and would flatter.

pub mod wrk;
pub mod h2load;
pub mod paced;
pub mod stream;
pub mod grpc;
pub mod large;
pub mod dial;
pub mod scrape;
pub mod idle;
