//! Chapter 1: names stand for services, wherever their replicas are.
//!
//! Asks the system's own resolver in two pods, as applications do. Fails when a name has no address or not the same one.

use crate::say::Say;
use crate::stage::{NAMESPACE, SERVICES, Stage, resolve};
use anyhow::ensure;

pub fn show(say: &Say, stage: &Stage) -> anyhow::Result<()> {
    say.chapter(1, "Names", "Applications dial names. Each stands for one virtual address, in every pod the same.");
    let (here, there) = (stage.member("customers")?, stage.member("search-0")?);
    for service in &SERVICES {
        let name = format!("{}.{NAMESPACE}.svc.cluster.local", service.name);
        let address = resolve(here, &name)?;
        let elsewhere = resolve(there, service.name)?;
        ensure!(address == elsewhere, "{name} is {address} in one pod and {elsewhere} in another");
        let replicas: Vec<_> = stage.members().filter(|member| member.account() == service.name).collect();
        let pods: Vec<_> = replicas.iter().map(|member| member.pod().ip().to_string()).collect();
        say.row(&name, &format!("{address:<16} {}", say.dim(&format!("for {}", pods.join(" ")))));
    }
    Ok(())
}
