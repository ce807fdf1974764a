//! Reads a schema with a GraphQL parser, which recovers from errors and so finds all of them.

use std::collections::VecDeque;

use apollo_parser::cst::{self, CstNode};
use apollo_parser::{Lexer, Parser, SyntaxNode, TokenKind};

use super::error::{IdlErrorCode, Problems};
use super::rewrite::{Rewritten, rewrite};
use super::syntax::{
    Argument, EnumDef, FieldDef, Mark, MethodDef, Schema, ServiceDef, Span, TypeDef, TypeRef, ValueDef, Word,
};

/// A type of this prefix is a service, as the original's tools write it.
pub(super) const SERVICE_PREFIX: &str = "Service_";

/// More than a schema of the longest length has, if it says anything.
const MAX_TOKENS: usize = 500_000;
/// How deep values and types are nested.
const MAX_DEPTH: usize = 64;
/// What directives of their own are read behind.
const CARRIER: &str = "extend schema ";

/// The directives that stand before methods, in order.
struct Leading(VecDeque<Mark>);

/// How many bytes lie before the text that is read, of which none are there.
#[derive(Clone, Copy)]
struct Shift {
    added: usize,
    removed: usize,
}

pub(super) fn schema(source: &str, problems: &mut Problems) -> Schema {
    let rewritten = rewrite(source, MAX_TOKENS, problems);
    let mut schema = Schema::default();
    for span in &rewritten.okra {
        schema.meta.extend(marks_at(source, span, problems));
    }
    for span in &rewritten.ignored {
        marks_at(source, span, problems);
    }
    let mut leading = VecDeque::new();
    for span in &rewritten.leading {
        leading.extend(marks_at(source, span, problems));
    }
    let mut leading = Leading(leading);
    if is_blank(&rewritten.text) {
        // A document without definitions is none to the parser.
        return schema;
    }
    let tree = Parser::new(&rewritten.text).token_limit(MAX_TOKENS).recursion_limit(MAX_DEPTH).parse();
    report(source, tree.errors(), Shift::NONE, problems);
    for definition in tree.document().definitions() {
        add(&mut schema, &definition, &rewritten, &mut leading, problems);
    }
    schema
}

fn add(
    schema: &mut Schema,
    definition: &cst::Definition,
    rewritten: &Rewritten,
    leading: &mut Leading,
    problems: &mut Problems,
) {
    match definition {
        cst::Definition::ObjectTypeDefinition(object) => {
            let Some(mut name) = word(object.name(), Shift::NONE) else { return };
            let doc = doc(object.description());
            let fields = object.fields_definition().map(|fields| fields.field_definitions());
            let keyword = object.type_token().map(|token| usize::from(token.text_range().start()));
            let is_service = keyword.is_some_and(|at| rewritten.services.binary_search(&at).is_ok());
            let spelt_out = name.text.strip_prefix(SERVICE_PREFIX).map(str::to_owned);
            if is_service || spelt_out.is_some() {
                if let Some(text) = spelt_out.filter(|_| !is_service) {
                    name.text = text;
                }
                let methods = fields.into_iter().flatten().filter_map(|field| method(&field, leading));
                schema.services.push(ServiceDef { name, doc, methods: methods.collect() });
            } else {
                let fields = fields.into_iter().flatten().filter_map(|field| field_of_type(&field));
                schema.types.push(TypeDef { name, doc, fields: fields.collect() });
            }
        }
        cst::Definition::InputObjectTypeDefinition(object) => {
            let Some(name) = word(object.name(), Shift::NONE) else { return };
            let fields = object.input_fields_definition().map(|fields| fields.input_value_definitions());
            let fields = fields.into_iter().flatten().filter_map(|field| field_of_input(&field));
            schema.types.push(TypeDef { name, doc: doc(object.description()), fields: fields.collect() });
        }
        cst::Definition::EnumTypeDefinition(definition) => {
            let Some(name) = word(definition.name(), Shift::NONE) else { return };
            let values = definition.enum_values_definition().map(|values| values.enum_value_definitions());
            let values = values.into_iter().flatten().filter_map(|value| {
                let name = word(value.enum_value()?.name(), Shift::NONE)?;
                Some(ValueDef { name, doc: doc(value.description()) })
            });
            schema.enums.push(EnumDef { name, doc: doc(definition.description()), values: values.collect() });
        }
        // They say nothing of a service that anyone reads.
        cst::Definition::DirectiveDefinition(_)
        | cst::Definition::SchemaDefinition(_)
        | cst::Definition::ScalarTypeDefinition(_)
        | cst::Definition::InterfaceTypeDefinition(_)
        | cst::Definition::UnionTypeDefinition(_) => {}
        // Braces that lost what they belong to look like an operation.
        cst::Definition::OperationDefinition(operation)
            if operation.operation_type().is_none() && !problems.is_empty() => {}
        cst::Definition::OperationDefinition(_)
        | cst::Definition::FragmentDefinition(_)
        | cst::Definition::SchemaExtension(_)
        | cst::Definition::ScalarTypeExtension(_)
        | cst::Definition::ObjectTypeExtension(_)
        | cst::Definition::InterfaceTypeExtension(_)
        | cst::Definition::UnionTypeExtension(_)
        | cst::Definition::EnumTypeExtension(_)
        | cst::Definition::InputObjectTypeExtension(_) => {
            let place = first_word(definition.syntax());
            problems.push_with_help(
                IdlErrorCode::Unsupported,
                place,
                "a schema is made of `type`, `input`, `enum` and `service`; this would be lost",
                "write what it says in the definition itself",
            );
        }
    }
}

