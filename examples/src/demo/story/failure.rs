//! Chapter 5: replicas die and are replaced, and customers do not notice.
//!
//! The pod dies as in a power cut: proxy and program at once, by SIGKILL, under load. Fails when a request fails, or the
//! newcomer waits longer than a second for its first one.

use super::scene::Scene;
use crate::say::short;
use crate::stage::{SERVICES, workload};
use anyhow::{Context, ensure};
use std::time::{Duration, Instant};
use weft_examples::pods::poll_until;

const VICTIM: &str = "search-1";
const NEWCOMER: &str = "search-2";
/// Seconds that are watched after the death.
const WATCH: usize = 3;
/// How soon a newcomer is to get its first request.
const SOON: Duration = Duration::from_secs(1);

pub fn death(scene: &mut Scene<'_>) -> anyhow::Result<()> {
    let about = format!("{VICTIM} gets SIGKILL, its proxy too, in the middle of its work.");
    scene.say.chapter(5, "Replicas come and go", &about);
    scene.bury(VICTIM)?;
    let before = scene.retries();
    let mark = scene.customers.now();
    scene.stage.member(VICTIM)?.kill();
    let window = scene.customers.window(mark, WATCH)?;
    let retried = scene.retries() - before;
    ensure!(window.failed == 0, "{} of {} requests failed when {VICTIM} died", window.failed, window.requests);
    let text = format!(
        "{} requests in the {WATCH} s around its death: 0 failed, {retried} were tried again elsewhere",
        window.requests
    );
    scene.say.good(&text);
    Ok(())
}

pub fn newcomer(scene: &mut Scene<'_>) -> anyhow::Result<()> {
    let search = SERVICES.iter().find(|service| service.name == "search").context("the shop has search")?;
    scene.stage.join(vec![workload(search, 2)?])?;
    let started = Instant::now();
    let served = || scene.let_in(NEWCOMER).ok().filter(|count| *count > 0);
    poll_until(started + Duration::from_secs(5), "the newcomer's first request", served)?;
    let waited = started.elapsed();
    ensure!(waited < SOON, "{NEWCOMER} had to wait {} for its first request", short(waited));
    scene
        .say
        .good(&format!("{NEWCOMER} takes its place: first request {} after its program was started", short(waited)));
    Ok(())
}
