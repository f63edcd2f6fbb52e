//! Faults of the network: packets that vanish without a word.
//!
//! In force until the value is dropped. Only the pod's own filter table or its wire on the node is touched, never what
//! the sidecar's redirect put into the nat table.

use super::error::Error;
use super::ip;
use super::place::Place;
use super::process::run_ok;
use super::program::Program;
use std::net::IpAddr;
use std::sync::Arc;

/// A fault in force; healed when dropped.
#[derive(Debug)]
#[must_use = "the fault is healed when this is dropped"]
pub struct Fault {
    place: Arc<Place>,
    cure: Cure,
}

#[derive(Debug)]
enum Cure {
    /// Rules to delete again: program and arguments.
    Rules(Vec<(&'static str, Vec<String>)>),
    /// A line for the node's `ip`.
    Link(String),
}

impl Fault {
    /// Ends the fault now.
    pub fn heal(self) {}
}

impl Drop for Fault {
    fn drop(&mut self) {
        match &self.cure {
            Cure::Rules(rules) => {
                for (program, rule) in rules {
                    let _ = run_ok(&self.place, Program::new(program).args(["-w", "-D"]).args(rule));
                }
            }
            Cure::Link(line) => {
                let _ = ip::start_batch(self.place.namespace.name(), line).and_then(ip::finish);
            }
        }
    }
}

pub(super) fn drop_traffic(place: &Arc<Place>, peers: &[IpAddr]) -> Result<Fault, Error> {
    let mut fault = Fault { place: Arc::clone(place), cure: Cure::Rules(Vec::new()) };
    for peer in peers {
        let program = if peer.is_ipv4() { "iptables" } else { "ip6tables" };
        for (chain, direction) in [("INPUT", "-s"), ("OUTPUT", "-d")] {
            let rule = [chain, direction, &peer.to_string(), "-j", "DROP"].map(str::to_owned).to_vec();
            run_ok(place, Program::new(program).args(["-w", "-I"]).args(&rule))?;
            if let Cure::Rules(rules) = &mut fault.cure {
                rules.push((program, rule));
            }
        }
    }
    Ok(fault)
}

pub(super) fn unplug(node: &Arc<Place>, place: &Place) -> Result<Fault, Error> {
    let port = &place.port;
    ip::finish(ip::start_batch(node.namespace.name(), &format!("link set {port} down\n"))?)?;
    Ok(Fault { place: Arc::clone(node), cure: Cure::Link(format!("link set {port} up\n")) })
}
