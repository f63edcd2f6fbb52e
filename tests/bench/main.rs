//! `weft-bench`: what a pair of sidecars costs, beside other proxies' pairs and beside nothing at all.
//!
//! Every scenario runs on every contender in turn, round by round; medians and ratios are reported. A response that is not what
//! was asked for is a failure, which ends the run when it is ours: a wrong answer is not a fast one.

mod rounds;
mod scenario;
mod contender;
mod load;
mod responder;
mod pods;
mod discovery;
mod report;
mod machine;
mod stalls;
mod cpu;
mod memory;
mod figure;
mod latency;
mod message;
mod traffic;

use anyhow::ensure;
use clap::{Args, Parser, Subcommand};
use report::Report;
use rounds::Effort;
use scenario::Scenario;
use std::path::PathBuf;
use std::time::Duration;
use weft_examples::pods::remove_on_signals;

/// Measures CPU time, latency, throughput and memory of pairs of sidecars.
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
    /// The server that is measured against: answers everybody with the same bytes
    Respond {
        /// Bytes in a response's body
        #[arg(long, default_value_t = 128)]
        body: usize,
    },
    /// Measures the control plane: changes to many subscribed proxies, and a cold start of them all
    Discovery(discovery::Flags),
}

#[derive(Debug, Args)]
struct Flags {
    /// Where summary.json, summary.md and summary.svg go
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
    /// The documentation's directory, whose page on performance is to show the figures
    #[arg(long)]
    docs: Option<PathBuf>,
    /// A quick look: 3 rounds of 1 s, 1 repetition per scenario, fewer contenders
    #[arg(long)]
    quick: bool,
    /// How often every contender is measured [default: 5]
    #[arg(long)]
    rounds: Option<usize>,
    /// How many rounds of a scenario may be repeated because the machine was busy [default: as many as there are rounds]
    #[arg(long)]
    repeats: Option<usize>,
    /// How long a measurement lasts, in whole seconds up to 20 [default: 5s]
    #[arg(long, value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// A round is thrown away when everybody else on the machine keeps this many cores busy
    #[arg(long, default_value_t = 0.25)]
    quiet: f64,
    /// Only these scenarios
    #[arg(long, value_delimiter = ',')]
    scenario: Vec<String>,
    /// Only these contenders [default: all of them; in a quick look those that there is time for]
    #[arg(long, value_delimiter = ',')]
    contenders: Vec<String>,
    /// Envoy's binary
    #[arg(long, env = "WEFT_BENCH_ENVOY", default_value = "envoy")]
    envoy: PathBuf,
}

impl Flags {
    fn effort(&self) -> anyhow::Result<Effort> {
        let (rounds, seconds) = if self.quick { (3, 1) } else { (5, 5) };
        let rounds = self.rounds.unwrap_or(rounds);
        let duration = self.duration.unwrap_or(Duration::from_secs(seconds));
        ensure!(rounds > 0, "--rounds: at least one");
        ensure!((1..=20).contains(&duration.as_secs()), "--duration: from 1s to 20s");
        let contenders = if self.quick { contender::QUICK } else { contender::NAMES };
        let contenders = match self.contenders.is_empty() {
            true => contenders.split(',').map(str::to_owned).collect(),
            false => self.contenders.clone(),
        };
        Ok(Effort {
            contenders,
            envoy: self.envoy.clone(),
            rounds,
            repeats: self.repeats.unwrap_or(if self.quick { 1 } else { rounds }),
            duration,
            quiet: self.quiet,
        })
    }

    fn scenarios(&self) -> anyhow::Result<Vec<Scenario>> {
        let all = scenario::all();
        for name in &self.scenario {
            let known = all.iter().any(|scenario| scenario.name == name);
            ensure!(known, "--scenario: there is no {name:?}; there are: {}", scenario::names());
        }
        let chosen = |scenario: &Scenario| self.scenario.is_empty() || self.scenario.iter().any(|n| n == scenario.name);
        Ok(all.into_iter().filter(chosen).collect())
    }
}

fn main() -> anyhow::Result<()> {
    let command = Command::parse();
    match command.role {
        Some(Role::Respond { body }) => responder::run(body),
        Some(Role::Discovery(flags)) => {
            prepare()?;
            discovery::run(&flags)
        }
        None => bench(&command.flags),
    }
}

fn bench(flags: &Flags) -> anyhow::Result<()> {
    let (effort, mut scenarios) = (flags.effort()?, flags.scenarios()?);
    // Those that start their own pairs come last, when the others are gone and leave the machine to them.
    scenarios.sort_by_key(|scenario| !scenario.side_by_side());
    prepare()?;
    let mut pairs = vec![];
    let mut sections = vec![];
    for scenario in &scenarios {
        eprintln!("{}: {}", scenario.name, scenario.about);
        if !scenario.side_by_side() {
            pairs.clear();
        } else if pairs.is_empty() {
            pairs = effort.start()?;
        }
        sections.push(match scenario.variants {
            [] => effort.measure(scenario, &mut pairs)?,
            _ => effort.measure_variants(scenario)?,
        });
    }
    let report = Report { duration: effort.duration, contenders: effort.contenders, sections };
    let table = report.write(&flags.out, flags.docs.as_deref())?;
    println!("{table}");
    Ok(())
}

/// Pods are removed whatever ends this process, and may have as many connections as it takes.
fn prepare() -> anyhow::Result<()> {
    remove_on_signals(|status| status)?;
    pods::allow_many_files()
}
