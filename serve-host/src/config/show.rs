//! Showing a configuration: as an `okra.toml` that means the same, or as JSON for tools.

use serde::Serialize;

use super::Config;
use super::load::Loaded;

/// One setting as it stands.
#[derive(Clone, Debug, Serialize)]
pub struct Shown {
    /// The path, `service.port` for example.
    pub key: String,
    /// The value.
    pub value: toml::Value,
    /// The value it has if nobody says anything.
    pub default: toml::Value,
    /// Where it came from.
    pub origin: String,
    /// Its variable.
    pub env: String,
    /// Its flag.
    pub flag: String,
    /// What values look like.
    pub expects: &'static str,
    /// What it is for.
    pub help: &'static str,
}

impl Loaded {
    /// Every setting, in the order of the table.
    pub fn shown(&self) -> Vec<Shown> {
        let mut defaults = Vec::new();
        Config::default().each(&mut |_, setting| defaults.push(setting.toml()));
        let mut defaults = defaults.into_iter();
        let mut shown = Vec::new();
        self.config.clone().each(&mut |key, setting| {
            let value = setting.toml();
            shown.push(Shown {
                key: key.path(),
                default: defaults.next().unwrap_or_else(|| value.clone()),
                value,
                origin: self.origin(&key).to_string(),
                env: key.env(),
                flag: format!("--{}", key.flag()),
                expects: setting.expects(),
                help: key.help(),
            });
        });
        shown
    }

    /// The configuration as a file, which read again gives the same; with each value's origin beside
    /// it if asked.
    pub fn to_toml(&self, with_origin: bool) -> String {
        let mut text = String::new();
        let mut section = "";
        self.config.clone().each(&mut |key, setting| {
            if key.section() != section {
                section = key.section();
                text.push_str(&format!("\n[{section}]\n"));
            }
            let line = format!("{} = {}", key.name(), setting.toml());
            text.push_str(&match with_origin {
                true => format!("{line:<40} # {}\n", self.origin(&key)),
                false => format!("{line}\n"),
            });
        });
        text
    }
}
