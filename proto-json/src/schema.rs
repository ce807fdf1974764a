//! A schema: the services, methods and messages of a descriptor set, ready for use.
//!
//! A [`Schema`] and everything reached from it are handles that share one immutable set of tables; a
//! clone costs a counter. Names are full names without a leading dot.

mod descriptor;
mod error;
mod features;
mod link;
mod well_known;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

pub use self::error::SchemaError;
use crate::limits::MAX_DESCRIPTOR_SET_BYTES;
use crate::tables::{FieldTable, MessageIndex, MessageTable, MethodTable, ServiceTable, Shape, Tables};

/// The types and services of a descriptor set, with the well-known types beside them.
#[derive(Clone)]
pub struct Schema {
    tables: Arc<Tables>,
}

/// A service of a schema.
#[derive(Clone)]
pub struct Service {
    schema: Schema,
    index: usize,
}

/// A method of a service.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Method {
    /// The name within the service.
    pub name: String,
    /// What the client sends.
    pub input: Message,
    /// What the server answers.
    pub output: Message,
    /// Whether the client sends many messages.
    pub client_streaming: bool,
    /// Whether the server answers with many messages.
    pub server_streaming: bool,
    /// What the schema says of calling it twice.
    pub idempotency: Idempotency,
}

/// What a schema says of calling a method twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Idempotency {
    /// Nothing.
    #[default]
    Unknown,
    /// Calling changes nothing.
    NoSideEffects,
    /// Calling again changes no more than calling once.
    Idempotent,
}

/// A message type, which reads and writes messages of it.
#[derive(Clone)]
pub struct Message {
    schema: Schema,
    index: MessageIndex,
}

/// A field of a message.
#[derive(Clone, Copy)]
pub struct Field<'m> {
    schema: &'m Schema,
    table: &'m FieldTable,
}

/// What a field holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FieldType {
    /// A number, truth value, string or bytes, by its name in the schema language.
    Scalar(&'static str),
    /// An enum, by its full name.
    Enum(String),
    /// A message.
    Message(Message),
}

/// How many values a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cardinality {
    /// One, or none.
    Singular,
    /// Any number, in order.
    List,
    /// Any number, by key. The type is the entry's, a message of `key` and `value`.
    Map,
}

// === impl Schema ===

impl Schema {
    /// The schema of an encoded `google.protobuf.FileDescriptorSet`, of up to 16 MiB, in which every
    /// import is present save for the well-known types.
    ///
    /// # Errors
    /// It is none, is too large, or does not hold together.
    pub fn parse(descriptor_set: impl Into<Bytes>) -> Result<Self, SchemaError> {
        let descriptor_set = descriptor_set.into();
        let bytes = descriptor_set.len();
        if bytes > MAX_DESCRIPTOR_SET_BYTES {
            return Err(SchemaError::TooLarge { bytes });
        }
        let files = descriptor::decode(&descriptor_set)?;
        let tables = link::link(&files, descriptor_set.clone())?;
        Ok(Self { tables: Arc::new(tables) })
    }

    /// The descriptor set this was made of, as it was given.
    pub fn descriptor_set(&self) -> &Bytes {
        &self.tables.descriptor_set
    }

    /// Every service, in the order of the set.
    pub fn services(&self) -> impl ExactSizeIterator<Item = Service> + '_ {
        (0..self.tables.services.len()).map(|index| Service { schema: self.clone(), index })
    }

    /// The service of this full name.
    pub fn service(&self, full_name: &str) -> Option<Service> {
        let index = self.tables.services.iter().position(|service| *service.full_name == *full_name)?;
        Some(Service { schema: self.clone(), index })
    }

    /// The message of this full name; well-known ones are always there.
    pub fn message(&self, full_name: &str) -> Option<Message> {
        let index = self.tables.find_message(full_name)?;
        Some(Message { schema: self.clone(), index })
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let services = self.tables.services.iter().map(|service| &service.full_name);
        f.debug_tuple("Schema").field(&Vec::from_iter(services)).finish()
    }
}

// === impl Service ===

impl Service {
    fn table(&self) -> &ServiceTable {
        &self.schema.tables.services[self.index]
    }

    /// `package.Service`.
    pub fn full_name(&self) -> &str {
        &self.table().full_name
    }

    /// Every method, in the order of the schema.
    pub fn methods(&self) -> impl ExactSizeIterator<Item = Method> + '_ {
        self.table().methods.iter().map(|method| self.to_method(method))
    }

    /// The method of this name.
    pub fn method(&self, name: &str) -> Option<Method> {
        let method = self.table().methods.iter().find(|method| *method.name == *name)?;
        Some(self.to_method(method))
    }

    fn to_method(&self, method: &MethodTable) -> Method {
        let message = |index| Message { schema: self.schema.clone(), index };
        Method {
            name: method.name.to_string(),
            input: message(method.input),
            output: message(method.output),
            client_streaming: method.client_streaming,
            server_streaming: method.server_streaming,
            idempotency: method.idempotency,
        }
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Service").field(&self.full_name()).finish()
    }
}

// === impl Message ===

impl Message {
    /// `package.Message`.
    pub fn full_name(&self) -> &str {
        &self.table().full_name
    }

    /// Every field, in the order of their numbers.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = Field<'_>> {
        self.table().fields.iter().map(|table| Field { schema: &self.schema, table })
    }

    /// The field of this original name.
    pub fn field(&self, name: &str) -> Option<Field<'_>> {
        self.fields().find(|field| field.name() == name)
    }

    /// The schema it belongs to.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    pub(crate) fn index(&self) -> MessageIndex {
        self.index
    }

    pub(crate) fn tables(&self) -> &Tables {
        &self.schema.tables
    }

    pub(crate) fn table(&self) -> &MessageTable {
        self.schema.tables.message(self.index)
    }
}

impl PartialEq for Message {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.schema.tables, &other.schema.tables) && self.index == other.index
    }
}

impl Eq for Message {}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Message").field(&self.full_name()).finish()
    }
}

// === impl Field ===

impl<'m> Field<'m> {
    /// The name in the schema, `created_at`.
    pub fn name(&self) -> &'m str {
        &self.table.name
    }

    /// The name in JSON, `createdAt` unless the schema gives another.
    pub fn json_name(&self) -> &'m str {
        &self.table.json_name
    }

    /// The number on the wire.
    pub fn number(&self) -> u32 {
        self.table.number
    }

    /// How many values it holds.
    pub fn cardinality(&self) -> Cardinality {
        match self.table.shape {
            Shape::Singular { .. } => Cardinality::Singular,
            Shape::List { .. } => Cardinality::List,
            Shape::Map => Cardinality::Map,
        }
    }

    /// Whether "not set" is told from zero.
    pub fn has_presence(&self) -> bool {
        self.table.shape == Shape::Singular { presence: true }
    }

    /// What it holds.
    pub fn kind(&self) -> FieldType {
        let kind = self.table.kind;
        match (kind.message(), kind.enumeration()) {
            (Some(index), _) => FieldType::Message(Message { schema: self.schema.clone(), index }),
            (None, Some(index)) => {
                FieldType::Enum(self.schema.tables.enumeration(index).full_name.to_string())
            }
            (None, None) => FieldType::Scalar(kind.name()),
        }
    }
}

impl fmt::Debug for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Field({} = {})", self.name(), self.number())
    }
}
