//! HTTP/2 and gRPC through the mesh behave as they do without it.
//!
//! Every case runs twice: client and server on a wire, then with a sidecar beside each.

use anyhow::{Context, ensure};
use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, HeaderValue, Method};
use std::process::ExitCode;
use tonic::{Code, Request};
use weft_examples::pods::Program;
use weft_tests::client::{Http2, grpc, patiently};
use weft_tests::grpc::Message;
use weft_tests::programs::{curl, run};
use weft_tests::{Outcome, Suite, World};

fn main() -> ExitCode {
    Suite::on("direct", World::direct)
        .and_on("meshed", World::meshed)
        .case("curl with prior knowledge gets an answer", curl_h2)
        .case("nghttp fetches many at once", nghttp)
        .case("a hundred streams share a connection", many_streams)
        .case("three hundred long streams of several clients are open at once", long_streams)
        .case("a body of 4 MiB comes back whole", big_response)
        .case("a body of 4 MiB is sent whole", big_request)
        .case("trailers go both ways", trailers)
        .case("pieces come back before the request ends", full_duplex)
        .case("a stream the server resets is an error of that stream alone", reset)
        .case("a client may cancel a stream and use the connection on", cancel)
        .case("a connection outlives GOAWAY for what is under way", goaway)
        .case("HTTP/2 on a port without a declared protocol is detected", detected)
        .case("gRPC unary with metadata", unary)
        .case("gRPC server streaming", server_stream)
        .case("gRPC client streaming", client_stream)
        .case("gRPC both ways, message by message", bidi)
        .case("gRPC statuses arrive with their messages", statuses)
        .case("a gRPC deadline ends the call", deadline)
        .run()
}

async fn curl_h2(world: &World) -> Outcome {
    let url = format!("http://{}/name", world.echo(82));
    let said = curl(world.client(), &["--http2-prior-knowledge", "-w", " %{http_version}", &url])?;
    ensure!(said == "echo-0 2", "{said}");
    Ok(())
}

async fn nghttp(world: &World) -> Outcome {
    let url = format!("http://{}/name", world.echo(82));
    let said = run(world.client(), Program::new("nghttp").args(["-v", "-n", "-m", "20", &url]))?;
    ensure!(said.matches(":status: 200").count() == 20, "{said}");
    Ok(())
}

async fn many_streams(world: &World) -> Outcome {
    let client = Http2::dial(world.client(), world.echo(82)).await?;
    let answers = futures::future::try_join_all((0..100).map(|_| client.get("/delay/5ms"))).await?;
    ensure!(answers.iter().all(|answer| answer.status == 200 && answer.text() == "echo-0"), "{answers:?}");
    Ok(())
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8).collect()
}

const BIG: usize = 4 << 20;

async fn big_response(world: &World) -> Outcome {
    let client = Http2::dial(world.client(), world.echo(82)).await?;
    let answer = client.get(&format!("/big/{BIG}")).await?;
    ensure!(answer.body == pattern(BIG), "{} bytes came", answer.body.len());
    Ok(())
}

async fn big_request(world: &World) -> Outcome {
    let client = Http2::dial(world.client(), world.echo(82)).await?;
    let sum: u64 = pattern(BIG).iter().map(|b| u64::from(*b)).sum();
    let answer = client.call(Method::POST, "/sum", pattern(BIG).into(), None).await?;
    ensure!(answer.text() == format!("{BIG} {sum}"), "{}", answer.text());
    Ok(())
}

async fn trailers(world: &World) -> Outcome {
    let client = Http2::dial(world.client(), world.echo(82)).await?;
    let answer = client.get("/trailers").await?;
    ensure!(answer.trailers.get("x-count") == Some(&HeaderValue::from(7)), "{answer:?}");
    let sent = HeaderMap::from_iter([("x-sum".parse()?, HeaderValue::from(3))]);
    let seen = client.call(Method::POST, "/echo", Bytes::from_static(b"abc"), Some(sent)).await?.json()?;
    ensure!(seen["trailers"] == serde_json::json!([["x-sum", "3"]]), "{seen}");
    Ok(())
}

async fn full_duplex(world: &World) -> Outcome {
    let client = Http2::dial(world.client(), world.echo(82)).await?;
    let (response, mut send) = client.open("/pipe").await?;
    let response = patiently("a response head", async { response.await.map_err(std::io::Error::other) }).await?;
    let mut body = response.into_body();
    for piece in ["one", "two", "three"] {
        send.send_data(Bytes::from(piece), false)?;
        let back = patiently("the piece back", async { Ok(body.data().await) }).await?;
        let back = back.context("the stream ended")??;
        body.flow_control().release_capacity(back.len())?;
        ensure!(back == piece, "{back:?}");
    }
    send.send_data(Bytes::new(), true)?;
    Ok(())
}

/// As many clients with a hundred calls each have it without a mesh, which carries them over fewer connections.
async fn long_streams(world: &World) -> Outcome {
    let mut open = vec![];
    for _ in 0..3 {
        let client = Http2::dial(world.client(), world.echo(82)).await?;
        for _ in 0..100 {
            let (response, mut send) = client.open("/pipe").await?;
            send.send_data(Bytes::from_static(b"ping"), false)?;
            open.push((response, send, client.clone()));
        }
    }
    let (mut held, count) = (vec![], open.len());
    for (at, (response, send, client)) in open.into_iter().enumerate() {
        let what = format!("a response head on stream {at} of {count}");
        let response = patiently(&what, async { response.await.map_err(std::io::Error::other) }).await?;
        let mut body = response.into_body();
        let back = patiently(&what, async { Ok(body.data().await) }).await?.context("the stream ended")??;
        ensure!(back == "ping", "{back:?}");
        held.push((body, send, client));
    }
    Ok(())
}

