//! Random schemas, as text, and random messages of them.

use std::collections::HashMap;
use std::fmt::Write as _;

use prost_reflect::{
    DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage as _,
    Value,
};

/// A sequence of numbers that looks random and is the same for the same seed (splitmix64).
pub(crate) struct Random {
    state: u64,
    /// The sign of all durations: merged ones must agree in it.
    sign: i32,
}

const SCALARS: &[&str] = &[
    "double", "float", "int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32", "fixed64",
    "sfixed32", "sfixed64", "bool", "string", "bytes",
];
const KEYS: &[&str] =
    &["int32", "int64", "uint32", "uint64", "sint32", "sint64", "fixed32", "bool", "string"];
const KNOWN: &[&str] = &[
    "Timestamp",
    "Duration",
    "FieldMask",
    "Struct",
    "Value",
    "ListValue",
    "Empty",
    "DoubleValue",
    "FloatValue",
    "Int64Value",
    "UInt64Value",
    "Int32Value",
    "UInt32Value",
    "BoolValue",
    "StringValue",
    "BytesValue",
];
const IMPORTS: &[&str] = &["timestamp", "duration", "field_mask", "struct", "empty", "wrappers"];

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed, sign: if seed & 1 == 0 { 1 } else { -1 } }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn pick<'s>(&mut self, from: &[&'s str]) -> &'s str {
        from[self.below(from.len())]
    }

    /// Small numbers and the ends of the range more often than others.
    fn number(&mut self) -> u64 {
        match self.below(6) {
            0 => 0,
            1 => self.next() % 128,
            2 => u64::MAX,
            3 => 1 << (self.next() % 64),
            4 => self.next() >> (self.next() % 64),
            _ => self.next(),
        }
    }

    fn float(&mut self) -> f64 {
        match self.below(6) {
            0 => f64::NAN,
            1 => f64::INFINITY,
            2 => f64::NEG_INFINITY,
            _ => self.finite(),
        }
    }

    /// Never −0.0, which the oracle takes for not set.
    fn finite(&mut self) -> f64 {
        let number = match self.below(3) {
            0 => (self.next() % 2000) as f64 - 1000.0,
            1 => f64::from_bits(self.next()),
            _ => self.next() as f64 / 7.0,
        };
        if number.is_finite() && number != 0.0 { number } else { 0.0 }
    }

    fn text(&mut self) -> String {
        const CHARS: &[char] = &[
            'a', 'b', 'z', 'A', '0', ' ', '"', '\\', '/', '\n', '\u{1}', '\u{7f}', 'é', '€', '😀', '\u{2028}',
        ];
        let length = if self.below(4) == 0 { self.below(200) } else { self.below(9) };
        (0..length).map(|_| CHARS[self.below(CHARS.len())]).collect()
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = if self.below(4) == 0 { self.below(200) } else { self.below(9) };
        (0..length).map(|_| (self.next() & 255) as u8).collect()
    }
}

/// The text of a schema with the messages `M0` to `M3`.
pub(crate) fn schema(random: &mut Random) -> String {
    let proto2 = random.below(3) == 0;
    let mut text = format!("syntax = \"proto{}\";\npackage r;\n", if proto2 { 2 } else { 3 });
    for import in IMPORTS {
        writeln!(text, "import \"google/protobuf/{import}.proto\";").unwrap();
    }
    text.push_str("enum E { ZERO = 0; ONE = 1; MINUS = -3; FAR = 70000; }\n");
    for message in 0..4 {
        writeln!(text, "message M{message} {{").unwrap();
        let mut number = 0;
        for field in 0..1 + random.below(12) {
            number += 1 + if random.below(8) == 0 { random.below(5000) } else { 0 };
            if (19_000..=19_999).contains(&number) {
                number = 20_000;
            }
            write_field(random, &mut text, proto2, field, number);
        }
        text.push_str("}\n");
    }
    text
}

/// More than any number that [`schema`] counts up to.
const BEYOND: usize = 1_000_000;

fn write_field(random: &mut Random, text: &mut String, proto2: bool, field: usize, number: usize) {
    let mut kind = |messages: bool| match random.below(if messages { 10 } else { 6 }) {
        0..5 => random.pick(SCALARS).to_owned(),
        5 => "E".to_owned(),
        6 | 7 => format!("M{}", random.below(4)),
        _ => format!("google.protobuf.{}", random.pick(KNOWN)),
    };
    let (any, plain) = (kind(true), kind(false));
    let line = match random.below(8) {
        0 => format!("map<{}, {any}> map_field_{field} = {number};", random.pick(KEYS)),
        1 => format!("repeated {any} list_field{field} = {number};"),
        2 if plain != "string" && plain != "bytes" => {
            format!("repeated {plain} list{field} = {number} [packed = {}];", random.below(2) == 0)
        }
        3 => format!("optional {plain} optional_{field} = {number};"),
        4 => format!(
            "oneof choice_{field} {{ {any} a_{field} = {number}; {plain} b{field} = {}; }}",
            number + BEYOND
        ),
        5 => format!(
            "{}{any} f_{field} = {number} [json_name = \"Other-{field}\"];",
            if proto2 { "optional " } else { "" }
        ),
        _ => format!("{}{plain} field_{field}_x = {number};", if proto2 { "optional " } else { "" }),
    };
    writeln!(text, "  {line}").unwrap();
}