fn method(field: &cst::FieldDefinition, leading: &mut Leading) -> Option<MethodDef> {
    let name = word(field.name(), Shift::NONE)?;
    let mut marks = leading.take_before(name.span.start);
    marks.extend(marks_of(field.directives(), Shift::NONE));
    let first = field.arguments_definition().and_then(|args| args.input_value_definitions().next());
    Some(MethodDef {
        doc: doc(field.description()),
        input: first.and_then(|argument| type_ref(&argument.ty()?)),
        output: type_ref(&field.ty()?)?,
        marks,
        name,
    })
}

fn field_of_type(field: &cst::FieldDefinition) -> Option<FieldDef> {
    Some(FieldDef {
        name: word(field.name(), Shift::NONE)?,
        doc: doc(field.description()),
        of: type_ref(&field.ty()?)?,
        marks: marks_of(field.directives(), Shift::NONE),
    })
}

fn field_of_input(field: &cst::InputValueDefinition) -> Option<FieldDef> {
    Some(FieldDef {
        name: word(field.name(), Shift::NONE)?,
        doc: doc(field.description()),
        of: type_ref(&field.ty()?)?,
        marks: marks_of(field.directives(), Shift::NONE),
    })
}

fn type_ref(of: &cst::Type) -> Option<TypeRef> {
    let (mut lists, mut is_required) = (0, false);
    let mut inner = of.clone();
    let name = loop {
        inner = match inner {
            cst::Type::NamedType(named) => break named.name(),
            cst::Type::ListType(list) => {
                lists += 1;
                list.ty()?
            }
            cst::Type::NonNullType(of) => {
                is_required |= lists == 0;
                match (of.named_type(), of.list_type()) {
                    (Some(named), _) => cst::Type::NamedType(named),
                    (None, list) => cst::Type::ListType(list?),
                }
            }
        };
    };
    let name = word(name, Shift::NONE)?;
    // Without the blanks that the parser counts to it.
    let end = of.syntax().descendants_with_tokens().filter_map(|element| element.into_token());
    let end = end.filter(|token| !token.text().trim().is_empty() && !token.text().starts_with('#')).last();
    let start = usize::from(of.syntax().text_range().start());
    let end = end.map_or(name.span.end, |token| usize::from(token.text_range().end()));
    Some(TypeRef { name, lists, is_required, span: start..end })
}

// === impl Leading ===

impl Leading {
    /// Takes those that stand before this place.
    fn take_before(&mut self, at: usize) -> Vec<Mark> {
        let is_before = |mark: &mut Mark| mark.name.span.start < at;
        std::iter::from_fn(|| self.0.pop_front_if(is_before)).collect()
    }
}

// === impl Shift ===

impl Shift {
    const NONE: Self = Self { added: 0, removed: 0 };

    fn apply(self, at: usize) -> usize {
        (at + self.added).saturating_sub(self.removed)
    }
}

/// The directives of a part of the text that has only such.
fn marks_at(source: &str, span: &Span, problems: &mut Problems) -> Vec<Mark> {
    let text = format!("{CARRIER}{}", source.get(span.clone()).unwrap_or_default());
    let shift = Shift { added: span.start, removed: CARRIER.len() };
    let tree = Parser::new(&text).token_limit(MAX_TOKENS).recursion_limit(MAX_DEPTH).parse();
    report(source, tree.errors(), shift, problems);
    let first = tree.document().definitions().next();
    let Some(cst::Definition::SchemaExtension(carrier)) = first else { return Vec::new() };
    marks_of(carrier.directives(), shift)
}

