//! The file-based way: a graph document, or a folder of them, is published and published again as it
//! changes.
//!
//! Whatever an event says, the folder is read again and compared by content, so that renames, swapped
//! links and editors' habits all come to the same. A file that does not compile is reported and changes
//! nothing; a file that is gone leaves its graph serving. Of several versions of one graph the highest
//! is published. Here, and nowhere else, other content under the same version replaces the old: whoever
//! edits a file means it. Files that did not change while the host was down change nothing: what was
//! published, pinned or rolled back by then stays so.
//!
//! Events are only a hint to look sooner: the folder is looked at every [`LOOK_AGAIN`] anyway.

mod folder;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

pub use self::folder::{FileReport, GraphFolder, Outcome};

/// How long a folder must be quiet before it is read: an editor writes a file in several steps.
const QUIET: Duration = Duration::from_millis(100);

/// How long a folder that is never quiet is left alone.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often a folder is read without an event, for file systems that give none.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Publishes what changes until `stop`.
pub async fn watch(mut folder: GraphFolder, stop: CancellationToken) {
    let changed = Arc::new(Notify::new());
    let watcher = watcher(folder.directory(), changed.clone());
    if let Err(error) = &watcher {
        tracing::warn!(%error, every = ?LOOK_AGAIN, "the folder gives no events and is looked at instead");
    }
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = settled(&changed) => {}
            () = sleep(LOOK_AGAIN) => {}
        }
        let looking = tokio::task::spawn_blocking(move || {
            let reports = folder.look();
            (folder, reports)
        });
        // A panic of the compiler is a bug; the graphs that serve go on.
        let Ok((looked_at, reports)) = looking.await else {
            tracing::error!("looking at the folder panicked; it is not watched any more");
            return;
        };
        folder = looked_at;
        reports.iter().for_each(FileReport::log);
    }
}

/// Waits for an event, and then until there are no more for a while.
async fn settled(changed: &Notify) {
    changed.notified().await;
    let quiet = async { while timeout(QUIET, changed.notified()).await.is_ok() {} };
    let _ = timeout(PATIENCE, quiet).await;
}

/// Begins to listen for events. The watcher stops when it is dropped.
fn watcher(directory: PathBuf, changed: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    // An error, an overflow of the kernel's queue for example, is a reason to look, too.
    let mut watcher = notify::recommended_watcher(move |_| changed.notify_one())?;
    watcher.watch(&directory, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

#[cfg(test)]
mod tests;
