//! The balance laboratory: every balancer of the proxy in the same scenarios, in simulated time, and the theory checked.
//!
//! `weft-balance-lab --out DIRECTORY` writes `summary.md` (also to stdout), `summary.json`, `plot.html` and `plot.svg`; with `--docs
//! DIRECTORY` also the tables and the plot of the documentation, which `--check DIRECTORY` compares with what came out instead. Seeded: the same
//! figures on every machine. Ends with status 1 when the literature's results do not come out, or the documentation shows others.

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
    let (out, docs, only_check) = arguments()?;
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
    let mut good = summary.checks.iter().all(|check| check.holds);
    if let Some(docs) = docs {
        let (page, plot) = (docs.join("balancing.md"), docs.join("balancing.svg"));
        let figures =
            report::documented(&read(&page)?, &summary).context("docs/balancing.md has no place for figures")?;
        for (file, text) in [(page, figures), (plot, drawing)] {
            match only_check {
                false => write(&file, &text)?,
                true if read(&file)? == text => {}
                true => {
                    eprintln!("{} does not show what came out: make balance-lab DOCS=1", file.display());
                    good = false;
                }
            }
        }
    }
    println!("{table}");
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("read {}", file.display()))
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(file, text).with_context(|| format!("write {}", file.display()))
}

/// Where results go, where the documentation is that is to show them, and whether that is only checked.
fn arguments() -> anyhow::Result<(PathBuf, Option<PathBuf>, bool)> {
    let given: Vec<String> = std::env::args().skip(1).collect();
    match given.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--out", out] => Ok((out.into(), None, false)),
        ["--out", out, "--docs", docs] => Ok((out.into(), Some(docs.into()), false)),
        ["--out", out, "--check", docs] => Ok((out.into(), Some(docs.into()), true)),
        _ => bail!("usage: weft-balance-lab --out DIRECTORY [--docs DIRECTORY | --check DIRECTORY]"),
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

    /// The whole page is compared by `make balance-lab CHECK=1`; this much is cheap enough for every day.
    #[test]
    fn the_documentation_shows_what_comes_out() {
        let page = include_str!("../../docs/balancing.md");
        let scenario = scenario::all().remove(0);
        let (_, rest) = page.split_once(&format!("### {}\n", scenario.name)).expect("its table is there");
        let table = rest.split("\n### ").next().unwrap_or(rest);
        let contender = scenario::contenders().remove(0);
        let line = report::line(&simulation::run(&scenario, &contender));
        assert!(table.contains(&line), "make balance-lab DOCS=1: it is {line} now");
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
