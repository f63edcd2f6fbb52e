//! `weft-proxy redirect`: rules go in once, come out without a trace, and leave alone what they are told to.
//!
//! Runs the real program in pods of its own, with both back ends of iptables and in both address families.

use anyhow::{Context, ensure};
use std::process::ExitCode;
use weft_examples::mesh::binary;
use weft_examples::pods::{Network, Output, Pod, Program};
use weft_tests::client::exchange;
use weft_tests::suite::Stage;
use weft_tests::world::{SOON, server};
use weft_tests::{Outcome, Suite, ports};

/// A network and nothing else; every case makes its own pods.
struct Wires(Network);

impl Stage for Wires {
    fn testimony(&self) -> String {
        String::new()
    }
}

const BACKENDS: [&str; 2] = ["nft", "legacy"];

fn main() -> ExitCode {
    Suite::on("pods", || Ok(Wires(Network::new()?)))
        .case("apply is idempotent and remove leaves no trace", round_trip)
        .case("a dry run prints what would be done and does nothing", dry_run)
        .case("show fails unless these rules are in force", show)
        .case("a half-done state is completed", half_done)
        .case("redirected connections go to the proxy's ports", redirected)
        .case("excluded ports, networks and users go their own way", exclusions)
        .case("incoming connections are taken over but for what is excluded", incoming)
        .case("wrong flags are refused by name", wrong_flags)
        .run()
}

fn redirect(pod: &Pod, args: &[&str]) -> anyhow::Result<Output> {
    Ok(pod.run(Program::new(binary("weft-proxy")?).arg("redirect").args(args))?)
}

fn done(pod: &Pod, args: &[&str]) -> anyhow::Result<String> {
    let output = redirect(pod, args)?;
    ensure!(output.status.success(), "redirect {args:?}: {}", output.text());
    Ok(output.stdout)
}

/// All rules in both families, without counters.
fn rules(pod: &Pod, backend: &str) -> anyhow::Result<String> {
    let save = |family: &str| -> anyhow::Result<String> {
        let said = pod.run_ok(Program::new(format!("{family}-{backend}-save")))?;
        Ok(said
            .lines()
            .filter(|line| line.starts_with("-A") || line.contains("WEFT"))
            .map(|l| l.to_owned() + "\n")
            .collect())
    };
    Ok(save("iptables")? + &save("ip6tables")?)
}

async fn round_trip(wires: &Wires) -> Outcome {
    for backend in BACKENDS {
        let pod = wires.0.pod(&format!("round-{backend}"))?;
        done(&pod, &["apply", "--backend", backend])?;
        let once = rules(&pod, backend)?;
        ensure!(once.matches("-p tcp -j REDIRECT --to-ports 15001").count() == 2, "both families redirect: {once}");
        done(&pod, &["apply", "--backend", backend])?;
        ensure!(rules(&pod, backend)? == once, "the second time changed something");
        done(&pod, &["remove", "--backend", backend])?;
        let left = rules(&pod, backend)?;
        ensure!(left.is_empty(), "{backend}: {left}");
        done(&pod, &["remove", "--backend", backend]).context("removing what is not there")?;
    }
    Ok(())
}

async fn dry_run(wires: &Wires) -> Outcome {
    let pod = wires.0.pod("dry")?;
    let said = done(&pod, &["apply", "--dry-run", "--exclude-outbound-ports", "3306"])?;
    for wanted in ["iptables", "ip6tables", "--dport 3306", "--to-ports 15006"] {
        ensure!(said.contains(wanted), "no {wanted} in: {said}");
    }
    ensure!(rules(&pod, "nft")?.is_empty(), "something was done");
    Ok(())
}

async fn show(wires: &Wires) -> Outcome {
    let pod = wires.0.pod("show")?;
    ensure!(redirect(&pod, &["show"])?.status.code() == Some(1), "nothing is in force");
    done(&pod, &["apply"])?;
    let said = done(&pod, &["show"])?;
    ensure!(said.contains("15001") && said.contains("15006"), "{said}");
    ensure!(redirect(&pod, &["show", "--outbound-port", "16001"])?.status.code() == Some(1), "these are others");
    Ok(())
}

async fn half_done(wires: &Wires) -> Outcome {
    let pod = wires.0.pod("half")?;
    done(&pod, &["apply", "--backend", "nft"])?;
    let whole = rules(&pod, "nft")?;
    pod.run_ok(Program::new("iptables-nft").args(["-w", "-t", "nat", "-F", "WEFT_OUTBOUND"]))?;
    pod.run_ok(Program::new("ip6tables-nft").args(["-w", "-t", "nat", "-F", "OUTPUT"]))?;
    done(&pod, &["apply", "--backend", "nft"])?;
    ensure!(rules(&pod, "nft")? == whole, "not what it was");
    Ok(())
}

