//! Asks a server for its descriptors: gRPC server reflection v1, and v1alpha where that is unknown.
//!
//! The two versions differ in their name alone: the messages are the same on the wire.

use std::collections::BTreeSet;
use std::time::Duration;

use exec_plan::Code;
use prost::Message;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use super::grpc::{Channel, GrpcError, Status};
use super::message::FileHead;

/// Why the descriptors could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReflectionError {
    #[error("asking the server for its descriptors failed")]
    Grpc(#[from] GrpcError),
    #[error("the server does not offer reflection")]
    Unimplemented,
    #[error("the server knows no {0}")]
    UnknownSymbol(String),
    #[error("reflection failed with {} {:?}", .0.code, .0.message)]
    Status(Status),
    #[error("the server's answer makes no sense: {0}")]
    Nonsense(&'static str),
    #[error("the server sent more than {MAX_FILES} descriptor files")]
    TooMany,
}

/// The names of the service, the newest first.
const PATHS: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// How many files a service may need.
const MAX_FILES: usize = 4096;

/// The descriptor files, each encoded, of the one that declares `symbol` and all it imports.
pub(crate) async fn files_for(
    channel: &mut Channel,
    symbol: &str,
    timeout: Duration,
) -> Result<Vec<Vec<u8>>, ReflectionError> {
    let first = MessageRequest::FileContainingSymbol(symbol.to_owned());
    for path in PATHS {
        match ask(channel, path, first.clone(), timeout).await {
            Err(ReflectionError::Unimplemented) => {}
            Err(error) => return Err(error),
            Ok(files) => return with_imports(channel, path, files, timeout).await,
        }
    }
    Err(ReflectionError::Unimplemented)
}

/// Adds the imports that the server did not send along.
async fn with_imports(
    channel: &mut Channel,
    path: &str,
    first: Vec<Vec<u8>>,
    timeout: Duration,
) -> Result<Vec<Vec<u8>>, ReflectionError> {
    let mut files = Vec::new();
    let (mut have, mut wanted) = (BTreeSet::new(), BTreeSet::new());
    let mut arrived = first;
    loop {
        for file in arrived {
            let head =
                FileHead::read(&file).ok_or(ReflectionError::Nonsense("a file is no FileDescriptorProto"))?;
            wanted.extend(head.imports);
            if have.insert(head.name) {
                files.push(file);
            }
        }
        wanted.retain(|name| !have.contains(name));
        let Some(name) = wanted.pop_first() else { return Ok(files) };
        if files.len() >= MAX_FILES {
            return Err(ReflectionError::TooMany);
        }
        arrived = ask(channel, path, MessageRequest::FileByFilename(name.clone()), timeout).await?;
        // A server that answers with other files must not be asked for ever.
        if !arrived.iter().filter_map(|file| FileHead::read(file)).any(|head| head.name == name) {
            return Err(ReflectionError::Nonsense("it sent another file than the one asked for"));
        }
    }
}

async fn ask(
    channel: &mut Channel,
    path: &str,
    question: MessageRequest,
    timeout: Duration,
) -> Result<Vec<Vec<u8>>, ReflectionError> {
    let symbol = match &question {
        MessageRequest::FileContainingSymbol(name) | MessageRequest::FileByFilename(name) => name.clone(),
        MessageRequest::FileContainingExtension(_)
        | MessageRequest::AllExtensionNumbersOfType(_)
        | MessageRequest::ListServices(_) => String::new(),
    };
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
    let reply = channel.exchange(path, &[], &request.encode_to_vec(), timeout).await?;
    if reply.status.code == Code::Unimplemented {
        return Err(ReflectionError::Unimplemented);
    }
    if reply.status.code != Code::Ok {
        return Err(ReflectionError::Status(reply.status));
    }
    let message = reply.messages.first().ok_or(ReflectionError::Nonsense("it is empty"))?;
    let response = ServerReflectionResponse::decode(message.clone())
        .map_err(|_| ReflectionError::Nonsense("it is no ServerReflectionResponse"))?;
    match response.message_response {
        Some(MessageResponse::FileDescriptorResponse(files)) => Ok(files.file_descriptor_proto),
        Some(MessageResponse::ErrorResponse(error))
            if error.error_code == i32::from(Code::NotFound.number()) =>
        {
            Err(ReflectionError::UnknownSymbol(symbol))
        }
        Some(MessageResponse::ErrorResponse(error)) => {
            let code = u8::try_from(error.error_code).ok().and_then(Code::from_number);
            let code = code.unwrap_or(Code::Unknown);
            Err(ReflectionError::Status(Status { code, message: error.error_message }))
        }
        Some(MessageResponse::AllExtensionNumbersResponse(_) | MessageResponse::ListServicesResponse(_))
        | None => Err(ReflectionError::Nonsense("it answers another question")),
    }
}
