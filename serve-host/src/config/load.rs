//! Loading: what the flags, the environment and the file say, merged in that order over the defaults.
//!
//! Every source is read to its end and every value is checked, also one that a stronger source
//! overrides: a mistake that lies asleep today would surprise someone tomorrow.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::key::{ENV_PREFIX, Key};
use super::list::SEPARATOR;
use super::mistake::{ConfigErrors, Mistake, Origin};
use super::scalar::{Form, Given, Setting};
use super::{Config, check, closest};

/// Where values may come from, apart from the defaults.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// Flags: the path of the key, and the text.
    pub flags: Vec<(String, String)>,
    /// The environment; names that do not begin with `OKRA_` and are no key's are ignored.
    pub env: Vec<(String, String)>,
    /// The configuration file, if there is one.
    pub file: Option<ConfigFile>,
}

/// The text of a configuration file.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    /// How messages name it.
    pub path: Arc<Path>,
    /// Its content.
    pub text: String,
}

/// A configuration, and where each value came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values.
    pub config: Config,
    /// Where they came from, by path.
    origins: BTreeMap<String, Origin>,
    /// What is worth a line in the log, although it is no mistake.
    pub notes: Vec<String>,
}

/// The variable that names the file.
const FILE_ENV: &str = "OKRA_CONFIG";

/// The file that is read if none is named.
const FILE_NAME: &str = "okra.toml";

/// The longest file, in bytes: far more than every key with its comment.
const MAX_FILE: u64 = 1 << 20;

// === impl Sources ===

impl Sources {
    /// The sources of this process: the flags given, its environment, and the file that `file` names,
    /// else `OKRA_CONFIG`, else `okra.toml` in the working directory if there is one.
    ///
    /// # Errors
    /// A file that was named cannot be read, or a variable is not UTF-8.
    pub fn of_process(flags: Vec<(String, String)>, file: Option<PathBuf>) -> Result<Self, ConfigErrors> {
        let mut mistakes = Vec::new();
        let mut env = Vec::new();
        for (name, value) in std::env::vars_os() {
            // A name that is not UTF-8 is nobody's here.
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => env.push((name, value)),
                Err(_) if name.starts_with(ENV_PREFIX) => {
                    mistakes.push(Mistake::new(Origin::Env(name), "the value is not UTF-8"));
                }
                Err(_) => {}
            }
        }
        let named = file.map(|path| (path, Origin::Flag("--config".to_owned()))).or_else(|| {
            let (_, path) = env.iter().find(|(name, _)| name == FILE_ENV)?;
            Some((PathBuf::from(path), Origin::Env(FILE_ENV.to_owned())))
        });
        let must_exist = named.is_some();
        let (path, origin) = named.unwrap_or_else(|| (PathBuf::from(FILE_NAME), Origin::Default));
        let file = match ConfigFile::read(&path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !must_exist => None,
            Err(error) => {
                let help = "name a readable file, or leave it out to use okra.toml in the working directory";
                mistakes.push(
                    Mistake::new(origin, format!("cannot read {}: {error}", path.display())).with_help(help),
                );
                None
            }
        };
        if mistakes.is_empty() { Ok(Self { flags, env, file }) } else { Err(ConfigErrors(mistakes)) }
    }
}

impl ConfigFile {
    /// Reads a file, up to its bound.
    ///
    /// # Errors
    /// It cannot be read, is too long, or is not UTF-8.
    pub fn read(path: &Path) -> io::Result<Self> {
        let mut text = String::new();
        let file = std::fs::File::open(path)?;
        let length = file.take(MAX_FILE + 1).read_to_string(&mut text)?;
        if length as u64 > MAX_FILE {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {MAX_FILE} bytes")));
        }
        Ok(Self { path: Arc::from(path), text })
    }
}

// === impl Loaded ===

impl Loaded {
    /// Merges the sources over the defaults and checks the whole.
    ///
    /// # Errors
    /// Every mistake in every source.
    pub fn from_sources(sources: &Sources) -> Result<Self, ConfigErrors> {
        let mut loader = Loader { values: BTreeMap::new(), mistakes: Vec::new(), notes: Vec::new() };
        if let Some(file) = &sources.file {
            loader.read_file(file);
        }
        loader.read_env(&sources.env);
        loader.read_flags(&sources.flags);
        loader.finish()
    }

