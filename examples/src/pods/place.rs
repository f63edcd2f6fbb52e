//! Where a pod is: its namespace, its addresses, its end of the wire, the directory it shares.
//!
//! Reserved by the network, held by pods and processes alike: the last of them takes the place with it. Names and
//! addresses are never given out twice at the same time.

use super::cgroup;
use super::error::Error;
use super::namespace::Namespace;
use super::sweep;
use std::collections::HashSet;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

static NETWORKS: AtomicU32 = AtomicU32::new(0);

/// What pods share: the directory, and which names and numbers are in use.
#[derive(Debug)]
pub(super) struct Wires {
    prefix: String,
    dir: PathBuf,
    next: AtomicU32,
    taken: Mutex<HashSet<String>>,
}

/// One pod's part.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) namespace: Namespace,
    pub(super) ip: Ipv4Addr,
    pub(super) ip6: Ipv6Addr,
    pub(super) port: String,
    // After the namespace, so that a name is free only when its namespace is gone.
    name: Name,
}

/// A name in use.
#[derive(Debug)]
struct Name {
    text: String,
    wires: Arc<Wires>,
}

impl Place {
    pub(super) fn name(&self) -> &str {
        &self.name.text
    }

    pub(super) fn dir(&self) -> &Path {
        self.name.wires.dir()
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        self.wires.taken().remove(&self.text);
    }
}

impl Wires {
    /// No pods yet, and a directory that every user may look into.
    pub(super) fn new() -> Result<Arc<Self>, Error> {
        let prefix = sweep::prefix(NETWORKS.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(&prefix);
        let failed = || Error::io(format!("make {}", dir.display()));
        fs::create_dir_all(dir.join("logs")).map_err(failed())?;
        // Proxies run with a user of their own and have to reach their files in here.
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).map_err(failed())?;
        Ok(Arc::new(Self { prefix, dir, next: AtomicU32::new(1), taken: Mutex::default() }))
    }

    /// A namespace with a name and addresses of its own, not yet plugged in.
    pub(super) fn reserve(self: &Arc<Self>, name: &str, search: &str) -> Result<Arc<Place>, Error> {
        sweep::refuse_when_closing()?;
        let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 40 || !name.chars().all(letter) {
            return Err(Error::Name(name.to_owned()));
        }
        if !self.taken().insert(name.to_owned()) {
            return Err(Error::Taken(name.to_owned()));
        }
        let reserved = Name { text: name.to_owned(), wires: Arc::clone(self) };
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        let node = address(1);
        let resolver = format!(
            "nameserver {node}\nsearch {search}.svc.cluster.local svc.cluster.local cluster.local\n\
             options ndots:5 timeout:2 attempts:2\n"
        );
        Ok(Arc::new(Place {
            namespace: Namespace::new(&format!("{}-{name}", self.prefix), &resolver)?,
            ip: address(index),
            ip6: Ipv6Addr::from_bits(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0).to_bits() + u128::from(index)),
            port: format!("p{index}"),
            name: reserved,
        }))
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    fn taken(&self) -> MutexGuard<'_, HashSet<String>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        cgroup::remove(&self.prefix);
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The `index`th address of 10.77.0.0/16.
fn address(index: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 77, 0, 0).to_bits() + index)
}
