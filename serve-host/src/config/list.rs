//! Settings that are lists: an array in the file, text with commas in a flag or a variable.

use std::path::PathBuf;

use super::scalar::{Form, Scalar};

/// Some values of one kind, in order. Text that has a comma cannot be one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<T>(pub Vec<T>);

/// What separates the items in a flag or a variable.
pub(super) const SEPARATOR: char = ',';

// === impl List ===

impl<T> List<T> {
    /// No value at all.
    pub const EMPTY: Self = Self(Vec::new());
}

macro_rules! list {
    ($($Item:ty: $noun:literal, $expects:literal;)+) => { $(
        impl Scalar for List<$Item> {
            const NOUN: &'static str = $noun;
            const EXPECTS: &'static str = $expects;
            const FORMS: &'static [Form] = &[Form::Array];

            fn parse(text: &str) -> Result<Self, String> {
                if text.is_empty() {
                    return Ok(Self::EMPTY);
                }
                let items = text.split(SEPARATOR).map(|item| match item.trim() {
                    "" => Err(format!("{text:?} has an empty item")),
                    item => Scalar::parse(item),
                });
                items.collect::<Result<_, _>>().map(Self)
            }

            fn text(&self) -> String {
                let items: Vec<String> = self.0.iter().map(Scalar::text).collect();
                items.join(&SEPARATOR.to_string())
            }
        }
    )+ };
}

list! {
    PathBuf: "PATHS", "paths: an array of strings, or one text with commas";
    String: "NAMES", "names: an array of strings, or one text with commas";
}

#[cfg(test)]
mod tests {
    use super::super::scalar::{Given, Setting};
    use super::*;

    #[test]
    fn a_list_is_an_array_in_the_file_and_has_commas_elsewhere() {
        let mut list: List<PathBuf> = List::EMPTY;
        assert_eq!(list.toml().to_string(), "[]");
        list.set(Given { text: "/a, /b", form: Form::Untyped }).unwrap();
        assert_eq!(list.0, [PathBuf::from("/a"), PathBuf::from("/b")]);
        assert_eq!(list.toml().to_string(), r#"["/a", "/b"]"#);
        assert!(list.set(Given { text: "/a", form: Form::String }).is_err());
        assert!(list.set(Given { text: "/a,,/b", form: Form::Untyped }).is_err());
        list.set(Given { text: "", form: Form::Array }).unwrap();
        assert_eq!(list, List::EMPTY);
    }
}
