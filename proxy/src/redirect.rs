//! The rules that lead a pod's TCP connections, and its DNS, through the proxy: `weft-proxy redirect apply|remove|show`.
//!
//! Runs once, as root, before the proxy, which itself needs no privileges. Rules live in chains of our own in the nat and raw
//! tables of iptables and ip6tables; applying twice changes nothing, removing leaves no trace, and applying over a half-done
//! state completes it. Fails naming the command that failed.

mod check;
mod rules;

pub use check::{Check, Look};

use clap::{Args, Subcommand, ValueEnum};
use iptables::IPTables;
use rules::{Chain, Hook, Options, RuleSet};
use weft_model::{Cidr, Port};

/// `weft-proxy redirect`.
#[derive(Debug, Args)]
pub struct Redirect {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Puts the rules in force; those that are there already stay
    Apply {
        #[command(flatten)]
        flags: Flags,
        /// Print the commands instead of running them
        #[arg(long)]
        dry_run: bool,
    },
    /// Takes all of the rules away
    Remove {
        #[command(flatten)]
        tables: Tables,
        /// Print the commands instead of running them
        #[arg(long)]
        dry_run: bool,
    },
    /// Prints the rules in force; exit status 1 when they are not those that `apply` with these flags would make
    Show {
        #[command(flatten)]
        flags: Flags,
    },
}

/// Which implementation of iptables is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Backend {
    /// What `iptables` is on this machine
    Auto,
    Nft,
    Legacy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Family {
    /// IPv4, and IPv6 where the machine has it
    Auto,
    Ipv4,
    Ipv6,
}

#[derive(Debug, Clone, Args)]
struct Tables {
    /// Which iptables is called
    #[arg(long, env = "WEFT_REDIRECT_BACKEND", value_enum, default_value = "auto")]
    backend: Backend,
    /// Which families get rules
    #[arg(long, env = "WEFT_REDIRECT_FAMILY", value_enum, default_value = "auto")]
    family: Family,
}

#[derive(Debug, Clone, Args)]
struct Flags {
    #[command(flatten)]
    tables: Tables,
    /// The user the proxy runs as, by number or name; its own connections are left alone
    #[arg(long, env = "WEFT_PROXY_UID", default_value = "15100", value_parser = user)]
    proxy_uid: u32,
    /// Where the proxy takes connections that leave the pod
    #[arg(long, env = "WEFT_OUTBOUND_PORT", default_value = "15001")]
    outbound_port: Port,
    /// Where the proxy takes connections that reach the pod
    #[arg(long, env = "WEFT_INBOUND_PORT", default_value = "15006")]
    inbound_port: Port,
    /// Where the proxy answers DNS; 0 leaves DNS alone
    #[arg(long, env = "WEFT_DNS_PORT", default_value_t = 15053)]
    dns_port: u16,
    /// Where the proxy's admin endpoint listens; reached directly
    #[arg(long, env = "WEFT_ADMIN_PORT", default_value = "15020")]
    admin_port: Port,
    /// Port on loopback by which the proxy sees that the rules are in place; 0 makes no rule for it
    #[arg(long, env = "WEFT_CHECK_PORT", default_value_t = 15002)]
    check_port: u16,
    /// Ports that connections may leave for directly
    #[arg(long, env = "WEFT_EXCLUDE_OUTBOUND_PORTS", value_delimiter = ',', value_name = "PORT")]
    exclude_outbound_ports: Vec<Port>,
    /// Destinations that connections may leave for directly
    #[arg(long, env = "WEFT_EXCLUDE_OUTBOUND_CIDRS", value_delimiter = ',', value_name = "CIDR")]
    exclude_outbound_cidrs: Vec<Cidr>,
    /// Users whose connections leave directly, by number or name
    #[arg(long, env = "WEFT_EXCLUDE_UIDS", value_delimiter = ',', value_name = "UID", value_parser = user)]
    exclude_uids: Vec<u32>,
    /// Ports that are reached directly
    #[arg(long, env = "WEFT_EXCLUDE_INBOUND_PORTS", value_delimiter = ',', value_name = "PORT")]
    exclude_inbound_ports: Vec<Port>,
    /// Sources that reach the pod directly
    #[arg(long, env = "WEFT_EXCLUDE_INBOUND_CIDRS", value_delimiter = ',', value_name = "CIDR")]
    exclude_inbound_cidrs: Vec<Cidr>,
}

impl Flags {
    fn options(&self) -> Options {
        let direct = [self.admin_port, self.outbound_port, self.inbound_port];
        Options {
            proxy_uid: self.proxy_uid,
            outbound_port: self.outbound_port,
            inbound_port: self.inbound_port,
            dns_port: Port::new(self.dns_port),
            check_port: Port::new(self.check_port),
            excluded_uids: self.exclude_uids.clone(),
            direct_out: self.exclude_outbound_ports.clone(),
            direct_to: self.exclude_outbound_cidrs.clone(),
            direct_in: direct.into_iter().chain(self.exclude_inbound_ports.iter().copied()).collect(),
            direct_from: self.exclude_inbound_cidrs.clone(),
        }
    }
}

fn user(text: &str) -> Result<u32, String> {
    if let Ok(uid) = text.parse() {
        return Ok(uid);
    }
    match nix::unistd::User::from_name(text) {
        Ok(Some(user)) => Ok(user.uid.as_raw()),
        _ => Err(format!("{text:?} is neither a number nor a user of this machine")),
    }
}