/// A message, nested at most `depth` deep.
pub(crate) fn message(random: &mut Random, descriptor: &MessageDescriptor, depth: usize) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    if known(random, &mut message, depth) {
        return message;
    }
    for field in descriptor.fields() {
        if random.below(3) == 0 {
            continue;
        }
        let is_message = field.kind().as_message().is_some();
        if is_message && !field.is_map() && depth == 0 {
            continue;
        }
        let value = match (field.is_map(), field.is_list()) {
            (true, _) => Value::Map(map(random, &field, depth)),
            (_, true) => {
                let length = random.below(5);
                Value::List((0..length).map(|_| value(random, &field, depth)).collect())
            }
            _ => value(random, &field, depth),
        };
        message.set_field(&field, value);
    }
    message
}

fn map(random: &mut Random, field: &FieldDescriptor, depth: usize) -> HashMap<MapKey, Value> {
    let kind = field.kind();
    let entry = kind.as_message().unwrap();
    let (key, of_value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
    let length = random.below(4);
    if of_value.kind().as_message().is_some() && depth == 0 {
        return HashMap::new();
    }
    let mut entries = HashMap::new();
    for _ in 0..length {
        let key = value(random, &key, depth).into_map_key().unwrap();
        entries.insert(key, value(random, &of_value, depth));
    }
    entries
}

#[expect(clippy::cast_possible_truncation, reason = "any bits will do")]
fn value(random: &mut Random, field: &FieldDescriptor, depth: usize) -> Value {
    let number = random.number();
    match field.kind() {
        Kind::Double => Value::F64(random.float()),
        Kind::Float => Value::F32(random.float() as f32),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(number as i32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(number.cast_signed()),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(number as u32),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(number),
        Kind::Bool => Value::Bool(number & 1 == 1),
        Kind::String => Value::String(random.text()),
        Kind::Bytes => Value::Bytes(random.bytes().into()),
        Kind::Message(message_kind) => {
            Value::Message(message(random, &message_kind, depth.saturating_sub(1)))
        }
        Kind::Enum(kind) => Value::EnumNumber(enumeration(random, &kind, number)),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "any bits will do")]
fn enumeration(random: &mut Random, kind: &EnumDescriptor, number: u64) -> i32 {
    let closed = kind.parent_file().syntax() == prost_reflect::Syntax::Proto2;
    if kind.full_name() == "google.protobuf.NullValue" {
        return 0;
    }
    match random.below(4) {
        0 if !closed => number as i32,
        _ => kind.values().nth(random.below(kind.values().len())).unwrap().number(),
    }
}

/// Fills a well-known message with something that has a JSON form; gives whether it is one.
fn known(random: &mut Random, message: &mut DynamicMessage, depth: usize) -> bool {
    let descriptor = message.descriptor();
    let mut set = |name: &str, value: Value| message.set_field_by_name(name, value);
    match descriptor.full_name() {
        "google.protobuf.Timestamp" => {
            let seconds = (random.next() % 315_537_897_600).cast_signed() - 62_135_596_800;
            set("seconds", Value::I64(seconds));
            set("nanos", Value::I32(nanos(random)));
        }
        "google.protobuf.Duration" => {
            let sign = random.sign;
            set("seconds", Value::I64(i64::from(sign) * (random.next() % 315_576_000_000).cast_signed()));
            set("nanos", Value::I32(sign * nanos(random)));
        }
        "google.protobuf.FieldMask" => {
            let paths = ["a", "b_c", "long_path.with_parts.x1"];
            let length = random.below(3);
            let paths = (0..length).map(|_| Value::String(random.pick(&paths).to_owned())).collect();
            set("paths", Value::List(paths));
        }
        "google.protobuf.Value" => match random.below(if depth == 0 { 4 } else { 6 }) {
            0 => set("null_value", Value::EnumNumber(0)),
            1 => set("number_value", Value::F64(random.finite())),
            2 => set("string_value", Value::String(random.text())),
            3 => set("bool_value", Value::Bool(random.below(2) == 0)),
            other => {
                let name = if other == 4 { "struct_value" } else { "list_value" };
                let field = descriptor.get_field_by_name(name).unwrap();
                let inner = self::message(random, field.kind().as_message().unwrap(), depth - 1);
                set(name, Value::Message(inner));
            }
        },
        // The oracle writes a wrapped infinity as null.
        "google.protobuf.DoubleValue" => set("value", Value::F64(random.finite())),
        "google.protobuf.FloatValue" => set("value", Value::F32((random.next() % 4000) as f32 / 8.0)),
        _ => return false,
    }
    true
}

fn nanos(random: &mut Random) -> i32 {
    let nanos = (random.next() % 1_000_000_000) as i32;
    [0, nanos / 1_000_000 * 1_000_000, nanos / 1000 * 1000, nanos][random.below(4)]
}