    /// Where the value of this key came from.
    pub fn origin(&self, key: &Key) -> &Origin {
        self.origins.get(&key.path()).unwrap_or(&Origin::Default)
    }
}

/// Values found so far, the weakest source first.
struct Loader {
    values: BTreeMap<String, Vec<(Origin, Form, String)>>,
    mistakes: Vec<Mistake>,
    notes: Vec<String>,
}

impl Loader {
    fn found(&mut self, path: String, origin: Origin, form: Form, text: String) {
        self.values.entry(path).or_default().push((origin, form, text));
    }

    fn read_file(&mut self, file: &ConfigFile) {
        let (table, errors) = DeTable::parse_recoverable(&file.text);
        // What stands behind a broken place may be read wrongly: first things first.
        let readable = errors.is_empty();
        for error in errors {
            let origin = file.origin_of(error.span().map_or(0, |span| span.start));
            self.mistakes.push(Mistake::new(origin, error.message().replace('\n', ", ")));
        }
        for (name, value) in table.get_ref().iter().filter(|_| readable) {
            let section = name.get_ref().as_ref();
            match value.get_ref() {
                DeValue::Table(keys) if is_section(section) => {
                    for (key, value) in keys {
                        self.read_value(file, format!("{section}.{}", key.get_ref()), key, value);
                    }
                }
                DeValue::Table(_) => {
                    let known = closest(section, sections());
                    let origin = file.origin_of(name.span().start);
                    let mut mistake = Mistake::new(origin, format!("there is no section [{section}]"));
                    mistake.help = known.map(|known| format!("did you mean [{known}]?"));
                    self.mistakes.push(mistake);
                }
                DeValue::String(_)
                | DeValue::Integer(_)
                | DeValue::Float(_)
                | DeValue::Boolean(_)
                | DeValue::Datetime(_)
                | DeValue::Array(_) => self.read_value(file, section.to_owned(), name, value),
            }
        }
    }

    fn read_value(
        &mut self,
        file: &ConfigFile,
        path: String,
        name: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
    ) {
        let keys = Config::keys();
        if !keys.iter().any(|key| key.path() == path) {
            self.mistakes.push(unknown(file.origin_of(name.span().start), &path, &keys));
            return;
        }
        let origin = file.origin_of(value.span().start);
        let (form, text) = match value.get_ref() {
            DeValue::String(text) => (Form::String, text.to_string()),
            DeValue::Integer(integer) => (Form::Integer, decimal(integer)),
            DeValue::Boolean(boolean) => (Form::Boolean, boolean.to_string()),
            DeValue::Float(_) => (Form::Unfit("a float"), String::new()),
            DeValue::Datetime(_) => (Form::Unfit("a date"), String::new()),
            DeValue::Array(items) => match joined(items) {
                Some(text) => (Form::Array, text),
                None => (Form::Unfit("an array"), String::new()),
            },
            DeValue::Table(_) => (Form::Unfit("a table"), String::new()),
        };
        self.found(path, origin, form, text);
    }

    fn read_env(&mut self, env: &[(String, String)]) {
        let keys = Config::keys();
        // Another convention's variable is the weaker one, so it comes first.
        for key in &keys {
            let other = key.other_env().and_then(|other| env.iter().find(|(name, _)| name == other));
            if let Some((name, text)) = other {
                self.found(key.path(), Origin::Env(name.clone()), Form::Untyped, text.clone());
            }
        }
        let links = service_links(env);
        for (name, text) in env.iter().filter(|(name, _)| name.starts_with(ENV_PREFIX) && name != FILE_ENV) {
            let origin = Origin::Env(name.clone());
            if links.contains(name.as_str()) {
                self.notes.push(format!(
                    "{name} is ignored: Kubernetes sets it for a Service; use a flag or the file, \
                     or set enableServiceLinks to false"
                ));
            } else if let Some(key) = keys.iter().find(|key| key.env() == *name) {
                self.found(key.path(), origin, Form::Untyped, text.clone());
            } else {
                let names: Vec<String> = keys.iter().map(Key::env).collect();
                let mut mistake = Mistake::new(origin, "this variable sets nothing");
                mistake.help = closest(name, names.iter().map(String::as_str))
                    .map(|known| format!("did you mean {known}?"))
                    .or_else(|| Some("unset it, or see `okra serve --help` for the names".to_owned()));
                self.mistakes.push(mistake);
            }
        }
    }

