//! `weft-proxy`: the sidecar.
//!
//! Two commands: `run` is the proxy itself, as its own user; `redirect` writes the rules that lead the pod's traffic to it, as
//! root, and ends. Faults in flags end with status 2, everything else that fails with status 1.

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use weft_proxy::config::Config;
use weft_proxy::redirect::Redirect;

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
}

fn main() -> ExitCode {
    let result = match Program::parse().command {
        Command::Run(config) => weft_proxy::run::run(*config),
        Command::Redirect(redirect) => redirect.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weft-proxy: {error:#}");
            ExitCode::FAILURE
        }
    }
}
