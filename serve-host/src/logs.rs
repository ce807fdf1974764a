//! Logs: what is said about the host and about each call, and how it leaves the process.
//!
//! Lines go to standard error through a bounded queue that a thread of its own empties: a reader that
//! falls asleep costs lines, which are counted, never calls. A line of a call is an event like any
//! other, under the target `okra::access`, so that the filter has the last word on it.

mod access;
pub(crate) mod paced;
mod sink;

use std::io::{self, IsTerminal};

use tracing::Subscriber;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{EnvFilter, Registry, fmt};

use self::access::Sample;
pub use self::access::{ACCESS_TARGET, AccessLine};
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
pub fn install(config: &Log, color: bool) -> Result<SinkGuard, LogError> {
    let filter = filter(config)?;
    let (sink, guard) = LogSink::spawn(io::stderr())?;
    let pretty = match config.format {
        LogFormat::Auto => io::stderr().is_terminal(),
        LogFormat::Json => false,
        LogFormat::Pretty => true,
    };
    tracing::subscriber::set_global_default(subscriber(config, filter, pretty, color, sink))?;
    Ok(guard)
}

/// What is logged: the filter, and for access lines their own setting, unless the filter names them.
pub(crate) fn filter(config: &Log) -> Result<EnvFilter, ParseError> {
    let filter = EnvFilter::try_new(&config.filter)?;
    if config.filter.contains(ACCESS_TARGET) {
        return Ok(filter);
    }
    Ok(filter.add_directive(format!("{ACCESS_TARGET}={}", config.access.level()).parse()?))
}

fn subscriber<W>(
    config: &Log,
    filter: EnvFilter,
    pretty: bool,
    color: bool,
    writer: W,
) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let sample = (config.access_sample.get() > 1).then(|| Sample::new(config.access_sample));
    let registry = Registry::default().with(filter).with(sample);
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
        fn of(config: &Log, work: impl FnOnce()) -> Vec<serde_json::Value> {
            let lines = Self::default();
            let writer = lines.clone();
            let filter = filter(config).unwrap();
            let subscriber = subscriber(config, filter, false, false, move || writer.clone());
            tracing::subscriber::with_default(subscriber, work);
            let bytes = lines.0.lock();
            let text = std::str::from_utf8(&bytes).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        }
    }

    fn call(code: Code) {
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().ok();
        if AccessLine::is_wanted(code) {
            let line = AccessLine {
                method: "/shop.Shop/Buy",
                protocol: crate::protocol::Protocol::Grpc,
                peer: "127.0.0.1:9",
                plan: "shop@1.0.0#0123456789ab",
                request_id: Some("r-1"),
                trace,
                code,
                elapsed: Duration::from_micros(1500),
                request_bytes: 3,
            };
            line.write();
        }
    }

    fn config(filter: &str, access: AccessLogging) -> Log {
        Log { filter: filter.to_owned(), access, ..Log::default() }
    }

    #[test]
    fn a_call_has_one_line_with_all_that_identifies_it() {
        let lines = Lines::of(&config("info", AccessLogging::All), || call(Code::NotFound));
        let [line] = &lines[..] else { panic!("{lines:?}") };
        for (field, value) in [
            ("target", "okra::access"),
            ("level", "WARN"),
            ("method", "/shop.Shop/Buy"),
            ("plan", "shop@1.0.0#0123456789ab"),
            ("request_id", "r-1"),
            ("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"),
            ("code", "NOT_FOUND"),
            ("peer", "127.0.0.1:9"),
        ] {
            assert_eq!(line[field], value, "{field} of {line}");
        }
        assert_eq!((&line["elapsed_us"], &line["request_bytes"]), (&1500.into(), &3.into()));
    }

    #[test]
    fn the_setting_and_the_filter_decide_which_calls_are_logged() {
        let codes = |filter, access| {
            let lines = Lines::of(&config(filter, access), || {
                call(Code::Ok);
                call(Code::Internal);
            });
            lines.into_iter().map(|line| line["code"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(codes("info", AccessLogging::All), ["OK", "INTERNAL"]);
        assert_eq!(codes("error", AccessLogging::All), ["OK", "INTERNAL"]);
        assert_eq!(codes("trace", AccessLogging::Failures), ["INTERNAL"]);
        assert!(codes("trace", AccessLogging::Off).is_empty());
        assert_eq!(codes("info,okra::access=info", AccessLogging::Off), ["OK", "INTERNAL"]);
        assert!(codes("info,okra::access=off", AccessLogging::All).is_empty());
    }

    #[test]
    fn sampling_thins_out_success_and_never_failure() {
        let config =
            Log { access_sample: NonZeroU32::new(10).unwrap(), ..config("info", AccessLogging::All) };
        let count = |code| Lines::of(&config, || (0..30).for_each(|_| call(code))).len();
        assert_eq!(count(Code::Ok), 3);
        assert_eq!(count(Code::Internal), 30);
        assert_eq!(Lines::of(&config, || tracing::info!("not a call")).len(), 1);
    }
}
