//! `ranking`: puts items in order, over gRPC.
//!
//! Called by search, calls features. `--delay` makes a replica slow, to see whom the mesh then prefers. Without features
//! there is no order, so their failure is passed on as UNAVAILABLE.

use super::features::Known;
use super::replica::{Replica, carry_trace, told_to_end};
use super::wire::ranking_server::{Ranking, RankingServer};
use super::wire::{RankReply, RankRequest, Ranked};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::time::Duration;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

#[derive(Debug, clap::Args)]
pub struct Flags {
    #[command(flatten)]
    replica: Replica,
    /// The features service, host:port
    #[arg(long, default_value = "features.shop.svc.cluster.local:8080")]
    features: String,
    /// How much longer than necessary every reply takes
    #[arg(long, default_value = "0s", value_parser = humantime::parse_duration)]
    delay: Duration,
}

struct Ranker {
    name: String,
    features: String,
    client: Client<HttpConnector, Empty<Bytes>>,
    delay: Duration,
}

pub async fn serve(flags: Flags) -> anyhow::Result<()> {
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build(connector());
    let ranker = Ranker { name: flags.replica.name.clone(), features: flags.features, client, delay: flags.delay };
    let incoming = TcpListenerStream::new(flags.replica.bind().await?);
    let server = tonic::transport::Server::builder().tcp_nodelay(true).add_service(RankingServer::new(ranker));
    server.serve_with_incoming_shutdown(incoming, told_to_end()).await?;
    Ok(())
}

/// Small requests should leave at once.
pub fn connector() -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector
}

#[tonic::async_trait]
impl Ranking for Ranker {
    async fn rank(&self, request: Request<RankRequest>) -> Result<Response<RankReply>, Status> {
        let (metadata, _, RankRequest { ids }) = request.into_parts();
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        let known = self
            .features(metadata.as_ref(), &ids)
            .await
            .map_err(|error| Status::unavailable(format!("features: {error:#}")))?;
        let score = |id: &String| known.popularity.get(id).copied().unwrap_or_default();
        let mut ranked: Vec<_> = ids.into_iter().map(|id| Ranked { score: score(&id), id }).collect();
        ranked.sort_by(|a, b| b.score.total_cmp(&a.score));
        Ok(Response::new(RankReply { ranked, served_by: vec![self.name.clone(), known.served_by] }))
    }
}

impl Ranker {
    async fn features(&self, trace: &http::HeaderMap, ids: &[String]) -> anyhow::Result<Known> {
        let mut request = http::Request::get(format!("http://{}/features?items={}", self.features, ids.join(",")));
        if let Some(headers) = request.headers_mut() {
            carry_trace(trace, headers);
        }
        let response = self.client.request(request.body(Empty::new())?).await?;
        anyhow::ensure!(response.status().is_success(), "status {}", response.status());
        let body = response.into_body().collect().await?.to_bytes();
        Ok(serde_json::from_slice(&body)?)
    }
}
