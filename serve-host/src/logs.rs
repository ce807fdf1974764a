//! Logs: what is said about the host and about each call, and how it leaves the process.
//!
//! Lines go to standard error through a bounded queue that a thread of its own empties: a reader that
//! falls asleep costs lines, which are counted, never calls. A line of a call is an event like any
//! other, under the target `okra::access`, so that the filter has the last word on it.

mod access;
mod sink;

use std::io::{self, IsTerminal};

use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Registry, fmt};

pub use self::access::{AccessLine, AccessLog};
pub use self::sink::{LogSink, SinkGuard};
use crate::config::{Log, LogFormat};

/// Why logging could not begin.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is no filter.
    #[error("log.filter is not a filter")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Something logs already.
    #[error("a logger is installed already")]
    Installed(#[from] tracing::subscriber::SetGlobalDefaultError),
    /// There is no thread for it.
    #[error("cannot start the thread that writes logs")]
    Thread(#[from] io::Error),
}

/// Begins to log to standard error. Hold the guard until the end: it waits for the last lines.
///
/// # Errors
/// [`LogError`]; nothing is installed then.
pub fn install(config: &Log) -> Result<SinkGuard, LogError> {
    let filter = EnvFilter::try_new(&config.filter)?;
    let terminal = io::stderr().is_terminal();
    let (sink, guard) = LogSink::spawn(io::stderr())?;
    let pretty = match config.format {
        LogFormat::Auto => terminal,
        LogFormat::Json => false,
        LogFormat::Pretty => true,
    };
    let color = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    tracing::subscriber::set_global_default(subscriber(filter, pretty, color, sink))?;
    Ok(guard)
}

fn subscriber<W>(filter: EnvFilter, pretty: bool, color: bool, writer: W) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let registry = Registry::default().with(filter);
    let lines = fmt::layer().with_writer(writer).with_ansi(pretty && color);
    if pretty {
        Box::new(registry.with(lines))
    } else {
        let lines = lines.json().flatten_event(true).with_current_span(true).with_span_list(false);
        Box::new(registry.with(lines))
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::sync::Arc;
    use std::time::Duration;

    use exec_plan::Code;
    use parking_lot::Mutex;

    use super::*;
    use crate::config::AccessLogging;

    /// What was written, line by line.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Lines {
        fn of(filter: &str, work: impl FnOnce()) -> Vec<serde_json::Value> {
            let lines = Self::default();
            let writer = lines.clone();
            let subscriber = subscriber(EnvFilter::new(filter), false, false, move || writer.clone());
            tracing::subscriber::with_default(subscriber, work);
            let bytes = lines.0.lock();
            let text = std::str::from_utf8(&bytes).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        }
    }

    fn line(code: Code) -> AccessLine<'static> {
        AccessLine {
            method: "/shop.Shop/Buy",
            peer: "127.0.0.1:9",
            plan: Some("shop@1.0.0#0123456789ab"),
            request_id: Some("r-1"),
            trace: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().ok(),
            code,
            message: if code == Code::Ok { "" } else { "no such item" },
            waited: Duration::from_micros(5),
            elapsed: Duration::from_micros(1500),
            request_bytes: 3,
            response_bytes: 4,
        }
    }

    fn access(logging: AccessLogging, sample: u32) -> AccessLog {
        AccessLog::new(logging, NonZeroU32::new(sample).unwrap())
    }

    #[test]
    fn a_call_has_one_line_with_all_that_identifies_it() {
        let lines = Lines::of("info", || access(AccessLogging::All, 1).write(&line(Code::NotFound)));
        let [line] = &lines[..] else { panic!("{lines:?}") };
        for (field, value) in [
            ("target", "okra::access"),
            ("level", "WARN"),
            ("method", "/shop.Shop/Buy"),
            ("plan", "shop@1.0.0#0123456789ab"),
            ("request_id", "r-1"),
            ("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"),
            ("code", "NOT_FOUND"),
            ("error", "no such item"),
            ("peer", "127.0.0.1:9"),
        ] {
            assert_eq!(line[field], value, "{field} of {line}");
        }
        assert_eq!((&line["elapsed_us"], &line["waited_us"]), (&1500.into(), &5.into()));
    }

    #[test]
    fn the_setting_and_the_filter_decide_which_calls_are_logged() {
        let write = |log: &AccessLog, code| log.write(&line(code));
        let both = |log: AccessLog| {
            write(&log, Code::Ok);
            write(&log, Code::Internal);
        };
        assert_eq!(Lines::of("info", || both(access(AccessLogging::All, 1))).len(), 2);
        assert_eq!(Lines::of("info", || both(access(AccessLogging::Failures, 1))).len(), 1);
        assert_eq!(Lines::of("info", || both(access(AccessLogging::Off, 1))).len(), 0);
        assert_eq!(Lines::of("info,okra::access=off", || both(access(AccessLogging::All, 1))).len(), 0);
    }

    #[test]
    fn sampling_thins_out_success_and_never_failure() {
        let log = access(AccessLogging::All, 10);
        assert_eq!(Lines::of("info", || (0..30).for_each(|_| log.write(&line(Code::Ok)))).len(), 3);
        assert_eq!(Lines::of("info", || (0..30).for_each(|_| log.write(&line(Code::Internal)))).len(), 30);
    }
}
