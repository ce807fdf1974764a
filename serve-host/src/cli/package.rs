//! `okra package …`: check, inspect and make packages here, without a host.

mod project;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use packages::{
    CallRule, GuestLimits, Idl, IdlErrors, ModuleNames, PackError, Package, PackageError, PackageFile,
    PackageLimits, PackageParts,
};
use serde::Serialize;
use serde_json::{Value, json};

use self::project::Project;
use super::exit::{Exit, Failure};
use super::output::{Output, Tone};

/// `okra package …`
#[derive(Debug, clap::Subcommand)]
pub(crate) enum PackageCommand {
    /// Check packages and schemas: what is wrong, by the name of the fault or at its place.
    Check(CheckArgs),
    /// Show what a package is and has.
    Inspect(InspectArgs),
    /// Make a package of a project that was built: its okra.json, its interface and its guest.
    Pack(PackArgs),
}

/// `okra package check`
#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// Packages, or schemas whose names end in `.gql`.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// `okra package inspect`
#[derive(Debug, clap::Args)]
pub(crate) struct InspectArgs {
    /// The package.
    file: PathBuf,
}

/// `okra package pack`
#[derive(Debug, clap::Args)]
pub(crate) struct PackArgs {
    /// The project's directory, or its okra.json.
    #[arg(value_name = "PROJECT")]
    project: PathBuf,
    /// Where to write the package, instead of dist/<name>-<version>.okra.pkg in the project.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What checking one file gave.
#[derive(Serialize)]
struct Checked {
    file: String,
    valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    notes: Vec<String>,
    errors: Vec<Value>,
}

pub(crate) fn run(command: &PackageCommand, output: &Output) -> Result<Exit, Failure> {
    match command {
        PackageCommand::Check(args) => check(&args.files, output),
        PackageCommand::Inspect(args) => inspect(&args.file, output),
        PackageCommand::Pack(args) => pack(args, output),
    }
}

fn check(files: &[PathBuf], output: &Output) -> Result<Exit, Failure> {
    let mut results = Vec::new();
    for path in files {
        let bytes = read(path, PackageLimits::default().compressed_bytes)?;
        let is_schema = path.extension().is_some_and(|extension| extension == "gql");
        let file = path.display().to_string();
        results.push(if is_schema {
            check_schema(file, &bytes, output)
        } else {
            check_package(file, bytes, output)
        });
    }
    let is_valid = results.iter().all(|checked| checked.valid);
    let document = json!({ "valid": is_valid, "packages": results });
    output.result(&document, || {
        let line = |checked: &Checked| match (checked.valid, &checked.id) {
            (true, Some(id)) => format!("{} {}: {id}\n", output.paint("ok:", Tone::Good), checked.file),
            (true, None) => format!("{} {}\n", output.paint("ok:", Tone::Good), checked.file),
            (false, _) => format!("{} {}\n", output.paint("not valid:", Tone::Bad), checked.file),
        };
        results.iter().map(line).collect()
    });
    Ok(if is_valid { Exit::Ok } else { Exit::Invalid })
}

fn check_schema(file: String, text: &[u8], output: &Output) -> Checked {
    let errors = match Idl::parse(text) {
        Ok(_) => Vec::new(),
        Err(errors) => {
            output.note(&errors.render(&file, output.has_color()));
            idl_errors(&errors)
        }
    };
    Checked { file, valid: errors.is_empty(), id: None, notes: Vec::new(), errors }
}

fn check_package(file: String, archive: Bytes, output: &Output) -> Checked {
    match Package::read(archive, &PackageLimits::default()) {
        Ok(package) => {
            let mut notes = package.notes().to_vec();
            if let Some(errors) = package.idl().and_then(|idl| Idl::parse(idl).err()) {
                notes.push(format!("{} came along and has mistakes; nothing reads it", PackageFile::Idl));
                output.note(&errors.render(&format!("{file}: {}", PackageFile::Idl), output.has_color()));
            }
            notes.iter().for_each(|note| {
                output.note(&format!("{} {file}: {note}", output.paint("note:", Tone::Quiet)))
            });
            Checked {
                file,
                valid: true,
                id: Some(package.service_id().to_owned()),
                notes,
                errors: Vec::new(),
            }
        }
        Err(error) => {
            output.note(&text_of(&file, &error, output));
            Checked { file, valid: false, id: None, notes: Vec::new(), errors: vec![fault(&error)] }
        }
    }
}

fn inspect(path: &Path, output: &Output) -> Result<Exit, Failure> {
    let archive = read(path, PackageLimits::default().compressed_bytes)?;
    let package = Package::read(archive, &PackageLimits::default()).map_err(|error| refused(path, &error))?;
    let names = ModuleNames::read(package.wasm());
    let document = describe(&package, names.as_ref());
    output.result(&document, || tell(&package, names.as_ref()));
    Ok(Exit::Ok)
}

fn pack(args: &PackArgs, output: &Output) -> Result<Exit, Failure> {
    let project = Project::open(&args.project)?;
    let (interface, wasm) = (project.interface()?, project.guest()?);
    let parts = PackageParts { config: project.config_text(), interface: interface.interface(), wasm: &wasm };
    let packed = packages::pack(&parts).map_err(|error| not_packed(&error, &interface.path, output))?;
    let package = Package::read(packed.archive.clone(), &PackageLimits::default())
        .map_err(|error| refused(&args.project, &error))?;
    let written = project.write(args.output.as_deref(), &packed.archive)?;
    let bytes = packed.archive.len();
    for method in &packed.left_out {
        let note = format!("{method} streams, which packages cannot: left out");
        output.note(&format!("{} {}: {note}", output.paint("note:", Tone::Quiet), interface.path.display()));
    }
    let document = json!({
        "file": written.display().to_string(), "id": package.service_id(), "route": package.route(),
        "digest": package.digest(), "bytes": bytes, "left_out": packed.left_out,
    });
    output.result(&document, || {
        format!("packed {} into {} ({bytes} bytes)", package.service_id(), written.display())
    });
    Ok(Exit::Ok)
}

/// Why a package cannot be made, with the mistakes of its schema at their places.
fn not_packed(error: &PackError, interface: &Path, output: &Output) -> Failure {
    let interface = interface.display().to_string();
    let message = if let PackError::Idl(errors) = error {
        output.note(&errors.render(&interface, output.has_color()));
        let count = errors.errors().len() + errors.omitted();
        let mistakes = if count == 1 { "a mistake".to_owned() } else { format!("{count} mistakes") };
        format!("the schema has {mistakes}")
    } else if matches!(error, PackError::Descriptors(_) | PackError::NoService) {
        format!("{interface}: {error}")
    } else {
        error.to_string()
    };
    let failure = Failure::new(Exit::Invalid, message);
    match error.help() {
        Some(help) => failure.with_help(help),
        None => failure,
    }
}

/// A package as a document.
fn describe(package: &Package, names: Option<&ModuleNames>) -> Value {
    let methods = package.methods().iter().map(|method| {
        json!({
            "name": method.name, "input": method.input, "output": method.output,
            "no_side_effects": method.is_without_side_effects,
        })
    });
    json!({
        "id": package.service_id(), "route": package.route(), "version": package.version(),
        "graph_version": package.semver().to_string(), "digest": package.digest(),
        "bytes": {
            "archive": package.archive_bytes(), "unpacked": package.unpacked_bytes(),
            "wasm": package.wasm().len(),
        },
        "abi": { "payload": package.abi().payload.name(), "envelope": package.abi().envelope },
        "calls": calls(package), "limits": limits(&package.config().limits), "primed": primed(package),
        "methods": methods.collect::<Vec<_>>(),
        "wasm": names.map(|names| json!({ "imports": imports(names), "exports": names.exports })),
        "notes": package.notes(),
    })
}

/// A package for people.
fn tell(package: &Package, names: Option<&ModuleNames>) -> String {
    let abi = package.abi();
    let envelope = if abi.envelope { ", in envelopes" } else { "" };
    let mut lines = vec![
        format!("id       {}", package.service_id()),
        format!("route    {}", package.route()),
        format!("version  {} (as a graph: {})", package.version(), package.semver()),
        format!("digest   {}", package.digest()),
        format!(
            "bytes    {} packed, {} unpacked, {} of wasm",
            package.archive_bytes(),
            package.unpacked_bytes(),
            package.wasm().len()
        ),
        format!("abi      {}{envelope}", abi.payload.name()),
    ];
    let list =
        |head: &str, items: &[String]| (!items.is_empty()).then(|| format!("{head:<9}{}", items.join(", ")));
    lines.extend(list("calls", &calls(package)));
    let set = limits(&package.config().limits);
    let set: Vec<_> =
        set.as_object().into_iter().flatten().map(|(name, limit)| format!("{name} {limit}")).collect();
    lines.extend(list("limits", &set));
    if let Some(samples) = primed(package) {
        let samples = if samples.is_empty() { "by its start alone".to_owned() } else { samples.join(", ") };
        lines.push(format!("primed   {samples}"));
    }
    lines.push("methods".to_owned());
    for method in package.methods() {
        let remark = if method.is_without_side_effects { "  (no side effects)" } else { "" };
        lines.push(format!("  {}({}) -> {}{remark}", method.name, method.input, method.output));
    }
    if let Some(names) = names {
        lines.extend(list("imports", &imports(names)));
        lines.extend(list("exports", &names.exports));
    }
    lines.extend(package.notes().iter().map(|note| format!("note     {note}")));
    lines.join("\n")
}

fn imports(names: &ModuleNames) -> Vec<String> {
    names.imports.iter().map(|(module, name)| format!("{module}.{name}")).collect()
}

fn calls(package: &Package) -> Vec<String> {
    let text = |rule: &CallRule| match rule {
        CallRule::Namespace(namespace) => format!("{namespace}.*"),
        CallRule::Service(id) => id.clone(),
        other => format!("{other:?}"),
    };
    package.config().calls.rules().iter().map(text).collect()
}

/// The methods whose calls prime the guest, in order, if it is primed.
fn primed(package: &Package) -> Option<Vec<String>> {
    Some(package.samples()?.iter().map(|sample| sample.method.clone()).collect())
}

/// The limits that a package sets.
fn limits(limits: &GuestLimits) -> Value {
    let all = [
        ("memory_bytes", limits.memory_bytes),
        ("table_elements", limits.table_elements),
        ("instances", limits.instances),
        ("timeout_ms", limits.timeout_ms),
        ("result_bytes", limits.result_bytes),
        ("host_calls", limits.host_calls),
    ];
    all.into_iter()
        .filter_map(|(name, limit)| Some((name.to_owned(), json!(limit?))))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn fault(error: &PackageError) -> Value {
    let mut fault = json!({ "code": error.code(), "message": error.to_string() });
    if let (Some(object), Some(file)) = (fault.as_object_mut(), error.file()) {
        object.insert("file".to_owned(), json!(file.name()));
    }
    if let (Some(object), Some(help)) = (fault.as_object_mut(), error.help()) {
        object.insert("help".to_owned(), json!(help));
    }
    fault
}

/// A refusal for people.
fn text_of(file: &str, error: &PackageError, output: &Output) -> String {
    let mut text = format!("{} {file}: {error} [{}]", output.paint("error:", Tone::Bad), error.code());
    if let Some(help) = error.help() {
        text.push_str(&format!("\n  {} {help}", output.paint("help:", Tone::Quiet)));
    }
    text
}

fn idl_errors(errors: &IdlErrors) -> Vec<Value> {
    errors.errors().iter().map(|error| json!(error)).collect()
}

fn refused(path: &Path, error: &PackageError) -> Failure {
    let failure = Failure::new(Exit::Invalid, format!("{}: {error}", path.display()));
    match error.help() {
        Some(help) => failure.with_help(help),
        None => failure,
    }
}

/// A file's bytes, if it has not more than this; one more of a larger one, which the reader refuses.
fn read(path: &Path, limit: u64) -> Result<Bytes, Failure> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read()
        .map_err(|error| Failure::new(Exit::NotFound, format!("cannot read {}: {error}", path.display())))?;
    Ok(bytes.into())
}
