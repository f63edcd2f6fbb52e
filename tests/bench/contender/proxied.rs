//! One or two programs between the two ends: all that a proxy needs besides its configuration.
//!
//! A contender writes its files, names its programs and what the client dials, and this starts them, waits for the first
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
    inbound: Option<Process>,
    /// How the outbound one is started again.
    program: Program,
    /// The same, but that it knows many services.
    knowing: Option<Program>,
    ends: Ends,
}

impl Proxied {
    /// Starts a program beside the client and, if there is another one, that beside the server. `targets`: what the client dials.
    pub fn start(
        name: &'static str,
        ends: Ends,
        programs: impl IntoIterator<Item = Program>,
        targets: Vec<(Traffic, SocketAddr)>,
    ) -> anyhow::Result<Self> {
        let mut programs = programs.into_iter();
        let program = programs.next().context("a proxy is a program at least")?;
        let outbound = ends.client.spawn(program.clone())?;
        let inbound = programs.next().map(|inbound| ends.server.spawn(inbound)).transpose()?;
        let contender = Self { name, targets, outbound, inbound, program, knowing: None, ends };
        contender.wait()?;
        Ok(contender)
    }

    /// How the outbound one is started so that it knows [`KNOWN_SERVICES`](super::pair::KNOWN_SERVICES) more.
    pub fn knowing(self, program: Program) -> Self {
        Self { knowing: Some(program), ..self }
    }

    fn processes(&self) -> impl Iterator<Item = &Process> {
        std::iter::once(&self.outbound).chain(&self.inbound)
    }

    fn start_again(&mut self, program: Program) -> anyhow::Result<()> {
        self.outbound.kill();
        self.outbound.wait_exit(LIMIT).with_context(|| format!("{} does not end", self.outbound.name()))?;
        self.outbound = self.ends.client.spawn(program)?;
        Ok(())
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
            let logs: Vec<String> = self.processes().map(|proxy| proxy.log_tail(10)).collect();
            bail!("{} says {said}\n{}", self.name, logs.join("\n"));
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
        self.processes().map(Process::pid).collect()
    }

    fn restart(&mut self) -> anyhow::Result<Instant> {
        self.start_again(self.program.clone())?;
        Ok(Instant::now())
    }

    fn know(&mut self) -> anyhow::Result<bool> {
        let Some(program) = self.knowing.clone() else { return Ok(false) };
        self.start_again(program)?;
        self.wait()?;
        Ok(true)
    }
}
