//! DNS inside a pod: mesh names are answered by the proxy, everything else by whoever the pod asked.
//!
//! `dig` asks; a small resolver on the node plays the outside world.

use anyhow::{Context, ensure};
use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::rdata::{A, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use weft_examples::pods::{Pod, Program};
use weft_tests::programs::{curl, dig, run};
use weft_tests::world::SOON;
use weft_tests::{Outcome, Plan, Suite, World};

const NAME: &str = "echo.test.svc.cluster.local";

fn main() -> ExitCode {
    Suite::on("meshed", || Plan::new().echo("echo", 1).client("client").start())
        .case("a service has one stable address in the virtual range", stable)
        .case("short names lead to the same address", short_names)
        .case("over TCP it is the same", over_tcp)
        .case("a name without an IPv6 address exists all the same", no_data)
        .case("SRV names the port", srv)
        .case("a mesh name that does not exist is NXDOMAIN", nonexistent)
        .case("EDNS is understood", edns)
        .case("names outside the mesh are answered from outside", outside)
        .case("a local port that the proxy has asked from is no way past it", reused_port)
        .case("an answer too long for UDP is truncated and whole over TCP", truncated)
        .case("applications find services by name", by_name)
        .run()
}

async fn stable(world: &World) -> Outcome {
    let [first] = &dig(world.client(), &[NAME, "A"])?[..] else { anyhow::bail!("not one address") };
    let address: Ipv4Addr = first.parse().with_context(|| first.clone())?;
    ensure!(address.octets()[0] == 198 && (18..=19).contains(&address.octets()[1]), "{address}");
    for asker in ["client", "echo-0"] {
        ensure!(dig(world.pod(asker), &[NAME, "A"])? == [first.clone()], "{asker} is told another one");
    }
    Ok(())
}

async fn short_names(world: &World) -> Outcome {
    // The search list's first attempts are names that nobody has; the node's resolver says so.
    let mut resolver = resolver(world).await?;
    let address = dig(world.client(), &[NAME])?;
    for name in ["echo", "echo.test", "echo.test.svc", "ECHO.Test.svc.cluster.LOCAL."] {
        let found = dig(world.client(), &["+search", name])?;
        ensure!(found == address, "{name}: {found:?}");
    }
    resolver.shutdown().await;
    Ok(())
}

async fn over_tcp(world: &World) -> Outcome {
    ensure!(dig(world.client(), &["+tcp", NAME])? == dig(world.client(), &[NAME])?);
    Ok(())
}

/// The whole of dig's answer.
fn asked(world: &World, args: &[&str]) -> anyhow::Result<String> {
    run(world.client(), Program::new("dig").args(["+time=2", "+tries=2"]).args(args))
}

async fn no_data(world: &World) -> Outcome {
    let said = asked(world, &[NAME, "AAAA"])?;
    ensure!(said.contains("status: NOERROR") && said.contains("ANSWER: 0"), "{said}");
    Ok(())
}

async fn srv(world: &World) -> Outcome {
    let found = dig(world.client(), &[&format!("_http._tcp.{NAME}"), "SRV"])?;
    ensure!(found.len() == 1 && found[0].ends_with(&format!(" 80 {NAME}.")), "{found:?}");
    Ok(())
}

async fn nonexistent(world: &World) -> Outcome {
    let mut resolver = resolver(world).await?;
    let said = asked(world, &["nobody.test.svc.cluster.local"])?;
    resolver.shutdown().await;
    ensure!(said.contains("status: NXDOMAIN"), "{said}");
    Ok(())
}

async fn edns(world: &World) -> Outcome {
    let said = asked(world, &["+edns=0", "+bufsize=1400", NAME])?;
    ensure!(said.contains("status: NOERROR") && said.contains("EDNS: version: 0"), "{said}");
    let said = asked(world, &["+noedns", NAME])?;
    ensure!(said.contains("status: NOERROR") && !said.contains("EDNS: version"), "{said}");
    Ok(())
}

/// The outside world: `outside.example` has an address, `long.example` a text of 3000 bytes that needs TCP.
fn answer(query: &[u8], limit: usize) -> Option<Vec<u8>> {
    let query = Message::from_vec(query).ok()?;
    let question = query.queries.first()?.clone();
    let mut response = Message::response(query.metadata.id, query.metadata.op_code);
    response.metadata.recursion_available = true;
    response.add_query(question.clone());
    let name = question.name().clone();
    match (name.to_ascii().as_str(), question.query_type()) {
        ("outside.example.", RecordType::A) => {
            response.add_answer(Record::from_rdata(name, 60, RData::A(A(Ipv4Addr::new(192, 0, 2, 7)))));
        }
        ("long.example.", RecordType::TXT) => {
            let text = (0..15).map(|_| "x".repeat(200)).collect();
            response.add_answer(Record::from_rdata(name, 60, RData::TXT(TXT::new(text))));
        }
        _ => response.metadata.response_code = ResponseCode::NXDomain,
    }
    let whole = response.to_vec().ok()?;
    if whole.len() <= limit { Some(whole) } else { response.truncate().to_vec().ok() }
}

/// Plays the resolver on the node until it is shut down.
async fn resolver(world: &World) -> anyhow::Result<tokio::task::JoinSet<()>> {
    let at: SocketAddr = (world.network().node().ip(), 53).into();
    let sockets = || -> std::io::Result<_> {
        let (udp, tcp) = (std::net::UdpSocket::bind(at)?, std::net::TcpListener::bind(at)?);
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        Ok((udp, tcp))
    };
    let (udp, tcp) = world.network().node().within(sockets)??;
    let (udp, tcp) = (UdpSocket::from_std(udp)?, TcpListener::from_std(tcp)?);
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let mut query = [0; 4096];
        while let Ok((length, peer)) = udp.recv_from(&mut query).await {
            if let Some(response) = answer(&query[..length], 512) {
                let _ = udp.send_to(&response, peer).await;
            }
        }
    });
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            while let Ok(length) = stream.read_u16().await {
                let mut query = vec![0; length.into()];
                let response = stream.read_exact(&mut query).await.ok().and_then(|_| answer(&query, 65535));
                let Some(response) = response else { break };
                if stream.write_u16(response.len() as u16).await.is_err() || stream.write_all(&response).await.is_err()
                {
                    break;
                }
            }
        }
    });
    Ok(tasks)
}

