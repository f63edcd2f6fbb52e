//! `weft-bench`: what a pair of sidecars costs per request, beside another mesh's pair and beside nothing at all.
//!
//! Every scenario runs on every contender in turn, round by round, so that a noisy minute hits all of them; medians are
//! reported. A response that is not what was asked for ends the run: a wrong answer is not a fast one.

mod scenario;
mod contender;
mod load;
mod cpu;
mod report;
mod responder;

use anyhow::{Context, ensure};
use clap::{Args, Parser, Subcommand};
use contender::Contender;
use report::{Measured, Report};
use scenario::Scenario;
use std::path::PathBuf;
use std::time::Duration;
use weft_examples::pods::{Network, remove_on_signals};

/// Measures CPU time per request of pairs of sidecars.
#[derive(Debug, Parser)]
#[command(name = "weft-bench", args_conflicts_with_subcommands = true)]
struct Command {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// The server that is measured against: answers every request with the same bytes
    Respond {
        #[arg(long)]
        port: u16,
        /// Bytes in a response's body
        #[arg(long)]
        body: usize,
    },
}

#[derive(Debug, Args)]
struct Flags {
    /// Where summary.json goes
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
    /// How often every contender is measured
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long a measurement lasts
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Only this scenario
    #[arg(long)]
    scenario: Option<String>,
    /// Only these contenders
    #[arg(long, value_delimiter = ',', default_value = "direct,weft,envoy")]
    contenders: Vec<String>,
    /// Envoy's binary
    #[arg(long, env = "WEFT_BENCH_ENVOY", default_value = "envoy")]
    envoy: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let command = Command::parse();
    match command.role {
        Some(Role::Respond { port, body }) => responder::run(port, body),
        None => bench(&command.flags),
    }
}

fn bench(flags: &Flags) -> anyhow::Result<()> {
    remove_on_signals(|status| status)?;
    let chosen = |scenario: &Scenario| flags.scenario.as_ref().is_none_or(|name| name == scenario.name);
    let scenarios: Vec<Scenario> = scenario::all().into_iter().filter(chosen).collect();
    ensure!(!scenarios.is_empty(), "no scenario of this name; there are: {}", scenario::names());
    let mut report = Report::default();
    for scenario in &scenarios {
        eprintln!("{}: {}", scenario.name, scenario.about);
        measure(flags, scenario, &mut report).with_context(|| format!("scenario {}", scenario.name))?;
    }
    report.write(&flags.out.join("summary.json"))?;
    println!("{}", report.markdown());
    Ok(())
}

fn measure(flags: &Flags, scenario: &Scenario, report: &mut Report) -> anyhow::Result<()> {
    let mut contenders: Vec<Box<dyn Contender>> = vec![];
    for name in &flags.contenders {
        let started = contender::start(name, scenario, Network::new()?, &flags.envoy);
        contenders.push(started.with_context(|| format!("start {name}"))?);
    }
    // Connections, caches and branch predictors: none of it belongs into the first round.
    for contender in &contenders {
        load::run(contender.client(), contender.target(), scenario, Duration::from_secs(1))?;
    }
    for round in 1..=flags.rounds {
        for contender in &contenders {
            let before = cpu::spent(&contender.proxies())?;
            let loaded = load::run(contender.client(), contender.target(), scenario, flags.duration)?;
            let spent = cpu::spent(&contender.proxies())? - before;
            let measured = Measured::new(&loaded, spent);
            eprintln!("  round {round}/{}: {:<7} {measured}", flags.rounds, contender.name());
            report.add(scenario, contender.name(), measured);
        }
        // Nobody is always the one who comes after the most demanding.
        contenders.rotate_left(1);
    }
    Ok(())
}
