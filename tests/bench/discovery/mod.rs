//! `weft-bench discovery`: the control plane with many services, many subscribed proxies and many changes.
//!
//! A real discovery on an embedded store and on three nodes of etcd, in a network namespace; the proxies are streams alone
//! ([`weft_tests::fleet`]). They share the machine with it, so times are upper bounds; CPU time is that of the processes measured.

mod shape;
mod seed;
mod plane;
mod course;
mod projection;
mod report;

use anyhow::ensure;
use clap::Args;
use plane::{Plane, StoreKind};
use report::Report;
use shape::Shape;
use std::path::PathBuf;

/// Services in each step of the growth.
const GROWTH: [usize; 3] = [100, 1_000, 10_000];

#[derive(Debug, Args)]
pub struct Flags {
    /// Where discovery.json, discovery.md and discovery.svg go
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
    /// The documentation's directory, whose page on scale is to show the figures
    #[arg(long)]
    docs: Option<PathBuf>,
    /// A quick look: shorter windows, and growth to 1,000 services only
    #[arg(long)]
    quick: bool,
    /// Only these stores
    #[arg(long, value_delimiter = ',', default_value = "embedded,etcd")]
    stores: Vec<StoreKind>,
    /// Proxies with a stream
    #[arg(long, default_value_t = 1_000)]
    proxies: usize,
    /// Services, with ten endpoints each
    #[arg(long, default_value_t = 1_000)]
    services: usize,
    /// Changes of endpoints per second
    #[arg(long, default_value_t = 100)]
    rate: u32,
    /// Leaves the growth out
    #[arg(long)]
    no_growth: bool,
}

/// Measures and prints.
pub fn run(flags: &Flags) -> anyhow::Result<()> {
    ensure!(flags.services > 0 && flags.proxies > 0 && flags.rate > 0, "all of it has to be more than nothing");
    let shape = Shape::full(flags.services, flags.proxies, flags.rate, flags.quick);
    let mut report = Report { shape, stores: vec![], growth: vec![] };
    for store in &flags.stores {
        eprintln!("{}: {shape}", store.name());
        let plane = Plane::start(*store, &shape)?;
        report.stores.push((store.name(), course::run(&plane, &shape)?));
    }
    let growth = if flags.quick { &GROWTH[..2] } else { &GROWTH[..] };
    for services in growth.iter().filter(|_| !flags.no_growth) {
        let shape = Shape::growth(*services, flags.rate, flags.quick);
        eprintln!("growth: {shape}");
        let plane = Plane::start(StoreKind::Embedded, &shape)?;
        report.growth.push((*services, course::run(&plane, &shape)?));
    }
    println!("{}", report.write(&flags.out, flags.docs.as_deref())?);
    Ok(())
}
