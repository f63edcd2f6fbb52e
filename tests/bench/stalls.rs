//! When the machine itself stood still: a virtual machine's cores are taken away for milliseconds at a time, whoever is measured.
//!
//! On each core a thread that goes before all others sleeps, and looks how late it wakes (as jHiccup does). What was under way
//! then says nothing about a proxy, nor does what had queued up meanwhile, for as long again.

use anyhow::{Context, ensure};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long the watchers sleep.
const PERIOD: Duration = Duration::from_millis(1);
/// Who wakes this late was kept from it.
const LATE: Duration = Duration::from_micros(500);

/// Watches the cores until it is asked.
#[derive(Debug)]
pub struct Watch {
    over: Arc<AtomicBool>,
    cores: Vec<JoinHandle<anyhow::Result<Vec<Stall>>>>,
}

/// From when until when a core was gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stall {
    begin: Instant,
    end: Instant,
}

/// All of them, of all cores.
#[derive(Debug)]
pub struct Stalls(Vec<Stall>);

impl Watch {
    pub fn start() -> anyhow::Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let allowed = sched_getaffinity(Pid::from_raw(0))?;
        let cores = (0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap_or(false));
        let watch = |core| {
            let over = Arc::clone(&over);
            thread::spawn(move || watch(core, &over))
        };
        Ok(Self { cores: cores.map(watch).collect(), over })
    }

    pub fn stop(self) -> anyhow::Result<Stalls> {
        self.over.store(true, Ordering::Relaxed);
        let join = |core: JoinHandle<_>| core.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let all = self.cores.into_iter().map(join).collect::<anyhow::Result<Vec<_>>>()?;
        ensure!(!all.is_empty(), "no core was watched");
        Ok(Stalls(all.concat()))
    }
}

impl Stalls {
    /// Whether a core was gone, or what had waited for one was made up for, between these moments.
    pub fn touch(&self, begin: Instant, end: Instant) -> bool {
        self.0.iter().any(|stall| begin < stall.end + (stall.end - stall.begin) && stall.begin < end)
    }
}

fn watch(core: usize, over: &AtomicBool) -> anyhow::Result<Vec<Stall>> {
    let mut own = CpuSet::new();
    own.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &own).with_context(|| format!("stay on core {core}"))?;
    go_first().context("go before all others: this takes CAP_SYS_NICE")?;
    let mut stalls = vec![];
    while !over.load(Ordering::Relaxed) {
        let due = Instant::now() + PERIOD;
        thread::sleep(PERIOD);
        stalls.extend(stall(due, Instant::now()));
    }
    Ok(stalls)
}

fn stall(due: Instant, woken: Instant) -> Option<Stall> {
    // It may have begun right after the watcher fell asleep.
    (woken.saturating_duration_since(due) > LATE).then_some(Stall { begin: due - PERIOD, end: woken })
}

/// Real-time priority for this thread (sched(7)).
fn go_first() -> io::Result<()> {
    let lowest = libc::sched_param { sched_priority: 1 };
    // SAFETY: 0 is this thread, and the parameters live during the call.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const lowest) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_touches_what_was_under_way_and_what_came_after() {
        let zero = Instant::now() + Duration::from_secs(1);
        let at = |millis: u64| zero + Duration::from_millis(millis);
        assert_eq!(stall(at(10), at(10)), None);
        let stalls = Stalls(stall(at(10), at(19)).into_iter().collect());
        assert_eq!(stalls.0, [Stall { begin: at(9), end: at(19) }]);
        assert!(!stalls.touch(at(5), at(9)) && stalls.touch(at(5), at(10)));
        assert!(stalls.touch(at(12), at(13)) && stalls.touch(at(28), at(40)));
        assert!(!stalls.touch(at(29), at(40)));
    }

    #[test]
    fn every_core_is_watched() {
        let watch = Watch::start().unwrap();
        assert_eq!(watch.cores.len(), sched_getaffinity(Pid::from_raw(0)).map(|set| set_size(&set)).unwrap());
        watch.stop().unwrap();
    }

    fn set_size(set: &CpuSet) -> usize {
        (0..CpuSet::count()).filter(|core| set.is_set(*core).unwrap()).count()
    }
}
