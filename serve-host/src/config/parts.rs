//! What each part of the host is given of the configuration.
//!
//! Sections are taken apart field by field, so that the compiler tells of a key that nobody reads.

use std::net::SocketAddr;
use std::path::PathBuf;

use exec_plan::{EnvSchema, KernelRegistry, StoreOptions};
use packages::PackageLimits;

use super::choice::{Compression, Transport};
use super::scalar::Threads;
use super::{
    Admission, Config, Connections, Cors, Graphs, Http1, Http2, Messages, Packages, Service, Services,
};
use crate::accept::ServerConfig;
use crate::deploy::{DeploySettings, S3Settings, SourceSettings};
use crate::gateway::CorsConfig;
use crate::grpc::compression::ResponseCompression;
use crate::host::HostConfig;
use crate::pool::PoolThreads;
use crate::transport::TransportKind;
use crate::transport::limits::{ConnectionLimits, Http1Limits, Http2Limits, MessageLimits, TransportLimits};

impl Config {
    /// How the store is opened.
    pub fn store(&self, kernels: KernelRegistry, env: EnvSchema) -> StoreOptions {
        let Graphs { data_dir, keep_versions, .. } = &self.graphs;
        StoreOptions { kernels, env, dir: data_dir.clone(), keep: *keep_versions }
    }

    /// What the host admits, and for how long.
    pub fn host(&self) -> HostConfig {
        let Admission {
            max_inflight,
            queue_capacity,
            max_queue_wait,
            default_timeout,
            max_timeout,
            pool_threads,
            blocking_alarm,
        } = self.admission;
        let pool_threads = match pool_threads {
            // What suits the machine is the host's to know.
            Threads::Auto => HostConfig::default().pool_threads,
            Threads::Count(count) => PoolThreads(count),
        };
        HostConfig {
            max_inflight,
            queue_capacity,
            max_queue_wait,
            default_timeout,
            max_timeout,
            pool_threads,
            blocking_alarm,
        }
    }

    /// Where the service port is, and who serves it.
    pub fn server(&self) -> ServerConfig {
        let Service { host, port, io_threads, transport } = self.service;
        ServerConfig {
            address: SocketAddr::new(host, port),
            threads: io_threads.count(),
            fallback: None,
            transport: match transport {
                Transport::Tonic => TransportKind::Tonic,
                Transport::Native => TransportKind::Native,
            },
        }
    }

    /// How packages are deployed.
    pub fn deploy(&self) -> DeploySettings {
        let Packages { max_package, max_unpacked, max_waiting, timeout, .. } = &self.packages;
        let limits = PackageLimits {
            compressed_bytes: max_package.0,
            unpacked_bytes: max_unpacked.0,
            ..PackageLimits::default()
        };
        DeploySettings {
            sources: self.package_sources(),
            limits,
            max_waiting: *max_waiting,
            timeout: *timeout,
        }
    }

    fn package_sources(&self) -> SourceSettings {
        let Packages {
            roots,
            max_package,
            // These are not about sources.
            max_unpacked: _,
            max_waiting: _,
            timeout: _,
            s3_buckets,
            s3_endpoint,
            s3_region,
            s3_access_key_file,
            s3_secret_key_file,
            s3_session_token_file,
            s3_connect_timeout,
            s3_fetch_timeout,
        } = &self.packages;
        SourceSettings {
            roots: roots.0.clone(),
            max_package: max_package.len(),
            s3: S3Settings {
                buckets: s3_buckets.0.clone(),
                endpoint: s3_endpoint.clone(),
                region: s3_region.clone(),
                access_key_file: s3_access_key_file.clone(),
                secret_key_file: s3_secret_key_file.clone(),
                session_token_file: s3_session_token_file.clone(),
                connect_timeout: *s3_connect_timeout,
                fetch_timeout: *s3_fetch_timeout,
            },
        }
    }

    /// Which web pages may call.
    pub fn cors(&self) -> CorsConfig {
        let Cors { allowed_origins, max_age } = &self.cors;
        CorsConfig { allowed_origins: allowed_origins.0.clone(), max_age: *max_age }
    }

    /// The files that say what the services of plain graphs look like.
    pub fn descriptors(&self) -> &[PathBuf] {
        let Services { descriptors } = &self.services;
        &descriptors.0
    }

    /// Where the admin port is.
    pub fn admin_address(&self) -> SocketAddr {
        SocketAddr::new(self.admin.host, self.admin.port)
    }

    /// What a stranger may ask of the service port.
    pub fn transport(&self) -> TransportLimits {
        TransportLimits {
            messages: messages(&self.messages),
            connections: connections(&self.connections),
            http1: http1(&self.http1),
            http2: http2(&self.http2),
        }
    }
}

fn messages(section: &Messages) -> MessageLimits {
    let Messages { max_receive, max_send, in_flight, max_uri, compression } = section;
    MessageLimits {
        max_receive: max_receive.len(),
        max_send: max_send.len(),
        in_flight: in_flight.len(),
        max_uri: max_uri.len(),
        compression: match compression {
            Compression::Never => ResponseCompression::Never,
            Compression::Mirror => ResponseCompression::Mirror,
            Compression::Accepted => ResponseCompression::Accepted,
        },
    }
}

fn connections(section: &Connections) -> ConnectionLimits {
    let Connections {
        max,
        max_per_ip,
        reserved_files,
        handshake_timeout,
        body_timeout,
        body_idle_timeout,
        idle_timeout,
        keepalive_interval,
        keepalive_timeout,
        write_timeout,
        max_age,
        max_age_grace,
    } = section;
    ConnectionLimits {
        max: max.get(),
        max_per_ip: max_per_ip.get(),
        reserved_files: *reserved_files as usize,
        handshake_timeout: *handshake_timeout,
        body_timeout: *body_timeout,
        body_idle_timeout: *body_idle_timeout,
        idle_timeout: *idle_timeout,
        keepalive_interval: *keepalive_interval,
        keepalive_timeout: *keepalive_timeout,
        write_timeout: *write_timeout,
        max_age: *max_age,
        max_age_grace: *max_age_grace,
    }
}

fn http1(section: &Http1) -> Http1Limits {
    let Http1 { max_headers, max_head } = section;
    Http1Limits { max_headers: max_headers.get() as usize, max_head: max_head.len() }
}

fn http2(section: &Http2) -> Http2Limits {
    let Http2 {
        max_streams,
        max_header_list,
        header_table,
        stream_window,
        connection_window,
        send_buffer,
        max_pending_resets,
        max_local_resets,
        max_control_frames,
    } = section;
    Http2Limits {
        max_streams: max_streams.get(),
        max_header_list: max_header_list.as_u32(),
        header_table: header_table.as_u32(),
        stream_window: stream_window.as_u32(),
        connection_window: connection_window.as_u32(),
        send_buffer: send_buffer.len(),
        max_pending_resets: *max_pending_resets as usize,
        max_local_resets: *max_local_resets as usize,
        max_control_frames: *max_control_frames,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The defaults stand in two places, here for operators and there for embedders.
    #[test]
    fn the_parts_have_the_defaults_that_are_documented() {
        let config = Config::default();
        let text = |value: &dyn std::fmt::Debug| format!("{value:?}");
        assert_eq!(text(&config.host()), text(&HostConfig::default()));
        assert_eq!(text(&config.transport()), text(&TransportLimits::default()));
        assert_eq!(text(&config.cors()), text(&CorsConfig::default()));
    }
}
