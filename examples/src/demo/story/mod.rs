//! The story: what a mesh does for a shop, a chapter per file, in the order they are told.
//!
//! Every figure is measured while it is told, and a chapter whose figures are not what they should be ends the story
//! with the reason. Customers are in the shop from the second chapter to the end.

mod names;
mod balance;
mod encryption;
mod failure;
mod outage;

use super::customers::Customers;
use super::say::{Say, short};
use super::stage::Stage;
use super::{Flags, LIMIT, Verdict};
use anyhow::{Context, ensure};
use serde_json::Value;
use std::time::Duration;
use weft_examples::capture::Capture;

/// What every chapter has at hand.
struct Scene<'a> {
    say: &'a Say,
    stage: &'a mut Stage,
    customers: Customers,
    /// Retries that proxies had counted before they were ended.
    buried: u64,
}

/// Sets the stage and tells everything. On a failure says what might explain it.
pub fn tell(flags: &Flags, say: &Say) -> anyhow::Result<(Stage, Verdict)> {
    say.title("weft: a shop of six services in a mesh, on this machine");
    let mut stage = Stage::set(flags, say)?;
    let told = chapters(flags, say, &mut stage);
    if told.is_err() && !weft_examples::pods::is_closing() {
        say.title("What the logs say:");
        stage.autopsy(say);
    }
    told.map(|verdict| (stage, verdict))
}

fn chapters(flags: &Flags, say: &Say, stage: &mut Stage) -> anyhow::Result<Verdict> {
    names::show(say, stage)?;
    // Before the first connection between two pods is made, so that every handshake is seen.
    let capture = Capture::start(stage.network())?;
    let customers = Customers::start(stage.member("customers")?, flags.rate, LIMIT * 2)?;
    let mut scene = Scene { say, stage, customers, buried: 0 };
    let told = scene.play(capture);
    if told.is_err()
        && let Ok(summary) = scene.customers.leave()
    {
        for example in summary["examples"].as_array().into_iter().flatten() {
            say.plain(&format!("  a customer: {}", example.as_str().unwrap_or_default()));
        }
    }
    told
}

impl Scene<'_> {
    fn play(&mut self, capture: Capture) -> anyhow::Result<Verdict> {
        balance::spread(self)?;
        balance::carts(self)?;
        encryption::show(self, capture.stop())?;
        failure::death(self)?;
        failure::newcomer(self)?;
        outage::show(self)?;
        self.close()
    }

    /// The customers go home; their own summary is the verdict.
    fn close(&self) -> anyhow::Result<Verdict> {
        let retried = self.retries();
        let summary = self.customers.leave()?;
        let example = summary["examples"][0].as_str().unwrap_or_default();
        ensure!(summary["failed"] == 0, "{} of {} requests failed: {example}", summary["failed"], summary["requests"]);
        let time = |name: &str| {
            summary[name].as_f64().map(Duration::from_secs_f64).with_context(|| format!("the customers know no {name}"))
        };
        let verdict = Verdict { requests: number(&summary, "requests"), retried, p50: time("p50")?, p99: time("p99")? };
        self.say.chapter(7, "All in all", "From the customers' side, over the whole story.");
        let (p50, p99) = (short(verdict.p50), short(verdict.p99));
        self.say.good(&format!(
            "{} requests, none failed; half took less than {p50}, all but one percent less than {p99}",
            verdict.requests
        ));
        Ok(verdict)
    }

    /// How often proxies have tried again so far.
    fn retries(&self) -> u64 {
        self.buried
            + self.stage.members().map(|member| member.metrics().sum("weft_retries_total", &[]) as u64).sum::<u64>()
    }

    /// Remembers what a proxy has counted, before it is ended.
    fn bury(&mut self, name: &str) -> anyhow::Result<()> {
        self.buried += self.stage.member(name)?.metrics().sum("weft_retries_total", &[]) as u64;
        Ok(())
    }

    /// How many requests the sidecar of `name` has let in.
    fn let_in(&self, name: &str) -> anyhow::Result<u64> {
        Ok(self.stage.member(name)?.metrics().sum("weft_requests_total", &[("direction", "inbound")]) as u64)
    }
}

fn number(line: &Value, name: &str) -> u64 {
    line[name].as_u64().unwrap_or_default()
}
