//! Messages whose schema is known only at run time: between JSON and the protobuf wire.
//!
//! The one place of the command line that knows which library does this; it may change with every
//! minor release.

use std::sync::Arc;

use buffa::DecodeOptions;
use buffa_descriptor::generated::descriptor::{FileDescriptorProto, FileDescriptorSet};
use buffa_descriptor::{DescriptorPool, DynamicMessage, MessageIndex};
use serde_json::Value;

/// The descriptors of a server or of a file.
#[derive(Debug)]
pub(crate) struct Schema {
    pool: Arc<DescriptorPool>,
}

/// A unary method and the messages it takes and gives.
#[derive(Debug)]
pub(crate) struct Method {
    pool: Arc<DescriptorPool>,
    input: MessageIndex,
    output: MessageIndex,
}

/// What a descriptor file is called and what it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileHead {
    pub(crate) name: String,
    pub(crate) imports: Vec<String>,
}

/// Why a message could not be read or written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SchemaError {
    #[error("the descriptors are broken: {0}")]
    Descriptors(String),
    #[error("there is no service {service}")]
    UnknownService { service: String, known: Vec<String> },
    #[error("{service} has no method {method}")]
    UnknownMethod { service: String, method: String, known: Vec<String> },
    #[error("{0} is a streaming method")]
    Streaming(String),
    #[error("the data is no {message}: {error}")]
    Json { message: String, error: String },
    #[error("the answer is no {message}: {error}")]
    Wire { message: String, error: String },
}

/// What descriptors may take in memory: they are trusted as far as the server or file is.
const MAX_DESCRIPTOR_MEMORY: usize = 512 << 20;

// === impl FileHead ===

impl FileHead {
    /// Reads an encoded `FileDescriptorProto`.
    pub(crate) fn read(file: &[u8]) -> Option<Self> {
        let file = options().decode_from_slice::<FileDescriptorProto>(file).ok()?;
        Some(Self { name: file.name.unwrap_or_default(), imports: file.dependency })
    }
}

// === impl Schema ===

impl Schema {
    /// Reads an encoded `FileDescriptorSet`, as `protoc --descriptor_set_out --include_imports` or
    /// `buf build` write it.
    pub(crate) fn from_descriptor_set(set: &[u8]) -> Result<Self, SchemaError> {
        let pool = DescriptorPool::decode_with_options(set, &options())
            .map_err(|error| SchemaError::Descriptors(error.to_string()))?;
        Ok(Self { pool: Arc::new(pool) })
    }

    /// Reads encoded `FileDescriptorProto`s.
    pub(crate) fn from_files(files: &[Vec<u8>]) -> Result<Self, SchemaError> {
        let broken = |error: String| SchemaError::Descriptors(error);
        let mut set = FileDescriptorSet::default();
        for file in files {
            set.file.push(options().decode_from_slice(file).map_err(|error| broken(error.to_string()))?);
        }
        let pool = DescriptorPool::new(set).map_err(|error| broken(error.to_string()))?;
        Ok(Self { pool: Arc::new(pool) })
    }

    /// Finds a unary method.
    pub(crate) fn method(&self, service: &str, method: &str) -> Result<Method, SchemaError> {
        let Some(found) = self.pool.service_by_name(service) else {
            let known = self.pool.services().iter().map(|service| service.full_name().to_owned()).collect();
            return Err(SchemaError::UnknownService { service: service.to_owned(), known });
        };
        let Some(descriptor) = found.method(method) else {
            let known = found.methods().iter().map(|method| method.name().to_owned()).collect();
            let (service, method) = (service.to_owned(), method.to_owned());
            return Err(SchemaError::UnknownMethod { service, method, known });
        };
        if descriptor.is_client_streaming() || descriptor.is_server_streaming() {
            return Err(SchemaError::Streaming(format!("{service}/{method}")));
        }
        Ok(Method { pool: self.pool.clone(), input: descriptor.input(), output: descriptor.output() })
    }
}

