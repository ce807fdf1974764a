//! Who may come in.
//!
//! With a token, whoever shows it in the `Authorization` header may do everything, and nobody else may
//! do more than ask whether the host lives. The token is kept and compared as its SHA-256, in constant
//! time, and appears in no log. Without a token the port is bound to loopback, and then a web page is
//! the stranger to keep out: a page whose name was made to resolve to this machine (DNS rebinding)
//! still names its own host, and a page that posts across sites names its origin. Both are refused.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, HeaderMap, ORIGIN};
use axum::http::uri::Authority;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::problem::{Kind, Problem};
use crate::config;

/// The token of the control plane, as its hash.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminToken([u8; 32]);

/// Why a file holds no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It cannot be read.
    #[error("cannot read the token in {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// It is guessed too easily.
    #[error("the token in {} has {length} characters; at least {MIN_TOKEN} are needed", path.display())]
    TooShort {
        /// The file.
        path: PathBuf,
        /// How long it is.
        length: usize,
    },
    /// It cannot stand in a header.
    #[error("the token in {} has spaces or characters that are not visible ASCII", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
}

/// Where a request came from, put there by the accept loop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

/// Decides who may come in.
pub(super) struct Guard {
    token: Option<AdminToken>,
    failures: Mutex<Failures>,
}

/// Wrong tokens, by address.
struct Failures {
    by_address: HashMap<IpAddr, (Instant, u32)>,
    max: u32,
}

/// 128 bits in base64: no shorter token can have them.
const MIN_TOKEN: usize = 22;

/// For how long a wrong token counts.
const FAILURE_WINDOW: Duration = Duration::from_secs(60);

/// How many addresses are remembered; beyond that, all new ones share the last place.
const MAX_ADDRESSES: usize = 4096;

/// What may be asked without a token: whether the host lives, and what may be asked.
const OPEN_PATHS: [&str; 4] = ["/healthz", "/readyz", "/api/v1/health", "/openapi.json"];

// === impl AdminToken ===

impl AdminToken {
    /// Reads the token in a file, without the space around it.
    ///
    /// # Errors
    /// There is no token of enough bits in it.
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let unreadable = |source| TokenError::Unreadable { path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let token = text.trim();
        if token.len() < MIN_TOKEN {
            return Err(TokenError::TooShort { path: path.to_owned(), length: token.len() });
        }
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::NotText { path: path.to_owned() });
        }
        Ok(Self::of(token))
    }

    /// The token that this text is.
    fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    fn is(&self, text: &str) -> bool {
        bool::from(self.0.ct_eq(&Self::of(text).0))
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(..)")
    }
}

// === impl Guard ===

impl Guard {
    pub(super) fn new(token: Option<AdminToken>, limits: &config::Admin) -> Self {
        let failures = Failures { by_address: HashMap::new(), max: limits.max_auth_failures.get() };
        Self { token, failures: Mutex::new(failures) }
    }

    fn admit(&self, request: &Request, now: Instant) -> Result<(), Problem> {
        let headers = request.headers();
        same_origin(headers)?;
        let Some(token) = &self.token else {
            return own_name(headers);
        };
        if is_open(request.uri().path()) {
            return Ok(());
        }
        let from = request.extensions().get::<Peer>().map(|Peer(address)| address.ip());
        let from = network(from.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)));
        // Refused before the token is looked at, so that guessing on is of no use.
        if self.failures.lock().are_too_many(from, now) {
            return Err(Problem::too_many_failures());
        }
        match bearer(headers) {
            Some(given) if token.is(given) => Ok(()),
            Some(_) => {
                self.failures.lock().note(from, now);
                Err(Problem::unauthorized("the token is not the one of this host"))
            }
            None => Err(Problem::unauthorized("the Authorization header must be `Bearer TOKEN`")),
        }
    }
}

/// Whether a path needs no token.
pub(super) fn is_open(path: &str) -> bool {
    OPEN_PATHS.contains(&path)
}

/// Lets a request in, or says why not.
pub(super) async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    match guard.admit(&request, Instant::now()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

// === impl Failures ===

impl Failures {
    fn are_too_many(&self, address: IpAddr, now: Instant) -> bool {
        self.by_address
            .get(&self.slot(address))
            .is_some_and(|(since, count)| now.duration_since(*since) < FAILURE_WINDOW && *count >= self.max)
    }

    fn note(&mut self, address: IpAddr, now: Instant) {
        if self.by_address.len() >= MAX_ADDRESSES {
            self.by_address.retain(|_, (since, _)| now.duration_since(*since) < FAILURE_WINDOW);
        }
        let (since, count) = self.by_address.entry(self.slot(address)).or_insert((now, 0));
        if now.duration_since(*since) >= FAILURE_WINDOW {
            (*since, *count) = (now, 0);
        }
        *count += 1;
    }

    /// The place of an address: its own, or the one that all share for whom there is no room.
    fn slot(&self, address: IpAddr) -> IpAddr {
        if self.by_address.len() < MAX_ADDRESSES || self.by_address.contains_key(&address) {
            address
        } else {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        }
    }
}

/// An IPv4 address, or the /64 that one IPv6 subscriber has to himself.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// A browser says from which page a request comes; it must be one of our own.
fn same_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    match (origin, host) {
        (Some((_, origin)), Some(host)) if origin.eq_ignore_ascii_case(host) => Ok(()),
        _ => Err(Problem::new(Kind::Forbidden, "a page of another site may not come in")),
    }
}

