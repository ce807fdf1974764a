//! Where packages come from: a file under an allowed root, an object of an allowed bucket, or an upload.
//!
//! What a source names is a wish of whoever reached the admin port, so it opens nothing by itself: a file
//! must lie under a configured root after every link in its path is followed, and a bucket must stand on a
//! list, behind an endpoint that the configuration fixes. Nothing is fetched over plain HTTP URLs, and no
//! redirect is followed. All bytes are counted while they come, and the first one too many ends it.

mod file;
#[cfg(feature = "s3")]
mod s3;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};

/// A source as it is written in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// `file:///path`
    File(PathBuf),
    /// `s3://bucket/key`
    S3 {
        /// The bucket.
        bucket: String,
        /// The key, decoded.
        key: String,
    },
}

/// From where packages may be fetched, and how much at a time.
#[derive(Clone, Debug)]
pub struct SourceSettings {
    /// The directories under which files may be read; none forbids files.
    pub roots: Vec<PathBuf>,
    /// The largest package, in bytes.
    pub max_package: usize,
    /// How objects are fetched.
    pub s3: S3Settings,
}

/// How objects of S3 are fetched.
#[derive(Clone, Debug)]
pub struct S3Settings {
    /// The buckets that may be read; none forbids S3.
    pub buckets: Vec<String>,
    /// The server; `None` for the one of `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`, else of AWS itself.
    pub endpoint: Option<String>,
    /// The region; `None` for the one of `AWS_REGION` or `AWS_DEFAULT_REGION`, else `us-east-1`.
    pub region: Option<String>,
    /// A file with the access key; `None` for `AWS_ACCESS_KEY_ID`.
    pub access_key_file: Option<PathBuf>,
    /// A file with the secret; `None` for `AWS_SECRET_ACCESS_KEY`.
    pub secret_key_file: Option<PathBuf>,
    /// A file with the session token; `None` for `AWS_SESSION_TOKEN`.
    pub session_token_file: Option<PathBuf>,
    /// The longest wait for a connection.
    pub connect_timeout: Duration,
    /// The longest time until the whole object is here.
    pub fetch_timeout: Duration,
}

/// Why a package could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The request names no source.
    #[error("source is required")]
    Required,
    /// It is not a URL.
    #[error("invalid source URL: {reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing is fetched by this scheme.
    #[error("unsupported source scheme: {scheme}")]
    Scheme {
        /// The scheme, in lower case; empty if there is none.
        scheme: String,
    },
    /// Files are not read at all.
    #[error(
        "no file may be read: set packages.roots to the directories that packages may come from, or upload it"
    )]
    NoRoots,
    /// The file is not under a root.
    #[error("{} is not under a directory of packages.roots", path.display())]
    OutsideRoots {
        /// The path as it was given.
        path: PathBuf,
    },
    /// There is no such file.
    #[error("package file not found: stat {}: no such file or directory", path.display())]
    FileNotFound {
        /// The path as it was given.
        path: PathBuf,
    },
    /// It is something else than a file.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// The path as it was given.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The path as it was given.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// This program was built without S3.
    #[error("this okra was built without S3: deploy a file:// source, or upload the package")]
    NoS3,
    /// The bucket is not on the list.
    #[error("the bucket {bucket:?} is not one of packages.s3_buckets")]
    BucketNotAllowed {
        /// The bucket.
        bucket: String,
    },
    /// A credential file cannot be read.
    #[error("cannot read the S3 credentials in {}", path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// There is no such object.
    #[error("failed to download from S3: no object {key:?} in the bucket {bucket:?}")]
    ObjectNotFound {
        /// The bucket.
        bucket: String,
        /// The key.
        key: String,
    },
    /// The object cannot be had.
    #[error("failed to download from S3: {reason}")]
    Download {
        /// What happened.
        reason: String,
    },
    /// The object did not come in time.
    #[error("failed to download from S3: it took longer than {limit:?}")]
    TooSlow {
        /// The limit.
        limit: Duration,
    },
    /// There are more bytes than a package may have.
    #[error("the package is larger than packages.max_package allows ({limit} bytes)")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// These are not the bytes that were meant.
    #[error("the package's SHA-256 is {found}, not {expected}")]
    Digest {
        /// What the request said.
        expected: String,
        /// What came.
        found: PackageDigest,
    },
}

/// The SHA-256 of a package: what it is stored and bound by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PackageDigest([u8; 32]);

/// The text is not 64 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 64 lower-case hex digits")]
pub struct InvalidDigest;

// === impl Source ===

impl Source {
    /// Reads a source URL.
    pub(crate) fn parse(text: &str) -> Result<Self, SourceError> {
        if text.is_empty() {
            return Err(SourceError::Required);
        }
        if let Some(control) = text.chars().find(|c| c.is_ascii_control()) {
            return Err(invalid(format!("it has the control character {control:?}")));
        }
        let Some((scheme, rest)) = split_scheme(text)? else {
            return Err(SourceError::Scheme { scheme: String::new() });
        };
        match scheme.as_str() {
            "file" => Self::file(rest),
            "s3" => Self::s3(rest),
            _ => Err(SourceError::Scheme { scheme }),
        }
    }

