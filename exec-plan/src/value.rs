//! The values that flow between nodes, and the types their ports declare.
//!
//! Cloning a [`Value`] never copies a payload: everything larger than a word is shared. The two
//! opaque variants, `Message` and `Call`, carry handles whose meaning belongs to the kernels that
//! mint them; this crate moves them and knows nothing of what is inside.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::metadata::Metadata;

/// A shared handle of a kind this crate does not know; kernels downcast it.
pub type Handle = Arc<dyn Any + Send + Sync>;

/// What a port carries at run time.
#[derive(Clone)]
#[non_exhaustive]
pub enum Value {
    /// The JSON `null`.
    Null,
    /// A truth value.
    Bool(bool),
    /// A signed 64-bit integer.
    I64(i64),
    /// A 64-bit float.
    F64(f64),
    /// UTF-8 text.
    Str(Arc<str>),
    /// Bytes nobody has looked into: an RPC payload, for example.
    Bytes(Bytes),
    /// A JSON document.
    Json(Arc<serde_json::Value>),
    /// An ordered list of values.
    List(Arc<[Value]>),
    /// A decoded protocol message, opaque to this crate.
    Message(Handle),
    /// Ordered names and values that travel beside a payload.
    Metadata(Arc<Metadata>),
    /// The handle of the call being answered, opaque to this crate.
    Call(Handle),
}

/// The type of one [`Value`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Type {
    /// See [`Value::Null`].
    Null,
    /// See [`Value::Bool`].
    Bool,
    /// See [`Value::I64`].
    I64,
    /// See [`Value::F64`].
    F64,
    /// See [`Value::Str`].
    String,
    /// See [`Value::Bytes`].
    Bytes,
    /// See [`Value::Json`].
    Json,
    /// See [`Value::List`].
    List,
    /// See [`Value::Message`].
    Message,
    /// See [`Value::Metadata`].
    Metadata,
    /// See [`Value::Call`].
    Call,
}

/// A set of [`Type`]s: what an input accepts, or what an output may give.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TypeSet(u16);

// === impl Value ===

impl Value {
    /// The type of this value.
    pub fn kind(&self) -> Type {
        match self {
            Self::Null => Type::Null,
            Self::Bool(_) => Type::Bool,
            Self::I64(_) => Type::I64,
            Self::F64(_) => Type::F64,
            Self::Str(_) => Type::String,
            Self::Bytes(_) => Type::Bytes,
            Self::Json(_) => Type::Json,
            Self::List(_) => Type::List,
            Self::Message(_) => Type::Message,
            Self::Metadata(_) => Type::Metadata,
            Self::Call(_) => Type::Call,
        }
    }
}

impl From<serde_json::Value> for Value {
    /// Scalars become scalar values, a number that fits `i64` becomes one, arrays and objects stay JSON.
    fn from(json: serde_json::Value) -> Self {
        match json {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(b) => Self::Bool(b),
            serde_json::Value::Number(n) => match n.as_i64() {
                Some(i) => Self::I64(i),
                None => Self::F64(n.as_f64().unwrap_or(f64::NAN)),
            },
            serde_json::Value::String(s) => Self::Str(s.into()),
            serde_json::Value::Array(_) | serde_json::Value::Object(_) => Self::Json(Arc::new(json)),
        }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(b) => write!(f, "{b}"),
            Self::I64(i) => write!(f, "{i}"),
            Self::F64(x) => write!(f, "{x:?}"),
            Self::Str(s) => write!(f, "{s:?}"),
            Self::Bytes(b) => write!(f, "bytes({})", b.len()),
            Self::Json(j) => write!(f, "json({j})"),
            Self::List(items) => f.debug_list().entries(items.iter()).finish(),
            Self::Message(_) => f.write_str("message"),
            Self::Metadata(m) => write!(f, "metadata({})", m.len()),
            Self::Call(_) => f.write_str("call"),
        }
    }
}

// === impl Type ===

impl Type {
    /// Every type, in declaration order.
    pub const ALL: [Self; 11] = [
        Self::Null,
        Self::Bool,
        Self::I64,
        Self::F64,
        Self::String,
        Self::Bytes,
        Self::Json,
        Self::List,
        Self::Message,
        Self::Metadata,
        Self::Call,
    ];

    /// The name used in diagnostics and documentation.
    pub fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "bool",
            Self::I64 => "i64",
            Self::F64 => "f64",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Json => "json",
            Self::List => "list",
            Self::Message => "message",
            Self::Metadata => "metadata",
            Self::Call => "call",
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

// === impl TypeSet ===

impl TypeSet {
    /// Every type.
    pub const ANY: Self = Self((1 << Type::ALL.len()) - 1);
    /// No type: an output that is never read.
    pub const NONE: Self = Self(0);
    /// What a plain JSON document can say: null, bool, i64, f64, string, json, list.
    pub const JSON_LIKE: Self =
        Self::of(&[Type::Null, Type::Bool, Type::I64, Type::F64, Type::String, Type::Json, Type::List]);

    /// The set of exactly these types.
    pub const fn of(types: &[Type]) -> Self {
        let mut bits = 0;
        let mut i = 0;
        while i < types.len() {
            bits |= 1 << types[i] as u8;
            i += 1;
        }
        Self(bits)
    }

    /// Whether `kind` is a member.
    pub const fn contains(self, kind: Type) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// The types in both sets.
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The types in either set.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether there is no member.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether every member is also in `other`.
    pub const fn is_subset(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// The members, in declaration order of [`Type`].
    pub fn iter(self) -> impl Iterator<Item = Type> {
        Type::ALL.into_iter().filter(move |kind| self.contains(*kind))
    }
}

impl From<Type> for TypeSet {
    fn from(kind: Type) -> Self {
        Self::of(&[kind])
    }
}

impl fmt::Display for TypeSet {
    /// `any`, or the members joined by ` or `.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ANY {
            return f.write_str("any");
        }
        for (i, kind) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(" or ")?;
            }
            f.write_str(kind.name())?;
        }
        Ok(())
    }
}

impl fmt::Debug for TypeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}
