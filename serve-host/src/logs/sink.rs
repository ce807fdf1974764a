//! A writer that never blocks: a bounded queue before a thread that writes.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use tracing_subscriber::fmt::MakeWriter;

/// Takes lines and hands them to the thread that writes them; drops and counts what has no room.
#[derive(Clone, Debug)]
pub struct LogSink {
    queue: Sender<Item>,
    dropped: Arc<AtomicU64>,
}

/// Waits for the last lines when it is dropped.
#[derive(Debug)]
pub struct SinkGuard {
    queue: Sender<Item>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Item {
    Line(Vec<u8>),
    /// Answer once everything before is written.
    Flush(Sender<()>),
}

/// How many lines may wait for the writer.
const QUEUED_LINES: usize = 8192;

/// How many bytes are written at a time.
const BATCH: usize = 64 << 10;

/// How long the end of the process waits for the last lines.
const LAST_WORDS: Duration = Duration::from_secs(1);

// === impl LogSink ===

impl LogSink {
    /// Starts a thread that writes to `out`.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn spawn(out: impl Write + Send + 'static) -> io::Result<(Self, SinkGuard)> {
        let (queue, lines) = bounded(QUEUED_LINES);
        let dropped = Arc::new(AtomicU64::new(0));
        thread::Builder::new().name("okra-log".to_owned()).spawn(move || write_all(&lines, out))?;
        let guard = SinkGuard { queue: queue.clone(), dropped: dropped.clone() };
        Ok((Self { queue, dropped }, guard))
    }
}

impl Write for LogSink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.queue.try_send(Item::Line(line.to_vec())) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for LogSink {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

// === impl SinkGuard ===

impl SinkGuard {
    /// How many lines had no room so far.
    pub fn dropped(&self) -> Arc<AtomicU64> {
        self.dropped.clone()
    }
}

impl Drop for SinkGuard {
    fn drop(&mut self) {
        let (written, done) = bounded(1);
        if self.queue.send_timeout(Item::Flush(written), LAST_WORDS).is_ok() {
            // Whoever reads the log may be asleep; the process does not wait for that.
            let _ = done.recv_timeout(LAST_WORDS);
        }
    }
}

/// Writes lines in batches, so that a burst costs few system calls and a quiet time no delay.
fn write_all(items: &Receiver<Item>, mut out: impl Write) {
    let mut batch = Vec::with_capacity(BATCH);
    while let Ok(first) = items.recv() {
        let mut next = Some(first);
        let mut waiting = Vec::new();
        while let Some(item) = next {
            match item {
                Item::Line(line) => batch.extend_from_slice(&line),
                Item::Flush(written) => waiting.push(written),
            }
            next = if batch.len() < BATCH { items.try_recv().ok() } else { None };
        }
        // There is nowhere to say that nothing can be said.
        let _ = out.write_all(&batch).and_then(|()| out.flush());
        batch.clear();
        for written in waiting {
            let _ = written.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A reader that is asleep until it is told to wake up.
    struct Asleep(mpsc::Receiver<()>);

    impl Write for Asleep {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_guard_waits_for_the_last_line() {
        let written = Written::default();
        let (mut sink, guard) = LogSink::spawn(written.clone()).unwrap();
        for i in 0..1000 {
            writeln!(sink, "{i}").unwrap();
        }
        drop(guard);
        let text = String::from_utf8(written.0.lock().clone()).unwrap();
        let lines: Vec<usize> = text.lines().map(|line| line.parse().unwrap()).collect();
        assert_eq!(lines, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn a_sleeping_reader_costs_lines_and_no_time() {
        let (wake, asleep) = mpsc::channel();
        let (mut sink, guard) = LogSink::spawn(Asleep(asleep)).unwrap();
        let dropped = guard.dropped();
        // `write` itself, for one line is one item; the writer holds some that left the queue already.
        for _ in 0..4 * QUEUED_LINES {
            assert_eq!(sink.write(b"line").unwrap(), 4);
        }
        assert!(dropped.load(Ordering::Relaxed) >= 1);
        drop(wake);
        drop(guard);
    }
}
