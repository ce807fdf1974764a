use std::path::Path;
use std::sync::Arc;

use super::*;

fn file(text: &str) -> Option<ConfigFile> {
    Some(ConfigFile { path: Arc::from(Path::new("okra.toml")), text: text.to_owned() })
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn load(flags: &[(&str, &str)], env: &[(&str, &str)], text: &str) -> Result<Loaded, ConfigErrors> {
    Loaded::from_sources(&Sources { flags: pairs(flags), env: pairs(env), file: file(text) })
}

fn mistakes(flags: &[(&str, &str)], env: &[(&str, &str)], text: &str) -> String {
    load(flags, env, text).expect_err("there are mistakes").to_string()
}

/// Two values, neither the default, that a key of this kind takes and that go with the defaults of
/// all others.
fn two_values(key: &Key, expects: &str) -> [&'static str; 2] {
    match (key.path().as_str(), expects) {
        ("service.host" | "admin.host", _) => ["127.0.0.2", "127.0.0.3"],
        ("messages.compression", _) => ["never", "accepted"],
        // Of two words one is the default; it still wins over what is weaker.
        ("service.transport", _) => ["native", "tonic"],
        ("log.format", _) => ["json", "pretty"],
        ("log.access", _) => ["off", "all"],
        ("packages.s3_endpoint", _) => ["http://a:9000", "https://b"],
        ("cors.allowed_origins", _) => ["https://a.example", "*"],
        (_, "a path") => ["/a", "/b"],
        (_, "text") => ["warn", "debug"],
        (_, "`true` or `false`") => ["false", "true"],
        (_, expects) if expects.contains("duration") => ["31s", "32s"],
        (_, expects) if expects.contains("size") => ["5MiB", "6MiB"],
        (_, expects) if expects.contains("version") => ["1.2.3", "4.5.6"],
        (_, expects) if expects.contains("name of a graph") => ["shop", "stock"],
        (_, _) => ["9001", "9002"],
    }
}

fn text_of(loaded: &Loaded, wanted: &Key) -> String {
    let mut text = None;
    loaded.config.clone().each(&mut |key, setting| {
        if key == *wanted {
            text = Some(setting.text());
        }
    });
    text.unwrap()
}

#[test]
fn every_key_is_taken_from_the_strongest_source() {
    let mut expects = Vec::new();
    Config::default().each(&mut |key, setting| expects.push((key, setting.expects())));
    for (key, expects) in expects {
        let path = key.path();
        let [a, b] = two_values(&key, expects);
        let value = |text: &str| match expects {
            expects if expects.contains("number") || expects.contains("`true`") => text.to_owned(),
            expects if expects.contains("array") => format!("[{text:?}]"),
            _ => format!("{text:?}"),
        };
        let header = if key.section().is_empty() { String::new() } else { format!("[{}]\n", key.section()) };
        // A version needs a graph to pin, a key its secret; every other key stands alone.
        let needed = match path.as_str() {
            "default_graph_version" => "default_graph = \"shop\"\n",
            "packages.s3_access_key_file" => "packages.s3_secret_key_file = \"/s\"\n",
            "packages.s3_secret_key_file" => "packages.s3_access_key_file = \"/s\"\n",
            _ => "",
        };
        let header = if needed.starts_with("packages.") { String::new() } else { header };
        let name = if header.is_empty() { path.clone() } else { key.name().to_owned() };
        let text = format!("{needed}{header}{name} = {}\n", value(a));

        let from_file = load(&[], &[], &text).unwrap();
        assert_eq!(text_of(&from_file, &key), a, "{path}");
        assert!(matches!(from_file.origin(&key), Origin::File { .. }), "{path}");

        let env = key.env();
        let from_env = load(&[], &[(&env, b)], &text).unwrap();
        assert_eq!(text_of(&from_env, &key), b, "{path}");
        assert_eq!(*from_env.origin(&key), Origin::Env(env.clone()), "{path}");

        let from_flag = load(&[(&path, a)], &[(&env, b)], &text).unwrap();
        assert_eq!(text_of(&from_flag, &key), a, "{path}");
        assert_eq!(*from_flag.origin(&key), Origin::Flag(format!("--{}", key.flag())), "{path}");
    }
}

#[test]
fn the_key_table() {
    let mut table = String::new();
    for shown in load(&[], &[], "").unwrap().shown() {
        table.push_str(&format!(
            "{} = {}\n    {}  {}\n    {}\n    {}\n",
            shown.key, shown.default, shown.flag, shown.env, shown.expects, shown.help
        ));
    }
    insta::assert_snapshot!(table);
}

#[test]
fn no_two_keys_share_a_path_a_flag_or_a_variable() {
    let keys = Config::keys();
    for naming in [Key::path, Key::flag, Key::env] {
        let mut names: Vec<String> = keys.iter().map(naming).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), keys.len());
    }
    for key in keys {
        assert!(!key.help().is_empty() && !key.help().contains('\n'), "{key}");
    }
}