/// A pod with the test server in it and a client pod whose connections are redirected to its own port 7000, where a
/// second server echoes: who answers tells where a connection went.
fn pair(wires: &Wires, name: &str, flags: &[&str]) -> anyhow::Result<(Pod, Pod, Vec<weft_examples::pods::Process>)> {
    let (client, far) = (wires.0.pod(&format!("{name}-near"))?, wires.0.pod(&format!("{name}-far"))?);
    let servers = [client.spawn(server("near"))?, far.spawn(server("far"))?];
    servers.iter().try_for_each(|server| server.wait_log("is ready", SOON))?;
    let echo = ports::ECHO.to_string();
    done(&client, &[&["apply", "--outbound-port", &echo, "--dns-port", "0"], flags].concat())?;
    Ok((client, far, servers.into()))
}

/// Whether a connection to the far pod's `COUNT` port was taken over: the echo answers with what was sent.
async fn taken_over(client: &Pod, far: std::net::IpAddr) -> anyhow::Result<bool> {
    let answer = exchange(client, (far, ports::COUNT).into(), b"who?").await?;
    match answer.as_slice() {
        b"who?" => Ok(true),
        b"4\n" => Ok(false),
        other => anyhow::bail!("{:?}", String::from_utf8_lossy(other)),
    }
}

async fn redirected(wires: &Wires) -> Outcome {
    let (client, far, _servers) = pair(wires, "plain", &[])?;
    ensure!(taken_over(&client, far.ip().into()).await?, "IPv4 was not taken over");
    ensure!(taken_over(&client, far.ip6().into()).await?, "IPv6 was not taken over");
    ensure!(!taken_over(&client, client.ip().into()).await?, "the pod's own address was taken over");
    ensure!(!taken_over(&client, std::net::Ipv4Addr::LOCALHOST.into()).await?, "loopback was taken over");
    Ok(())
}

async fn exclusions(wires: &Wires) -> Outcome {
    let port = ports::COUNT.to_string();
    let cases = [
        ("port", "--exclude-outbound-ports", port.as_str()),
        ("net", "--exclude-outbound-cidrs", "10.77.0.0/16,fd77::/64"),
        ("user", "--exclude-uids", "0"),
    ];
    for (name, flag, value) in cases {
        let (client, far, _servers) = pair(wires, name, &[flag, value])?;
        ensure!(!taken_over(&client, far.ip().into()).await?, "{flag} {value}: IPv4 was taken over");
        ensure!(!taken_over(&client, far.ip6().into()).await?, "{flag} {value}: IPv6 was taken over");
    }
    Ok(())
}

async fn incoming(wires: &Wires) -> Outcome {
    let (port, echo) = (ports::COUNT.to_string(), ports::ECHO.to_string());
    let cases: [(&str, &[&str], bool); 4] = [
        ("all", &[], true),
        ("in-port", &["--exclude-inbound-ports", &port], false),
        ("in-net", &["--exclude-inbound-cidrs", "10.77.0.0/16,fd77::/64"], false),
        ("in-other", &["--exclude-inbound-ports", "1", "--exclude-inbound-cidrs", "192.0.2.0/24,2001:db8::/32"], true),
    ];
    for (name, flags, taken) in cases {
        let (client, far) = (wires.0.pod(&format!("{name}-near"))?, wires.0.pod(&format!("{name}-far"))?);
        let server = far.spawn(server("far"))?;
        server.wait_log("is ready", SOON)?;
        done(&far, &[&["apply", "--inbound-port", &echo, "--dns-port", "0"], flags].concat())?;
        for address in [std::net::IpAddr::from(far.ip()), far.ip6().into()] {
            ensure!(taken_over(&client, address).await? == taken, "{flags:?}: {address} (to be taken over: {taken})");
        }
    }
    Ok(())
}

async fn wrong_flags(wires: &Wires) -> Outcome {
    let pod = wires.0.pod("wrong")?;
    let cases: [(&[&str], &str); 5] = [
        (&["apply", "--outbound-port", "0"], "--outbound-port"),
        (&["apply", "--exclude-outbound-cidrs", "10.0.0.0/33"], "--exclude-outbound-cidrs"),
        (&["apply", "--proxy-uid", "no-such-user"], "--proxy-uid"),
        (&["apply", "--backend", "pf"], "--backend"),
        (&["frobnicate"], "frobnicate"),
    ];
    for (args, named) in cases {
        let output = redirect(&pod, args)?;
        ensure!(output.status.code() == Some(2), "{args:?}: {:?}", output.status);
        ensure!(output.stderr.contains(named), "{args:?}: {}", output.stderr);
    }
    ensure!(rules(&pod, "nft")?.is_empty(), "a refused command did something");
    Ok(())
}
