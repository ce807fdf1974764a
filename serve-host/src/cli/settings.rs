//! The flags of `okra serve`: one per key of the configuration, made from its table.
//!
//! The text of a flag is not looked at here. It goes to the same reader as the file and the
//! environment, so that all mistakes are found in one go.

use std::sync::LazyLock;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use serve_host::config::{Config, Key};

/// The flags that were given: the path of the key, and the text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings(Vec<(String, String)>);

/// What clap wants to know about a flag, for as long as the process lives.
struct Flag {
    path: String,
    flag: String,
    noun: &'static str,
    help: String,
    heading: &'static str,
    /// Whether `-h` shows it, too; `--help` shows all.
    common: bool,
}

static FLAGS: LazyLock<Vec<Flag>> = LazyLock::new(|| {
    let mut flags = Vec::new();
    Config::default().each(&mut |key, setting| {
        let env = key.other_env().map_or_else(|| key.env(), |other| format!("{}, {other}", key.env()));
        let help = format!("{} [env: {env}] [default: {}]", key.help(), setting.text());
        flags.push(Flag {
            path: key.path(),
            flag: key.flag(),
            noun: setting.noun(),
            help,
            heading: heading(&key),
            common: key.section().is_empty() || matches!(key.name(), "host" | "port"),
        });
    });
    flags
});

impl Settings {
    pub(crate) fn flags(&self) -> &[(String, String)] {
        &self.0
    }
}

impl Args for Settings {
    fn augment_args(command: Command) -> Command {
        FLAGS.iter().fold(command, |command, flag| {
            let arg = Arg::new(flag.path.as_str())
                .long(flag.flag.as_str())
                .value_name(flag.noun)
                .help(flag.help.as_str())
                .help_heading(flag.heading)
                .hide_short_help(!flag.common)
                .allow_hyphen_values(true);
            command.arg(arg)
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Settings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = |flag: &Flag| {
            let text = matches.get_one::<String>(&flag.path)?;
            Some((flag.path.clone(), text.clone()))
        };
        Ok(Self(FLAGS.iter().filter_map(given).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Under what the flag stands in `--help`.
fn heading(key: &Key) -> &'static str {
    match key.section() {
        "" => "Graphs and admission",
        "service" => "Service port",
        "messages" => "Messages",
        "connections" => "Connections",
        "http1" => "HTTP/1.1",
        "http2" => "HTTP/2",
        "admin" => "Control plane",
        "drain" => "Shutdown",
        "log" => "Logs",
        other => other,
    }
}
