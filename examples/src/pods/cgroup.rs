//! Cgroups (version 1) that programs in pods made under a name of ours: the kernel keeps them when the last process is gone.
//!
//! Removal waits a moment for processes that are still ending, and never fails loudly: what is already gone is fine, and what is
//! still in use is the next sweep's.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const HIERARCHIES: &str = "/sys/fs/cgroup";
/// How long the processes of a cgroup that goes may take to end.
const ENDING: Duration = Duration::from_secs(10);

/// The names of all that lie at the root of a hierarchy and start with `prefix`, each once.
pub(super) fn named(prefix: &str) -> Vec<String> {
    let mut names: Vec<String> = folders(Path::new(HIERARCHIES))
        .flat_map(|hierarchy| folders(&hierarchy))
        .filter_map(|path| path.file_name()?.to_str().map(str::to_owned))
        .filter(|name| name.starts_with(prefix))
        .collect();
    names.sort();
    names.dedup();
    names
}

/// Removes `name` and all below it from every hierarchy.
pub(super) fn remove(name: &str) {
    let deadline = Instant::now() + ENDING;
    for hierarchy in folders(Path::new(HIERARCHIES)) {
        let path = hierarchy.join(name);
        while path.exists() && !remove_tree(&path) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The files in a cgroup go with it, and cannot be removed otherwise.
fn remove_tree(path: &Path) -> bool {
    for below in folders(path) {
        remove_tree(&below);
    }
    fs::remove_dir(path).is_ok()
}

fn folders(path: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(path).into_iter().flatten().filter_map(Result::ok);
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}
