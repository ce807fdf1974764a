//! What must hold between settings, once each of them is right by itself.

use super::Config;
use super::mistake::{Mistake, Origin};
use super::units::ByteSize;

/// The largest window HTTP/2 knows (RFC 9113, 6.9.1).
const MAX_WINDOW: u64 = (1 << 31) - 1;

/// Adds whatever does not hold.
pub(super) fn check(config: &Config, mistakes: &mut Vec<Mistake>) {
    let mut must = |holds: bool, key: &str, message: String, help: &str| {
        if !holds {
            mistakes.push(Mistake::new(Origin::Together, message).about(key).with_help(help));
        }
    };
    let Config {
        graphs,
        admission,
        service,
        services: _,
        cors,
        messages,
        connections: _,
        http1: _,
        http2,
        admin,
        packages,
        drain: _,
        log,
    } = config;

    must(
        admin.host.is_loopback() || admin.token_file.is_some(),
        "admin.host",
        format!("{} is not a loopback address, and there is no token", admin.host),
        "set admin.token_file to a file with a random token (`openssl rand -hex 32 > token`), \
         or bind the admin port to 127.0.0.1",
    );
    must(
        service.port != admin.port || service.port == 0 || (service.host != admin.host && !overlap(config)),
        "admin.port",
        format!("{} is the service port already", admin.port),
        "give the two ports different numbers",
    );
    must(
        graphs.default_graph.is_some() || graphs.default_graph_version.is_none(),
        "default_graph_version",
        "there is no default_graph for it to pin".to_owned(),
        "set default_graph, too",
    );
    must(
        admission.default_timeout <= admission.max_timeout,
        "default_timeout",
        "it is longer than max_timeout".to_owned(),
        "shorten it, or raise max_timeout",
    );
    must(
        !admission.default_timeout.is_zero(),
        "default_timeout",
        "no call can be answered in no time".to_owned(),
        "write for example \"30s\"",
    );
    must(
        messages.max_receive <= messages.in_flight,
        "messages.max_receive",
        format!("one message could be larger than messages.in_flight ({})", messages.in_flight),
        "lower it, or raise messages.in_flight",
    );
    for origin in &cors.allowed_origins.0 {
        must(
            is_origin(origin),
            "cors.allowed_origins",
            format!("{origin:?} is not the origin of a page"),
            "write for example \"https://app.example.com\", without a path, or \"*\" for any",
        );
    }
    must(
        packages.s3_access_key_file.is_some() == packages.s3_secret_key_file.is_some(),
        "packages.s3_access_key_file",
        "an access key and its secret belong together".to_owned(),
        "set packages.s3_access_key_file and packages.s3_secret_key_file, or neither",
    );
    must(
        packages.s3_endpoint.as_deref().is_none_or(is_http),
        "packages.s3_endpoint",
        "it is not the URL of a server".to_owned(),
        "write for example \"http://127.0.0.1:9000\"",
    );
    let filter = crate::logs::filter(log);
    must(
        filter.is_ok(),
        "log.filter",
        filter.map_or_else(|error| format!("{:?}: {error}", log.filter), |_| String::new()),
        "write a level (error, warn, info, debug, trace), or directives: info,okra::access=off",
    );
    for (key, window) in
        [("http2.stream_window", http2.stream_window), ("http2.connection_window", http2.connection_window)]
    {
        must(
            (65_535..=MAX_WINDOW).contains(&window.0),
            key,
            format!("{window} is not between 65535B and {}", ByteSize(MAX_WINDOW)),
            "write for example \"1MiB\"",
        );
    }
}

/// Whether a browser could say that a page has this origin.
fn is_origin(text: &str) -> bool {
    text == "*"
        || url::Url::parse(text)
            .is_ok_and(|url| url.origin().is_tuple() && url.origin().ascii_serialization() == text)
}

fn is_http(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// Whether one of the two ports takes every address of the machine.
fn overlap(config: &Config) -> bool {
    config.service.host.is_unspecified() || config.admin.host.is_unspecified()
}