/// The crate's errors cannot be sent between threads, which `anyhow` wants.
fn failed(command: &str) -> impl Fn(Box<dyn std::error::Error>) -> anyhow::Error {
    move |error| anyhow::anyhow!("{command}: {}", error.to_string().trim())
}

impl Tables {
    /// The tables to work on, with whether they are IPv6's.
    fn open(&self) -> anyhow::Result<Vec<(IPTables, bool)>> {
        let has_ipv6 = std::fs::read_to_string("/proc/net/if_inet6").is_ok_and(|text| !text.is_empty());
        let families: &[bool] = match self.family {
            Family::Auto if has_ipv6 => &[false, true],
            Family::Auto | Family::Ipv4 => &[false],
            Family::Ipv6 => &[true],
        };
        families
            .iter()
            .map(|v6| {
                let mut tables = iptables::new(*v6).map_err(failed("iptables (is the package installed?)"))?;
                tables.cmd = match (self.backend, v6) {
                    (Backend::Auto, _) => tables.cmd,
                    (Backend::Nft, false) => "iptables-nft",
                    (Backend::Nft, true) => "ip6tables-nft",
                    (Backend::Legacy, false) => "iptables-legacy",
                    (Backend::Legacy, true) => "ip6tables-legacy",
                };
                Ok((tables, *v6))
            })
            .collect()
    }
}

impl Redirect {
    /// Does what was asked for.
    pub fn run(self) -> anyhow::Result<()> {
        match self.action {
            Action::Apply { flags, dry_run } => {
                for (tables, v6) in flags.tables.open()? {
                    let rules = flags.options().rules(v6);
                    if dry_run {
                        rules.commands(tables.cmd).iter().for_each(|line| println!("{line}"));
                    } else {
                        apply(&tables, &rules)?;
                    }
                }
                Ok(())
            }
            Action::Remove { tables, dry_run } => {
                for (tables, _) in tables.open()? {
                    if dry_run {
                        rules::removal(tables.cmd).iter().for_each(|line| println!("{line}"));
                    } else {
                        remove(&tables)?;
                    }
                }
                Ok(())
            }
            Action::Show { flags } => show(&flags),
        }
    }
}

/// Fills the chains first and hangs them up last, so that no connection meets a chain that is half full.
fn apply(tables: &IPTables, rules: &RuleSet) -> anyhow::Result<()> {
    let failed = failed(tables.cmd);
    if complete(tables, rules) {
        return Ok(());
    }
    unhook(tables)?;
    for Chain { table, name, rules } in &rules.chains {
        if !tables.chain_exists(table, name).map_err(&failed)? {
            tables.new_chain(table, name).map_err(&failed)?;
        }
        tables.flush_chain(table, name).map_err(&failed)?;
        for rule in rules {
            tables.append(table, name, rule).map_err(&failed)?;
        }
    }
    for Hook { table, chain, rule } in rules.hooks.iter().rev() {
        tables.insert(table, chain, rule, 1).map_err(&failed)?;
    }
    Ok(())
}

fn remove(tables: &IPTables) -> anyhow::Result<()> {
    let failed = failed(tables.cmd);
    unhook(tables)?;
    for (table, chain) in rules::CHAINS {
        if tables.chain_exists(table, chain).map_err(&failed)? {
            tables.flush_chain(table, chain).map_err(&failed)?;
            tables.delete_chain(table, chain).map_err(&failed)?;
        }
    }
    Ok(())
}

/// Takes every jump to our chains away, also those that other flags had made.
fn unhook(tables: &IPTables) -> anyhow::Result<()> {
    let failed = failed(tables.cmd);
    for (table, hook) in rules::HOOKS {
        for line in tables.list(table, hook).map_err(&failed)? {
            let ours = rules::CHAINS.iter().any(|(_, chain)| line.ends_with(&format!("-j {chain}")));
            if let Some(rule) = line.strip_prefix(&format!("-A {hook} ")).filter(|_| ours) {
                tables.delete(table, hook, rule).map_err(&failed)?;
            }
        }
    }
    Ok(())
}

/// Whether exactly these rules are in force.
fn complete(tables: &IPTables, rules: &RuleSet) -> bool {
    let there = |table: &str, chain: &str, rule: &str| tables.exists(table, chain, rule).unwrap_or(false);
    let count = |chain: &Chain| tables.list(chain.table, chain.name).map_or(0, |lines| lines.len().saturating_sub(1));
    let whole = |chain: &Chain| {
        count(chain) == chain.rules.len() && chain.rules.iter().all(|rule| there(chain.table, chain.name, rule))
    };
    rules.hooks.iter().all(|hook| there(hook.table, hook.chain, &hook.rule)) && rules.chains.iter().all(whole)
}

fn show(flags: &Flags) -> anyhow::Result<()> {
    let mut missing = Vec::new();
    for (tables, v6) in flags.tables.open()? {
        let rules = flags.options().rules(v6);
        let family = if v6 { "IPv6" } else { "IPv4" };
        let whole = complete(&tables, &rules);
        println!("{family} ({}): {}", tables.cmd, if whole { "complete" } else { "not complete" });
        for chain in &rules.chains {
            let lines = tables.list(chain.table, chain.name).unwrap_or_default();
            lines.iter().filter(|line| line.starts_with("-A")).for_each(|line| println!("  {line}"));
        }
        if !whole {
            missing.push(family);
        }
    }
    match missing.is_empty() {
        true => Ok(()),
        false => anyhow::bail!(
            "the rules for {} are not all in force; `weft-proxy redirect apply` completes them",
            missing.join(" and ")
        ),
    }
}
