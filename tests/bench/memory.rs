//! Memory and size of a process by the kernel's account: RSS, PSS, and the file it was started from.
//!
//! From /proc/PID/smaps_rollup, in which PSS shares a page that several processes map among them: two proxies of one binary
//! pay for its code once. A process that is gone is an error.

use anyhow::Context;
use std::fs;

/// What a process occupies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resident {
    /// KiB.
    pub rss: u64,
    /// KiB.
    pub pss: u64,
}

pub fn resident(pid: u32) -> anyhow::Result<Resident> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    parse(&text).with_context(|| format!("{path}: {text}"))
}

/// The most that was ever resident, KiB.
pub fn peak(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    field(&text, "VmHWM:").with_context(|| format!("{path}: {text}"))
}

/// Bytes of the executable file.
pub fn binary(pid: u32) -> anyhow::Result<u64> {
    let path = format!("/proc/{pid}/exe");
    Ok(fs::metadata(&path).with_context(|| path.clone())?.len())
}

fn parse(text: &str) -> Option<Resident> {
    Some(Resident { rss: field(text, "Rss:")?, pss: field(text, "Pss:")? })
}

/// KiB on the line that begins with `name`.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_figures_are_found() {
        let text = "5600-7ffc ---p 00000000 00:00 0 [rollup]\nRss:                5120 kB\nPss:                2600 kB\nPss_Anon: 1 kB\n";
        assert_eq!(parse(text), Some(Resident { rss: 5120, pss: 2600 }));
        assert_eq!(parse("Rss: 1 kB\n"), None);
    }
}
