//! The balance laboratory: every balancer of the proxy in the same scenarios, in simulated time, and the theory checked.
//!
//! `weft-balance-lab --out DIRECTORY` writes `summary.md` (also to stdout), `summary.json`, `plot.html` and `plot.svg`; with `--docs
//! DIRECTORY` also the tables and the plot of the documentation. Seeded: the same figures on every machine. Ends with status 1 when
//! the literature's results do not come out.

mod scenario;
mod simulation;
mod literature;
mod report;
mod plot;

use anyhow::{Context, bail};
use report::Summary;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    let (out, docs) = arguments()?;
    std::fs::create_dir_all(&out).with_context(|| format!("make {}", out.display()))?;
    let mut results = Vec::new();
    for scenario in scenario::all() {
        for contender in scenario::contenders() {
            eprintln!("{}: {}", scenario.name, contender.name);
            results.push(simulation::run(&scenario, &contender));
        }
    }
    let mut checks = literature::checks();
    checks.extend(literature::prequal(&results));
    let summary = Summary { seed: scenario::SEED, results, checks };
    let table = report::markdown(&summary);
    let json = serde_json::to_string_pretty(&summary)?;
    let (page, drawing) = (plot::html(&summary), plot::svg(&summary));
    for (name, text) in [("summary.md", &table), ("summary.json", &json), ("plot.html", &page), ("plot.svg", &drawing)]
    {
        write(&out.join(name), text)?;
    }
    if let Some(docs) = docs {
        write(&docs.join("balancing.svg"), &drawing)?;
        let file = docs.join("balancing.md");
        let page = std::fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        write(&file, &report::documented(&page, &summary).context("docs/balancing.md has no place for figures")?)?;
    }
    println!("{table}");
    let failed = summary.checks.iter().filter(|check| !check.holds).count();
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(file, text).with_context(|| format!("write {}", file.display()))
}

/// Where results go, and where the documentation is that is to show them.
fn arguments() -> anyhow::Result<(PathBuf, Option<PathBuf>)> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    match given.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--out", out] => Ok((out.into(), None)),
        ["--out", out, "--docs", docs] => Ok((out.into(), Some(docs.into()))),
        _ => bail!("usage: weft-balance-lab --out DIRECTORY [--docs DIRECTORY]"),
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
