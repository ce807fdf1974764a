//! The static table of RFC 7541 appendix A.

use std::sync::LazyLock;

use crate::field::Field;

/// The entry of index `index`, counted from 1.
pub(super) fn entry(index: usize) -> Option<&'static Field> {
    FIELDS.get(index.checked_sub(1)?)
}

/// The first index whose entry has this name.
pub(super) fn index_of(name: &[u8]) -> Option<usize> {
    ENTRIES.iter().position(|(known, _)| known.as_bytes() == name).map(|position| position + 1)
}

/// Entries in the static table; dynamic entries have the indices above.
pub(super) const LEN: usize = ENTRIES.len();

// Classified once per process by the same rules as any other field.
static FIELDS: LazyLock<[Field; LEN]> =
    LazyLock::new(|| ENTRIES.map(|(name, value)| Field::from_static(name, value)));

const ENTRIES: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_count_from_one() {
        assert_eq!(entry(0), None);
        assert_eq!(entry(1).unwrap().name(), b":authority");
        assert_eq!(entry(3).unwrap().value(), b"POST");
        assert_eq!(entry(61).unwrap().name(), b"www-authenticate");
        assert_eq!(entry(62), None);
        assert_eq!(index_of(b":status"), Some(8));
        assert_eq!(index_of(b"content-type"), Some(31));
        assert_eq!(index_of(b"grpc-status"), None);
    }
}
