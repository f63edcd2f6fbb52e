//! Chapters 2 and 3: load goes where it is served fastest, and a cart stays where it is.
//!
//! Counts who served what, as the replies themselves say. Fails when the slow replica gets its full share, or a cart moves.

use super::scene::Scene;
use crate::customers::Window;
use crate::stage::{DELAY, SLOW};
use anyhow::ensure;

/// Less than half of a third is what a slow one of three may get.
const FEW: f64 = 1.0 / 6.0;
/// Seconds that are counted together.
const COUNT: usize = 3;
/// How often they are counted anew before the story ends: on a busy machine everybody is slow at times.
const PATIENCE: usize = 4;

pub fn spread(scene: &Scene<'_>) -> anyhow::Result<()> {
    let about = format!("{SLOW} takes {DELAY:?} longer than the others. Nobody was told; the proxies notice.");
    scene.say.chapter(2, "Load goes where it is served fastest", &about);
    let mut window = scene.customers.window(scene.customers.now(), COUNT)?;
    for _ in 1..PATIENCE {
        if share(&window) < FEW {
            break;
        }
        window = scene.customers.window(scene.customers.now(), COUNT)?;
    }
    for (name, count) in window.replicas("ranking") {
        let note = if name == SLOW { "requests, the slow one" } else { "requests" };
        scene.say.share(&name, count as f64 / total(&window) as f64, &format!("{count} {note}"));
    }
    let slow = share(&window);
    ensure!(slow < FEW, "{SLOW} gets {:.0} % of the load although it is slow", slow * 100.0);
    ensure!(window.replicas("ranking").len() > 1, "one replica does all the work");
    ensure!(window.failed == 0, "{} of {} requests failed", window.failed, window.requests);
    Ok(())
}

/// The slow replica's share of the rankings; all of it when there were none.
fn share(window: &Window) -> f64 {
    let slow = window.by_replica.get(SLOW).copied().unwrap_or_default();
    if total(window) == 0 { 1.0 } else { slow as f64 / total(window) as f64 }
}

fn total(window: &Window) -> u64 {
    window.replicas("ranking").iter().map(|(_, count)| count).sum()
}

pub fn carts(scene: &Scene<'_>) -> anyhow::Result<()> {
    let about =
        "A cart lives in the memory of one replica of cart; a cookie of the mesh leads its customer back to it.";
    scene.say.chapter(3, "A cart stays where it is", about);
    let window = scene.customers.so_far();
    let replicas = window.replicas("cart");
    let total: u64 = replicas.iter().map(|(_, count)| count).sum();
    for (name, count) in &replicas {
        scene.say.share(name, *count as f64 / total.max(1) as f64, &format!("{count} requests"));
    }
    ensure!(window.carts > 0 && replicas.len() > 1, "no carts on more than one replica");
    ensure!(window.moved == 0, "{} carts moved", window.moved);
    ensure!(window.failed == 0, "{} of {} requests failed", window.failed, window.requests);
    scene.say.good(&format!("{} carts so far; 0 have moved, and none has lost anything", window.carts));
    Ok(())
}
