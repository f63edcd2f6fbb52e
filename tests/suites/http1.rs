//! HTTP/1.1 through the mesh behaves as it does without it.
//!
//! Every case runs twice: client and server on a wire, then with a sidecar beside each. What only the mesh does is said to
//! be `meshed`.

use anyhow::{Context, ensure};
use futures::{SinkExt, StreamExt};
use std::process::ExitCode;
use std::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use weft_tests::client::{Http1, patiently};
use weft_tests::programs::{curl, curl_output};
use weft_tests::world::{NAMESPACE, SOON};
use weft_tests::{Outcome, Suite, World};

fn main() -> ExitCode {
    Suite::on("direct", World::direct)
        .and_on("meshed", World::meshed)
        .case("curl gets an answer", curl_gets_an_answer)
        .case("one connection carries many requests", keep_alive)
        .case("pipelined requests are answered in order", pipelining)
        .case("statuses and bodies arrive unchanged", statuses)
        .case("HEAD, 204 and 304 have no body", bodyless)
        .case("a body of 8 MiB comes back whole", big_response)
        .case("a body of 8 MiB is sent whole", big_request)
        .case("a chunked request is understood", chunked_request)
        .case("chunks and trailers of a response arrive", chunks_and_trailers)
        .case("103 Early Hints comes before the response", early_hints)
        .case("Expect: 100-continue is answered before the body is sent", expect_continue)
        .case("Expect: 100-continue may be refused", expect_refused)
        .case("a server may close after a response", server_closes)
        .case("a response may last until the connection closes", until_close)
        .case("a client may ask to close", client_closes)
        .case("a client that has ended its side still gets its answer, and the server knows", client_ends)
        .case("a server is told that the client it works for has gone", client_goes)
        .case("HTTP/1.0 works", http_1_0)
        .case("a response cut short is an error, not a short body", abort)
        .case("WebSocket messages go both ways", websocket)
        .case("any other upgrade is a tunnel", upgrade)
        .case("sixteen clients at once are all served", many_clients)
        .case_on("meshed", "hop-by-hop headers end at the proxy", hop_by_hop)
        .case_on("meshed", "the host that was asked for reaches the application", host_is_kept)
        .case_on("meshed", "a port without a declared protocol is detected", detected)
        .case_on("meshed", "a pod's own addresses, IPv4 and IPv6, can be dialled too", endpoint_address)
        .case_on("meshed", "what the mesh does not know passes through", stranger)
        .run()
}

async fn curl_gets_an_answer(world: &World) -> Outcome {
    let said = curl(world.client(), &["-i", &world.url("/name")])?;
    ensure!(said.starts_with("HTTP/1.1 200"), "{said}");
    ensure!(said.ends_with("echo-0"), "{said}");
    Ok(())
}

async fn keep_alive(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    for _ in 0..20 {
        let response = client.get("/name").await?;
        ensure!((response.status(), response.text().as_str()) == (200, "echo-0"), "{response:?}");
    }
    Ok(())
}

async fn pipelining(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    let requests: String = (200..210).map(|n| format!("GET /status/{n} HTTP/1.1\r\nhost: echo\r\n\r\n")).collect();
    client.send(requests).await?;
    for wanted in (200..210).filter(|n| *n != 204) {
        if wanted == 205 {
            // 204 has no body to tell it by.
            ensure!(client.response(false).await?.status() == 204);
        }
        ensure!(client.response(false).await?.status() == wanted, "expected {wanted}");
    }
    Ok(())
}

async fn statuses(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    for status in [200, 201, 301, 400, 404, 418, 429, 500, 599] {
        let response = client.get(&format!("/status/{status}")).await?;
        ensure!(response.status() == status && response.text() == status.to_string(), "{response:?}");
        ensure!(response.head.header("weft-reason").is_none(), "an answer of the application's own: {response:?}");
    }
    Ok(())
}

async fn bodyless(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    let head = client.request("HEAD /big/5000 HTTP/1.1\r\nhost: echo\r\n\r\n").await?;
    ensure!(head.head.header("content-length") == Some("5000"), "{head:?}");
    for status in [204, 304] {
        ensure!(client.get(&format!("/status/{status}")).await?.status() == status);
    }
    ensure!(client.get("/name").await?.text() == "echo-0", "the connection is out of step");
    Ok(())
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8).collect()
}

async fn big_response(world: &World) -> Outcome {
    const LENGTH: usize = 8 << 20;
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    let response = client.get(&format!("/big/{LENGTH}")).await?;
    ensure!(response.body.bytes == pattern(LENGTH), "{} bytes came", response.body.bytes.len());
    Ok(())
}

