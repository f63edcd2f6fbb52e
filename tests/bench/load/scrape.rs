//! A scraper beside the load: asks for pages of metrics each second, as Prometheus would with a short interval.
//!
//! Ends with the load. A page that does not come, or is empty, fails the run.

use anyhow::{Context, ensure};
use std::net::SocketAddr;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;
use weft_examples::mesh::get;
use weft_examples::pods::Pod;

/// Between two looks at the same page.
const EVERY: Duration = Duration::from_secs(1);

/// An admin endpoint, and the pod that it is asked from.
pub type Page = (Pod, SocketAddr);

/// Does `work` while `pages` are scraped.
pub fn during<T>(pages: &[Page], work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    if pages.is_empty() {
        return work();
    }
    thread::scope(|scope| {
        let (done, ended) = mpsc::channel::<()>();
        let scraper = scope.spawn(move || {
            while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                pages.iter().try_for_each(scrape)?;
            }
            anyhow::Ok(())
        });
        let result = work();
        drop(done);
        scraper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        result
    })
}

fn scrape((pod, address): &Page) -> anyhow::Result<()> {
    let reply = get(pod, *address, "/metrics").with_context(|| format!("scrape {address}"))?;
    ensure!(reply.status == 200 && !reply.body.is_empty(), "{address} says {} and {:?}", reply.status, reply.body);
    Ok(())
}
