//! The mesh on one machine, from outside: pods to run it in, programs to run through it.
//!
//! Nothing here links Weft. The demo, the end-to-end tests and the benchmarks start the same binaries that an operator starts
//! and see what an operator sees. Needs root, iproute2 and iptables.

pub mod pods;
pub mod etcd;
pub mod mesh;
pub mod capture;
