//! Where compiled guests are kept: in the data directory, else in a folder that lasts as long as this process.
//!
//! Whoever can write to it can run code as this program. So a folder beside those of other users is made by
//! nobody else, has a name that nobody can foresee, and lets nobody in. One that a killed process left is
//! removed by the next.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// The folder of compiled guests.
#[derive(Debug)]
pub(crate) struct CodeDir {
    path: PathBuf,
    is_own: bool,
}

/// What the names of folders of processes begin with; then the process id.
const PREFIX: &str = "okra-code-";

/// For its owner alone.
const PRIVATE: u32 = 0o700;

// === impl CodeDir ===

impl CodeDir {
    /// The folder of this data directory, or one of this process.
    pub(crate) fn of(data_dir: Option<&Path>) -> io::Result<Self> {
        match data_dir {
            Some(dir) => Ok(Self { path: dir.join("cache"), is_own: false }),
            None => Self::beside_others(&std::env::temp_dir()),
        }
    }

    fn beside_others(dir: &Path) -> io::Result<Self> {
        let path = dir.join(format!("{PREFIX}{}-{}", std::process::id(), Uuid::now_v7()));
        // Not there before, or this fails.
        DirBuilder::new().mode(PRIVATE).create(&path)?;
        let owner = fs::metadata(&path)?.uid();
        for entry in fs::read_dir(dir)?.flatten() {
            let name = entry.file_name();
            let process = name
                .to_str()
                .and_then(|name| name.strip_prefix(PREFIX))
                .and_then(|rest| rest.split_once('-'));
            let is_left = process
                .is_some_and(|(id, _)| id.parse::<u32>().is_ok() && !Path::new("/proc").join(id).exists());
            let is_ours = entry.metadata().is_ok_and(|found| found.is_dir() && found.uid() == owner);
            if is_left && is_ours {
                // Another process may be removing it, too.
                let _left_over = fs::remove_dir_all(entry.path());
            }
        }
        Ok(Self { path, is_own: true })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the folder if it is to end with this process.
    pub(crate) fn remove(&self) {
        if self.is_own {
            // What cannot be removed now, the next process removes.
            let _left_over = fs::remove_dir_all(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_of_this_process_is_private_and_removes_what_others_left() {
        let dir = tempfile::tempdir().unwrap();
        let left = dir.path().join(format!("{PREFIX}4294967295-x"));
        let alive = dir.path().join(format!("{PREFIX}{}-x", std::process::id()));
        let strange = dir.path().join(format!("{PREFIX}nobody"));
        for other in [&left, &alive, &strange] {
            fs::create_dir(other).unwrap();
        }
        let own = CodeDir::beside_others(dir.path()).unwrap();
        assert_eq!(fs::metadata(own.path()).unwrap().permissions().mode() & 0o777, PRIVATE);
        assert!(!left.exists() && alive.exists() && strange.exists());
        own.remove();
        assert!(!own.path().exists());
    }

    #[test]
    fn the_folder_of_a_data_directory_stays() {
        let dir = tempfile::tempdir().unwrap();
        let code = CodeDir::of(Some(dir.path())).unwrap();
        fs::create_dir(code.path()).unwrap();
        code.remove();
        assert!(code.path().exists());
    }
}
