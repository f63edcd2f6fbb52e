//! What the start needed and the rest of a proxy's life does not: given back to the kernel once, when everything runs.
//!
//! Beside the path. Code and constants come back from the file when they are used again, each page once; of the heap, what is free
//! is returned. Nothing depends on it: what the kernel refuses stays. Invariant: only pages that nobody can have written are dropped.

use libc::{PF_W, PT_LOAD, c_int, c_void, dl_phdr_info, size_t};

/// Gives back what is not in use now. Costs a page fault for each stretch of code that is used again.
pub fn give_back() {
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
