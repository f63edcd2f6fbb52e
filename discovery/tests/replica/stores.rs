//! The stores that tests run on.
//!
//! Embedded: a file in a temporary folder. etcd: a prefix of its own on one server that ends with the last test using it.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::Mutex;
use weft_discovery::store::{Embedded, EmbeddedSettings, Etcd, EtcdSettings, Store};
use weft_examples::etcd::EtcdCluster;

/// A store of a test's own, and a folder that lives as long.
pub struct Fixture {
    pub store: Arc<dyn Store>,
    pub folder: TempDir,
    _keep: Option<Arc<EtcdCluster>>,
}

impl Fixture {
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

pub fn embedded() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let store = Embedded::open(&EmbeddedSettings::new(folder.path().join("store"))).unwrap();
    Fixture { store: Arc::new(store), folder, _keep: None }
}

/// A place of its own on an etcd that the tests share while any of them runs.
pub async fn etcd() -> Fixture {
    static SHARED: Mutex<Weak<EtcdCluster>> = Mutex::const_new(Weak::new());
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut shared = SHARED.lock().await;
    let cluster = match shared.upgrade() {
        Some(cluster) => cluster,
        None => Arc::new(EtcdCluster::start(1).await.unwrap()),
    };
    *shared = Arc::downgrade(&cluster);
    let prefix = format!("/replica-{}/", NEXT.fetch_add(1, Ordering::Relaxed));
    let store = Etcd::open(&EtcdSettings { endpoints: cluster.endpoints(), prefix, ..Default::default() }).unwrap();
    Fixture { store: Arc::new(store), folder: tempfile::tempdir().unwrap(), _keep: Some(cluster) }
}

/// A store on an etcd that nobody else uses, to be stopped and started.
pub async fn etcd_alone() -> (Fixture, EtcdCluster) {
    let cluster = EtcdCluster::start(1).await.unwrap();
    let request_timeout = Duration::from_secs(2);
    let settings = EtcdSettings { endpoints: cluster.endpoints(), request_timeout, ..Default::default() };
    let store = Etcd::open(&settings).unwrap();
    (Fixture { store: Arc::new(store), folder: tempfile::tempdir().unwrap(), _keep: None }, cluster)
}
