//! Configuration: one typed tree, parsed whole before anything is bound.
//!
//! Every key stands in this file once, with its type, default and help. Its place in `okra.toml`, its
//! `OKRA_*` variable, its flag, `okra serve --help`, `okra config show` and the errors all come from
//! that one line, so they cannot drift apart. A flag wins over the environment, the environment over
//! the file, the file over the default.
//!
//! Loading reads no socket and no secret: secrets are named by `*_file` keys and read by their users.
//! Every mistake is reported at once, each with its place and a way out.

mod check;
mod choice;
mod key;
mod list;
mod load;
mod mistake;
mod parts;
mod scalar;
mod section;
mod show;
mod suggest;
mod units;

use std::net::{IpAddr, Ipv4Addr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use exec_plan::{GraphName, StoreOptions, Version};

pub use self::choice::{AccessLogging, Compression, LogFormat, Transport};
pub use self::key::Key;
pub use self::list::List;
pub use self::load::{ConfigFile, Loaded, Sources};
pub use self::mistake::{ConfigErrors, Mistake, Origin};
pub use self::scalar::{Setting, Threads};
pub use self::show::Shown;
use self::suggest::closest;
pub use self::units::{ByteSize, parse_duration};

use self::section::section;
use crate::admit::MaxInflight;
use crate::queue::QueueCapacity;

/// Everything an operator may set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// Which graphs are served, and where state lives.
    pub graphs: Graphs,
    /// Which requests are let in, and how long they may take.
    pub admission: Admission,
    /// Where RPC clients connect.
    pub service: Service,
    /// What services look like.
    pub services: Services,
    /// Which web pages may call.
    pub cors: Cors,
    /// How large messages may be.
    pub messages: Messages,
    /// What a connection may do on the service port.
    pub connections: Connections,
    /// Limits of HTTP/1.1 on the service port.
    pub http1: Http1,
    /// Limits of HTTP/2 on the service port.
    pub http2: Http2,
    /// The control plane.
    pub admin: Admin,
    /// How packages are deployed.
    pub packages: Packages,
    /// How the host stops.
    pub drain: Drain,
    /// What is logged, and how.
    pub log: Log,
}

impl Config {
    /// Visits every setting, section by section.
    pub fn each(&mut self, visit: &mut dyn FnMut(Key, &mut dyn Setting)) {
        self.graphs.each(visit);
        self.admission.each(visit);
        self.service.each(visit);
        self.services.each(visit);
        self.cors.each(visit);
        self.messages.each(visit);
        self.connections.each(visit);
        self.http1.each(visit);
        self.http2.each(visit);
        self.admin.each(visit);
        self.packages.each(visit);
        self.drain.each(visit);
        self.log.each(visit);
    }

    /// Every key there is, in the order of [`each`](Self::each).
    pub fn keys() -> Vec<Key> {
        let mut keys = Vec::new();
        Self::default().each(&mut |key, _| keys.push(key));
        keys
    }
}

section! {
    /// Which graphs are served, and where state lives.
    pub struct Graphs at "" {
        /// The directory that keeps published graphs across restarts. Without one, what the control
        /// plane publishes is gone when the process ends.
        data_dir: Option<PathBuf> = None;
        /// A graph document, or a directory of them, to serve.
        graphs: Option<PathBuf> = None;
        /// Whether a document that changes under `graphs` is published as it changes.
        watch: bool = true;
        /// The graph that answers calls which no graph serves by name. Unless it is set, that is the
        /// document that `graphs` names, if it names one and not a directory.
        default_graph: Option<GraphName> = None;
        /// The version the default graph is pinned to, instead of the active one.
        default_graph_version: Option<Version> = None;
        /// How many versions of each graph are kept for a rollback.
        keep_versions: NonZeroUsize = StoreOptions::DEFAULT_KEEP;
    }
}

section! {
    /// Which requests are let in, and how long they may take.
    pub struct Admission at "" {
        /// How many requests may be in flight; more than that wait.
        max_inflight: MaxInflight = MaxInflight(const { NonZeroUsize::new(1024).unwrap() });
        /// How many requests may wait; more than that are refused. 0 disables waiting.
        queue_capacity: QueueCapacity = QueueCapacity(1024);
        /// How long a request may wait before it is refused.
        max_queue_wait: Duration = Duration::from_secs(1);
        /// The deadline of a request that brings none.
        default_timeout: Duration = Duration::from_secs(30);
        /// The longest deadline a request may bring; a later one is cut to this.
        max_timeout: Duration = Duration::from_secs(3600);
        /// Threads for graphs that block or wait.
        pool_threads: Threads = Threads::Auto;
        /// A blocking node that takes longer is counted, and named in the log.
        blocking_alarm: Duration = Duration::from_secs(1);
    }
}

