//! The story: what a mesh does for a shop, a chapter per file, in the order they are told.
//!
//! Every figure is measured while it is told, and a chapter whose figures are not what they should be ends the story
//! with the reason. Customers are in the shop from the second chapter to the end.

mod names;
mod balance;
mod encryption;
mod failure;
mod outage;
mod scene;

use crate::config::{Flags, LIMIT, Verdict};
use crate::customers::Customers;
use crate::say::{Say, short};
use crate::stage::Stage;
use anyhow::{Context, ensure};
use scene::Scene;
use serde_json::Value;
use std::time::Duration;
use weft_examples::capture::Capture;

/// Sets the stage and tells everything. On a failure says what might explain it.
pub fn tell(flags: &Flags, say: &Say) -> anyhow::Result<(Stage, Verdict)> {
    say.title("weft: a shop of six services in a mesh, on this machine");
    let mut stage = Stage::set(flags, say)?;
    if flags.skip_story {
        return Ok((stage, Verdict::default()));
    }
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
    let told = play(&mut scene, capture);
    if told.is_err()
        && let Ok(summary) = scene.customers.leave()
    {
        for example in summary["examples"].as_array().into_iter().flatten() {
            say.plain(&format!("  a customer: {}", example.as_str().unwrap_or_default()));
        }
    }
    told
}

fn play(scene: &mut Scene<'_>, capture: Capture) -> anyhow::Result<Verdict> {
    balance::spread(scene)?;
    balance::carts(scene)?;
    encryption::show(scene, capture.stop())?;
    failure::death(scene)?;
    failure::newcomer(scene)?;
    outage::show(scene)?;
    close(scene)
}

/// The customers go home; their own summary is the verdict.
fn close(scene: &Scene<'_>) -> anyhow::Result<Verdict> {
    let retried = scene.retries();
    let summary = scene.customers.leave()?;
    let example = summary["examples"][0].as_str().unwrap_or_default();
    ensure!(summary["failed"] == 0, "{} of {} requests failed: {example}", summary["failed"], summary["requests"]);
    let time = |name: &str| {
        summary[name].as_f64().map(Duration::from_secs_f64).with_context(|| format!("the customers know no {name}"))
    };
    let verdict = Verdict { requests: number(&summary, "requests"), retried, p50: time("p50")?, p99: time("p99")? };
    scene.say.chapter(7, "All in all", "From the customers' side, over the whole story.");
    let (p50, p99) = (short(verdict.p50), short(verdict.p99));
    scene.say.good(&format!(
        "{} requests, none failed; half took less than {p50}, all but one percent less than {p99}",
        verdict.requests
    ));
    Ok(verdict)
}

fn number(line: &Value, name: &str) -> u64 {
    line[name].as_u64().unwrap_or_default()
}
