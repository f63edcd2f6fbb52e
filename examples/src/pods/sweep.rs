//! Removal of everything a process made, told from its name: `weft-<pid>-<network>-<pod>`.
//!
//! Serves three moments: a signal, the end of a test run, and the start of the next one after a crash. Names of living
//! owners are left alone, except the caller's own in [`remove_all`].

use super::error::Error;
use super::{cgroup, namespace};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

static CLOSING: AtomicBool = AtomicBool::new(false);

/// The start of every name this process gives to things of its `network`th network.
pub(super) fn prefix(network: u32) -> String {
    format!("weft-{}-{network}", std::process::id())
}

/// The pid in a name of ours.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix("weft-")?.split('-').next()?.parse().ok()
}

/// Removes what belongs to processes that are gone.
pub fn sweep() {
    remove(|owner| !Path::new("/proc").join(owner.to_string()).exists());
}

/// Ends every program in this process's pods and removes all it made; nothing new can be made afterwards.
pub fn remove_all() {
    CLOSING.store(true, Ordering::SeqCst);
    remove(|owner| owner == std::process::id());
}

/// Whether [`remove_all`] has begun.
pub fn is_closing() -> bool {
    CLOSING.load(Ordering::SeqCst)
}

/// On SIGINT, SIGTERM or SIGHUP: [`remove_all`], then `last_words`, then exit with the status it returns; it is given the
/// customary one, 128 + the signal.
pub fn remove_on_signals(last_words: impl FnOnce(i32) -> i32 + Send + 'static) -> Result<(), Error> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(Error::io("watch for signals"))?;
    let streams = {
        let _context = runtime.enter();
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = kinds.map(signal);
        (|| Ok((interrupt?, terminate?, hangup?)))().map_err(Error::io("watch for signals"))?
    };
    std::thread::spawn(move || {
        let (mut interrupt, mut terminate, mut hangup) = streams;
        let number = runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => libc::SIGINT,
                _ = terminate.recv() => libc::SIGTERM,
                _ = hangup.recv() => libc::SIGHUP,
            }
        });
        remove_all();
        std::process::exit(last_words(128 + number));
    });
    Ok(())
}

pub(super) fn refuse_when_closing() -> Result<(), Error> {
    if is_closing() { Err(Error::Closing) } else { Ok(()) }
}

fn remove(unwanted: impl Fn(u32) -> bool) {
    for name in namespace::named("weft-") {
        if owner(&name).is_some_and(&unwanted) {
            namespace::remove(&name);
        }
    }
    for name in cgroup::named("weft-") {
        if owner(&name).is_some_and(&unwanted) {
            cgroup::remove(&name);
        }
    }
    for dir in [std::env::temp_dir(), "/etc/netns".into()] {
        let Ok(entries) = fs::read_dir(dir) else { continue };
        for entry in entries.filter_map(Result::ok) {
            if entry.file_name().to_str().and_then(owner).is_some_and(&unwanted) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
    let _ = fs::remove_dir("/etc/netns");
}

#[cfg(test)]
mod tests {
    use super::owner;

    #[test]
    fn only_names_of_ours_have_an_owner() {
        assert_eq!(owner("weft-123-0-frontend-1"), Some(123));
        assert_eq!(owner("weft-123-0"), Some(123));
        for foreign in ["weft-", "weft-x-1", "other-123-0", "weft"] {
            assert_eq!(owner(foreign), None, "{foreign}");
        }
    }
}