async fn outside(world: &World) -> Outcome {
    let mut resolver = resolver(world).await?;
    let over_udp = dig(world.client(), &["outside.example"])?;
    let over_tcp = dig(world.client(), &["+tcp", "outside.example"])?;
    let nowhere = asked(world, &["nowhere.example"])?;
    resolver.shutdown().await;
    ensure!(over_udp == ["192.0.2.7"] && over_tcp == over_udp, "{over_udp:?} {over_tcp:?}");
    ensure!(nowhere.contains("status: NXDOMAIN"), "{nowhere}");
    Ok(())
}

async fn truncated(world: &World) -> Outcome {
    let mut resolver = resolver(world).await?;
    let cut = asked(world, &["+ignore", "+noedns", "long.example", "TXT"])?;
    let whole = asked(world, &["long.example", "TXT"])?;
    resolver.shutdown().await;
    ensure!(cut.lines().any(|line| line.starts_with(";; flags:") && line.contains(" tc")), "{cut}");
    ensure!(whole.contains("ANSWER: 1") && whole.contains("(TCP)"), "{whole}");
    Ok(())
}

/// One query over a socket of its own, straight to the node: what the first answer says.
fn ask(pod: &Pod, server: SocketAddr, name: &str) -> anyhow::Result<Message> {
    let socket = pod.within(|| std::net::UdpSocket::bind("0.0.0.0:0"))??;
    socket.set_read_timeout(Some(SOON))?;
    socket.connect(server)?;
    let mut query = Message::query();
    query.add_query(Query::query(Name::from_ascii(name)?, RecordType::A));
    socket.send(&query.to_vec()?)?;
    let mut answer = [0; 4096];
    let length = socket.recv(&mut answer)?;
    Ok(Message::from_vec(&answer[..length])?)
}

async fn reused_port(world: &World) -> Outcome {
    let (pod, server) = (world.client(), (world.network().node().ip(), 53).into());
    let mut resolver = resolver(world).await?;
    // So few ports that each is used by the proxy, which forwards the first queries, and then by us.
    pod.run_ok(Program::new("sysctl").args(["-qw", "net.ipv4.ip_local_port_range=40000 40031"]))?;
    let asked = || -> Outcome {
        for name in ["outside.example.", &format!("{NAME}.")] {
            for n in 0..200 {
                let answer = ask(pod, server, name)?;
                ensure!(answer.answers.len() == 1, "query {n} for {name}: {answer}");
            }
        }
        Ok(())
    };
    let outcome = tokio::task::block_in_place(asked);
    pod.run_ok(Program::new("sysctl").args(["-qw", "net.ipv4.ip_local_port_range=32768 60999"]))?;
    resolver.shutdown().await;
    outcome
}

async fn by_name(world: &World) -> Outcome {
    for name in ["echo", "echo.test", NAME] {
        let said = curl(world.client(), &[&format!("http://{name}/name")])?;
        ensure!(said == "echo-0", "{name}: {said}");
    }
    Ok(())
}