section! {
    /// Where RPC clients connect.
    pub struct Service at "service" {
        /// The address of the service port. 0.0.0.0 lets other machines in.
        host: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST), flag "host";
        /// The service port: gRPC, gRPC-Web and Connect. 0 takes a free one and announces it.
        port: u16 = 8080;
        /// Threads that read and write connections.
        io_threads: Threads = Threads::Auto, flag "io-threads";
        /// Who speaks HTTP/2: `native` is our own core, `tonic` is hyper. Both answer alike.
        transport: Transport = Transport::Native, flag "transport";
    }
}

section! {
    /// What services look like.
    pub struct Services at "services" {
        /// Files that each hold a `google.protobuf.FileDescriptorSet`, with all imports, of services that
        /// graphs serve: `protoc --include_imports -o FILE`. Without one a service speaks no JSON, and has
        /// no methods that may be called by GET. Deployed packages bring their own.
        descriptors: List<PathBuf> = List::EMPTY;
    }
}

section! {
    /// Which web pages may call.
    pub struct Cors at "cors" {
        /// The origins of pages that may call from a browser: `https://app.example.com`, or `*` for any.
        allowed_origins: List<String> = List::EMPTY;
        /// How long a browser may remember that its page may call.
        max_age: Duration = Duration::from_secs(2 * 3600);
    }
}

section! {
    /// How large messages may be.
    pub struct Messages at "messages" {
        /// The largest request message, counted after decompression.
        max_receive: ByteSize = ByteSize::mib(4);
        /// The largest response message, counted before compression.
        max_send: ByteSize = ByteSize::mib(16);
        /// The bytes of request bodies held at one time, over all connections.
        in_flight: ByteSize = ByteSize::mib(256);
        /// The longest request target. It bounds Connect GET, too: larger messages must POST.
        max_uri: ByteSize = ByteSize::kib(8);
        /// When responses are compressed; `mirror` does as the request did.
        compression: Compression = Compression::Mirror;
    }
}

section! {
    /// What a connection may do on the service port.
    pub struct Connections at "connections" {
        /// Connections at one time; fewer if the process may not open that many files.
        max: NonZeroUsize = const { NonZeroUsize::new(10_000).unwrap() };
        /// Connections at one time from one address.
        max_per_ip: NonZeroUsize = const { NonZeroUsize::new(256).unwrap() };
        /// Files kept free for everything that is not a connection.
        reserved_files: u32 = 256;
        /// From the first byte to a full HTTP/1 header or HTTP/2 preface.
        handshake_timeout: Duration = Duration::from_secs(10);
        /// A whole request message must arrive in this time, or by its deadline.
        body_timeout: Duration = Duration::from_secs(30);
        /// A request body that makes no progress for this long is given up.
        body_idle_timeout: Duration = Duration::from_secs(10);
        /// A connection without a call is closed after this time.
        idle_timeout: Duration = Duration::from_secs(300);
        /// How often a quiet connection is asked whether its peer is still there.
        keepalive_interval: Duration = Duration::from_secs(60);
        /// How long the peer may take to say so.
        keepalive_timeout: Duration = Duration::from_secs(20);
        /// A response of which the client takes no byte for this long is given up.
        write_timeout: Duration = Duration::from_secs(60);
        /// A connection older than this is asked to go.
        max_age: Option<Duration> = None;
        /// How long a connection that was asked to go may finish its calls.
        max_age_grace: Duration = Duration::from_secs(30);
    }
}

section! {
    /// Limits of HTTP/1.1 on the service port.
    pub struct Http1 at "http1" {
        /// Header lines of one request.
        max_headers: NonZeroU32 = const { NonZeroU32::new(100).unwrap() };
        /// The bytes of one request's head.
        max_head: ByteSize = ByteSize::kib(64);
    }
}

section! {
    /// Limits of HTTP/2 on the service port.
    pub struct Http2 at "http2" {
        /// Calls at one time on one connection.
        max_streams: NonZeroU32 = const { NonZeroU32::new(200).unwrap() };
        /// The size of one request's header list.
        max_header_list: ByteSize = ByteSize::kib(16);
        /// The size of the table that compresses headers.
        header_table: ByteSize = ByteSize::kib(4);
        /// Bytes of one call that a client may send ahead.
        stream_window: ByteSize = ByteSize::mib(1);
        /// Bytes of all calls of a connection that a client may send ahead.
        connection_window: ByteSize = ByteSize::mib(1);
        /// Response bytes of one call that may wait for the client.
        send_buffer: ByteSize = ByteSize::kib(400);
        /// Calls that a client may take back at once, before they were looked at (CVE-2023-44487).
        max_pending_resets: u32 = 20;
        /// Resets that a client may provoke on one connection (CVE-2025-8671).
        max_local_resets: u32 = 1024;
        /// Frames that carry nothing, such as PING and SETTINGS, that a client may send at once; a tenth as many
        /// come back each second.
        max_control_frames: u32 = 10_000;
    }
}

