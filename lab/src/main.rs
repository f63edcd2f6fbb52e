//! The balance laboratory: every balancer of the proxy in the same scenarios, in simulated time, and the theory checked.
//!
//! `weft-balance-lab --out DIRECTORY` writes `summary.md` (also to stdout), `summary.json` and `plot.html`. Seeded: the same
//! program writes the same figures on every machine. Ends with status 1 when the literature's results do not come out.

mod scenario;
mod simulation;
mod literature;
mod report;
mod plot;

use anyhow::{Context, bail};
use report::Summary;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    let out = out()?;
    std::fs::create_dir_all(&out).with_context(|| format!("make {}", out.display()))?;
    let mut results = Vec::new();
    for scenario in scenario::all() {
        for contender in scenario::contenders() {
            eprintln!("{}: {}", scenario.name, contender.name);
            results.push(simulation::run(&scenario, &contender));
        }
    }
    let summary = Summary { seed: scenario::SEED, results, checks: literature::checks() };
    let table = report::markdown(&summary);
    let json = serde_json::to_string_pretty(&summary)?;
    for (name, text) in [("summary.md", &table), ("summary.json", &json), ("plot.html", &plot::html(&summary))] {
        let file = out.join(name);
        std::fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
    }
    println!("{table}");
    let failed = summary.checks.iter().filter(|check| !check.holds).count();
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn out() -> anyhow::Result<PathBuf> {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next(), arguments.next()) {
        (Some("--out"), Some(directory), None) => Ok(directory.into()),
        _ => bail!("usage: weft-balance-lab --out DIRECTORY"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_literature_holds() {
        let broken: Vec<_> = literature::checks().into_iter().filter(|check| !check.holds).map(|c| c.claim).collect();
        assert!(broken.is_empty(), "{broken:?}");
    }

    #[test]
    fn the_same_figures_come_out_every_time() {
        let mut scenario = scenario::all().remove(0);
        scenario.length = Duration::from_secs(3);
        for contender in scenario::contenders() {
            let [first, second] = [(), ()].map(|()| simulation::run(&scenario, &contender));
            assert_eq!(serde_json::to_value(&first).ok(), serde_json::to_value(&second).ok(), "{}", contender.name);
            assert!(first.requests > 1000 && first.error_share == 0.0, "{}", contender.name);
        }
    }
}
