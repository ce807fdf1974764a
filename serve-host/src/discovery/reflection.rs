//! gRPC server reflection, v1 and v1alpha.
//!
//! The two versions have the same messages on the wire, so the older one is answered by the newer. What
//! is described is indexed once per change of what serves, when somebody asks for the first time after it.

use std::pin::Pin;
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::{Stream, StreamExt};
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{
    ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse, ListServiceResponse,
    ServerReflectionRequest, ServerReflectionResponse, ServiceResponse, server_reflection_server,
};
use tonic_reflection::pb::v1alpha;

use super::index::Index;
use super::{Described, DescribedServices};

/// Answers what there is. Clones share everything.
#[derive(Clone)]
pub(super) struct Reflection(Arc<Inner>);

/// The same, as the older version.
#[derive(Clone)]
pub(super) struct Alpha(Reflection);

struct Inner {
    described: DescribedServices,
    flips: watch::Receiver<u64>,
    /// The index, and the change of what serves that it was made after.
    current: ArcSwap<(Option<u64>, Index)>,
    /// Held by whoever makes an index, so that one does.
    making: Mutex<()>,
    stop: CancellationToken,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

// === impl Reflection ===

impl Reflection {
    pub(super) fn new(
        described: DescribedServices,
        flips: watch::Receiver<u64>,
        stop: CancellationToken,
    ) -> Self {
        let current = ArcSwap::from_pointee((None, Index::default()));
        Self(Arc::new(Inner { described, flips, current, making: Mutex::new(()), stop }))
    }

    /// The index of what serves now.
    fn index(&self) -> Arc<(Option<u64>, Index)> {
        let inner = &*self.0;
        // Read before the services are, so that an index is never taken for newer than it is.
        let flip = Some(*inner.flips.borrow());
        let held = inner.current.load_full();
        if held.0 == flip {
            return held;
        }
        let _maker = inner.making.lock();
        let held = inner.current.load_full();
        if held.0 >= flip {
            return held;
        }
        let mut described = (inner.described)();
        described.extend(own_services());
        let made = Arc::new((flip, Index::of(&described)));
        inner.current.store(made.clone());
        made
    }

    pub(super) fn answer(&self, request: ServerReflectionRequest) -> ServerReflectionResponse {
        let held = self.index();
        let answered = match &request.message_request {
            Some(question) => answer(&held.1, question),
            None => Err(Status::invalid_argument("the request asks for nothing")),
        };
        let message = answered.unwrap_or_else(|status| {
            MessageResponse::ErrorResponse(ErrorResponse {
                error_code: status.code() as i32,
                error_message: status.message().to_owned(),
            })
        });
        ServerReflectionResponse {
            valid_host: request.host.clone(),
            original_request: Some(request),
            message_response: Some(message),
        }
    }
}

fn answer(index: &Index, question: &MessageRequest) -> Result<MessageResponse, Status> {
    let missing = |what: &str, name: &str| Status::new(Code::NotFound, format!("no {what} {name:?}"));
    let files = |found: Option<Vec<Vec<u8>>>, missing: Status| {
        let response = FileDescriptorResponse { file_descriptor_proto: found.ok_or(missing)? };
        Ok(MessageResponse::FileDescriptorResponse(response))
    };
    match question {
        MessageRequest::FileByFilename(name) => files(index.file(name), missing("file", name)),
        MessageRequest::FileContainingSymbol(name) => files(index.symbol(name), missing("symbol", name)),
        MessageRequest::FileContainingExtension(wanted) => {
            let (extended, number) = (&wanted.containing_type, wanted.extension_number);
            files(index.extension(extended, number), missing("extension of", extended))
        }
        MessageRequest::AllExtensionNumbersOfType(extended) => {
            let numbers = index.extension_numbers(extended).ok_or_else(|| missing("message", extended))?;
            Ok(MessageResponse::AllExtensionNumbersResponse(ExtensionNumberResponse {
                base_type_name: extended.clone(),
                extension_number: numbers,
            }))
        }
        MessageRequest::ListServices(_) => Ok(MessageResponse::ListServicesResponse(ListServiceResponse {
            service: index.services().map(|name| ServiceResponse { name: name.to_owned() }).collect(),
        })),
    }
}

/// The services that stand here themselves.
fn own_services() -> [Described; 3] {
    use tonic_reflection::pb::{v1, v1alpha};
    [
        ("grpc.health.v1.Health", tonic_health::pb::FILE_DESCRIPTOR_SET),
        ("grpc.reflection.v1.ServerReflection", v1::FILE_DESCRIPTOR_SET),
        ("grpc.reflection.v1alpha.ServerReflection", v1alpha::FILE_DESCRIPTOR_SET),
    ]
    .map(|(service, set)| Described { service: service.into(), descriptors: set.into() })
}

#[tonic::async_trait]
impl server_reflection_server::ServerReflection for Reflection {
    type ServerReflectionInfoStream = Answers<ServerReflectionResponse>;

    async fn server_reflection_info(
        &self,
        request: Request<Streaming<ServerReflectionRequest>>,
    ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
        let reflection = self.clone();
        let answers = request.into_inner().map(move |asked| asked.map(|asked| reflection.answer(asked)));
        Ok(Response::new(Box::pin(answers.take_until(self.0.stop.clone().cancelled_owned()))))
    }
}

// === impl Alpha ===

impl From<Reflection> for Alpha {
    fn from(reflection: Reflection) -> Self {
        Self(reflection)
    }
}

impl Alpha {
    fn answer(
        &self,
        request: &v1alpha::ServerReflectionRequest,
    ) -> Result<v1alpha::ServerReflectionResponse, Status> {
        let answer = self.0.answer(same_bytes(request)?);
        same_bytes(&answer)
    }
}

/// A message of the other version.
fn same_bytes<T: Message + Default>(message: &impl Message) -> Result<T, Status> {
    T::decode(message.encode_to_vec().as_slice()).map_err(|error| Status::internal(error.to_string()))
}

#[tonic::async_trait]
impl v1alpha::server_reflection_server::ServerReflection for Alpha {
    type ServerReflectionInfoStream = Answers<v1alpha::ServerReflectionResponse>;

    async fn server_reflection_info(
        &self,
        request: Request<Streaming<v1alpha::ServerReflectionRequest>>,
    ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
        let alpha = self.clone();
        let answers = request.into_inner().map(move |asked| alpha.answer(&asked?));
        Ok(Response::new(Box::pin(answers.take_until(self.0.0.stop.clone().cancelled_owned()))))
    }
}
