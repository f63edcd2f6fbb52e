//! A control plane to be measured: a store with a world in it, and one replica of discovery that has read it.
//!
//! Everything is on the node of a network of its own and ends with the value.

use super::seed;
use super::shape::Shape;
use anyhow::Context;
use clap::ValueEnum;
use std::path::Path;
use weft_discovery::store::{Embedded, EmbeddedSettings, Etcd, EtcdSettings, Store};
use weft_examples::etcd::EtcdCluster;
use weft_examples::mesh::{Discovery, Mesh, Options};
use weft_examples::pods::Network;

/// Members of an etcd that may lose one.
const MEMBERS: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StoreKind {
    Embedded,
    Etcd,
}

impl StoreKind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Etcd => "etcd",
        }
    }
}

pub struct Plane {
    mesh: Mesh,
    etcd: Option<EtcdCluster>,
    // Goes when nobody lives in it any more.
    network: Network,
}

impl Plane {
    /// Seeds a store of this kind and starts discovery on it.
    pub fn start(kind: StoreKind, shape: &Shape) -> anyhow::Result<Self> {
        let network = Network::new()?;
        let etcd = match kind {
            StoreKind::Embedded => None,
            StoreKind::Etcd => Some(EtcdCluster::start_on(network.node(), MEMBERS).context("etcd")?),
        };
        let file = network.dir().join("discovery.redb");
        let open = || open(&file, etcd.as_ref());
        network
            .node()
            .within(|| in_runtime(async { seed::write(&*open()?, shape).await }))?
            .context("seed the store")?;
        let store = match &etcd {
            None => format!("embedded:{}", file.display()),
            Some(etcd) => format!("etcd:{}", etcd.endpoints().join(",")),
        };
        let options = Options { store: Some(store), ..Options::default() };
        let mesh = Mesh::start_on(network.clone(), &options)?;
        Ok(Self { mesh, etcd, network })
    }

    /// Does `work` where the plane can be reached, on one thread.
    pub fn within<T: Send>(&self, work: impl AsyncFnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
        self.network.node().within(|| in_runtime(work()))?
    }

    pub fn replica(&self) -> &Discovery {
        &self.mesh.discovery()[0]
    }

    /// Of the replica.
    pub fn pid(&self) -> anyhow::Result<u32> {
        self.replica().pid().context("discovery does not run")
    }

    /// Of the store's own processes.
    pub fn store_pids(&self) -> Vec<u32> {
        self.etcd.iter().flat_map(|etcd| (0..MEMBERS).filter_map(|member| etcd.pid(member))).collect()
    }
}

fn open(file: &Path, etcd: Option<&EtcdCluster>) -> anyhow::Result<Box<dyn Store>> {
    Ok(match etcd {
        None => Box::new(Embedded::open(&EmbeddedSettings::new(file))?),
        Some(etcd) => {
            // As `--store-prefix` has it by default.
            let prefix = "/weft/".to_owned();
            Box::new(Etcd::open(&EtcdSettings { endpoints: etcd.endpoints(), prefix, ..EtcdSettings::default() })?)
        }
    })
}

fn in_runtime<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
