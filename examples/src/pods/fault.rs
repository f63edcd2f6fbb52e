//! Faults of the network: packets that vanish without a word.
//!
//! In force until the value is dropped. Only the pod's own filter table or its wire on the node is touched, never what
//! the sidecar's redirect put into the nat table.

use super::{Error, Pod, Program};
use std::net::IpAddr;

/// A fault in force; healed when dropped.
#[derive(Debug)]
#[must_use = "the fault is healed when this is dropped"]
pub struct Fault {
    pod: Pod,
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
                    let _ = self.pod.run_ok(Program::new(program).args(["-w", "-D"]).args(rule));
                }
            }
            Cure::Link(line) => {
                let _ = self.pod.ip_batch(line);
            }
        }
    }
}

pub(super) fn drop_traffic(pod: &Pod, peers: &[IpAddr]) -> Result<Fault, Error> {
    let mut fault = Fault { pod: pod.clone(), cure: Cure::Rules(Vec::new()) };
    for peer in peers {
        let program = if peer.is_ipv4() { "iptables" } else { "ip6tables" };
        for (chain, direction) in [("INPUT", "-s"), ("OUTPUT", "-d")] {
            let rule = [chain, direction, &peer.to_string(), "-j", "DROP"].map(str::to_owned).to_vec();
            pod.run_ok(Program::new(program).args(["-w", "-I"]).args(&rule))?;
            if let Cure::Rules(rules) = &mut fault.cure {
                rules.push((program, rule));
            }
        }
    }
    Ok(fault)
}

pub(super) fn unplug(node: &Pod, pod: &Pod) -> Result<Fault, Error> {
    node.ip_batch(&format!("link set {} down\n", pod.port()))?;
    Ok(Fault { pod: node.clone(), cure: Cure::Link(format!("link set {} up\n", pod.port())) })
}
