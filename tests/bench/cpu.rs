//! CPU time by the kernel's own account: user and system time of whole processes.
//!
//! From /proc/PID/stat (proc(5), fields 14 and 15), which counts all threads, also those that have ended, in ticks of
//! usually 10 ms. A process that is gone is an error.

use anyhow::Context;
use std::time::Duration;

/// What the processes have spent since they were started, together.
pub fn spent(pids: &[u32]) -> anyhow::Result<Duration> {
    let hertz = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.context("the kernel names no tick")?;
    let ticks = pids.iter().map(|pid| {
        let path = format!("/proc/{pid}/stat");
        let stat = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        ticks(&stat).with_context(|| format!("{path}: {stat}"))
    });
    let ticks = ticks.sum::<anyhow::Result<u64>>()?;
    Ok(Duration::from_secs_f64(ticks as f64 / hertz as f64))
}

fn ticks(stat: &str) -> Option<u64> {
    // The second field is the program's name in parentheses and may contain anything; field 3 follows the last one.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(14 - 3);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_are_added() {
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194304 1 2 3 4 700 50 9 9 20 0 1 0 100 1000 10";
        assert_eq!(ticks(stat), Some(750));
    }
}
