//! Two programs between the two ends: all that a proxy needs besides its configuration.
//!
//! A contender writes its files, names its two programs and what the client dials, and this starts them, waits for the first
//! answer and starts the client's again when asked. Who does not answer fails with the end of its log.

use super::ends::Ends;
use super::pair::Contender;
use crate::traffic::Traffic;
use anyhow::{Context, bail};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use weft_examples::mesh::fetch;
use weft_examples::pods::{Pod, Process, Program, poll_until};

/// How long a proxy may take to start, or to end.
const LIMIT: Duration = Duration::from_secs(30);

pub struct Proxied {
    name: &'static str,
    targets: Vec<(Traffic, SocketAddr)>,
    outbound: Process,
    inbound: Process,
    /// How the outbound one is started again.
    program: Program,
    ends: Ends,
}

impl Proxied {
    /// Starts `outbound` beside the client and `inbound` beside the server. `targets`: what the client dials.
    pub fn start(
        name: &'static str,
        ends: Ends,
        [outbound, inbound]: [Program; 2],
        targets: Vec<(Traffic, SocketAddr)>,
    ) -> anyhow::Result<Self> {
        let program = outbound.clone();
        let (outbound, inbound) = (ends.client.spawn(outbound)?, ends.server.spawn(inbound)?);
        let contender = Self { name, targets, outbound, inbound, program, ends };
        contender.wait()?;
        Ok(contender)
    }

    fn wait(&self) -> anyhow::Result<()> {
        // Some take no HTTP/1.0.
        let request = "GET / HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n";
        let target = self.target(Traffic::Http1).context("everybody carries HTTP/1.1")?;
        let mut said = String::new();
        let answers = || {
            let reply = fetch(self.client(), target, request);
            said = format!("{reply:?}");
            reply.is_ok_and(|reply| reply.status == 200).then_some(())
        };
        if poll_until(Instant::now() + LIMIT, "an answer", answers).is_err() {
            let logs = [&self.outbound, &self.inbound].map(|proxy| proxy.log_tail(10));
            bail!("the pair says {said}\n{}", logs.join("\n"));
        }
        Ok(())
    }
}

impl Contender for Proxied {
    fn name(&self) -> &'static str {
        self.name
    }

    fn client(&self) -> &Pod {
        &self.ends.client
    }

    fn server(&self) -> &Pod {
        &self.ends.server
    }

    fn target(&self, traffic: Traffic) -> Option<SocketAddr> {
        self.targets.iter().find(|(kind, _)| *kind == traffic).map(|(_, target)| *target)
    }

    fn proxies(&self) -> Vec<u32> {
        vec![self.outbound.pid(), self.inbound.pid()]
    }

    fn restart(&mut self) -> anyhow::Result<Instant> {
        self.outbound.kill();
        self.outbound.wait_exit(LIMIT).with_context(|| format!("{} does not end", self.outbound.name()))?;
        self.outbound = self.ends.client.spawn(self.program.clone())?;
        Ok(Instant::now())
    }
}
