//! Which method a path means: `/{package.Service}/{Method}`, also below `/connect`.
//!
//! Nothing is decoded and nothing is redirected: a path either is a method's or it is not.

use std::sync::Arc;

/// The full method, `/package.Service/Method`, of a path.
pub(crate) fn method(path: &str) -> Option<Arc<str>> {
    let direct = |path: &str| {
        let (service, method) = path.strip_prefix('/')?.split_once('/')?;
        (!service.is_empty() && !method.is_empty() && !method.contains('/')).then(|| path.into())
    };
    direct(path).or_else(|| direct(path.strip_prefix(PREFIX)?))
}

/// The service and the method in a full method.
pub(crate) fn split(method: &str) -> (&str, &str) {
    method.trim_start_matches('/').split_once('/').unwrap_or((method, ""))
}

/// Below this the original gateway had its services.
const PREFIX: &str = "/connect";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_method_has_two_paths() {
        for (path, expected) in [
            ("/a.B/C", Some("/a.B/C")),
            ("/connect/a.B/C", Some("/a.B/C")),
            ("/B/c", Some("/B/c")),
            ("/connect/c", Some("/connect/c")),
            ("/connect/connect/c", Some("/connect/c")),
            ("/", None),
            ("/a.B", None),
            ("/a.B/", None),
            ("/connect/a.B/", None),
            ("/connect/a.B/C/", None),
            ("//C", None),
            ("/a.B/C/", None),
            ("/a.B/C/D", None),
            ("a.B/C", None),
            ("*", None),
        ] {
            assert_eq!(method(path).as_deref(), expected, "{path}");
        }
        assert_eq!(split("/a.B/C"), ("a.B", "C"));
    }

    proptest! {
        #[test]
        fn any_path_is_a_method_s_or_none(path in ".{0,60}") {
            if let Some(method) = method(&path) {
                let (service, name) = split(&method);
                prop_assert!(!service.is_empty() && !name.is_empty());
            }
        }
    }
}
