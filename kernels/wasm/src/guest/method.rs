//! The name of a method, as a call carries it.
//!
//! A request names its method by a path, which many places share. The name at its end is a part of that
//! same text, so that a call needs no text of its own.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// The name of a method, without its service. Cheap to clone, and to make of a path.
#[derive(Clone, Default)]
pub struct MethodName {
    /// Nothing for an empty name.
    path: Option<Arc<str>>,
    /// Where the name begins: the start of a character of the path, or its end.
    start: usize,
}

// === impl MethodName ===

impl MethodName {
    /// The name at the end of a path: `Say` of `/demo.Echo/Say`. A text without a slash is the name.
    pub fn of_path(path: Arc<str>) -> Self {
        let start = path.rfind('/').map_or(0, |slash| slash + 1);
        Self { path: Some(path), start }
    }
}

impl Deref for MethodName {
    type Target = str;

    fn deref(&self) -> &str {
        self.path.as_ref().and_then(|path| path.get(self.start..)).unwrap_or_default()
    }
}

impl From<Arc<str>> for MethodName {
    /// The whole text, slashes and all.
    fn from(name: Arc<str>) -> Self {
        Self { path: Some(name), start: 0 }
    }
}

impl From<&str> for MethodName {
    /// The whole text, slashes and all.
    fn from(name: &str) -> Self {
        Arc::<str>::from(name).into()
    }
}

impl From<String> for MethodName {
    /// The whole text, slashes and all.
    fn from(name: String) -> Self {
        Arc::<str>::from(name).into()
    }
}

impl PartialEq for MethodName {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for MethodName {}

impl fmt::Debug for MethodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_ends_with_its_method() {
        for (path, name) in
            [("/demo.Echo/Say", "Say"), ("Say", "Say"), ("a/b/é", "é"), ("/", ""), ("", ""), ("é", "é")]
        {
            assert_eq!(&*MethodName::of_path(path.into()), name, "{path}");
            assert_eq!(&*MethodName::from(path), path);
        }
        assert_eq!(MethodName::of_path("/a/m".into()), MethodName::from("m"));
        assert_eq!(&*MethodName::default(), "");
        assert_eq!(format!("{:?}", MethodName::of_path("/a/m".into())), "\"m\"");
    }
}
