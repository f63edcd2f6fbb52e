//! GRPCRoutes: which service and method a call is for decides, and calls are what is shared and changed.
//!
//! A real gRPC client calls; the replica signs its answers.

use crate::ask::weftctl;
use anyhow::ensure;
use tonic::{Code, Request};
use weft_tests::client::grpc;
use weft_tests::grpc::Message;
use weft_tests::{Outcome, World};

pub async fn weight(world: &World) -> Outcome {
    let mut client = grpc(world.client(), world.at("rpc-split", 9090)).await?;
    let mut first = 0;
    for _ in 0..300 {
        let replica = client.unary(Message::default()).await?.into_inner().replica;
        first += u32::from(replica == "echo-v1-0");
        ensure!(replica == "echo-v1-0" || replica == "echo-v2-0", "answered by {replica:?}");
    }
    // 210 on average, with a deviation of 8.
    ensure!((160..260).contains(&first), "{first} of 300 went to the backend with 70 %");
    Ok(())
}

pub async fn methods(world: &World) -> Outcome {
    let mut client = grpc(world.client(), world.at("rpc-methods", 9090)).await?;
    let exact = client.unary(Message::default()).await?.into_inner();
    ensure!(exact.replica == "echo-v1-0", "{exact:?}");
    let mut stream = client.server_stream(Message { count: 1, ..Message::default() }).await?.into_inner();
    let pattern = stream.message().await?.unwrap_or_default();
    ensure!(pattern.replica == "echo-v2-0", "{pattern:?}");
    let one = || tokio_stream::once(Message::default());
    let mut request = Request::new(one());
    request.metadata_mut().insert("x-which", "two".parse()?);
    let narrowed = client.client_stream(request).await?.into_inner();
    ensure!(narrowed.replica == "echo-v2-0", "{narrowed:?}");
    let status = client.client_stream(one()).await.expect_err("no rule matches");
    ensure!(status.code() == Code::Unimplemented, "{status:?}");
    let reason = status.metadata().get("weft-reason").and_then(|reason| reason.to_str().ok());
    ensure!(reason == Some("no-route"), "{status:?}");
    Ok(())
}

pub async fn request_headers(world: &World) -> Outcome {
    let mut client = grpc(world.client(), world.at("rpc-headers", 9090)).await?;
    let mut request = Request::new(Message::default());
    request.metadata_mut().insert("x-token", "old".parse()?);
    let response = client.unary(request).await?;
    ensure!(response.metadata().get("x-token").is_some_and(|token| token == "set"), "{response:?}");
    Ok(())
}

pub async fn administered(world: &World) -> Outcome {
    let listed = weftctl(world, &["get", "grpcroutes", "-n", "test"], "")?.stdout;
    ensure!(listed.contains("rpc-split") && listed.contains("echo-v1.test:9090 (70)"), "{listed}");
    let document = weftctl(world, &["get", "grpcroute", "rpc-headers", "-n", "test", "-o", "yaml"], "")?.stdout;
    ensure!(document.contains("kind: GRPCRoute"), "{document}");
    weftctl(world, &["delete", "grpcroute", "rpc-headers", "-n", "test"], "")?;
    let said = weftctl(world, &["apply", "-f", "-"], &document)?.stdout;
    ensure!(said.contains("GRPCRoute") && said.contains("created"), "{said}");
    Ok(())
}
