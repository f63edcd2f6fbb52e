//! How many series a client can make: none.
//!
//! Counted in both sidecars on a request's way, before and after.

use anyhow::ensure;
use futures::future::try_join_all;
use std::time::{Duration, Instant};
use weft_tests::client::Http1;
use weft_tests::{Outcome, World};

/// Each with a name of its own.
const NAMES: usize = 100_000;
/// A slow machine sends as many as it can in this time.
const LIMIT: Duration = Duration::from_secs(30);
/// But these at least.
const LEAST: usize = 2_000;
const CONNECTIONS: usize = 4;
/// Sent before the first of them is answered.
const AT_ONCE: usize = 50;

fn series(world: &World) -> usize {
    world.members().map(|member| member.metrics().samples.len()).sum()
}

/// Requests for the host names that are this connection's, until all are sent or time is over; how many there were.
async fn ask(world: &World, connection: usize, deadline: Instant) -> anyhow::Result<usize> {
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    let mut sent = 0;
    while sent < NAMES / CONNECTIONS && Instant::now() < deadline {
        let request = |n: usize| {
            let (host, method) = (connection * NAMES + sent + n, ["GET", "PUT", "ANY"][n % 3]);
            format!("{method} /name/{host} HTTP/1.1\r\nhost: h{host}.example\r\nuser-agent: a{host}\r\n\r\n")
        };
        client.send((0..AT_ONCE).map(request).collect::<String>()).await?;
        for _ in 0..AT_ONCE {
            let answer = client.response(false).await?;
            ensure!(answer.status() == 200, "{answer:?}");
        }
        sent += AT_ONCE;
    }
    Ok(sent)
}

pub async fn host_names(world: &World) -> Outcome {
    ask(world, CONNECTIONS, Instant::now()).await?;
    for method in ["GET", "PUT", "ANY"] {
        let request = format!("{method} /name HTTP/1.1\r\nhost: echo\r\n\r\n");
        Http1::dial(world.client(), world.echo(80))?.request(request).await?;
    }
    let before = series(world);
    let deadline = Instant::now() + LIMIT;
    let sent: usize = try_join_all((0..CONNECTIONS).map(|n| ask(world, n, deadline))).await?.iter().sum();
    ensure!(sent >= LEAST, "only {sent} requests");
    let after = series(world);
    ensure!(after <= before + 10, "{sent} host names made {} series of {before}", after - before);
    Ok(())
}
