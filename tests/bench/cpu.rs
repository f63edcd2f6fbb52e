//! CPU time by the kernel's own account: user and system time of whole processes.
//!
//! From the processes' CPU clocks (clock_getcpuclockid(3)), which count in nanoseconds all threads, also those that have
//! ended. A process that is gone is an error.

use anyhow::Context;
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use std::time::Duration;

/// Does `work`; what came of it, and what the processes spent meanwhile, together.
pub fn during<T>(pids: &[u32], work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(T, Duration)> {
    let before = spent(pids)?;
    let done = work()?;
    Ok((done, spent(pids)?.saturating_sub(before)))
}

/// What the processes have spent since they were started, together.
pub fn spent(pids: &[u32]) -> anyhow::Result<Duration> {
    let clock = |pid: &u32| {
        let clock = clock_getcpuclockid(Pid::from_raw(i32::try_from(*pid)?))?;
        anyhow::Ok(Duration::from(clock_gettime(clock)?))
    };
    pids.iter().map(|pid| clock(pid).with_context(|| format!("read the CPU clock of process {pid}"))).sum()
}

/// Microseconds per request; `None` when there is nobody who could have spent any.
pub fn per_request(pids: &[u32], spent: Duration, requests: u64) -> Option<f64> {
    (!pids.is_empty()).then(|| spent.as_secs_f64() * 1e6 / requests as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_busy_loop_is_charged_and_a_missing_process_is_told() {
        let spin = || {
            let until = Instant::now() + Duration::from_millis(20);
            while Instant::now() < until {}
            Ok(())
        };
        let ((), spent) = during(&[std::process::id()], spin).unwrap();
        assert!(spent > Duration::ZERO);
        // No kernel has so many.
        assert!(during(&[1 << 23], || Ok(())).is_err());
    }
}
