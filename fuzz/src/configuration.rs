//! A configuration file loads, or every mistake in it is named; what loads can be written down and loads
//! again as the same.

use std::path::Path;
use std::sync::Arc;

use serve_host::config::{ConfigErrors, ConfigFile, Loaded, Sources};

pub(crate) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let loaded = match load(Some(text), Vec::new()) {
        Ok(loaded) => loaded,
        Err(errors) => {
            assert!(!errors.0.is_empty() && !errors.to_string().is_empty());
            return;
        }
    };
    let written = flags(&loaded);
    match load(None, written.clone()) {
        Ok(again) => assert_eq!(flags(&again), written),
        // Not every value has a text that a flag would take: none is one.
        Err(errors) => assert!(!errors.0.is_empty()),
    }
}

fn load(file: Option<&str>, flags: Vec<(String, String)>) -> Result<Loaded, ConfigErrors> {
    let file = file.map(|text| ConfigFile { path: Arc::from(Path::new("okra.toml")), text: text.to_owned() });
    Loaded::from_sources(&Sources { flags, env: Vec::new(), file })
}

/// Every value as it would be given on a command line.
fn flags(loaded: &Loaded) -> Vec<(String, String)> {
    let mut flags = Vec::new();
    loaded.config.clone().each(&mut |key, setting| {
        let text = setting.text();
        if text != ABSENT {
            flags.push((key.path(), text));
        }
    });
    flags
}

/// How a value is written that is not set.
const ABSENT: &str = "none";
