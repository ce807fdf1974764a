use clap::CommandFactory;
use serve_host::config::Config;

use super::*;

fn parse(args: &[&str]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("okra").chain(args.iter().copied()))
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_key_of_the_configuration_is_a_flag_of_serve() {
    for key in Config::keys() {
        let cli = parse(&["serve", &format!("--{}", key.flag()), "text"]).unwrap();
        let Command::Serve(args) = cli.command else { panic!("not serve") };
        assert_eq!(args.settings.flags(), [(key.path(), "text".to_owned())]);
    }
}

#[test]
fn global_flags_stand_before_or_after_the_command() {
    assert!(parse(&["--json", "stats"]).unwrap().global.json);
    assert!(parse(&["stats", "--json"]).unwrap().global.json);
}

#[test]
fn help_documents_the_exit_codes() {
    let help = Cli::command().render_long_help().to_string();
    for exit in Exit::ALL {
        assert!(help.contains(&format!("{:>3}  {}", exit.code(), exit.meaning())), "{exit:?}\n{help}");
    }
}
