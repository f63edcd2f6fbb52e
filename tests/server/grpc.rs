//! gRPC: all four kinds of call, and the health checking protocol.
//!
//! Says which replica answered, and ends calls with the status that the request asks for.

use crate::state::State;
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_health::pb::health_server::{Health, HealthServer};
use weft_tests::grpc::Message;
use weft_tests::grpc::echo_server::{Echo, EchoServer};

struct Service(Arc<State>);

pub async fn serve(listener: TcpListener, state: Arc<State>, health: HealthServer<impl Health>) -> anyhow::Result<()> {
    let mut server = tonic::transport::Server::builder().tcp_nodelay(true);
    let server = server.add_service(EchoServer::new(Service(state))).add_service(health);
    Ok(server.serve_with_incoming(TcpListenerStream::new(listener)).await?)
}

type Messages = BoxStream<'static, Result<Message, Status>>;

#[tonic::async_trait]
impl Echo for Service {
    async fn unary(&self, request: Request<Message>) -> Result<Response<Message>, Status> {
        let metadata = request.metadata().clone();
        let message = self.signed(request.into_inner());
        let mut response = Response::new(failure(&message).map_or(Ok(message), Err)?);
        if let Some(value) = metadata.get("x-token") {
            response.metadata_mut().insert("x-token", value.clone());
        }
        Ok(response)
    }

    type ServerStreamStream = Messages;

    async fn server_stream(&self, request: Request<Message>) -> Result<Response<Messages>, Status> {
        let message = self.signed(request.into_inner());
        let end = stream::iter(failure(&message).map(Err));
        let count = message.count as usize;
        Ok(Response::new(stream::repeat_with(move || Ok(message.clone())).take(count).chain(end).boxed()))
    }

    async fn client_stream(&self, request: Request<Streaming<Message>>) -> Result<Response<Message>, Status> {
        let mut incoming = request.into_inner();
        let mut sum = Message::default();
        while let Some(message) = incoming.message().await? {
            sum.text += &message.text;
            sum.count += 1;
        }
        Ok(Response::new(self.signed(sum)))
    }

    type BidiStream = Messages;

    async fn bidi(&self, request: Request<Streaming<Message>>) -> Result<Response<Messages>, Status> {
        let name = self.0.name.clone();
        let back = move |message: Result<Message, Status>| {
            let message = Message { replica: name.clone(), ..message? };
            failure(&message).map_or(Ok(message), Err)
        };
        Ok(Response::new(request.into_inner().map(back).boxed()))
    }
}

impl Service {
    fn signed(&self, message: Message) -> Message {
        Message { replica: self.0.name.clone(), ..message }
    }
}

fn failure(message: &Message) -> Option<Status> {
    let code = Code::from(i32::try_from(message.fail_with).unwrap_or(0));
    (code != Code::Ok).then(|| Status::new(code, message.text.clone()))
}
