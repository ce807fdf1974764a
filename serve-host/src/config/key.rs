//! A key: where one setting stands in the file, the environment and the flags.

use std::fmt;

/// One entry of the key table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    pub(super) section: &'static str,
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) own_flag: Option<&'static str>,
    pub(super) own_env: Option<&'static str>,
}

/// What the variables of this program begin with.
pub(super) const ENV_PREFIX: &str = "OKRA_";

// === impl Key ===

impl Key {
    /// The table of `okra.toml` it stands in; empty for the top.
    pub fn section(&self) -> &'static str {
        self.section
    }

    /// The name within its section.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The dotted path, `service.port` for example.
    pub fn path(&self) -> String {
        if self.section.is_empty() { self.name.to_owned() } else { format!("{}.{}", self.section, self.name) }
    }

    /// The variable, `OKRA_SERVICE_PORT` for example.
    pub fn env(&self) -> String {
        format!("{ENV_PREFIX}{}", self.path().replace('.', "_").to_uppercase())
    }

    /// A variable of another convention that is honoured, too; the own one wins.
    pub fn other_env(&self) -> Option<&'static str> {
        self.own_env
    }

    /// The flag without its dashes, `service-port` for example.
    pub fn flag(&self) -> String {
        self.own_flag.map_or_else(|| self.path().replace(['.', '_'], "-"), str::to_owned)
    }

    /// What it is for, in one paragraph.
    pub fn help(&self) -> &'static str {
        self.help.trim()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}
