//! A schema as it was read: names with their places, nothing proved yet.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::description::{
    Description, Directive, EnumType, EnumValue, Field, Metadata, Method, ObjectType, Service,
};

/// A part of the text, in bytes.
pub(super) type Span = Range<usize>;

/// A word and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) span: Span,
}

#[derive(Debug, Default)]
pub(super) struct Schema {
    /// What each `@okra` says, in order.
    pub(super) meta: Vec<Mark>,
    pub(super) types: Vec<TypeDef>,
    pub(super) enums: Vec<EnumDef>,
    pub(super) services: Vec<ServiceDef>,
}

/// A directive.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) name: Word,
    pub(super) args: Vec<(Word, Argument)>,
}

/// The value of an argument: as text, if it has one.
#[derive(Clone, Debug)]
pub(super) struct Argument {
    pub(super) text: Option<String>,
    pub(super) span: Span,
}

#[derive(Debug)]
pub(super) struct TypeDef {
    pub(super) name: Word,
    pub(super) doc: String,
    pub(super) fields: Vec<FieldDef>,
}

#[derive(Debug)]
pub(super) struct FieldDef {
    pub(super) name: Word,
    pub(super) doc: String,
    pub(super) of: TypeRef,
    pub(super) marks: Vec<Mark>,
}

/// A type as it is used.
#[derive(Clone, Debug)]
pub(super) struct TypeRef {
    /// The type without lists and marks.
    pub(super) name: Word,
    /// How many lists are around it.
    pub(super) lists: usize,
    pub(super) is_required: bool,
    pub(super) span: Span,
}

#[derive(Debug)]
pub(super) struct EnumDef {
    pub(super) name: Word,
    pub(super) doc: String,
    pub(super) values: Vec<ValueDef>,
}

#[derive(Debug)]
pub(super) struct ValueDef {
    pub(super) name: Word,
    pub(super) doc: String,
}

#[derive(Debug)]
pub(super) struct ServiceDef {
    pub(super) name: Word,
    pub(super) doc: String,
    pub(super) methods: Vec<MethodDef>,
}

#[derive(Debug)]
pub(super) struct MethodDef {
    pub(super) name: Word,
    pub(super) doc: String,
    /// The type of the first argument; further ones mean nothing.
    pub(super) input: Option<TypeRef>,
    pub(super) output: TypeRef,
    pub(super) marks: Vec<Mark>,
}

// === impl Schema ===

impl Schema {
    /// The last thing that any `@okra` says by this name.
    pub(super) fn meta(&self, name: &str) -> Option<&Argument> {
        let args = self.meta.iter().rev().flat_map(|mark| mark.args.iter().rev());
        args.filter(|(word, _)| word.text == name).map(|(_, value)| value).next()
    }

    pub(super) fn into_description(self) -> Description {
        let text = |name| self.meta(name).and_then(|value| value.text.clone()).unwrap_or_default();
        let meta =
            Metadata { namespace: text("namespace"), version: text("version"), service: text("service") };
        Description {
            types: self.types.into_iter().map(TypeDef::into_description).collect(),
            enums: self.enums.into_iter().map(EnumDef::into_description).collect(),
            services: self.services.into_iter().map(ServiceDef::into_description).collect(),
            meta,
        }
    }
}

impl TypeDef {
    fn into_description(self) -> ObjectType {
        let field = |field: FieldDef| Field {
            name: field.name.text,
            type_name: field.of.text(),
            required: field.of.is_required,
            directives: directives(field.marks),
            doc: field.doc,
        };
        let fields = self.fields.into_iter().map(field).collect();
        ObjectType { name: self.name.text, doc: self.doc, fields }
    }
}

impl EnumDef {
    fn into_description(self) -> EnumType {
        let values = self.values.into_iter().map(|value| EnumValue { name: value.name.text, doc: value.doc });
        EnumType { name: self.name.text, doc: self.doc, values: values.collect() }
    }
}

impl ServiceDef {
    fn into_description(self) -> Service {
        let method = |method: MethodDef| Method {
            name: method.name.text,
            input_type: method.input.map(|input| input.text()).unwrap_or_default(),
            output_type: method.output.text(),
            directives: directives(method.marks),
            doc: method.doc,
        };
        let methods = self.methods.into_iter().map(method).collect();
        Service { name: self.name.text, doc: self.doc, methods, ..Service::default() }
    }
}

// === impl TypeRef ===

impl TypeRef {
    /// As the description has it: `!` within lists is lost.
    fn text(&self) -> String {
        format!("{}{}{}", "[".repeat(self.lists), self.name.text, "]".repeat(self.lists))
    }
}

fn directives(marks: Vec<Mark>) -> Vec<Directive> {
    let directive = |mark: Mark| {
        let args = mark.args.into_iter().map(|(name, value)| (name.text, value.text.unwrap_or_default()));
        Directive { name: mark.name.text, args: args.collect::<BTreeMap<_, _>>(), doc: String::new() }
    };
    marks.into_iter().map(directive).collect()
}
