//! `weft-bench`: what a pair of sidecars costs, beside other proxies' pairs and beside nothing at all.
//!
//! Every scenario runs on every contender in turn, round by round; medians and ratios are reported. A response that is not what
//! was asked for ends the run: a wrong answer is not a fast one.

mod rounds;
mod scenario;
mod contender;
mod load;
mod responder;
mod pods;
mod report;
mod machine;
mod cpu;
mod memory;
mod figure;
mod message;
mod traffic;

use anyhow::{Context, ensure};
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
}

#[derive(Debug, Args)]
struct Flags {
    /// Where summary.json and summary.md go
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
    /// A quick look: 3 rounds of 2 s, 1 repetition per scenario
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
    /// Only these contenders
    #[arg(long, value_delimiter = ',', default_value = contender::NAMES)]
    contenders: Vec<String>,
    /// Envoy's binary
    #[arg(long, env = "WEFT_BENCH_ENVOY", default_value = "envoy")]
    envoy: PathBuf,
}

impl Flags {
    fn effort(&self) -> anyhow::Result<Effort> {
        let (rounds, seconds) = if self.quick { (3, 2) } else { (5, 5) };
        let rounds = self.rounds.unwrap_or(rounds);
        let duration = self.duration.unwrap_or(Duration::from_secs(seconds));
        ensure!(rounds > 0, "--rounds: at least one");
        ensure!((1..=20).contains(&duration.as_secs()), "--duration: from 1s to 20s");
        Ok(Effort {
            contenders: self.contenders.clone(),
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
        None => bench(&command.flags),
    }
}

fn bench(flags: &Flags) -> anyhow::Result<()> {
    let (effort, mut scenarios) = (flags.effort()?, flags.scenarios()?);
    // Those that start their own pairs come last, when the others are gone and leave the machine to them.
    scenarios.sort_by_key(|scenario| scenario.fresh);
    remove_on_signals(|status| status)?;
    pods::allow_many_files()?;
    let side_by_side = scenarios.iter().any(|scenario| !scenario.fresh);
    let mut pairs = if side_by_side { effort.start()? } else { vec![] };
    let mut sections = vec![];
    for scenario in &scenarios {
        eprintln!("{}: {}", scenario.name, scenario.about);
        if scenario.fresh {
            pairs.clear();
        }
        sections.push(effort.measure(scenario, &mut pairs)?);
    }
    let report = Report { duration: effort.duration, contenders: effort.contenders, sections };
    let table = report.markdown();
    report.write(&flags.out.join("summary.json"))?;
    let path = flags.out.join("summary.md");
    std::fs::write(&path, &table).with_context(|| format!("write {}", path.display()))?;
    println!("{table}");
    Ok(())
}
