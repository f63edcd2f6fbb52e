//! Which rules a redirect consists of, as text for iptables. Pure, so that `--dry-run` prints what `apply` does.
//!
//! Order matters within a chain: whatever is to be left alone returns before the last rule redirects. The proxy's own
//! connections come first, or they would run in circles.

use weft_model::{Cidr, Port};

const DNS: &str = "WEFT_DNS";
const OUTBOUND: &str = "WEFT_OUTBOUND";
const INBOUND: &str = "WEFT_INBOUND";

/// Our chains.
pub const CHAINS: [&str; 3] = [DNS, OUTBOUND, INBOUND];
/// The chains that lead to ours.
pub const HOOKS: [&str; 2] = ["OUTPUT", "PREROUTING"];

/// What is redirected where, and what is not.
#[derive(Debug, Clone)]
pub struct Options {
    pub proxy_uid: u32,
    pub outbound_port: Port,
    pub inbound_port: Port,
    pub dns_port: Option<Port>,
    pub excluded_uids: Vec<u32>,
    pub direct_out: Vec<Port>,
    pub direct_to: Vec<Cidr>,
    pub direct_in: Vec<Port>,
    pub direct_from: Vec<Cidr>,
}

/// All rules of one family.
#[derive(Debug)]
pub struct RuleSet {
    pub chains: Vec<(&'static str, Vec<String>)>,
    /// Rules of the built-in chains, in order.
    pub hooks: Vec<(&'static str, String)>,
}

impl Options {
    /// The rules for IPv4, or for IPv6.
    pub fn rules(&self, v6: bool) -> RuleSet {
        let mut chains = Vec::new();
        let mut hooks = Vec::new();
        if let Some(port) = self.dns_port {
            chains.push((DNS, self.dns(port)));
            hooks.push(("OUTPUT", format!("-j {DNS}")));
        }
        chains.push((OUTBOUND, self.outbound(v6)));
        chains.push((INBOUND, self.inbound(v6)));
        hooks.push(("OUTPUT", format!("-p tcp -j {OUTBOUND}")));
        hooks.push(("PREROUTING", format!("-p tcp -j {INBOUND}")));
        RuleSet { chains, hooks }
    }

    /// Queries of everybody but the proxy, also those to a resolver on loopback.
    fn dns(&self, port: Port) -> Vec<String> {
        let mut rules = self.users();
        rules.push(format!("-p udp -m udp --dport 53 -j REDIRECT --to-ports {port}"));
        rules.push(format!("-p tcp -m tcp --dport 53 -j REDIRECT --to-ports {port}"));
        rules
    }

    fn outbound(&self, v6: bool) -> Vec<String> {
        let mut rules = self.users();
        // Within the pod nothing is taken over: not loopback, and not the pod's own address, which also goes that way.
        rules.push("-o lo -j RETURN".to_owned());
        rules.push(format!("-d {} -j RETURN", if v6 { "::1/128" } else { "127.0.0.0/8" }));
        rules.extend(ports(&self.direct_out));
        rules.extend(of_family(&self.direct_to, v6).map(|cidr| format!("-d {cidr} -j RETURN")));
        rules.push(format!("-p tcp -j REDIRECT --to-ports {}", self.outbound_port));
        rules
    }

    fn inbound(&self, v6: bool) -> Vec<String> {
        let mut rules = vec!["-i lo -j RETURN".to_owned()];
        rules.extend(ports(&self.direct_in));
        rules.extend(of_family(&self.direct_from, v6).map(|cidr| format!("-s {cidr} -j RETURN")));
        rules.push(format!("-p tcp -j REDIRECT --to-ports {}", self.inbound_port));
        rules
    }

    fn users(&self) -> Vec<String> {
        let all = std::iter::once(&self.proxy_uid).chain(&self.excluded_uids);
        all.map(|uid| format!("-m owner --uid-owner {uid} -j RETURN")).collect()
    }
}

fn ports(ports: &[Port]) -> impl Iterator<Item = String> {
    ports.iter().map(|port| format!("-p tcp -m tcp --dport {port} -j RETURN"))
}

fn of_family(cidrs: &[Cidr], v6: bool) -> impl Iterator<Item = &Cidr> {
    cidrs.iter().filter(move |cidr| cidr.base().is_ipv6() == v6)
}

impl RuleSet {
    /// The commands that make these rules on a machine without any.
    pub fn commands(&self, iptables: &str) -> Vec<String> {
        let mut lines = Vec::new();
        for (chain, rules) in &self.chains {
            lines.push(format!("{iptables} -t nat -N {chain}"));
            lines.extend(rules.iter().map(|rule| format!("{iptables} -t nat -A {chain} {rule}")));
        }
        let first = self.hooks.iter().rev().map(|(chain, rule)| format!("{iptables} -t nat -I {chain} 1 {rule}"));
        lines.extend(first);
        lines
    }
}

/// The commands that take everything away.
pub fn removal(iptables: &str) -> Vec<String> {
    let jumps =
        [format!("OUTPUT -j {DNS}"), format!("OUTPUT -p tcp -j {OUTBOUND}"), format!("PREROUTING -p tcp -j {INBOUND}")];
    let unhook = jumps.iter().map(|jump| format!("{iptables} -t nat -D {jump}"));
    let chains = CHAINS.iter().flat_map(|c| [format!("{iptables} -t nat -F {c}"), format!("{iptables} -t nat -X {c}")]);
    unhook.chain(chains).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(number: u16) -> Port {
        Port::new(number).unwrap()
    }

    fn options() -> Options {
        Options {
            proxy_uid: 1337,
            outbound_port: port(15001),
            inbound_port: port(15006),
            dns_port: Some(port(15053)),
            excluded_uids: vec![7],
            direct_out: vec![port(25)],
            direct_to: vec!["10.9.0.0/16".parse().unwrap(), "fd99::/64".parse().unwrap()],
            direct_in: vec![port(15020)],
            direct_from: vec!["10.8.0.0/16".parse().unwrap()],
        }
    }

    #[test]
    fn exclusions_stand_before_the_redirect_and_only_in_their_family() {
        let v4 = options().rules(false).commands("iptables").join("\n");
        let v6 = options().rules(true).commands("ip6tables").join("\n");
        assert!(v4.contains("-A WEFT_OUTBOUND -d 10.9.0.0/16 -j RETURN") && !v4.contains("fd99"), "{v4}");
        assert!(v6.contains("-A WEFT_OUTBOUND -d fd99::/64 -j RETURN") && !v6.contains("10.9"), "{v6}");
        for (_, rules) in options().rules(false).chains {
            let last = rules.last().unwrap();
            assert!(last.contains("REDIRECT"), "{last}");
        }
    }

    #[test]
    fn the_proxy_itself_is_excluded_first() {
        for (chain, rules) in options().rules(false).chains {
            if chain != INBOUND {
                assert_eq!(rules[0], "-m owner --uid-owner 1337 -j RETURN");
            }
        }
    }

    #[test]
    fn without_dns_there_is_no_chain_for_it() {
        let rules = Options { dns_port: None, ..options() }.rules(false);
        assert!(rules.chains.iter().all(|(chain, _)| *chain != DNS) && rules.hooks.len() == 2);
    }
}
