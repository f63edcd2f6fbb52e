//! Which rules a redirect consists of, as text for iptables. Pure, so that `--dry-run` prints what `apply` does.
//!
//! Order matters within a chain: whatever is to be left alone returns before the last rule redirects. The proxy's own
//! connections come first, or they would run in circles; but for the one by which it sees that the rules are in place.

use weft_model::{Cidr, Port};

const NAT: &str = "nat";
const RAW: &str = "raw";

const DNS: &str = "WEFT_DNS";
const OUTBOUND: &str = "WEFT_OUTBOUND";
const INBOUND: &str = "WEFT_INBOUND";
const QUERIES: &str = "WEFT_DNS_QUERIES";
const ANSWERS: &str = "WEFT_DNS_ANSWERS";

/// Our chains, each with its table.
pub const CHAINS: [(&str, &str); 5] = [(RAW, QUERIES), (RAW, ANSWERS), (NAT, DNS), (NAT, OUTBOUND), (NAT, INBOUND)];
/// The chains that lead to ours.
pub const HOOKS: [(&str, &str); 4] = [(RAW, "OUTPUT"), (RAW, "PREROUTING"), (NAT, "OUTPUT"), (NAT, "PREROUTING")];

/// The conntrack zone of DNS that is not redirected. The kernel decides about NAT once per flow, and a UDP flow is
/// remembered for minutes: without a zone of its own, a query of the proxy to its name server would exempt the next
/// socket of the application that is given the same local port.
const ZONE: u16 = 15053;

/// What is redirected where, and what is not.
#[derive(Debug, Clone)]
pub struct Options {
    pub proxy_uid: u32,
    pub outbound_port: Port,
    pub inbound_port: Port,
    pub dns_port: Option<Port>,
    /// Dialled on loopback by the proxy itself, to see whether these rules are in place.
    pub check_port: Option<Port>,
    pub excluded_uids: Vec<u32>,
    pub direct_out: Vec<Port>,
    pub direct_to: Vec<Cidr>,
    pub direct_in: Vec<Port>,
    pub direct_from: Vec<Cidr>,
}

/// A chain of ours and all its rules.
#[derive(Debug)]
pub struct Chain {
    pub table: &'static str,
    pub name: &'static str,
    pub rules: Vec<String>,
}

/// A rule of a built-in chain.
#[derive(Debug)]
pub struct Hook {
    pub table: &'static str,
    pub chain: &'static str,
    pub rule: String,
}

/// All rules of one family.
#[derive(Debug)]
pub struct RuleSet {
    pub chains: Vec<Chain>,
    /// In order.
    pub hooks: Vec<Hook>,
}

impl Options {
    /// The rules for IPv4, or for IPv6.
    pub fn rules(&self, v6: bool) -> RuleSet {
        let mut chains = Vec::new();
        let mut hooks = Vec::new();
        if let Some(port) = self.dns_port {
            chains.push(Chain { table: RAW, name: QUERIES, rules: self.queries() });
            chains.push(Chain { table: RAW, name: ANSWERS, rules: vec![answers()] });
            chains.push(Chain { table: NAT, name: DNS, rules: self.dns(port) });
            hooks.push(Hook { table: RAW, chain: "OUTPUT", rule: format!("-p udp -j {QUERIES}") });
            hooks.push(Hook { table: RAW, chain: "PREROUTING", rule: format!("-p udp -j {ANSWERS}") });
            hooks.push(Hook { table: NAT, chain: "OUTPUT", rule: format!("-j {DNS}") });
        }
        chains.push(Chain { table: NAT, name: OUTBOUND, rules: self.outbound(v6) });
        chains.push(Chain { table: NAT, name: INBOUND, rules: self.inbound(v6) });
        hooks.push(Hook { table: NAT, chain: "OUTPUT", rule: format!("-p tcp -j {OUTBOUND}") });
        hooks.push(Hook { table: NAT, chain: "PREROUTING", rule: format!("-p tcp -j {INBOUND}") });
        RuleSet { chains, hooks }
    }