#[test]
fn what_is_shown_reads_back_as_the_same_configuration() {
    let odd = [("data_dir", "/a \"b\"\\c # d"), ("max_inflight", "7"), ("connections.max_age", "1h")];
    let loaded = load(&odd, &[("RUST_LOG", "debug")], "[drain]\ngrace = \"90s\"").unwrap();
    for with_origin in [false, true] {
        let again = load(&[], &[], &loaded.to_toml(with_origin)).unwrap();
        assert_eq!(again.config, loaded.config);
    }
}

#[test]
fn the_origin_stands_beside_the_value() {
    let text = "# ours\nmax_inflight = 9\n[drain]\n  grace = \"5s\"\n";
    let loaded = load(&[("service.port", "0")], &[("OKRA_QUEUE_CAPACITY", "0")], text).unwrap();
    let shown = loaded.to_toml(true);
    for line in [
        "max_inflight = 9                         # okra.toml:2:16",
        "queue_capacity = 0                       # OKRA_QUEUE_CAPACITY",
        "port = 0                                 # --service-port",
        "grace = \"5s\"                             # okra.toml:4:11",
        "lame_duck = \"0s\"                         # default",
    ] {
        assert!(shown.contains(line), "{line}\n{shown}");
    }
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let text = "\
max_inflght = 5
queue_capacity = -1
port = 1
default_timeout = 30

[servce]
port = 1

[drain]
grace = \"soon\"
lame_duck = [1]
";
    let found = mistakes(
        &[("service.port", "99999")],
        &[("OKRA_MAX_INFLIGHT", "0"), ("OKRA_MAX_INFLIHGT", "1"), ("OKRA_CONFIG", "x"), ("HOME", "/")],
        text,
    );
    insta::assert_snapshot!(found);
}

#[test]
fn broken_toml_is_reported_with_its_place() {
    insta::assert_snapshot!(mistakes(&[], &[], "max_inflight = 5\nqueue_capacity == 3\n[drain\ngrace = 1"));
}

#[test]
fn values_must_go_together() {
    let found = mistakes(
        &[("admin.host", "0.0.0.0"), ("service.port", "8081"), ("default_timeout", "2h")],
        &[("OKRA_HTTP2_STREAM_WINDOW", "3GiB"), ("OKRA_MESSAGES_IN_FLIGHT", "1MiB")],
        "default_graph_version = 3",
    );
    insta::assert_snapshot!(found);
}

#[test]
fn a_log_filter_must_be_one() {
    assert!(mistakes(&[("log.filter", "okra=loud")], &[], "").contains("log.filter: "));
    assert!(load(&[("log.filter", "info,okra::access=off")], &[], "").is_ok());
}

#[test]
fn an_origin_is_what_browsers_say() {
    for wrong in
        ["app.example.com", "https://a.example/", "https://a.example/app", "null", "HTTPS://a.example"]
    {
        assert!(mistakes(&[("cors.allowed_origins", wrong)], &[], "").contains("not the origin"), "{wrong}");
    }
    let right = "https://a.example,http://localhost:3000,*";
    assert!(load(&[("cors.allowed_origins", right)], &[], "").is_ok());
}

#[test]
fn an_admin_port_open_to_others_needs_a_token() {
    for host in ["0.0.0.0", "192.0.2.1", "::"] {
        assert!(mistakes(&[("admin.host", host)], &[], "").contains("there is no token"), "{host}");
        assert!(load(&[("admin.host", host), ("admin.token_file", "/run/token")], &[], "").is_ok(), "{host}");
    }
    for host in ["127.0.0.1", "::1", "localhost"] {
        assert!(load(&[("admin.host", host)], &[], "").is_ok(), "{host}");
    }
}

#[test]
fn a_service_of_kubernetes_named_okra_changes_nothing() {
    let links = [
        ("OKRA_PORT", "tcp://10.0.0.7:80"),
        ("OKRA_PORT_80_TCP_ADDR", "10.0.0.7"),
        ("OKRA_SERVICE_HOST", "10.0.0.7"),
        ("OKRA_SERVICE_PORT", "80"),
        ("OKRA_SERVICE_PORT_RPC", "80"),
        ("OKRA_ADMIN_PORT", "tcp://10.0.0.8:8081"),
    ];
    let loaded = load(&[], &links, "").unwrap();
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.notes.len(), links.len());

    // Without such a Service the same names are settings.
    let loaded = load(&[], &[("OKRA_SERVICE_PORT", "80"), ("OKRA_ADMIN_PORT", "81")], "").unwrap();
    assert_eq!((loaded.config.service.port, loaded.config.admin.port), (80, 81));
}

#[test]
fn a_variable_of_another_convention_is_the_weaker_one() {
    let both = [("OKRA_LOG_FILTER", "warn"), ("RUST_LOG", "debug")];
    assert_eq!(load(&[], &both, "").unwrap().config.log.filter, "warn");
    let loaded = load(&[], &both[1..], "[log]\nfilter = \"error\"").unwrap();
    assert_eq!(loaded.config.log.filter, "debug");
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let dir = tempfile::tempdir().unwrap();
    let error = Sources::of_process(vec![], Some(dir.path().join("absent.toml"))).unwrap_err().to_string();
    assert!(error.starts_with("--config: cannot read "), "{error}");
}
