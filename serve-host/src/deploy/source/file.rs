//! Reads a package from a file under an allowed root.
//!
//! Where a path leads is decided by the file that was opened, not by its spelling: links are followed
//! first, and what is open is then asked where it lies, so that nothing can be exchanged in between.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;

use super::SourceError;

/// Reads a file that lies under one of the roots.
pub(super) fn read(path: &Path, roots: &[PathBuf], limit: usize) -> Result<Bytes, SourceError> {
    if roots.is_empty() {
        return Err(SourceError::NoRoots);
    }
    let canonical: Vec<PathBuf> = roots.iter().filter_map(|root| fs::canonicalize(root).ok()).collect();
    let outside = || SourceError::OutsideRoots { path: path.to_owned() };
    let is_inside = |place: &Path| canonical.iter().any(|root| place.starts_with(root));
    // Whoever may not read there is not told what is there either.
    let spelled_inside = roots.iter().chain(&canonical).any(|root| spelled(path).starts_with(root));
    let unreadable = |source: io::Error| {
        let path = path.to_owned();
        if !spelled_inside {
            SourceError::OutsideRoots { path }
        } else if source.kind() == io::ErrorKind::NotFound {
            SourceError::FileNotFound { path }
        } else {
            SourceError::Unreadable { path, source }
        }
    };
    let place = fs::canonicalize(path).map_err(unreadable)?;
    if !is_inside(&place) {
        return Err(outside());
    }
    // A pipe must not be waited for.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(&place).map_err(unreadable)?;
    if !is_inside(&opened_at(&file).map_err(unreadable)?) {
        return Err(outside());
    }
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(SourceError::NotAFile { path: path.to_owned() });
    }
    let mut bytes = Vec::new();
    let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    file.take(bound).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > limit {
        return Err(SourceError::TooLarge { limit });
    }
    Ok(Bytes::from(bytes))
}

/// Where the file that is open lies now.
fn opened_at(file: &File) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// The path without its `.` and `..`, by spelling alone.
fn spelled(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => plain.push(component),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const LIMIT: usize = 8;

    fn said(path: &Path, roots: &[PathBuf]) -> String {
        read(path, roots, LIMIT).map_or_else(
            |error| error.to_string(),
            |bytes| format!("read {}", String::from_utf8_lossy(&bytes)),
        )
    }

    #[test]
    fn only_what_lies_under_a_root_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let (root, other) = (dir.path().join("root"), dir.path().join("other"));
        fs::create_dir(&root).unwrap();
        fs::create_dir(&other).unwrap();
        fs::write(root.join("here"), "package").unwrap();
        fs::write(root.join("large"), "a package").unwrap();
        fs::write(other.join("secret"), "secret").unwrap();
        symlink(other.join("secret"), root.join("link")).unwrap();
        symlink(&other, root.join("up")).unwrap();
        symlink(root.join("here"), other.join("way-in")).unwrap();
        symlink(&root, dir.path().join("alias")).unwrap();
        let roots = [root.clone()];
        assert_eq!(said(&root.join("here"), &roots), "read package");
        assert_eq!(said(&root.join("../root/./here"), &roots), "read package");
        assert_eq!(said(&other.join("way-in"), &roots), "read package");
        assert_eq!(said(&dir.path().join("alias/here"), &[dir.path().join("alias")]), "read package");
        for escape in ["link", "up/secret", "../other/secret", "../other/absent", "../../../../etc/passwd"] {
            let path = root.join(escape);
            assert!(said(&path, &roots).ends_with("is not under a directory of packages.roots"), "{escape}");
        }
        assert!(said(&root.join("absent"), &roots).starts_with("package file not found: stat "));
        assert!(said(&root, &roots).ends_with("is not a regular file"));
        assert!(said(&root.join("large"), &roots).contains("(8 bytes)"));
        assert!(said(&root.join("here"), &[]).contains("packages.roots"));
        assert!(said(&root.join("here"), &[dir.path().join("absent")]).contains("is not under"));
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        assert!(said(&pipe, &[dir.path().to_owned()]).ends_with("is not a regular file"));
    }
}
