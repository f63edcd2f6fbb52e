//! `weft-proxy`: the sidecar.
//!
//! `run` is the proxy itself, as its own user; `redirect` writes the rules that lead the pod's traffic to it, as root, and
//! ends; `wait` ends when the proxy beside it is ready. Faults in flags end with status 2, everything else that fails with status 1.

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use weft_proxy::config::Config;
use weft_proxy::redirect::Redirect;
use weft_proxy::wait::Wait;

/// The sidecar of the Weft service mesh.
#[derive(Debug, Parser)]
#[command(name = "weft-proxy", version)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Carries this pod's traffic until SIGTERM
    Run(Box<Config>),
    /// Applies, removes or shows the rules that lead the pod's traffic through the proxy
    Redirect(Redirect),
    /// Waits until the proxy in this pod is ready
    Wait(Wait),
}

fn main() -> ExitCode {
    let result = match Program::parse().command {
        Command::Run(config) => weft_proxy::run::run(*config),
        Command::Redirect(redirect) => redirect.run(),
        Command::Wait(wait) => wait.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weft-proxy: {error:#}");
            ExitCode::FAILURE
        }
    }
}