    fn read_flags(&mut self, flags: &[(String, String)]) {
        let keys = Config::keys();
        for (path, text) in flags {
            match keys.iter().find(|key| key.path() == *path) {
                Some(key) => {
                    let origin = Origin::Flag(format!("--{}", key.flag()));
                    self.found(path.clone(), origin, Form::Untyped, text.clone());
                }
                None => self.mistakes.push(unknown(Origin::Flag(format!("--{path}")), path, &keys)),
            }
        }
    }

    fn finish(mut self) -> Result<Loaded, ConfigErrors> {
        let mut config = Config::default();
        let mut origins = BTreeMap::new();
        config.each(&mut |key, setting: &mut dyn Setting| {
            for (origin, form, text) in self.values.remove(&key.path()).unwrap_or_default() {
                match setting.set(Given { text: &text, form }) {
                    Ok(()) => {
                        origins.insert(key.path(), origin);
                    }
                    Err(message) => {
                        let help = format!("for example {}", setting.toml());
                        self.mistakes.push(Mistake::new(origin, message).about(&key.path()).with_help(help));
                    }
                }
            }
        });
        // What does not fit together is worth saying only about values that are right by themselves.
        if self.mistakes.is_empty() {
            check::check(&config, &mut self.mistakes);
        }
        if self.mistakes.is_empty() {
            Ok(Loaded { config, origins, notes: self.notes })
        } else {
            self.mistakes.sort_by_key(|mistake| mistake.origin.place());
            Err(ConfigErrors(self.mistakes))
        }
    }
}

impl ConfigFile {
    fn origin_of(&self, offset: usize) -> Origin {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Origin::File {
            path: self.path.clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

fn sections() -> impl Iterator<Item = &'static str> {
    Config::keys().into_iter().map(|key| key.section()).filter(|section| !section.is_empty())
}

fn is_section(name: &str) -> bool {
    sections().any(|section| section == name)
}

/// An unknown key, with the one that was probably meant: the same name in another section, or a slip
/// of the hand.
fn unknown(origin: Origin, path: &str, keys: &[Key]) -> Mistake {
    let name = path.rsplit('.').next().unwrap_or(path);
    let elsewhere: Vec<String> = keys.iter().filter(|key| key.name() == name).map(Key::path).collect();
    let paths: Vec<String> = keys.iter().map(Key::path).collect();
    let mut mistake = Mistake::new(origin, "there is no such key").about(path);
    mistake.help = if elsewhere.is_empty() {
        closest(path, paths.iter().map(String::as_str)).map(|known| format!("did you mean {known}?"))
    } else {
        Some(format!("did you mean {}?", elsewhere.join(" or ")))
    };
    mistake
}

/// The strings of an array, as a flag would give them; `None` if they could not be told apart again.
fn joined(items: &[Spanned<DeValue<'_>>]) -> Option<String> {
    let text = |item: &Spanned<DeValue<'_>>| {
        let text = item.get_ref().as_str().filter(|text| !text.contains(SEPARATOR));
        text.map(str::to_owned)
    };
    Some(items.iter().map(text).collect::<Option<Vec<_>>>()?.join(&SEPARATOR.to_string()))
}

/// An integer's decimal digits; as written if it is larger than any setting could take.
fn decimal(integer: &toml::de::DeInteger<'_>) -> String {
    i128::from_str_radix(integer.as_str(), integer.radix())
        .map_or_else(|_| integer.as_str().to_owned(), |value| value.to_string())
}

/// The variables that Kubernetes adds for Services whose names begin with `okra`. Each Service shows
/// itself by `X_PORT=tcp://…`, which no setting could be; its others begin with `X_SERVICE_` or
/// `X_PORT`, and would turn a Service's port into ours.
fn service_links(env: &[(String, String)]) -> BTreeSet<&str> {
    let services: Vec<&str> = env
        .iter()
        .filter(|(_, value)| ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme)))
        .filter_map(|(name, _)| name.strip_suffix("_PORT"))
        .collect();
    env.iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| {
            services.iter().filter_map(|service| name.strip_prefix(service)).any(|rest| {
                rest == "_SERVICE_HOST" || rest.starts_with("_SERVICE_PORT") || rest.starts_with("_PORT")
            })
        })
        .collect()
}