    /// `/path`, `///path` and `//localhost/path` alike.
    fn file(rest: &str) -> Result<Self, SourceError> {
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let path = match rest.strip_prefix("//") {
            None => rest,
            Some(rest) => {
                let (host, _) = rest.split_once('/').unwrap_or((rest, ""));
                if !host.is_empty() && !host.eq_ignore_ascii_case("localhost") {
                    return Err(invalid(format!("file://{host} names a host; a path begins with file:///")));
                }
                &rest[host.len()..]
            }
        };
        let path = decode(path)?;
        if !path.starts_with('/') {
            return Err(invalid("a file needs an absolute path: file:///path".to_owned()));
        }
        Ok(Self::File(PathBuf::from(path)))
    }

    fn s3(rest: &str) -> Result<Self, SourceError> {
        let rest = rest.strip_prefix("//").unwrap_or_default();
        if rest.contains(['?', '#']) {
            return Err(invalid("an S3 source has no query; credentials are configured".to_owned()));
        }
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        let (bucket, key) = (decode(bucket)?, decode(key)?);
        if bucket.is_empty() || key.is_empty() {
            return Err(invalid("an S3 source is s3://bucket/key".to_owned()));
        }
        Ok(Self::S3 { bucket, key })
    }

    /// Fetches the package, and nothing larger than a package may be.
    pub(crate) async fn fetch(self, settings: &SourceSettings) -> Result<Bytes, SourceError> {
        match self {
            Self::File(path) => {
                let (roots, limit) = (settings.roots.clone(), settings.max_package);
                let reading = tokio::task::spawn_blocking(move || file::read(&path, &roots, limit));
                reading.await.unwrap_or_else(|error| Err(SourceError::Download { reason: error.to_string() }))
            }
            #[cfg(feature = "s3")]
            Self::S3 { bucket, key } => s3::fetch(&bucket, &key, &settings.s3, settings.max_package).await,
            #[cfg(not(feature = "s3"))]
            Self::S3 { .. } => Err(SourceError::NoS3),
        }
    }
}

/// The scheme in lower case, and what comes after its colon; `None` if there is no scheme.
fn split_scheme(text: &str) -> Result<Option<(String, &str)>, SourceError> {
    let Some((scheme, rest)) = text.split_once(':') else { return Ok(None) };
    if scheme.is_empty() {
        return Err(invalid("missing protocol scheme".to_owned()));
    }
    let starts = scheme.starts_with(|c: char| c.is_ascii_alphabetic());
    let goes_on = scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    Ok((starts && goes_on).then(|| (scheme.to_ascii_lowercase(), rest)))
}

fn decode(text: &str) -> Result<String, SourceError> {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('%') {
        let escaped = after.get(..2).is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
        if !escaped {
            let shown: String = after.chars().take(2).collect();
            return Err(invalid(format!("invalid URL escape \"%{shown}\"")));
        }
        rest = &after[2..];
    }
    let decoded =
        percent_decode_str(text).decode_utf8().map_err(|_| invalid("it is not UTF-8".to_owned()))?;
    if decoded.contains('\0') {
        return Err(invalid("it has a zero byte".to_owned()));
    }
    Ok(decoded.into_owned())
}

fn invalid(reason: String) -> SourceError {
    SourceError::Invalid { reason }
}

// === impl PackageDigest ===

impl PackageDigest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for PackageDigest {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl std::str::FromStr for PackageDigest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let mut bytes = [0; 32];
        let digits = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 64 || !text.bytes().all(digits) {
            return Err(InvalidDigest);
        }
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).map_err(|_| InvalidDigest)?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for PackageDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PackageDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl serde::Serialize for PackageDigest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for PackageDigest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        match Source::parse(text) {
            Ok(Source::File(path)) => format!("file {}", path.display()),
            Ok(Source::S3 { bucket, key }) => format!("s3 {bucket} {key}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_source_is_read_as_the_original_reads_it() {
        for (text, expected) in [
            ("file:///a/b.okra.pkg", "file /a/b.okra.pkg"),
            ("file:/a/b", "file /a/b"),
            ("FILE:///x", "file /x"),
            ("file://localhost/x", "file /x"),
            ("file:///with%20space", "file /with space"),
            ("s3://bucket/some/key.pkg", "s3 bucket some/key.pkg"),
            ("S3://b/k%2Bv", "s3 b k+v"),
            ("", "source is required"),
            ("not a url", "unsupported source scheme: "),
            ("/plain/path", "unsupported source scheme: "),
            ("http://host/x", "unsupported source scheme: http"),
            ("HTTPS://host/x", "unsupported source scheme: https"),
            ("://x", "invalid source URL: missing protocol scheme"),
        ] {
            assert_eq!(said(text), expected, "{text}");
        }
    }

    #[test]
    fn a_source_that_means_nothing_certain_is_refused() {
        for bad in [
            "file:relative",
            "file://",
            "file://rel/p",
            "file:///%zz",
            "file:///a%0",
            "file:///%00",
            "file:///\u{7}",
            "file:///%ff",
            "s3:bucket/key",
            "s3://bucket",
            "s3:///key",
            "s3://bucket/key?X-Amz-Signature=1",
        ] {
            assert!(said(bad).starts_with("invalid source URL: "), "{bad}: {}", said(bad));
        }
    }

    #[test]
    fn a_digest_survives_a_round_trip_and_has_one_spelling() {
        let digest = PackageDigest::of(b"okra");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!(digest.to_string().to_uppercase().parse::<PackageDigest>(), Err(InvalidDigest));
        assert_eq!("00".parse::<PackageDigest>(), Err(InvalidDigest));
    }
}
