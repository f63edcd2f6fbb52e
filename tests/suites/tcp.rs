//! TCP through the mesh: who speaks first, who closes which half, who refuses and who resets is as it is without it.
//!
//! Every case runs twice: client and server on a wire, then with a sidecar beside each.

use anyhow::ensure;
use std::io::ErrorKind;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use weft_examples::pods::Program;
use weft_tests::client::{converse, dial, exchange, patiently};
use weft_tests::ports::{BANNER, COUNT, ECHO, GONE, REDIS, RESET, SILENT, TLS};
use weft_tests::programs::{python, redis};
use weft_tests::world::SOON;
use weft_tests::{Outcome, Suite, World};

/// How long detection may hold up a protocol in which the server speaks first.
const DETECTION: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    Suite::on("direct", World::direct)
        .and_on("meshed", World::meshed)
        .case("a server that speaks first is heard, without delay once known", server_first)
        .case("declared as TCP, bytes come back", declared)
        .case("undeclared, bytes that are no HTTP come back", undeclared)
        .case("16 MiB come back whole", big)
        .case("the answer comes after the client has closed its half", half_close)
        .case("a connection that nobody takes is reset at once", refused)
        .case("so it is when nobody declared the protocol", refused_undeclared)
        .case("a reset reaches the client as a reset", reset)
        .case("TLS of the application passes untouched", openssl)
        .case("a client that hangs up early harms nobody", hang_up)
        .case("a slow talker is not cut off", slow_talker)
        .case("redis-cli talks to a real Redis", redis_cli)
        .run()
}

/// The time from dialling to the banner, and that the conversation works from there.
async fn banner(world: &World) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let mut stream = dial(world.client(), world.echo(BANNER))?;
    let mut line = [0; 11];
    patiently("the banner", stream.read_exact(&mut line)).await?;
    let waited = started.elapsed();
    ensure!(&line == b"220 ready\r\n", "{line:?}");
    let answer = converse(stream, b"HELO\r\nQUIT\r\n").await?;
    ensure!(answer == b"250 HELO\r\n221 bye\r\n", "{:?}", String::from_utf8_lossy(&answer));
    Ok(waited)
}

async fn server_first(world: &World) -> Outcome {
    // What the service is and how to reach it is known by now; what this port speaks is not.
    declared(world).await?;
    let first = banner(world).await?;
    let mut next = vec![];
    for _ in 0..5 {
        next.push(banner(world).await?);
    }
    ensure!(first < DETECTION + SOON, "the first banner took {first:?}, then {next:?}");
    // A machine that stands still delays some of them; detection would delay every one.
    ensure!(next.iter().any(|next| *next < DETECTION), "later banners took {next:?}");
    Ok(())
}

async fn declared(world: &World) -> Outcome {
    echoes(world, ECHO).await
}

async fn undeclared(world: &World) -> Outcome {
    echoes(world, ECHO + 100).await
}

async fn echoes(world: &World, port: u16) -> Outcome {
    for text in [b"x".as_slice(), b"\x00\x01\x02\xff", b"GET things that are not HTTP", b"PRI or not\r\n\r\n"] {
        let back = exchange(world.client(), world.echo(port), text).await?;
        ensure!(back == text, "{:?} came back as {:?}", String::from_utf8_lossy(text), String::from_utf8_lossy(&back));
    }
    Ok(())
}

async fn big(world: &World) -> Outcome {
    let sent: Vec<u8> = (0..16usize << 20).map(|i| (i % 251) as u8).collect();
    let (mut read, mut write) = dial(world.client(), world.echo(ECHO))?.into_split();
    let sending = async {
        write.write_all(&sent).await?;
        write.shutdown().await
    };
    let mut back = Vec::with_capacity(sent.len());
    let receiving = async { read.read_to_end(&mut back).await.map(drop) };
    patiently("16 MiB", async { futures::future::try_join(sending, receiving).await }).await?;
    ensure!(back == sent, "{} bytes came back", back.len());
    Ok(())
}

async fn half_close(world: &World) -> Outcome {
    let answer = exchange(world.client(), world.echo(COUNT), &vec![7; 100_000]).await?;
    ensure!(answer == b"100000\n", "{:?}", String::from_utf8_lossy(&answer));
    Ok(())
}

/// A client that dials, speaks and listens must meet an error, and soon; never an orderly end.
async fn meets_reset(world: &World, port: u16) -> Outcome {
    let mut took = vec![];
    for _ in 0..5 {
        let started = Instant::now();
        let talk = async {
            let mut stream = dial(world.client(), world.echo(port))?;
            stream.write_all(b"hello\r\n").await?;
            stream.read_u8().await
        };
        let error = patiently("a reset", talk).await.expect_err("nobody is there to answer");
        ensure!(matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset), "{error:?}");
        took.push(started.elapsed());
    }
    // A machine that stands still delays some of them.
    ensure!(took.iter().min() < Some(&Duration::from_secs(2)), "it took {took:?}");
    Ok(())
}

async fn refused(world: &World) -> Outcome {
    meets_reset(world, GONE).await?;
    let code = "s = socket.create_connection((host, port), 5)\ns.sendall(b'x')\nprint(s.recv(10))\n";
    let said = python(world.client(), world.echo(GONE), code).expect_err("the program must see an exception");
    let said = format!("{said:#}");
    ensure!(said.contains("ConnectionRefusedError") || said.contains("ConnectionResetError"), "{said}");
    Ok(())
}

async fn refused_undeclared(world: &World) -> Outcome {
    meets_reset(world, if world.is_meshed() { GONE - 1 } else { GONE }).await
}

async fn reset(world: &World) -> Outcome {
    meets_reset(world, RESET).await
}

async fn openssl(world: &World) -> Outcome {
    let at = world.echo(TLS).to_string();
    let client = Program::new("openssl").args(["s_client", "-quiet", "-servername", "echo-0", "-connect", &at]);
    let said = world.client().run(client.input("through TLS\n"))?;
    ensure!(said.stdout.contains("through TLS"), "{}", said.text());
    // The certificate is the application's own: nobody opened the connection on the way.
    ensure!(said.stderr.contains("rcgen self signed cert"), "{}", said.text());
    Ok(())
}

async fn hang_up(world: &World) -> Outcome {
    for port in [ECHO, ECHO + 100, BANNER, SILENT, 80] {
        let mut stream = dial(world.client(), world.echo(port))?;
        stream.write_all(b"\x01").await?;
        stream.set_zero_linger()?;
    }
    declared(world).await
}

async fn slow_talker(world: &World) -> Outcome {
    let code = "s = socket.create_connection((host, port), 5)\n\
                for piece in (b'one ', b'two ', b'three'):\n    s.sendall(piece)\n    time.sleep(0.3)\n\
                s.shutdown(socket.SHUT_WR)\nprint(s.makefile().read())\n";
    let said = python(world.client(), world.echo(ECHO + 100), code)?;
    ensure!(said.trim() == "one two three", "{said:?}");
    Ok(())
}

async fn redis_cli(world: &World) -> Outcome {
    let redis_server =
        Program::new("redis-server").args(["--port", &REDIS.to_string(), "--save", "", "--protected-mode", "no"]);
    let process = world.pod("echo-0").spawn(redis_server)?;
    process.wait_log("Ready to accept connections", SOON)?;
    let at = world.echo(REDIS);
    ensure!(redis(world.client(), at, &["set", "thread", "weft"])? == "OK");
    ensure!(redis(world.client(), at, &["get", "thread"])? == "weft");
    Ok(())
}
