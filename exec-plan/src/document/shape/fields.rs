//! What every part of a document is made of: objects with known keys, arrays, strings, numbers in range.

use std::ops::RangeInclusive;

use super::Shape;
use crate::diagnostic::{GraphErrorCode as Code, Problem};
use crate::document::{Item, Kind, Span, Word, is_identifier};

// === impl Shape ===

impl<'t> Shape<'t, '_> {
    /// The values of an object by key. Unknown keys are reported; of repeated ones, which the reader
    /// reported, the first counts.
    pub(super) fn fields<const N: usize>(
        &mut self,
        item: Item,
        keys: &'static [&'static str; N],
        what: &str,
    ) -> Option<[Option<Item>; N]> {
        if !self.object(item, what) {
            return None;
        }
        let tree = self.tree;
        let mut values = [None; N];
        for (key, value) in tree.members(item) {
            if tree.kind(key) == Kind::Hole {
                continue;
            }
            let word = tree.key(key);
            match keys.iter().position(|legal| *legal == word.text) {
                Some(index) => values[index] = values[index].or(Some(value)),
                None => self.unknown_key(word, keys, what),
            }
        }
        Some(values)
    }

    #[cold]
    pub(super) fn unknown_key(&mut self, key: Word<'t>, keys: &[&'static str], what: &str) {
        let help = self.problems.closest(key.text, keys.iter().copied()).map_or_else(
            || format!("the keys of {what} are {}", listed(keys)),
            |name| format!("did you mean `{name}`?"),
        );
        let message = format!("{what} has no key {:?}", key.text);
        self.problems.push(Problem::new(Code::UnknownKey, key.span, message).help(help));
    }

    /// The value of a key that must be there.
    pub(super) fn required(
        &mut self,
        item: Item,
        value: Option<Item>,
        key: &str,
        what: &str,
    ) -> Option<Item> {
        if value.is_none() && !self.tree.is_damaged(item) {
            self.report(Code::MissingKey, self.tree.head(item), format!("{what} needs the key `{key}`"));
        }
        value
    }

    pub(super) fn object(&mut self, item: Item, what: &str) -> bool {
        let is_object = self.tree.kind(item) == Kind::Object;
        if !is_object {
            self.wrong_type(item, what, "an object");
        }
        is_object
    }

    pub(super) fn array(&mut self, item: Item, what: &str) -> impl Iterator<Item = Item> + use<'t> {
        if self.tree.kind(item) != Kind::Array {
            self.wrong_type(item, what, "an array");
        }
        self.tree.elements(item)
    }

    pub(super) fn string(&mut self, item: Item, what: &str) -> Option<Word<'t>> {
        let word = self.tree.word(item);
        if word.is_none() {
            self.wrong_type(item, what, "a string");
        }
        word
    }

    /// A string that should be an identifier; it is used as a name even if it is none, so that what
    /// refers to it is not reported as well.
    pub(super) fn identifier(&mut self, item: Item, what: &str) -> Option<Word<'t>> {
        let word = self.string(item, what)?;
        if !is_identifier(word.text) {
            let message = format!("{:?} is not an identifier", word.text);
            let problem = Problem::new(Code::InvalidIdentifier, word.span, message)
                .help(format!("{what} is a letter or `_`, then letters, digits or `_`"));
            self.problems.push(problem);
        }
        Some(word)
    }

    pub(super) fn integer(&mut self, item: Item, what: &str, range: RangeInclusive<u64>) -> Option<u64> {
        if self.tree.kind(item) != Kind::Number {
            self.wrong_type(item, what, "an integer");
            return None;
        }
        let raw = self.tree.raw(item);
        let number = raw.parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            let message =
                format!("{what} is an integer from {} to {}, not {raw}", range.start(), range.end());
            self.report(Code::InvalidValue, self.tree.head(item), message);
        }
        number
    }

    pub(super) fn is_readable(&self, item: Item) -> bool {
        self.tree.kind(item) != Kind::Hole
    }

    pub(super) fn refuse_repeats(&mut self, words: &[Word<'t>], code: Code, what: &str) {
        if words.len() < 2 {
            return;
        }
        let mut first_places = foldhash::HashMap::default();
        for word in words {
            if let Some(first) = first_places.get(word.text) {
                let problem =
                    Problem::new(code, word.span, format!("the {what} `{}` stands here again", word.text))
                        .related(*first, "first here");
                self.problems.push(problem);
            } else {
                first_places.insert(word.text, word.span);
            }
        }
    }

    pub(super) fn wrong_type(&mut self, item: Item, what: &str, wanted: &str) {
        let kind = self.tree.kind(item);
        if kind != Kind::Hole {
            let message = format!("{what} must be {wanted}, not {}", kind.noun());
            self.report(Code::WrongType, self.tree.head(item), message);
        }
    }

    pub(super) fn report(&mut self, code: Code, span: Span, message: impl Into<String>) {
        self.problems.push(Problem::new(code, span, message));
    }
}

fn listed(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
