//! One value out of an encoded message, by a path of field names.
//!
//! A path is `order.items.0.name`: original or JSON names of fields, the place of a list's element from
//! 0, the key of a map's entry. What it leads through is read; the rest is read past.

use std::fmt;

use crate::tables::{FieldTable, Kind, MessageIndex, Shape};
use crate::to_json::{Places, Writer};
use crate::wire::unzigzag;
use crate::{FieldNames, Message, WireError, WriteOptions};

/// A path into messages of one type. Every name on it is a field of the message it is looked for in.
#[derive(Clone)]
pub struct Path {
    message: Message,
    text: String,
    steps: Vec<Step>,
    gives: Gives,
}

/// Why a path leads nowhere in messages of a type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// A step has no name.
    #[error("step {step} of the path is empty")]
    Empty {
        /// The step, from 1.
        step: usize,
    },
    /// A step into a list is no number.
    #[error("{step:?} is no place in a list")]
    NotAnIndex {
        /// The step.
        step: String,
    },
    /// More than 100 steps.
    #[error("the path has more than 100 steps")]
    TooLong,
    /// A step into a value that has no parts.
    #[error("nothing is inside {field}, so {step:?} is not")]
    TooFar {
        /// The field that has no parts.
        field: String,
        /// The step.
        step: String,
    },
    /// A step is not the name of a field.
    #[error("{message} has no field {name:?}")]
    UnknownField {
        /// Full name of the message.
        message: String,
        /// The step.
        name: String,
    },
}

/// What a path leads to.
#[derive(Clone, Debug, PartialEq)]
pub enum Found<'a> {
    /// A truth value.
    Bool(bool),
    /// Bytes as they are in the message.
    Bytes(&'a [u8]),
    /// A float or double.
    F64(f64),
    /// A signed integer, or an enum's number that has no name.
    I64(i64),
    /// A message, list or map as JSON text, with original field names.
    Json(Vec<u8>),
    /// A string, or an enum's name.
    Str(&'a str),
    /// An unsigned integer.
    U64(u64),
}

/// What a path can lead to: the kinds of [`Found`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Gives {
    /// [`Found::Bool`].
    Bool,
    /// [`Found::Bytes`].
    Bytes,
    /// [`Found::Str`], or [`Found::I64`] for a number without a name.
    Enum,
    /// [`Found::F64`].
    F64,
    /// [`Found::I64`].
    I64,
    /// [`Found::Json`].
    Json,
    /// [`Found::Str`].
    Str,
    /// [`Found::U64`].
    U64,
}

#[derive(Clone, Debug)]
enum Step {
    /// A field of a message of this type.
    Field(MessageIndex, u16),
    /// An element of the list before.
    Element(usize),
    /// The entry of the map before with this key.
    Entry(MessageIndex, String),
}

