//! What a service is called: its id, its route, and its version as graphs order them.

use semver::Version;

use crate::description::Description;
use crate::error::PackageError;
use crate::legible::legible;

/// The names of a service, proved to be names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// `{namespace or "default"}.{service}.{version or "v1"}`.
    pub(crate) id: String,
    pub(crate) service: String,
    /// As the schema says it, or `v1`.
    pub(crate) version: String,
}

/// The longest service id, in bytes.
const MAX_ID_BYTES: usize = 200;

// === impl Identity ===

impl Identity {
    pub(crate) fn of(service: &str, description: &Description) -> Result<Self, PackageError> {
        let refuse = |part, value: &str, reason| {
            Err(PackageError::Identity { part, value: legible(value.as_bytes()), reason })
        };
        let meta = &description.meta;
        let namespace = or(&meta.namespace, "default");
        let version = or(&meta.version, "v1");
        if !namespace.split('.').all(is_identifier) {
            return refuse("namespace", namespace, "it is made of letters, digits, `_` and dots");
        }
        if !is_identifier(service) {
            return refuse("service name", service, "it is made of letters, digits and `_`");
        }
        if !is_version(version) {
            return refuse("version", version, "it is made of letters, digits, `_`, `-` and dots");
        }
        let id = format!("{namespace}.{service}.{version}");
        if id.len() > MAX_ID_BYTES {
            return refuse("id", &id, "it has more than 200 bytes");
        }
        Ok(Self { id, service: service.to_owned(), version: version.to_owned() })
    }

    /// The version as graphs have it: `v1` is 1.0.0, `v1.2` is 1.2.0, `v1.2.3-rc.1` is itself, and any
    /// other text comes after `0.0.0-`. Different texts give different versions, but for the `v` and
    /// zeros that are left out.
    pub(crate) fn semver(&self) -> Version {
        let text = self.version.strip_prefix('v').unwrap_or(&self.version);
        let padded = [text.to_owned(), format!("{text}.0"), format!("{text}.0.0")];
        if let Some(version) = padded.iter().find_map(|text| Version::parse(text).ok()) {
            return version;
        }
        let plain = semver::Prerelease::new(&self.version);
        let hex = || self.version.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
        let pre = plain.or_else(|_| semver::Prerelease::new(&format!("x-{}", hex()))).unwrap_or_default();
        Version { major: 0, minor: 0, patch: 0, pre, build: semver::BuildMetadata::EMPTY }
    }
}

/// Whether protobuf takes it for a name.
pub(crate) fn is_identifier(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Whether it may be the version of a service.
pub(crate) fn is_version(version: &str) -> bool {
    let is_part = |part: &str| {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        !part.is_empty() && part.bytes().all(is_letter)
    };
    version.starts_with(|first: char| first.is_ascii_alphanumeric()) && version.split('.').all(is_part)
}

fn or<'a>(text: &'a str, default: &'a str) -> &'a str {
    if text.is_empty() { default } else { text }
}

#[cfg(test)]
mod tests;