fn marks_of(directives: Option<cst::Directives>, shift: Shift) -> Vec<Mark> {
    let mark = |directive: cst::Directive| {
        let args = directive.arguments().map(|arguments| arguments.arguments());
        let args = args.into_iter().flatten().filter_map(|argument| {
            let value = argument.value()?;
            Some((word(argument.name(), shift)?, argument_of(&value, shift)))
        });
        Some(Mark { name: word(directive.name(), shift)?, args: args.collect() })
    };
    directives.into_iter().flat_map(|directives| directives.directives()).filter_map(mark).collect()
}

/// A value as the description has it.
fn argument_of(value: &cst::Value, shift: Shift) -> Argument {
    let text = || first_token(value.syntax());
    let text = match value {
        cst::Value::StringValue(_) => Some(unquoted(&text()).to_owned()),
        cst::Value::FloatValue(_) => {
            // The precision the original has.
            text().parse::<f32>().ok().map(|number| format!("{number:.6}"))
        }
        cst::Value::IntValue(_) | cst::Value::BooleanValue(_) | cst::Value::EnumValue(_) => Some(text()),
        cst::Value::NullValue(_)
        | cst::Value::ListValue(_)
        | cst::Value::ObjectValue(_)
        | cst::Value::Variable(_) => None,
    };
    let place = first_word(value.syntax());
    Argument { text, span: shift.apply(place.start)..shift.apply(place.end) }
}

fn word(name: Option<cst::Name>, shift: Shift) -> Option<Word> {
    let token = name?.ident_token()?;
    let (start, end) = (token.text_range().start(), token.text_range().end());
    let span = shift.apply(usize::from(start))..shift.apply(usize::from(end));
    Some(Word { text: token.text().to_owned(), span })
}

fn doc(description: Option<cst::Description>) -> String {
    let value = description.and_then(|description| description.string_value());
    value.map(|value| unquoted(&first_token(value.syntax())).trim().to_owned()).unwrap_or_default()
}

fn first_token(node: &SyntaxNode) -> String {
    node.first_token().map(|token| token.text().to_owned()).unwrap_or_default()
}

fn first_word(node: &SyntaxNode) -> Span {
    let range = node.first_token().map(|token| token.text_range());
    range.map_or(0..0, |range| usize::from(range.start())..usize::from(range.end()))
}

/// The content of a string as it stands, escapes and all.
fn unquoted(text: &str) -> &str {
    let block = text.strip_prefix("\"\"\"").and_then(|text| text.strip_suffix("\"\"\""));
    let plain = || text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    block.or_else(plain).unwrap_or(text)
}

/// Whether there is nothing but blanks and comments.
fn is_blank(text: &str) -> bool {
    let mut tokens = Lexer::new(text);
    tokens.all(|token| {
        token.is_ok_and(|token| {
            matches!(
                token.kind(),
                TokenKind::Whitespace | TokenKind::Comment | TokenKind::Comma | TokenKind::Eof
            )
        })
    })
}

/// Notes what the parser says, once for each run of words on a line that it stumbles over.
fn report<'e>(
    source: &str,
    errors: impl Iterator<Item = &'e apollo_parser::Error>,
    shift: Shift,
    problems: &mut Problems,
) {
    let mut last_end = None;
    for error in errors {
        let start = shift.apply(error.index());
        let length = if error.is_eof() || error.is_limit() { 0 } else { error.data().len() };
        let is_more = last_end.is_some_and(|end| {
            let gap =
                source.get(end..start).map(|gap| gap.chars().all(|blank| matches!(blank, ' ' | '\t' | ',')));
            start <= end || gap.unwrap_or(false)
        });
        last_end = Some(start + length);
        if !is_more {
            let (message, help) = plain(error);
            match help {
                Some(help) => {
                    problems.push_with_help(IdlErrorCode::Syntax, start..start + length, message, help);
                }
                None => problems.push(IdlErrorCode::Syntax, start..start + length, message),
            }
        }
    }
}

/// What the parser says, in the words of those who write schemas.
fn plain(error: &apollo_parser::Error) -> (String, Option<&'static str>) {
    if error.is_limit() {
        let help = "divide the schema, or nest less deeply";
        return ("the schema is too long or too deeply nested".to_owned(), Some(help));
    }
    let token = error.data().chars().next();
    if token == Some('-') {
        let help = "names are made of letters, digits and `_`";
        return ("names have no `-`".to_owned(), Some(help));
    }
    const WORDS: [(&str, &str); 6] = [
        ("R_CURLY", "`}`"),
        ("R_BRACK", "`]`"),
        ("R_PAREN", "`)`"),
        ("COLON", "`:`"),
        ("a StringValue, Name or OperationDefinition", "a definition"),
        ("expected definition", "expected a definition"),
    ];
    let message =
        WORDS.iter().fold(error.message().to_owned(), |text, (word, plain)| text.replace(word, plain));
    let help = (token == Some('@')).then_some("directives of a field stand behind its type");
    (message, help)
}
