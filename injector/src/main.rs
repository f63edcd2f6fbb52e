//! `weft-injector`: the admission webhook that puts the sidecar into pods.
//!
//! Reads its configuration, sets up logging and runs. Exit status 2: the configuration is wrong, every fault of it a line;
//! 1: it could not start. What goes wrong later is tried again and shown by `/readyz`.

mod run;
mod config;
mod server;
mod webhook;
mod review;
mod metrics;
mod keeper;
mod cluster;
mod keys;

use clap::Parser;
use config::{Config, Flags};
use std::process::ExitCode;
use weft_telemetry::logs;

#[tokio::main]
async fn main() -> ExitCode {
    let config = match Config::check(Flags::parse()) {
        Ok(config) => config,
        Err(faults) => {
            faults.iter().for_each(|fault| eprintln!("weft-injector: {fault}"));
            return ExitCode::from(2);
        }
    };
    let _logs = match logs::init(config.log_format, &config.log_level) {
        Ok(logs) => logs,
        Err(error) => {
            eprintln!("weft-injector: --log-level: {error}");
            return ExitCode::from(2);
        }
    };
    match run::run(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "weft-injector ends");
            ExitCode::FAILURE
        }
    }
}