/// Whoever is let in without a token must call this machine by address, or `localhost`.
fn own_name(headers: &HeaderMap) -> Result<(), Problem> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    let is_own = host.is_some_and(|authority| {
        let host = authority.host();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
    });
    if is_own {
        return Ok(());
    }
    Err(Problem::new(
        Kind::Forbidden,
        "without a token the control plane is called by address or as localhost",
    )
    .and("set admin.token_file to use another name"))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn guard(token: Option<&str>) -> Guard {
        Guard::new(token.map(AdminToken::of), &config::Admin::default())
    }

    fn request(path: &str, headers: &[(&str, &str)]) -> Request {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).unwrap()
    }

    fn status(guard: &Guard, path: &str, headers: &[(&str, &str)]) -> u16 {
        guard.admit(&request(path, headers), Instant::now()).map_or_else(|problem| problem.status(), |()| 200)
    }

    #[test]
    fn only_the_token_opens_the_door() {
        let guard = guard(Some(TOKEN));
        let with =
            |authorization: &str| status(&guard, "/api/v1/graphs", &[("authorization", authorization)]);
        assert_eq!(status(&guard, "/api/v1/graphs", &[]), 401);
        assert_eq!(with(&format!("Bearer {TOKEN}")), 200);
        assert_eq!(with(&format!("bearer  {TOKEN}")), 200);
        assert_eq!(with(&format!("Basic {TOKEN}")), 401);
        assert_eq!(with(TOKEN), 401);
        assert_eq!(with(&format!("Bearer {TOKEN}0")), 401);
        for path in OPEN_PATHS {
            assert_eq!(status(&guard, path, &[]), 200, "{path}");
        }
        assert_eq!(status(&guard, &format!("/metrics?token={TOKEN}"), &[]), 401);
    }

    #[test]
    fn who_guesses_must_wait() {
        let guard = guard(Some(TOKEN));
        let start = Instant::now();
        let from = |address: &str, token: &str, after: u64| {
            let mut request = request("/metrics", &[("authorization", &format!("Bearer {token}"))]);
            request.extensions_mut().insert(Peer(SocketAddr::new(address.parse().unwrap(), 1)));
            let now = start + Duration::from_secs(after);
            guard.admit(&request, now).map_or_else(|problem| problem.status(), |()| 200)
        };
        for _ in 0..10 {
            assert_eq!(from("192.0.2.1", "wrong", 0), 401);
        }
        assert_eq!(from("192.0.2.1", "wrong", 1), 429);
        assert_eq!(from("192.0.2.1", TOKEN, 1), 429);
        assert_eq!(from("192.0.2.2", TOKEN, 1), 200);
        assert_eq!(from("192.0.2.1", TOKEN, 61), 200);
        // An IPv6 subscriber has a whole /64 to guess from.
        for i in 0..10 {
            assert_eq!(from(&format!("2001:db8::{i}"), "wrong", 0), 401);
        }
        assert_eq!(from("2001:db8::ffff", TOKEN, 1), 429);
        assert_eq!(from("2001:db8:0:1::1", TOKEN, 1), 200);
    }

    #[test]
    fn the_memory_of_failures_is_bounded() {
        let mut failures = Failures { by_address: HashMap::new(), max: 1 };
        let now = Instant::now();
        for i in 0..2 * u32::try_from(MAX_ADDRESSES).unwrap() {
            failures.note(IpAddr::V4(i.into()), now);
        }
        assert!(failures.by_address.len() <= MAX_ADDRESSES + 1);
        assert!(failures.are_too_many(IpAddr::V4(u32::MAX.into()), now));
        failures.note(IpAddr::V4(1.into()), now + FAILURE_WINDOW);
        assert_eq!(failures.by_address.len(), 1);
    }

    #[test]
    fn a_page_of_another_site_stays_outside() {
        for guard in [guard(None), guard(Some(TOKEN))] {
            let from = |origin: &str| {
                let authorization = format!("Bearer {TOKEN}");
                let headers = [
                    ("host", "127.0.0.1:8081"),
                    ("origin", origin),
                    ("authorization", authorization.as_str()),
                ];
                status(&guard, "/api/v1/graphs", &headers)
            };
            assert_eq!(from("http://127.0.0.1:8081"), 200);
            assert_eq!(from("http://evil.example"), 403);
            assert_eq!(from("http://127.0.0.1:3000"), 403);
            assert_eq!(from("null"), 403);
        }
    }

    #[test]
    fn a_name_that_was_made_to_resolve_here_is_refused() {
        let guard = guard(None);
        for own in ["127.0.0.1:8081", "localhost:8081", "LOCALHOST", "[::1]:8081", "192.0.2.7:1"] {
            assert_eq!(status(&guard, "/", &[("host", own)]), 200, "{own}");
        }
        for strange in ["evil.example:8081", "127.0.0.1.evil.example", "localhost.evil.example", ""] {
            assert_eq!(status(&guard, "/", &[("host", strange)]), 403, "{strange}");
        }
        assert_eq!(status(&guard, "/", &[]), 403);
    }

    #[test]
    fn a_token_needs_128_bits() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            AdminToken::read(&path)
        };
        assert!(read(&format!("{TOKEN}\n")).unwrap().is(TOKEN));
        assert!(matches!(read("short"), Err(TokenError::TooShort { length: 5, .. })));
        assert!(matches!(read("0123456789 0123456789 0123456789"), Err(TokenError::NotText { .. })));
        assert!(matches!(AdminToken::read(&dir.path().join("absent")), Err(TokenError::Unreadable { .. })));
        assert_eq!(format!("{:?}", AdminToken::of(TOKEN)), "AdminToken(..)");
    }
}
