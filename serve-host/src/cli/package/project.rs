//! A project on disk: what a package is made of, all of it inside the project's directory.

use std::fs;
use std::io::Write;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use packages::{Interface, InterfacePath, PackageConfig, PackageFile, PackageLimits};

use super::read;
use crate::cli::exit::{Exit, Failure};

/// A project whose okra.json was read.
pub(super) struct Project {
    directory: PathBuf,
    text: Bytes,
    config: PackageConfig,
}

/// What says which methods and types the service has, as it lies in its project.
pub(super) struct InterfaceFile {
    pub(super) path: PathBuf,
    bytes: Bytes,
    is_compiled: bool,
}

// === impl InterfaceFile ===

impl InterfaceFile {
    pub(super) fn interface(&self) -> Interface<'_> {
        if self.is_compiled { Interface::Descriptors(&self.bytes) } else { Interface::Schema(&self.bytes) }
    }
}

// === impl Project ===

impl Project {
    /// Opens a directory, or that of an okra.json.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let file = if path.is_dir() { path.join(PackageFile::Config.name()) } else { path.to_owned() };
        let text = read(&file, PackageLimits::default().text_bytes)?;
        let config = PackageConfig::parse(&text).map_err(|error| {
            Failure::new(Exit::Invalid, format!("{}: failed to parse config: {error}", file.display()))
        })?;
        let directory = match file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        Ok(Self { directory, text, config })
    }

    /// Its okra.json.
    pub(super) fn config_text(&self) -> &[u8] {
        &self.text
    }

    /// Its interface: what okra.json names, or the first that is there of those it need not name.
    pub(super) fn interface(&self) -> Result<InterfaceFile, Failure> {
        let paths = self.config.interface_paths();
        let is_there = |named: &str| self.directory.join(plain(Path::new(named))).exists();
        let found = match paths.as_slice() {
            [only] => *only,
            several => match several.iter().find(|path| is_there(named(path))) {
                Some(path) => *path,
                None => return Err(self.has_no_interface(several)),
            },
        };
        let limits = PackageLimits::default();
        let (limit, is_compiled) = match found {
            InterfacePath::Schema(_) => (limits.text_bytes, false),
            InterfacePath::Descriptors(_) => (limits.descriptor_bytes, true),
        };
        let bytes = self.read("schema", named(&found), limit)?;
        Ok(InterfaceFile { path: self.directory.join(plain(Path::new(named(&found)))), bytes, is_compiled })
    }

    fn has_no_interface(&self, paths: &[InterfacePath<'_>]) -> Failure {
        let names: Vec<_> =
            paths.iter().map(|path| plain(Path::new(named(path))).display().to_string()).collect();
        let message = format!("{} has neither {}", self.directory.display(), names.join(" nor "));
        Failure::new(Exit::NotFound, message).with_help(
            "write the schema, compile .proto files with \
             `protoc --include_imports --descriptor_set_out=service.pb.desc`, or name either by `schema` in okra.json",
        )
    }

    /// Its guest.
    pub(super) fn guest(&self) -> Result<Bytes, Failure> {
        let guest = self.read("build.output", self.config.output_path(), PackageLimits::default().wasm_bytes);
        guest.map_err(|failure| {
            let is_missing = failure.exit == Exit::NotFound;
            if is_missing { failure.with_help("build the guest first") } else { failure }
        })
    }

    /// Writes the package, whole or not at all, and says where.
    pub(super) fn write(&self, output: Option<&Path>, archive: &[u8]) -> Result<PathBuf, Failure> {
        let path = match output {
            Some(path) => path.to_owned(),
            None => self.directory.join("dist").join(self.file_name()?),
        };
        let failed = |error| Failure::new(Exit::Failure, format!("cannot write {}: {error}", path.display()));
        if output.is_none() {
            fs::create_dir_all(self.directory.join("dist")).map_err(failed)?;
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.tmp", std::process::id()));
        let staged = path.with_file_name(name);
        let write = || {
            let mut file = fs::File::create_new(&staged)?;
            file.write_all(archive)?;
            file.sync_all()?;
            fs::rename(&staged, &path)
        };
        write().map_err(|error| {
            // Nothing is left behind; if that fails as well, the first reason is the one to tell.
            let _ = fs::remove_file(&staged);
            failed(error)
        })?;
        Ok(path)
    }

    /// As the original's tools name it.
    fn file_name(&self) -> Result<String, Failure> {
        let version = &self.config.version;
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'+');
        if version.is_empty() || !version.bytes().all(is_part) {
            let message = format!("the version {version:?} of okra.json cannot be part of a file's name");
            return Err(Failure::new(Exit::Invalid, message).with_help("say where to write with --output"));
        }
        Ok(format!("{}-{version}.okra.pkg", self.config.name))
    }

    /// Reads a file that okra.json names.
    fn read(&self, key: &str, named: &str, limit: u64) -> Result<Bytes, Failure> {
        let outside = || {
            let message = format!("`{key}` of okra.json leads out of the project: {named}");
            Failure::new(Exit::Invalid, message)
                .with_help("a package is made of files inside its project only")
        };
        let relative = Path::new(named);
        let stays = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
        if !relative.components().all(stays) {
            return Err(outside());
        }
        let path = self.directory.join(plain(relative));
        // A link may lead out as well as a name.
        let real = |path: &Path| {
            path.canonicalize().map_err(|error| {
                Failure::new(Exit::NotFound, format!("cannot read {}: {error}", path.display()))
            })
        };
        if !real(&path)?.starts_with(real(&self.directory)?) {
            return Err(outside());
        }
        let bytes = read(&path, limit)?;
        if bytes.len() as u64 > limit {
            let message = format!("{} has more than the {limit} bytes that are allowed", path.display());
            return Err(Failure::new(Exit::Invalid, message));
        }
        Ok(bytes)
    }
}

/// The path as it stands in okra.json.
fn named<'c>(path: &InterfacePath<'c>) -> &'c str {
    match path {
        InterfacePath::Schema(named) | InterfacePath::Descriptors(named) => named,
    }
}

/// Without the `.` that projects begin their paths with.
fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| !matches!(part, Component::CurDir)).collect()
}
