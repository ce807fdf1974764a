//! `calls`: which services a guest may call. None, unless it says so.

use serde::Deserialize;
use serde::de::Error as _;

use crate::legible::legible;

/// The services that a package may call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallRules(Vec<CallRule>);

/// One service, or all of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallRule {
    /// The service with this id, `namespace.Service.version`.
    Service(String),
    /// Every service whose id begins with this and a dot.
    Namespace(String),
}

/// The most rules of a package.
pub(crate) const MAX_RULES: usize = 256;
/// The longest rule, in bytes.
const MAX_RULE_BYTES: usize = 256;

// === impl CallRules ===

impl CallRules {
    /// Whether the service with this id may be called.
    pub fn allows(&self, service_id: &str) -> bool {
        self.0.iter().any(|rule| rule.allows(service_id))
    }

    /// The rules, in order.
    pub fn rules(&self) -> &[CallRule] {
        &self.0
    }
}

impl<'de> Deserialize<'de> for CallRules {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let rules = Vec::<CallRule>::deserialize(deserializer)?;
        if rules.len() > MAX_RULES {
            return Err(D::Error::custom(format_args!("`calls` has at most {MAX_RULES} rules")));
        }
        Ok(Self(rules))
    }
}

// === impl CallRule ===

impl CallRule {
    /// Whether the service with this id is meant.
    pub fn allows(&self, service_id: &str) -> bool {
        match self {
            Self::Service(id) => id == service_id,
            Self::Namespace(namespace) => {
                let rest = service_id.strip_prefix(namespace.as_str());
                rest.is_some_and(|rest| rest.len() > 1 && rest.starts_with('.'))
            }
        }
    }
}

impl<'de> Deserialize<'de> for CallRule {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let is_path = |path: &str| {
            let is_part = |part: &str| {
                !part.is_empty()
                    && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
            };
            path.len() <= MAX_RULE_BYTES && path.split('.').all(is_part)
        };
        let rule = match text.strip_suffix(".*") {
            Some(namespace) if is_path(namespace) => Some(Self::Namespace(namespace.to_owned())),
            None if is_path(&text) && text.contains('.') => Some(Self::Service(text.clone())),
            _ => None,
        };
        rule.ok_or_else(|| {
            let shown = legible(text.as_bytes());
            D::Error::custom(format_args!(
                "`calls` lists service ids like \"shop.Stock.v1\" or namespaces like \"shop.*\", not {shown:?}"
            ))
        })
    }
}
