//! What a proxy has needed and needs no longer is given back to the kernel: when it has started, and whenever it comes to rest.
//!
//! Beside the path. Code and constants come back from the file when they are used again, each page once; of the heap, what is free
//! is returned. Nothing depends on it: what the kernel refuses stays. Invariant: only pages that nobody can have written are dropped.

use libc::{PF_W, PT_LOAD, c_int, c_void, dl_phdr_info, size_t};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// How long there has to be nothing to do.
const REST: Duration = Duration::from_secs(2);
/// As much CPU time may be taken meanwhile: the control plane takes 1 to 2 ms of it, where the machine is busy more.
const NOTHING: Duration = Duration::from_millis(5);
/// Fewer page faults are not worth it. Each has brought up to 16 pages.
const FEW: u64 = 64;

/// What the process has used since it began.
#[derive(Debug, Clone, Copy, Default)]
struct Used {
    cpu: Duration,
    faults: u64,
}

impl Used {
    /// `None`: the kernel does not say.
    fn now() -> Option<Self> {
        let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
        let cpu = (usage.user_time() + usage.system_time()).num_microseconds();
        Some(Self {
            cpu: Duration::from_micros(cpu.try_into().unwrap_or_default()),
            faults: usage.minor_page_faults().try_into().unwrap_or_default(),
        })
    }
}

/// When it is time.
#[derive(Debug, Default)]
struct Pace {
    /// At the last look.
    seen: Used,
    /// Page faults when something was given back last.
    given: u64,
}

impl Pace {
    /// Looks once every [`REST`]: whether there was nothing to do since the last time, and there is something to give back.
    fn is_due(&mut self, used: Used) -> bool {
        let rested = used.cpu.saturating_sub(self.seen.cpu) < NOTHING;
        self.seen = used;
        rested && used.faults.saturating_sub(self.given) > FEW
    }
}

/// Gives back now and each time that the proxy has come to rest, for as long as it lives. A proxy with work to do is left alone:
/// what it would give back it would need again.
pub async fn keep_small() {
    let mut pace = Pace::default();
    let mut looks = interval(REST);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        give_back();
        pace.given = Used::now().unwrap_or_default().faults;
        loop {
            looks.tick().await;
            if Used::now().is_some_and(|used| pace.is_due(used)) {
                break;
            }
        }
    }
}

/// Gives back what is not in use now. Costs a page fault for each stretch of code that is used again.
fn give_back() {
    // SAFETY: the callback keeps to dl_iterate_phdr(3) and needs no data; malloc_trim(3) takes the heap's own locks.
    unsafe {
        libc::dl_iterate_phdr(Some(drop_clean), std::ptr::null_mut());
        #[cfg(target_env = "gnu")]
        libc::malloc_trim(0);
    }
}

/// Drops the segments of one loaded object that are mapped without the right to be written. What is relocated lies in others.
///
/// # Safety
/// To be called by dl_iterate_phdr(3), which lends `info` for the time of the call.
unsafe extern "C" fn drop_clean(info: *mut dl_phdr_info, _: size_t, _: *mut c_void) -> c_int {
    // SAFETY: sysconf(3) has no conditions. `info` is valid during the call, and so are its `dlpi_phnum` headers.
    let (page, base, headers) = unsafe {
        let info = &*info;
        let headers = std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into());
        (libc::sysconf(libc::_SC_PAGESIZE).max(1) as usize, info.dlpi_addr as usize, headers)
    };
    for header in headers.iter().filter(|header| header.p_type == PT_LOAD && header.p_flags & PF_W == 0) {
        let begin = base + header.p_vaddr as usize;
        let (first, end) = (begin - begin % page, (begin + header.p_memsz as usize) / page * page);
        if first < end {
            // SAFETY: the pages are the file's own and were never written, so that whoever uses one gets the same bytes again.
            // Text relocations would have been written; position-independent code has none, and linkers refuse to make any.
            unsafe { libc::madvise(first as *mut c_void, end - first, libc::MADV_DONTNEED) };
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    /// KiB of files' pages that this process has mapped.
    fn mapped() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssFile:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
    }

    #[test]
    fn something_is_given_back_once_the_proxy_has_come_to_rest() {
        let mut pace = Pace::default();
        let mut at = |cpu: u64, faults: u64| pace.is_due(Used { cpu: Duration::from_millis(cpu), faults });
        assert!(!at(30, 500), "it has just started");
        assert!(at(31, 510), "at rest");
        pace.given = 520;
        let mut at = |cpu: u64, faults: u64| pace.is_due(Used { cpu: Duration::from_millis(cpu), faults });
        assert!(!at(32, 560), "little has come back");
        assert!(!at(132, 900), "busy");
        assert!(!at(232, 910), "still busy");
        assert!(at(233, 911), "at rest again");
    }

    #[test]
    fn the_kernel_says_what_was_used() {
        let used = Used::now().unwrap();
        assert!(used.faults > 0 && used.cpu < Duration::from_secs(86_400), "{used:?}");
    }

    #[test]
    fn pages_of_code_go_and_come_back() {
        // Other tests run meanwhile and have theirs mapped again: once it has to be seen.
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let before = mapped();
            give_back();
            if mapped() < before {
                return;
            }
            assert!(Instant::now() < deadline, "{before} KiB before, {} after", mapped());
        }
    }
}