section! {
    /// The control plane: REST, metrics and probes.
    pub struct Admin at "admin" {
        /// The address of the admin port. Any other than a loopback address needs a token.
        host: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
        /// The admin port. 0 takes a free one and announces it.
        port: u16 = 8081;
        /// A file whose content is the token that every change and every look inside needs; at least
        /// 128 bits, as 22 or more characters.
        token_file: Option<PathBuf> = None;
        /// Connections at one time.
        max_connections: NonZeroUsize = const { NonZeroUsize::new(64).unwrap() };
        /// The whole head of a request must arrive in this time.
        header_timeout: Duration = Duration::from_secs(10);
        /// A request must be read and answered in this time.
        request_timeout: Duration = Duration::from_secs(60);
        /// The largest request body that is not a graph.
        max_body: ByteSize = ByteSize::kib(64);
        /// The largest graph document.
        max_document: ByteSize = ByteSize::mib(16);
        /// Changes that may wait while another one is made; more than that are refused.
        max_waiting_changes: u32 = 4;
        /// Wrong tokens from one address within a minute, after which that address must wait.
        max_auth_failures: NonZeroU32 = const { NonZeroU32::new(10).unwrap() };
    }
}

section! {
    /// How packages are deployed.
    pub struct Packages at "packages" {
        /// The directories under which `file://` packages may be read. Without one, packages are
        /// uploaded or come from S3.
        roots: List<PathBuf> = List::EMPTY;
        /// The largest package, compressed.
        max_package: ByteSize = ByteSize::mib(64);
        /// The most bytes that the files of a package may have together.
        max_unpacked: ByteSize = ByteSize::mib(256);
        /// Deploys that may wait while another one runs; more than that are refused.
        max_waiting: u32 = 4;
        /// How long a deploy may take to fetch or upload its package, and to wait for others.
        timeout: Duration = Duration::from_secs(180);
        /// The buckets from which `s3://` packages may be read.
        s3_buckets: List<String> = List::EMPTY;
        /// The S3 server, if it is not AWS: `http://127.0.0.1:9000` for example. AWS_ENDPOINT_URL_S3 and
        /// AWS_ENDPOINT_URL are honoured, too.
        s3_endpoint: Option<String> = None;
        /// The region. AWS_REGION and AWS_DEFAULT_REGION are honoured, too.
        s3_region: Option<String> = None;
        /// A file with the access key, instead of AWS_ACCESS_KEY_ID.
        s3_access_key_file: Option<PathBuf> = None;
        /// A file with the secret key, instead of AWS_SECRET_ACCESS_KEY.
        s3_secret_key_file: Option<PathBuf> = None;
        /// A file with the session token, instead of AWS_SESSION_TOKEN.
        s3_session_token_file: Option<PathBuf> = None;
        /// The longest wait for a connection to S3.
        s3_connect_timeout: Duration = Duration::from_secs(5);
        /// The longest time until a whole package is here from S3.
        s3_fetch_timeout: Duration = Duration::from_secs(60);
    }
}

section! {
    /// How the host stops.
    pub struct Drain at "drain" {
        /// How long calls in flight may take to finish before they are cut off.
        grace: Duration = Duration::from_secs(30);
        /// How long the host goes on accepting after it said that it is not ready, so that load
        /// balancers may look away first.
        lame_duck: Duration = Duration::ZERO;
    }
}

section! {
    /// What is logged, and how.
    pub struct Log at "log" {
        /// The form of a line; `auto` is pretty on a terminal and JSON elsewhere.
        format: LogFormat = LogFormat::Auto;
        /// Which events are logged: a level, or directives such as `info,okra::access=off`.
        filter: String = "info".to_owned(), env "RUST_LOG";
        /// Which calls get a line of their own, under the target `okra::access`.
        access: AccessLogging = AccessLogging::Failures;
        /// One in how many successful calls gets its line; failed ones always do.
        access_sample: NonZeroU32 = NonZeroU32::MIN;
    }
}

#[cfg(test)]
mod tests;
