//! What the demo is told, and what it has to tell in the end.
//!
//! Below everything else of the demo. Flags that make no sense end the program with status 2.

use clap::{Parser, ValueEnum};
use std::time::Duration;

/// The story ends by then, well or badly.
pub const LIMIT: Duration = Duration::from_secs(58);

/// Runs a shop in a mesh on this machine, shows it working, and cleans up. Needs root.
#[derive(Debug, Clone, Parser)]
#[command(name = "weft-demo", version)]
pub struct Flags {
    /// What discovery keeps its state in
    #[arg(long, value_enum, default_value_t = Store::Embedded)]
    pub store: Store,
    /// Leave the mesh up until Ctrl-C
    #[arg(long)]
    pub keep: bool,
    /// Only set the shop up and, with --keep, leave it under a little load
    #[arg(long)]
    pub skip_story: bool,
    /// Customers' requests per second
    #[arg(long, default_value_t = 120)]
    pub rate: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Store {
    /// One file
    Embedded,
    /// Three etcd members on loopback
    Etcd,
}

/// What the customers met with in the end.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    pub requests: u64,
    pub retried: u64,
    pub p50: Duration,
    pub p99: Duration,
}