/// Where a path stands while it is being parsed.
#[derive(Clone, Copy)]
enum At<'m> {
    Message(MessageIndex),
    List(&'m FieldTable),
    Map(&'m FieldTable, MessageIndex),
    Value(&'m FieldTable),
}

const MAX_STEPS: usize = 100;

// === impl Message ===

impl Message {
    /// The path of this text, in messages of this type. `""` is the whole message.
    ///
    /// # Errors
    /// It leads nowhere.
    pub fn path(&self, text: &str) -> Result<Path, PathError> {
        let tables = self.tables();
        let mut steps = Vec::new();
        let mut at = At::Message(self.index());
        for (place, step) in (1..).zip(text.split('.').filter(|_| !text.is_empty())) {
            if place > MAX_STEPS {
                return Err(PathError::TooLong);
            }
            if step.is_empty() {
                return Err(PathError::Empty { step: place });
            }
            at = match at {
                At::Message(index) => {
                    let table = tables.message(index);
                    let field = table.find(step).ok_or_else(|| PathError::UnknownField {
                        message: table.full_name.to_string(),
                        name: step.to_owned(),
                    })?;
                    steps.push(Step::Field(index, field));
                    let field = &table.fields[usize::from(field)];
                    match (field.shape, field.kind) {
                        (Shape::List { .. }, _) => At::List(field),
                        (Shape::Map, Kind::Message(entry)) => At::Map(field, entry),
                        _ => value_of(field),
                    }
                }
                At::List(field) => {
                    let element = step.parse().ok().filter(|_| step.bytes().all(|b| b.is_ascii_digit()));
                    let element = element.ok_or_else(|| PathError::NotAnIndex { step: step.to_owned() })?;
                    steps.push(Step::Element(element));
                    value_of(field)
                }
                At::Map(field, entry) => {
                    steps.push(Step::Entry(entry, step.to_owned()));
                    tables.message(entry).fields.get(1).map_or(At::Value(field), value_of)
                }
                At::Value(field) => {
                    let (field, step) = (field.name.to_string(), step.to_owned());
                    return Err(PathError::TooFar { field, step });
                }
            };
        }
        let gives = match at {
            At::Message(_) | At::List(_) | At::Map(..) => Gives::Json,
            At::Value(field) => gives(field.kind),
        };
        Ok(Path { message: self.clone(), text: text.to_owned(), steps, gives })
    }
}

fn value_of(field: &FieldTable) -> At<'_> {
    field.kind.message().map_or(At::Value(field), At::Message)
}

fn gives(kind: Kind) -> Gives {
    match kind {
        Kind::Double | Kind::Float => Gives::F64,
        Kind::Int64 | Kind::Int32 | Kind::Sfixed32 | Kind::Sfixed64 | Kind::Sint32 | Kind::Sint64 => {
            Gives::I64
        }
        Kind::Uint64 | Kind::Fixed64 | Kind::Fixed32 | Kind::Uint32 => Gives::U64,
        Kind::Bool => Gives::Bool,
        Kind::String => Gives::Str,
        Kind::Bytes => Gives::Bytes,
        Kind::Enum(_) => Gives::Enum,
        Kind::Group(_) | Kind::Message(_) => Gives::Json,
    }
}

// === impl Path ===

impl Path {
    /// What it can lead to.
    pub fn gives(&self) -> Gives {
        self.gives
    }

    /// The value in an encoded message, nothing if it is not set. A field without presence that is not
    /// set is its zero value, if the message it belongs to is set.
    ///
    /// `max_json_bytes` bounds the text of [`Found::Json`].
    ///
    /// # Errors
    /// The bytes are not a message of the type, or what is found has no JSON form.
    pub fn get<'a>(&'a self, wire: &'a [u8], max_json_bytes: usize) -> Result<Option<Found<'a>>, WireError> {
        let options = WriteOptions {
            field_names: FieldNames::Original,
            max_output_bytes: max_json_bytes,
            ..WriteOptions::default()
        };
        let mut json = Vec::new();
        let mut writer = Writer::new(self.message.tables(), wire, options, &mut json)?;
        let Some(places) = self.follow(&mut writer)? else { return Ok(None) };
        if self.gives == Gives::Json {
            writer.write(places)?;
            return Ok(Some(Found::Json(json)));
        }
        let (field, bits) = match places {
            Places::Value(field, bits) => (field, bits),
            Places::Message(..) | Places::Field(..) => return Ok(None),
        };
        self.scalar(&writer, field, bits).map(Some)
    }

    fn follow<'a>(&'a self, writer: &mut Writer<'a, '_>) -> Result<Option<Places<'a>>, WireError> {
        let mut places = writer.root(self.message.index());
        for step in &self.steps {
            let next = match step {
                Step::Field(index, field) => writer.enter_field(*index, *field, places)?,
                Step::Element(element) => writer.enter_element(*element, places)?,
                Step::Entry(entry, key) => writer.enter_entry(*entry, key, places)?,
            };
            match next {
                Some(next) => places = next,
                None => return Ok(None),
            }
        }
        Ok(Some(places))
    }

    #[expect(clippy::cast_possible_truncation, reason = "32-bit values are the low half of their bits")]
    fn scalar<'a>(
        &'a self,
        writer: &Writer<'a, '_>,
        field: &'a FieldTable,
        bits: u64,
    ) -> Result<Found<'a>, WireError> {
        let int32 = (bits as u32).cast_signed();
        Ok(match field.kind {
            Kind::Double => Found::F64(f64::from_bits(bits)),
            Kind::Float => Found::F64(f64::from(f32::from_bits(bits as u32))),
            Kind::Int64 | Kind::Sfixed64 => Found::I64(bits.cast_signed()),
            Kind::Int32 | Kind::Sfixed32 => Found::I64(i64::from(int32)),
            Kind::Sint32 => Found::I64(unzigzag(u64::from(bits as u32))),
            Kind::Sint64 => Found::I64(unzigzag(bits)),
            Kind::Uint64 | Kind::Fixed64 => Found::U64(bits),
            Kind::Uint32 | Kind::Fixed32 => Found::U64(u64::from(bits as u32)),
            Kind::Bool => Found::Bool(bits != 0),
            Kind::String => Found::Str(writer.text_at(field, bits)?),
            Kind::Bytes => Found::Bytes(writer.bytes_at(bits)),
            Kind::Enum(index) => match self.message.tables().enumeration(index).name(int32) {
                Some(name) => Found::Str(name),
                None => Found::I64(i64::from(int32)),
            },
            Kind::Group(_) | Kind::Message(_) => Found::Json(Vec::new()),
        })
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text.as_str() {
            "" => f.write_str("the message"),
            text => f.write_str(text),
        }
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Path({:?} in {})", self.text, self.message.full_name())
    }
}
