//! `search`: finds goods, over gRPC, all at once or as a stream.
//!
//! Called by frontend, calls ranking for the order. A failure of ranking is passed on with its own status.

use super::goods;
use super::replica::{Replica, carry_trace, told_to_end};
use super::wire::ranking_client::RankingClient;
use super::wire::search_server::{Search, SearchServer};
use super::wire::{FindReply, FindRequest, Item, RankRequest, StreamReply, channel};
use futures::stream::{self, BoxStream, StreamExt};
use std::collections::HashMap;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

const LIMIT: u32 = 10;

#[derive(Debug, clap::Args)]
pub struct Flags {
    #[command(flatten)]
    replica: Replica,
    /// The ranking service, host:port
    #[arg(long, default_value = "ranking.shop.svc.cluster.local:8080")]
    ranking: String,
}

struct Finder {
    name: String,
    ranking: RankingClient<Channel>,
}

pub async fn serve(flags: Flags) -> anyhow::Result<()> {
    let finder = Finder { name: flags.replica.name.clone(), ranking: RankingClient::new(channel(&flags.ranking)?) };
    let incoming = TcpListenerStream::new(flags.replica.bind().await?);
    let server = tonic::transport::Server::builder().tcp_nodelay(true).add_service(SearchServer::new(finder));
    server.serve_with_incoming_shutdown(incoming, told_to_end()).await?;
    Ok(())
}

#[tonic::async_trait]
impl Search for Finder {
    async fn find(&self, request: Request<FindRequest>) -> Result<Response<FindReply>, Status> {
        let (metadata, _, asked) = request.into_parts();
        self.look(&metadata, asked).await.map(Response::new)
    }

    type StreamStream = BoxStream<'static, Result<StreamReply, Status>>;

    async fn stream(&self, request: Request<FindRequest>) -> Result<Response<Self::StreamStream>, Status> {
        let (metadata, _, asked) = request.into_parts();
        let found = self.look(&metadata, asked).await?;
        let served_by = found.served_by;
        let replies =
            found.items.into_iter().map(move |item| Ok(StreamReply { item: Some(item), served_by: served_by.clone() }));
        Ok(Response::new(stream::iter(replies).boxed()))
    }
}

impl Finder {
    async fn look(&self, metadata: &MetadataMap, asked: FindRequest) -> Result<FindReply, Status> {
        let found = goods::matching(&asked.query);
        let mut titles: HashMap<_, _> = found.into_iter().map(|good| (good.id, good.title)).collect();
        let mut request = Request::new(RankRequest { ids: titles.keys().cloned().collect() });
        carry_trace(metadata.as_ref(), request.metadata_mut().as_mut());
        let reply = self.ranking.clone().rank(request).await?.into_inner();
        let limit = if asked.limit == 0 { LIMIT } else { asked.limit };
        let ranked = reply.ranked.into_iter().take(limit as usize);
        let items = ranked.filter_map(|ranked| {
            let title = titles.remove(&ranked.id)?;
            Some(Item { id: ranked.id, title, score: ranked.score })
        });
        let served_by = std::iter::once(self.name.clone()).chain(reply.served_by);
        Ok(FindReply { items: items.collect(), served_by: served_by.collect() })
    }
}
