//! Places in a JSON document: a JSON pointer (`/users/0/name`, RFC 6901) or a dotted path
//! (`users.0.name`). The empty path is the whole document.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value as Json};

/// A parsed path.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct JsonPath {
    text: Box<str>,
    steps: Box<[Step]>,
}

/// One step of a path.
#[derive(Clone, Debug)]
struct Step {
    key: Box<str>,
    /// The position it names in an array.
    index: Option<usize>,
}

/// The text is not a path.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidPath {
    #[error("a path has at most {} steps", JsonPath::MAX_STEPS)]
    TooLong,
    #[error("step {0} of the path is empty")]
    EmptyStep(usize),
    #[error("'~' in a JSON pointer must be written '~0', and '/' in a name '~1'")]
    Escape,
}

/// Why nothing can be put at a path.
#[derive(Debug, thiserror::Error)]
#[error("{path}: step {step:?} leads into {found}")]
pub(crate) struct NoSuchPlace {
    path: Box<str>,
    step: Box<str>,
    found: &'static str,
}

// === impl JsonPath ===

impl JsonPath {
    /// The most steps a path may have; a document is seldom half as deep.
    pub(crate) const MAX_STEPS: usize = 64;
    /// The step that stands for the place after an array's last element.
    const END: &'static str = "-";

    /// The value at this path.
    pub(crate) fn get<'j>(&self, document: &'j Json) -> Option<&'j Json> {
        self.steps.iter().try_fold(document, |at, step| match at {
            Json::Object(members) => members.get(&*step.key),
            Json::Array(items) => items.get(step.index?),
            Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => None,
        })
    }

    /// The value at this path of the document in `text`, without building the rest of it.
    ///
    /// # Errors
    /// The text is not JSON.
    pub(crate) fn seek(&self, text: &[u8]) -> Result<Option<Json>, serde_json::Error> {
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        let found = Seek(&self.steps).deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(found)
    }

    /// Puts `value` at this path. Missing objects on the way are made; `-` appends to an array.
    ///
    /// # Errors
    /// [`NoSuchPlace`] if a step leads into a scalar or past an array's end.
    pub(crate) fn set(&self, document: &mut Json, value: Json) -> Result<(), NoSuchPlace> {
        let mut at = document;
        for step in &self.steps {
            if at.is_null() {
                *at = Json::Object(Map::new());
            }
            let refuse = |found| NoSuchPlace { path: self.text.clone(), step: step.key.clone(), found };
            at = match at {
                Json::Object(members) => members.entry(&*step.key).or_insert(Json::Null),
                Json::Array(items) => {
                    let index = if &*step.key == Self::END { Some(items.len()) } else { step.index };
                    if index == Some(items.len()) {
                        items.push(Json::Null);
                    }
                    index
                        .and_then(|index| items.get_mut(index))
                        .ok_or_else(|| refuse("an array without that place"))?
                }
                Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Null => {
                    return Err(refuse("a scalar"));
                }
            };
        }
        *at = value;
        Ok(())
    }

    fn pointer_step(text: &str) -> Result<Step, InvalidPath> {
        let mut key = String::with_capacity(text.len());
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            key.push(match c {
                '~' => match chars.next() {
                    Some('0') => '~',
                    Some('1') => '/',
                    _ => return Err(InvalidPath::Escape),
                },
                c => c,
            });
        }
        Ok(Step::new(&key))
    }
}

impl TryFrom<String> for JsonPath {
    type Error = InvalidPath;

    fn try_from(text: String) -> Result<Self, InvalidPath> {
        let steps: Box<[Step]> =
            if text.is_empty() {
                Box::default()
            } else if let Some(pointer) = text.strip_prefix('/') {
                pointer.split('/').map(Self::pointer_step).collect::<Result<_, _>>()?
            } else {
                let steps = text.split('.').enumerate();
                steps
                    .map(|(i, step)| {
                        if step.is_empty() { Err(InvalidPath::EmptyStep(i + 1)) } else { Ok(Step::new(step)) }
                    })
                    .collect::<Result<_, _>>()?
            };
        if steps.len() > Self::MAX_STEPS {
            return Err(InvalidPath::TooLong);
        }
        Ok(Self { text: text.into(), steps })
    }
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.text.is_empty() { "the document" } else { &self.text })
    }
}

// === impl Step ===

impl Step {
    fn new(key: &str) -> Self {
        // RFC 6901: digits without leading zeros.
        let is_index = key == "0" || !key.starts_with('0') && key.bytes().all(|b| b.is_ascii_digit());
        Self { index: is_index.then(|| key.parse().ok()).flatten(), key: key.into() }
    }
}

// === impl Seek ===

