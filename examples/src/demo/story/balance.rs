//! Chapters 2 and 3: load goes where it is served fastest, and a cart stays where it is.
//!
//! Counts who served what, as the replies themselves say. Fails when the slow replica gets its full share, or a cart moves.

use super::scene::Scene;
use crate::stage::{DELAY, SLOW};
use anyhow::ensure;

/// Seconds until the proxies know how fast everybody is.
const LEARN: usize = 1;
/// Seconds that are counted.
const COUNT: usize = 3;

pub fn spread(scene: &Scene<'_>) -> anyhow::Result<()> {
    let about = format!("{SLOW} takes {DELAY:?} longer than the others. Nobody was told; the proxies notice.");
    scene.say.chapter(2, "Load goes where it is served fastest", &about);
    let mark = scene.customers.now();
    let window = scene.customers.window(mark + LEARN, COUNT)?;
    let replicas = window.replicas("ranking");
    let total: u64 = replicas.iter().map(|(_, count)| count).sum();
    ensure!(total > 0, "nobody asked for a ranking");
    let mut slow = 0.0;
    for (name, count) in &replicas {
        let share = *count as f64 / total as f64;
        let note = if name == SLOW { "requests, the slow one" } else { "requests" };
        scene.say.share(name, share, &format!("{count} {note}"));
        slow += if name == SLOW { share } else { 0.0 };
    }
    let fair = 1.0 / 3.0;
    ensure!(slow < fair / 2.0, "{SLOW} gets {:.0} % of the load although it is slow", slow * 100.0);
    let fast = replicas.iter().filter(|(name, _)| name != SLOW);
    ensure!(
        fast.clone().count() == 2 && fast.clone().all(|(_, count)| *count as f64 > total as f64 * 0.2),
        "the fast replicas do not share the load: {replicas:?}"
    );
    ensure!(window.failed == 0, "{} of {} requests failed", window.failed, window.requests);
    Ok(())
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