    /// Queries that leave for a name server, and what a name server in this pod answers.
    fn queries(&self) -> Vec<String> {
        let query = |uid| format!("-p udp -m udp --dport 53 -m owner --uid-owner {uid} -j CT --zone {ZONE}");
        self.direct_users().map(query).chain([answers()]).collect()
    }

    /// Queries of everybody but the proxy, also those to a resolver on loopback.
    fn dns(&self, port: Port) -> Vec<String> {
        let mut rules = self.users();
        rules.push(format!("-p udp -m udp --dport 53 -j REDIRECT --to-ports {port}"));
        rules.push(format!("-p tcp -m tcp --dport 53 -j REDIRECT --to-ports {port}"));
        rules
    }

    fn outbound(&self, v6: bool) -> Vec<String> {
        let loopback = if v6 { "::1/128" } else { "127.0.0.1/32" };
        // Before the proxy's own connections are left alone, for this is one of them.
        let check =
            |port| format!("-d {loopback} -p tcp -m tcp --dport {port} -j REDIRECT --to-ports {}", self.outbound_port);
        let mut rules: Vec<String> = self.check_port.map(check).into_iter().collect();
        rules.extend(self.users());
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
        self.direct_users().map(|uid| format!("-m owner --uid-owner {uid} -j RETURN")).collect()
    }

    fn direct_users(&self) -> impl Iterator<Item = u32> {
        std::iter::once(self.proxy_uid).chain(self.excluded_uids.iter().copied())
    }
}

fn answers() -> String {
    format!("-p udp -m udp --sport 53 -j CT --zone {ZONE}")
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
        for Chain { table, name, rules } in &self.chains {
            lines.push(format!("{iptables} -t {table} -N {name}"));
            lines.extend(rules.iter().map(|rule| format!("{iptables} -t {table} -A {name} {rule}")));
        }
        let hooks = self.hooks.iter().rev();
        lines.extend(hooks.map(|Hook { table, chain, rule }| format!("{iptables} -t {table} -I {chain} 1 {rule}")));
        lines
    }
}

/// The commands that take everything away.
pub fn removal(iptables: &str) -> Vec<String> {
    let jumps = [
        format!("{RAW} -D OUTPUT -p udp -j {QUERIES}"),
        format!("{RAW} -D PREROUTING -p udp -j {ANSWERS}"),
        format!("{NAT} -D OUTPUT -j {DNS}"),
        format!("{NAT} -D OUTPUT -p tcp -j {OUTBOUND}"),
        format!("{NAT} -D PREROUTING -p tcp -j {INBOUND}"),
    ];
    let unhook = jumps.iter().map(|jump| format!("{iptables} -t {jump}"));
    let chains = CHAINS
        .iter()
        .flat_map(|(table, chain)| ["-F", "-X"].map(|verb| format!("{iptables} -t {table} {verb} {chain}")));
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
            check_port: None,
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
        for chain in options().rules(false).chains.iter().filter(|chain| chain.table == NAT) {
            let last = chain.rules.last().unwrap();
            assert!(last.contains("REDIRECT"), "{last}");
        }
    }

    #[test]
    fn the_proxy_itself_is_excluded_first() {
        for chain in options().rules(false).chains {
            if [DNS, OUTBOUND].contains(&chain.name) {
                assert_eq!(chain.rules[0], "-m owner --uid-owner 1337 -j RETURN");
            }
        }
    }

    #[test]
    fn the_check_comes_before_everything_in_either_family() {
        for (v6, loopback) in [(false, "127.0.0.1/32"), (true, "::1/128")] {
            let rules = Options { check_port: Some(port(15002)), ..options() }.rules(v6);
            let outbound = rules.chains.iter().find(|chain| chain.name == OUTBOUND).unwrap();
            let check = format!("-d {loopback} -p tcp -m tcp --dport 15002 -j REDIRECT --to-ports 15001");
            assert_eq!(outbound.rules[0], check);
            assert_eq!(outbound.rules[1], "-m owner --uid-owner 1337 -j RETURN");
        }
    }

    #[test]
    fn without_dns_there_is_no_chain_for_it() {
        let rules = Options { dns_port: None, ..options() }.rules(false);
        assert!(rules.chains.iter().all(|chain| chain.table == NAT && chain.name != DNS) && rules.hooks.len() == 2);
    }
}