/// Finds the value at the end of some steps, skipping everything else.
struct Seek<'p>(&'p [Step]);

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = Option<Json>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<Json>, D::Error> {
        if self.0.is_empty() {
            Json::deserialize(deserializer).map(Some)
        } else {
            deserializer.deserialize_any(self)
        }
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = Option<Json>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Option<Json>, A::Error> {
        let Some((step, rest)) = self.0.split_first() else { return Ok(None) };
        let mut found = None;
        while let Some(wanted) = members.next_key_seed(Is(&step.key))? {
            if wanted {
                // Of two members with one name the last counts, as it does for the whole document.
                found = members.next_value_seed(Seek(rest))?;
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Option<Json>, A::Error> {
        let Some((step, rest)) = self.0.split_first() else { return Ok(None) };
        for _ in 0..step.index.unwrap_or(0) {
            if items.next_element::<IgnoredAny>()?.is_none() {
                return Ok(None);
            }
        }
        let found = if step.index.is_some() { items.next_element_seed(Seek(rest))?.flatten() } else { None };
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Option<Json>, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Option<Json>, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Option<Json>, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Option<Json>, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Option<Json>, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Option<Json>, E> {
        Ok(None)
    }
}

/// Whether a member's name is this one.
struct Is<'k>(&'k str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn path(text: &str) -> JsonPath {
        JsonPath::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn pointers_and_dotted_paths_find_the_same_places() {
        let document = json!({"a": {"b": [10, {"c": null}]}, "x/y": 1, "m~n": 2, "": 3, "0": 4});
        for (text, expected) in [
            ("", Some(document.clone())),
            ("a.b.0", Some(json!(10))),
            ("/a/b/0", Some(json!(10))),
            ("/a/b/1/c", Some(Json::Null)),
            ("/x~1y", Some(json!(1))),
            ("x/y", Some(json!(1))),
            ("/m~0n", Some(json!(2))),
            ("/", Some(json!(3))),
            ("0", Some(json!(4))),
            ("a.b.2", None),
            ("a.b.01", None),
            ("a.b.-", None),
            ("a.b.c", None),
            ("a.b.0.z", None),
            ("z", None),
        ] {
            assert_eq!(path(text).get(&document), expected.as_ref(), "{text}");
            assert_eq!(path(text).seek(document.to_string().as_bytes()).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for (text, expected) in [
            ("a..b", "step 2 of the path is empty"),
            ("/a~2", "'~' in a JSON pointer must be written '~0', and '/' in a name '~1'"),
            (&"/a".repeat(65), "a path has at most 64 steps"),
        ] {
            assert_eq!(JsonPath::try_from(text.to_owned()).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn setting_makes_the_objects_on_its_way() {
        for (before, text, after) in [
            (json!({}), "a.b", json!({"a": {"b": 7}})),
            (Json::Null, "a", json!({"a": 7})),
            (json!({"a": 1}), "a", json!({"a": 7})),
            (json!({"a": [1, 2]}), "a.1", json!({"a": [1, 7]})),
            (json!({"a": [1]}), "a.-", json!({"a": [1, 7]})),
            (json!({"a": [1]}), "a.1", json!({"a": [1, 7]})),
            (json!({"a": []}), "/a/-/b", json!({"a": [{"b": 7}]})),
            (json!("old"), "", json!(7)),
        ] {
            let mut document = before.clone();
            path(text).set(&mut document, json!(7)).unwrap();
            assert_eq!(document, after, "{text} in {before}");
        }
        for (before, text, expected) in [
            (json!({"a": 1}), "a.b", r#"a.b: step "b" leads into a scalar"#),
            (json!([1]), "/3", r#"/3: step "3" leads into an array without that place"#),
            (json!([1]), "x", r#"x: step "x" leads into an array without that place"#),
        ] {
            let error = path(text).set(&mut before.clone(), json!(7)).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn seeking_refuses_what_is_not_json_even_past_the_place() {
        for text in [r#"{"a":1"#, r#"{"a":1} x"#, r#"{"a":1,"b":tru}"#, ""] {
            assert!(path("a").seek(text.as_bytes()).is_err(), "{text}");
        }
        assert_eq!(path("a").seek(br#"{"a":1,"a":2}"#).unwrap(), Some(json!(2)), "the last one counts");
    }

    fn any_json() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            any::<u64>().prop_map(Json::from),
            (-1e9..1e9_f64).prop_map(Json::from),
            "[a-c\"\\\\é\u{1}]{0,4}".prop_map(Json::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
                prop::collection::btree_map("[ab0\"é]{0,2}", inner, 0..4)
                    .prop_map(|members| Json::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn seeking_agrees_with_parsing_first(document in any_json(), steps in prop::collection::vec("[ab0\"é]{1,2}", 0..4)) {
            let path = path(&steps.join("."));
            let text = document.to_string();
            prop_assert_eq!(path.seek(text.as_bytes()).unwrap(), path.get(&document).cloned());
        }

        #[test]
        fn what_was_set_is_found(document in any_json(), steps in prop::collection::vec("[ab0]{1,2}", 0..4), value in any_json()) {
            let path = path(&steps.join("."));
            let mut changed = document;
            if path.set(&mut changed, value.clone()).is_ok() {
                prop_assert_eq!(path.get(&changed), Some(&value));
            }
        }
    }
}