async fn reset(world: &World) -> Outcome {
    let client = Http2::dial(world.client(), world.echo(82)).await?;
    let answer = client.call(Method::POST, "/reset", Bytes::from_static(b"x"), None).await;
    if world.is_meshed() {
        // Before a response began, the mesh has a status to say it with.
        ensure!(answer.as_ref().is_err() || answer.as_ref().is_ok_and(|a| a.status == 502), "{answer:?}");
    } else {
        ensure!(answer.is_err(), "{answer:?}");
    }
    ensure!(client.get("/name").await?.status == 200, "the connection is of no use any more");
    Ok(())
}

async fn cancel(world: &World) -> Outcome {
    let client = Http2::dial(world.client(), world.echo(82)).await?;
    let (response, mut send) = client.open("/delay/60s").await?;
    send.send_reset(h2::Reason::CANCEL);
    drop(response);
    ensure!(client.get("/name").await?.status == 200);
    Ok(())
}

async fn goaway(world: &World) -> Outcome {
    let client = Http2::dial(world.client(), world.echo(82)).await?;
    let (slow, last) = futures::future::join(client.get("/delay/200ms"), client.get("/goaway")).await;
    ensure!(slow?.text() == "echo-0" && last?.text() == "echo-0");
    Ok(())
}

async fn detected(world: &World) -> Outcome {
    let client = Http2::dial(world.client(), world.echo(81)).await?;
    ensure!(client.get("/name").await?.text() == "echo-0");
    Ok(())
}

fn message(text: &str, count: u32) -> Message {
    Message { text: text.to_owned(), count, ..Message::default() }
}

async fn unary(world: &World) -> Outcome {
    let mut client = grpc(world.client(), world.echo(9090)).await?;
    for _ in 0..10 {
        let mut request = Request::new(message("hello", 1));
        request.metadata_mut().insert("x-token", "secret".parse()?);
        let response = client.unary(request).await?;
        ensure!(response.metadata().get("x-token").is_some_and(|token| token == "secret"), "{response:?}");
        let message = response.into_inner();
        ensure!(message.text == "hello" && message.replica == "echo-0", "{message:?}");
    }
    Ok(())
}

async fn server_stream(world: &World) -> Outcome {
    let mut client = grpc(world.client(), world.echo(9090)).await?;
    let stream = client.server_stream(message("again", 500)).await?.into_inner();
    let messages: Vec<_> = stream.collect().await;
    ensure!(messages.len() == 500 && messages.iter().all(|m| m.as_ref().is_ok_and(|m| m.text == "again")));
    Ok(())
}

async fn client_stream(world: &World) -> Outcome {
    let mut client = grpc(world.client(), world.echo(9090)).await?;
    let messages = futures::stream::iter((0..300).map(|n| message(&(n % 10).to_string(), 0)));
    let sum = client.client_stream(messages).await?.into_inner();
    ensure!(sum.count == 300 && sum.text == "0123456789".repeat(30), "{sum:?}");
    Ok(())
}

async fn bidi(world: &World) -> Outcome {
    let mut client = grpc(world.client(), world.echo(9090)).await?;
    let (send, receive) = tokio::sync::mpsc::channel(1);
    let outgoing = tokio_stream::wrappers::ReceiverStream::new(receive);
    send.send(message("0", 0)).await?;
    let mut incoming = client.bidi(outgoing).await?.into_inner();
    for n in 0..50 {
        let back = patiently("a message back", async { incoming.message().await.map_err(std::io::Error::other) });
        ensure!(back.await?.context("the stream ended")?.text == n.to_string());
        send.send(message(&(n + 1).to_string(), 0)).await?;
    }
    drop(send);
    Ok(())
}

async fn statuses(world: &World) -> Outcome {
    let mut client = grpc(world.client(), world.echo(9090)).await?;
    for code in [Code::InvalidArgument, Code::NotFound, Code::ResourceExhausted, Code::Internal, Code::DataLoss] {
        let fail = |count| Message { fail_with: code as u32, ..message("because, 100 % so", count) };
        let status = client.unary(fail(0)).await.expect_err("it was asked to fail");
        ensure!(status.code() == code && status.message() == "because, 100 % so", "{status:?}");
        let mut stream = client.server_stream(fail(2)).await?.into_inner();
        ensure!(stream.message().await?.is_some() && stream.message().await?.is_some());
        let status = stream.message().await.expect_err("it was asked to fail after two");
        ensure!(status.code() == code, "{status:?}");
    }
    Ok(())
}

async fn deadline(world: &World) -> Outcome {
    let mut client = grpc(world.client(), world.echo(9090)).await?;
    // Nothing is ever sent on this stream, so no answer comes either.
    let (_send, receive) = tokio::sync::mpsc::channel::<Message>(1);
    let mut request = Request::new(tokio_stream::wrappers::ReceiverStream::new(receive));
    request.set_timeout(std::time::Duration::from_millis(200));
    let late = patiently("the deadline", async { Ok(client.client_stream(request).await) }).await?;
    let code = late.expect_err("no answer is possible").code();
    ensure!(matches!(code, Code::DeadlineExceeded | Code::Cancelled), "{code:?}");
    Ok(())
}