// === impl Method ===

impl Method {
    /// The request message, from JSON to the wire.
    pub(crate) fn encode(&self, json: &str) -> Result<Vec<u8>, SchemaError> {
        let message = || self.pool.message(self.input).full_name().to_owned();
        let wrong = |error: String| SchemaError::Json { message: message(), error };
        DynamicMessage::from_json(self.pool.clone(), self.input, json)
            .map_err(|error| wrong(error.to_string()))?
            .try_encode_to_vec()
            .map_err(|error| wrong(error.to_string()))
    }

    /// The response message, from the wire to JSON.
    pub(crate) fn decode(&self, wire: &[u8]) -> Result<Value, SchemaError> {
        let message = || self.pool.message(self.output).full_name().to_owned();
        let wrong = |error: String| SchemaError::Wire { message: message(), error };
        let decoded = DynamicMessage::decode(self.pool.clone(), self.output, wire)
            .map_err(|error| wrong(error.to_string()))?;
        serde_json::to_value(&decoded).map_err(|error| wrong(error.to_string()))
    }

    /// A message packed in an `Any`, as JSON, if its type is known here.
    pub(crate) fn decode_any(&self, type_url: &str, wire: &[u8]) -> Option<Value> {
        let name = type_url.rsplit('/').next()?;
        let index = self.pool.message_index(name)?;
        let decoded = DynamicMessage::decode(self.pool.clone(), index, wire).ok()?;
        serde_json::to_value(&decoded).ok()
    }
}

fn options() -> DecodeOptions {
    DecodeOptions::new().with_element_memory_limit(MAX_DESCRIPTOR_MEMORY)
}

#[cfg(test)]
mod tests {
    use buffa::Message;

    use super::*;

    /// The descriptors of the reflection service itself.
    fn schema() -> Schema {
        Schema::from_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET).unwrap()
    }

    #[test]
    fn unknown_names_come_with_those_that_are_known() {
        let schema = schema();
        let known = vec!["grpc.reflection.v1.ServerReflection".to_owned()];
        let wrong = schema.method("grpc.Nope", "Say").unwrap_err();
        assert_eq!(
            wrong,
            SchemaError::UnknownService { service: "grpc.Nope".to_owned(), known: known.clone() }
        );
        let wrong = schema.method(&known[0], "Say").unwrap_err();
        assert!(
            matches!(wrong, SchemaError::UnknownMethod { known, .. } if known == ["ServerReflectionInfo"])
        );
        let wrong = schema.method(&known[0], "ServerReflectionInfo").unwrap_err();
        assert!(matches!(wrong, SchemaError::Streaming(_)));
    }

    #[test]
    fn json_goes_to_the_wire_and_back() {
        let pool = schema().pool;
        let index = pool.message_index("grpc.reflection.v1.ExtensionRequest").unwrap();
        let method = Method { pool, input: index, output: index };
        let wire = method.encode(r#"{"containingType": "a.B", "extensionNumber": 7}"#).unwrap();
        assert_eq!(
            method.decode(&wire).unwrap(),
            serde_json::json!({"containingType": "a.B", "extensionNumber": 7})
        );
        assert!(matches!(method.encode(r#"{"nope": 1}"#), Err(SchemaError::Json { .. })));
        assert!(matches!(method.decode(b"\xff"), Err(SchemaError::Wire { .. })));
    }

    #[test]
    fn a_file_says_its_name() {
        let set =
            FileDescriptorSet::decode_from_slice(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET).unwrap();
        let head = FileHead::read(&set.file[0].encode_to_vec()).unwrap();
        assert_eq!(head, FileHead { name: "reflection_v1.proto".to_owned(), imports: vec![] });
        assert!(Schema::from_files(&[set.file[0].encode_to_vec()]).is_ok());
        assert_eq!(FileHead::read(b"\xff\xff"), None);
    }
}