async fn big_request(world: &World) -> Outcome {
    const LENGTH: usize = 8 << 20;
    let body = pattern(LENGTH);
    let sum: u64 = body.iter().map(|b| u64::from(*b)).sum();
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    client.send(format!("POST /sum HTTP/1.1\r\nhost: echo\r\ncontent-length: {LENGTH}\r\n\r\n")).await?;
    let response = client.request(body).await?;
    ensure!(response.text() == format!("{LENGTH} {sum}"), "{}", response.text());
    Ok(())
}

async fn chunked_request(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    let head = "POST /echo HTTP/1.1\r\nhost: echo\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n";
    let response = client.request(format!("{head}3\r\nabc\r\n4;note=x\r\ndefg\r\n0\r\nx-sum: 7\r\n\r\n")).await?;
    let seen = response.json()?;
    ensure!(seen["body"] == "abcdefg" && seen["length"] == 7, "{seen}");
    ensure!(seen["trailers"] == serde_json::json!([["x-sum", "7"]]), "{seen}");
    Ok(())
}

async fn chunks_and_trailers(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    let response = client.get("/chunked").await?;
    ensure!(response.text() == "one two three" && response.body.chunks > 0, "{response:?}");
    let request = "GET /trailers HTTP/1.1\r\nhost: echo\r\nte: trailers\r\nconnection: te\r\n\r\n";
    let response = client.request(request).await?;
    ensure!(response.text() == "counted", "{response:?}");
    let wanted = [("x-count".to_owned(), "7".to_owned()), ("x-late".to_owned(), "yes".to_owned())];
    ensure!(response.body.trailers == wanted, "{:?}", response.body.trailers);
    Ok(())
}

async fn early_hints(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    let response = client.get("/early-hints").await?;
    let [hints] = response.interim.as_slice() else { anyhow::bail!("{response:?}") };
    ensure!(hints.status() == 103 && hints.header("link").is_some(), "{hints:?}");
    ensure!(response.text() == "after the hints", "{response:?}");
    Ok(())
}

async fn expect_continue(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    let head = "POST /echo HTTP/1.1\r\nhost: echo\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n";
    client.send(head).await?;
    // The response to the head alone is the interim one; a server that wanted the body first would leave us waiting.
    let (mut stream, early) = client.into_parts();
    let mut seen = early;
    patiently("100 Continue", async {
        use tokio::io::AsyncReadExt;
        while !seen.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut seen).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    })
    .await?;
    let seen = String::from_utf8_lossy(&seen).into_owned();
    ensure!(seen.starts_with("HTTP/1.1 100"), "{seen:?}");
    let answer = patiently("the answer", async {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        stream.write_all(b"hello").await?;
        let mut answer = vec![];
        while !String::from_utf8_lossy(&answer).contains("hello") {
            if stream.read_buf(&mut answer).await? == 0 {
                break;
            }
        }
        Ok(String::from_utf8_lossy(&answer).into_owned())
    })
    .await?;
    ensure!(answer.starts_with("HTTP/1.1 200") && answer.contains("hello"), "{answer:?}");
    Ok(())
}

async fn expect_refused(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    let head = "POST /expect-417 HTTP/1.1\r\nhost: echo\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n";
    let response = client.request(head).await?;
    ensure!(response.status() == 417 && response.interim.is_empty(), "{response:?}");
    Ok(())
}

async fn server_closes(world: &World) -> Outcome {
    for _ in 0..5 {
        let mut client = Http1::dial(world.client(), world.echo(80))?;
        let response = client.get("/close").await?;
        ensure!(response.text() == "and gone", "{response:?}");
    }
    Ok(())
}

async fn client_ends(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    client.send("GET /until-left/ended HTTP/1.1\r\nhost: echo\r\n\r\n").await?;
    client.end().await?;
    let response = client.response(false).await?;
    ensure!(response.text() == "ended", "{response:?}");
    ensure!(client.is_closed().await?, "there is nobody to keep it for");
    Ok(())
}

async fn client_goes(world: &World) -> Outcome {
    let mut asking = Http1::dial(world.client(), world.echo(80))?;
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    client.send("GET /until-left/gone HTTP/1.1\r\nhost: echo\r\n\r\n").await?;
    let until = Instant::now() + SOON;
    while asking.get("/counted/gone").await?.text() == "0" {
        ensure!(Instant::now() < until, "the request did not arrive");
    }
    client.reset()?;
    while asking.get("/counted/gone-reset").await?.text() == "0" {
        ensure!(Instant::now() < until, "the server still waits");
    }
    Ok(())
}

async fn until_close(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    let response = client.get("/until-close").await?;
    ensure!(response.text() == "until the very end", "{response:?}");
    Ok(())
}

async fn client_closes(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    let response = client.request("GET /name HTTP/1.1\r\nhost: echo\r\nconnection: close\r\n\r\n").await?;
    ensure!(response.text() == "echo-0", "{response:?}");
    ensure!(client.is_closed().await?, "the connection stays open");
    Ok(())
}

