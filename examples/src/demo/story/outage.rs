//! Chapter 6: the control plane is away, and nobody needs it.
//!
//! Discovery is killed; traffic goes on. A proxy that is started again meanwhile knows its way from its own disk. Fails when a
//! request fails, or discovery does not find everybody again afterwards.

use super::scene::Scene;
use crate::say::short;
use anyhow::ensure;
use std::time::{Duration, Instant};
use weft_examples::mesh::START_LIMIT;
use weft_examples::pods::poll_until;

/// Whose proxy is started again.
const RESTARTED: &str = "ranking-0";
/// Seconds that are watched.
const WATCH: usize = 2;

pub fn show(scene: &mut Scene<'_>) -> anyhow::Result<()> {
    let about = "weft-discovery gets SIGKILL. The proxies go on with what they know.";
    scene.say.chapter(6, "Discovery is away", about);
    let mark = scene.customers.now();
    for replica in scene.stage.mesh.discovery() {
        replica.kill();
    }
    let window = scene.customers.window(mark, WATCH)?;
    ensure!(window.failed == 0, "{} of {} requests failed without discovery", window.failed, window.requests);
    scene.say.good(&format!("{} requests in {WATCH} s without it, 0 failed", window.requests));
    restart(scene)?;
    let back = Instant::now();
    for replica in scene.stage.mesh.discovery() {
        replica.start_again()?;
        replica.wait_ready(START_LIMIT)?;
    }
    let everybody =
        scene.stage.members().filter(|member| member.with_proxy(|proxy| proxy.is_running()) == Some(true)).count();
    let connected = || {
        let table = scene.stage.mesh.weftctl(&["status"]).ok()?;
        let named =
            scene.stage.members().filter(|member| table.split_whitespace().any(|word| word.ends_with(member.name())));
        (named.count() >= everybody).then_some(())
    };
    poll_until(back + Duration::from_secs(10), "all proxies to find discovery again", connected)?;
    scene.say.good(&format!("started again: all {everybody} proxies were back after {}", short(back.elapsed())));
    Ok(())
}

/// A proxy dies and is started again while there is nobody to ask.
fn restart(scene: &mut Scene<'_>) -> anyhow::Result<()> {
    scene.bury(RESTARTED)?;
    let mark = scene.customers.now();
    let member = scene.stage.member(RESTARTED)?;
    member.terminate_proxy();
    let begin = Instant::now();
    member.start_proxy()?;
    member.wait_ready(Duration::from_secs(5))?;
    let ready = begin.elapsed();
    let served = || scene.let_in(RESTARTED).ok().filter(|count| *count > 0);
    poll_until(begin + Duration::from_secs(5), "the restarted proxy's first request", served)?;
    let window = scene.customers.window(mark, WATCH)?;
    ensure!(
        window.failed == 0,
        "{} of {} requests failed when a proxy was started again",
        window.failed,
        window.requests
    );
    let text = "the proxy of";
    scene.say.good(&format!(
        "{text} {RESTARTED}, started again meanwhile, was ready from its disk snapshot after {}",
        short(ready)
    ));
    Ok(())
}
