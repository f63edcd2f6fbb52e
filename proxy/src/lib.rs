//! The sidecar data plane. Modules stand in the order of a request's life; see ARCHITECTURE.md for the picture.
//!
//! `run` starts threads; `serve` accepts; the stories `outbound` and `inbound` say where a connection goes; `plan` says what
//! becomes of a request; `http1`, `http2` and `tunnel` move the bytes. Imports point downwards only.

pub mod run;
pub mod config;
pub mod serve;
pub mod accept;
pub mod sniff;
pub mod detect;
pub mod outbound;
pub mod inbound;
pub mod authorize;
pub mod plan;
pub mod record;
pub mod observe;
pub mod trace;
pub mod access;
pub mod gate;
pub mod deadline;
pub mod limit;
pub mod fault;
pub mod route;
pub mod throttle;
pub mod retry;
pub mod balance;
pub mod affinity;
pub mod worker;
pub mod cluster;
pub mod ejections;
pub mod breaker;
pub mod pool;
pub mod probe;
pub mod connect;
pub mod conn;
pub mod http1;
pub mod http2;
pub mod tunnel;
pub mod respond;
pub mod request;
pub mod error;
pub mod catalog;
pub mod questions;
pub mod discovery;
pub mod backoff;
pub mod state_dir;
pub mod certify;
pub mod register;
pub mod health;
pub mod dns;
pub mod drain;
pub mod metrics;
pub mod describe;
pub mod kubelet;
pub mod admin;
pub mod redirect;
pub mod wait;