async fn http_1_0(world: &World) -> Outcome {
    let said = curl(world.client(), &["--http1.0", &world.url("/name")])?;
    ensure!(said == "echo-0", "{said}");
    Ok(())
}

async fn abort(world: &World) -> Outcome {
    let output = curl_output(world.client(), &[&world.url("/abort")])?;
    // 18: partial file. 56: failure in receiving. Not 0: the body was promised to be longer.
    ensure!(matches!(output.status.code(), Some(18 | 56)), "{:?} {}", output.status, output.text());
    Ok(())
}

async fn websocket(world: &World) -> Outcome {
    let stream = weft_tests::client::dial(world.client(), world.echo(80))?;
    let (mut socket, response) = tokio_tungstenite::client_async("ws://echo/chat", stream).await?;
    ensure!(response.status() == 101);
    for length in [1usize, 125, 126, 70_000] {
        let message = Message::binary(pattern(length));
        socket.send(message.clone()).await?;
        let back = patiently("the message back", async { Ok(socket.next().await) }).await?;
        ensure!(back.context("closed")?? == message, "a message of {length} bytes");
    }
    socket.close(None).await?;
    Ok(())
}

async fn upgrade(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    let request = "GET / HTTP/1.1\r\nhost: echo\r\nconnection: upgrade\r\nupgrade: parrot\r\n\r\n";
    let response = client.request(request).await?;
    ensure!(response.status() == 101 && response.head.header("upgrade") == Some("parrot"), "{response:?}");
    let (stream, early) = client.into_parts();
    ensure!(early.is_empty(), "{early:?}");
    let back = weft_tests::client::converse(stream, b"\x00\x01 not HTTP at all \xff").await?;
    ensure!(back == b"\x00\x01 not HTTP at all \xff", "{back:?}");
    Ok(())
}

async fn many_clients(world: &World) -> Outcome {
    let clients = (0..16).map(|_| async {
        let mut client = Http1::dial(world.client(), world.echo(80))?;
        for _ in 0..25 {
            let response = client.get("/name").await?;
            ensure!(response.status() == 200, "{response:?}");
        }
        Ok(())
    });
    futures::future::try_join_all(clients).await.map(drop)
}

async fn hop_by_hop(world: &World) -> Outcome {
    let mut client = Http1::dial(world.client(), world.echo(80))?;
    let request = "GET /echo HTTP/1.1\r\nhost: echo\r\nconnection: keep-alive, x-private\r\nx-private: 1\r\n\
                   keep-alive: timeout=5\r\nproxy-connection: keep-alive\r\nx-public: 2\r\n\r\n";
    let seen = client.request(request).await?.json()?;
    let headers = seen["headers"].to_string();
    ensure!(headers.contains("x-public"), "{headers}");
    for hidden in ["x-private", "keep-alive", "proxy-connection"] {
        ensure!(!headers.contains(&format!("\"{hidden}\"")), "{hidden} went through: {headers}");
    }
    Ok(())
}

async fn host_is_kept(world: &World) -> Outcome {
    let said = curl(world.client(), &["-H", "Host: shop.example:8443", &world.url("/echo")])?;
    ensure!(said.contains(r#"["host","shop.example:8443"]"#), "{said}");
    Ok(())
}

async fn detected(world: &World) -> Outcome {
    let said = curl(world.client(), &[&format!("http://{}/name", world.echo(81))])?;
    ensure!(said == "echo-0", "{said}");
    let requests = world.metrics("client").sum("weft_requests_total", &[]);
    ensure!(requests > 0.0, "the proxy saw no request");
    Ok(())
}

async fn endpoint_address(world: &World) -> Outcome {
    let pod = world.pod("echo-0");
    let stranger = world.mesh().bystander(NAMESPACE, "visitor")?;
    for at in [pod.ip().to_string(), format!("[{}]", pod.ip6())] {
        let url = format!("http://{at}:8080/echo");
        let said = curl(world.client(), &["-g", &url])?;
        ensure!(said.contains("echo-0") && said.contains("sa/client"), "not through the mesh to {at}: {said}");
        let said = curl(&stranger, &["-g", &url])?;
        ensure!(said.contains("echo-0") && !said.contains("spiffe://"), "without a sidecar to {at}: {said}");
    }
    Ok(())
}

async fn stranger(world: &World) -> Outcome {
    let stranger = world.network().pod("stranger")?;
    let server = stranger.spawn(weft_tests::world::server("stranger"))?;
    server.wait_log("is ready", weft_tests::world::SOON)?;
    let said = curl(world.client(), &[&format!("http://{}:8080/name", stranger.ip())])?;
    ensure!(said == "stranger", "{said}");
    let said = curl(world.client(), &["-g", &format!("http://[{}]:8080/name", stranger.ip6())])?;
    ensure!(said == "stranger", "{said}");
    Ok(())
}
