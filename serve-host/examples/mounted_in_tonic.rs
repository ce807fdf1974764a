//! Graphs beside your own services, in your own tonic server.
//!
//! Nothing of this host's accept loop is used: [`GrpcService`] is a tower service like any other. Calls of
//! `hello.Greeter` go to the service written here, in the shape that generated code has; every other
//! method is a unary call that the host answers.
//!
//! ```sh
//! cargo run -p serve-host --example mounted_in_tonic -- 127.0.0.1:50051
//! ```

#![expect(clippy::print_stdout, reason = "an example tells its address")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes};
use kernels::{Answer, RequestEnvelope};
use serve_host::{Begun, GrpcService, TransportLimits, UnaryHost};
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::service::Routes;
use tonic::{Request, Response, Status};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let address: SocketAddr = std::env::args().nth(1).as_deref().unwrap_or("127.0.0.1:0").parse()?;
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("{}", listener.local_addr()?);
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    tonic::transport::Server::builder()
        .add_routes(routes(Arc::new(Echo)))
        .serve_with_incoming(incoming)
        .await?;
    Ok(())
}

/// Your services first, the host for the rest.
pub(crate) fn routes(host: Arc<dyn UnaryHost>) -> Routes {
    let graphs = GrpcService::new(host, TransportLimits::default());
    Routes::new(Greeter).into_axum_router().fallback_service(graphs).into()
}

/// The host of this example answers every call with what it said. A real one runs graphs.
struct Echo;

impl UnaryHost for Echo {
    fn begin(&self, envelope: RequestEnvelope) -> Begun {
        Begun::Done(Answer::ok(envelope.payload))
    }
}

/// A service as generated code would define it, with messages that are plain text.
#[derive(Clone)]
struct Greeter;

impl NamedService for Greeter {
    const NAME: &'static str = "hello.Greeter";
}

impl UnaryService<Bytes> for Greeter {
    type Response = Bytes;
    type Future = std::future::Ready<Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let greeting = [b"hello, ", &request.get_ref()[..]].concat();
        std::future::ready(Ok(Response::new(greeting.into())))
    }
}

impl tower_service::Service<http::Request<Body>> for Greeter {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let greeter = self.clone();
        Box::pin(async move { Ok(Grpc::new(Plain).unary(greeter, request).await) })
    }
}

/// Messages that are passed on as they are.
#[derive(Default)]
pub(crate) struct Plain;

impl Codec for Plain {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, dst: &mut EncodeBuf<'_>) -> Result<(), Status> {
        dst.put(item);
        Ok(())
    }
}

impl Decoder for Plain {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, src: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(src.copy_to_bytes(src.remaining())))
    }
}
