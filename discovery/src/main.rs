//! weft-discovery: reads its configuration, sets up logging and runs.
//!
//! Exit status 2: the configuration is wrong, every fault of it a line; 1: it could not start or go on.

use clap::Parser;
use std::process::ExitCode;
use weft_discovery::config::{Config, Flags};
use weft_discovery::run::run;
use weft_telemetry::logs;

#[tokio::main]
async fn main() -> ExitCode {
    let config = match Config::check(Flags::parse()) {
        Ok(config) => config,
        Err(faults) => {
            faults.iter().for_each(|fault| eprintln!("weft-discovery: {fault}"));
            return ExitCode::from(2);
        }
    };
    let _logs = match logs::init(config.log_format, &config.log_level) {
        Ok(logs) => logs,
        Err(error) => {
            eprintln!("weft-discovery: --log-level: {error}");
            return ExitCode::from(2);
        }
    };
    match run(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "weft-discovery ends");
            ExitCode::FAILURE
        }
    }
}
