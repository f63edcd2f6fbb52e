//! `weftctl`: what people hold in the hand to see and change the mesh.
//!
//! Reads the command line, asks discovery over its unix socket or through the cluster, prints. Exit codes: 0 done, 1 failed (the
//! reason and what to do next on standard error), 2 the command line was wrong. Standard output carries the answer and nothing else.

mod install;
mod upgrade;
mod uninstall;
mod apply;
mod delete;
mod get;
mod status;
mod proxy;
mod explain;
mod stat;
mod top;
mod tap;
mod edges;
mod logs;
mod diagnose;
mod manual;
mod check;
mod dashboard;
mod token;
mod trust;
mod certificates;
mod inject;
mod completion;
mod release;
mod documents;
mod scope;
mod kind;
mod watch;
mod measure;
mod connect;
mod progress;
mod print;

use clap::{Parser, Subcommand};
use connect::{Address, Discovery};
use print::Output;
use progress::write;
use std::io::{ErrorKind, Write};
use std::process::ExitCode;
use std::time::Duration;

/// See and change a Weft mesh
#[derive(Debug, Parser)]
#[command(name = "weftctl", version, propagate_version = true, max_term_width = 110)]
struct Cli {
    /// Admin socket of a discovery replica; give several, or separate them by commas [default: unix:///run/weft/discovery.sock
    /// if it is there, otherwise the replicas in the Kubernetes cluster]
    #[arg(
        long = "discovery",
        global = true,
        env = "WEFT_DISCOVERY",
        value_name = "unix://PATH",
        value_delimiter = ',',
        help_heading = connect::cluster::HEADING
    )]
    discovery: Vec<Address>,
    #[command(flatten)]
    cluster: connect::cluster::Flags,
    /// How long one replica may take to answer
    #[arg(
        long,
        global = true,
        value_name = "TIME",
        default_value = "10s",
        value_parser = humantime::parse_duration,
        help_heading = connect::cluster::HEADING
    )]
    timeout: Duration,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Install the mesh's control plane into a Kubernetes cluster
    #[command(long_about = install::ABOUT)]
    Install(install::Args),
    /// Upgrade it, or change its values
    #[command(long_about = upgrade::ABOUT)]
    Upgrade(upgrade::Args),
    /// Take it out of the cluster, without a trace
    #[command(long_about = uninstall::ABOUT)]
    Uninstall(uninstall::Args),
    /// Put documents into force: all of them or, if any is wrong, none
    Apply(apply::Args),
    /// Take objects out of the mesh
    Delete(delete::Args),
    /// List or show objects
    Get(get::Args),
    /// Show discovery and every proxy: revisions, how far behind, since when connected
    Status(status::Args),
    /// Look into one proxy
    #[command(subcommand)]
    Proxy(proxy::Command),
    /// Say what a proxy would do with a request, step by step, without sending it
    Explain(explain::Args),
    /// Show success, rate and latency of services, routes or pods over the last seconds
    Stat(stat::Args),
    /// Watch the figures of stat in the terminal: sorted, filtered, live
    Top(top::Args),
    /// Show requests as they end, with filters, from the sidecars that carry them
    Tap(Box<tap::Args>),
    /// Show who calls whom: identities, mTLS, success, rate and latency
    Edges(edges::Args),
    /// What proxies log
    #[command(subcommand)]
    Logs(logs::Command),
    /// Gather all that tells how a proxy is into one archive, without keys
    Diagnose(diagnose::Args),
    /// Show the mesh as a web page on this machine: a live graph, services, proxies, explanations
    Dashboard(dashboard::Args),
    /// Test that the mesh is well; each line that failed says what to do
    Check(check::Args),
    /// Join tokens, with which a proxy proves who it is
    #[command(subcommand)]
    Token(token::Command),
    /// Whom the mesh trusts
    #[command(subcommand)]
    Trust(trust::Command),
    /// Show who has which certificate until when, and under which anchor
    Certificates(certificates::Args),
    /// Put sidecars into the pods of YAML documents, as the webhook would, and print all of them
    Inject(Box<inject::Args>),
    /// Take the sidecars out of the pods of YAML documents, and print all of them
    Uninject(inject::Files),
    /// Print a completion script for a shell
    Completion(completion::Args),
    /// Write manual pages, one for each command
    Manual(manual::Args),
}

async fn run(cli: Cli) -> anyhow::Result<Output> {
    let discovery = Discovery::new(cli.discovery, cli.cluster, cli.timeout);
    match cli.command {
        Command::Install(args) => install::run(args, &discovery).await,
        Command::Upgrade(args) => upgrade::run(args, &discovery).await,
        Command::Uninstall(args) => uninstall::run(args, &discovery).await,
        Command::Apply(args) => apply::run(args, &discovery).await,
        Command::Delete(args) => delete::run(args, &discovery).await,
        Command::Get(args) => get::run(args, &discovery).await,
        Command::Status(args) => status::run(args, &discovery).await,
        Command::Proxy(command) => proxy::run(command, &discovery).await,
        Command::Explain(args) => explain::run(args, &discovery).await,
        Command::Stat(args) => stat::run(args, &discovery).await,
        Command::Top(args) => top::run(args, &discovery).await,
        Command::Tap(args) => tap::run(*args, &discovery).await,
        Command::Edges(args) => edges::run(args, &discovery).await,
        Command::Logs(command) => logs::run(command, &discovery).await,
        Command::Diagnose(args) => diagnose::run(args, &discovery).await,
        Command::Dashboard(args) => dashboard::run(args, &discovery).await,
        Command::Check(args) => check::run(args, &discovery).await,
        Command::Token(command) => token::run(command, &discovery).await,
        Command::Trust(command) => trust::run(command, &discovery).await,
        Command::Certificates(args) => certificates::run(args, &discovery).await,
        Command::Manual(args) => manual::run::<Cli>(&args),
        Command::Inject(args) => inject::run(&args),
        Command::Uninject(files) => inject::undo(&files),
        Command::Completion(args) => Ok(completion::run::<Cli>(&args)),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // A wrong command line ends here, with status 2.
    let cli = Cli::parse();
    let output = match run(cli).await {
        Ok(output) => output,
        // Arguments that are wrong together.
        Err(error) if error.is::<clap::Error>() => {
            write(&error.to_string());
            return ExitCode::from(2);
        }
        Err(error) => {
            write(&format!("weftctl: {error:#}\n"));
            return ExitCode::FAILURE;
        }
    };
    for note in &output.notes {
        write(&format!("{note}\n"));
    }
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(output.text.as_bytes()).and_then(|()| stdout.flush()) {
        // A reader such as `head` may have seen enough.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            write(&format!("weftctl: standard output: {error}\n"));
            ExitCode::FAILURE
        }
        _ if output.failed => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}

#[cfg(test)]
mod tests;
