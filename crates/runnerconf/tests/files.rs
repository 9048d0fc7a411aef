//! Complete realistic files.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use onspot_runnerconf::{CacheType, Config, ConfigErrorKind, ExecutorKind, lint, render};

/// The file of 2017 from the article, with its variables filled in.
const OF_2017: &str = include_str!("files/2017.toml");
/// A `docker-autoscaler` file as in GitLab's present documentation, with unused keys.
const AUTOSCALER: &str = include_str!("files/docker-autoscaler.toml");

fn parse(text: &str) -> Config {
    Config::parse(text, "config.toml").unwrap()
}

#[test]
fn the_file_of_2017_is_read_to_the_last_value() {
    let config = parse(OF_2017);
    assert_eq!((config.concurrent, config.check_interval), (10, 0));
    let runner = &config.runners[0];
    assert_eq!(runner.executor, ExecutorKind::DockerMachine);
    assert_eq!(runner.settings.limit, 10);
    let docker = &runner.docker.as_ref().unwrap().settings;
    assert_eq!(docker.image.as_deref(), Some("docker:17.11.0-ce"));
    assert!(docker.privileged);
    let cache = runner.cache.as_ref().unwrap();
    assert_eq!(cache.kind, Some(CacheType::S3));
    let s3 = cache.s3.as_ref().unwrap();
    assert_eq!(s3.bucket_name.as_deref(), Some("ci-runners-cache"));
    assert_eq!(s3.secret_key.as_ref().unwrap().expose(), "bucketsecret");
    let options = runner.machine.as_ref().unwrap().ec2_options().unwrap();
    assert_eq!(options.subnet_id.as_deref(), Some("subnet-1a"));
    assert_eq!(options.spot_price.as_deref(), Some("0.15"));
    assert!(options.unused.is_empty());
}

#[test]
fn the_file_of_2017_is_written_as_it_was() {
    insta::assert_snapshot!(render(&parse(OF_2017)));
    assert_eq!(render(&parse(OF_2017)), OF_2017);
}

#[test]
fn the_file_of_2017_gets_its_warnings() {
    insta::assert_json_snapshot!(lint(&parse(OF_2017)));
}

#[test]
fn a_file_of_today_loses_nothing() {
    let config = parse(AUTOSCALER);
    let rendered = render(&config);
    insta::assert_snapshot!(rendered);
    let again: toml::Table = rendered.parse().unwrap();
    let before: toml::Table = AUTOSCALER.parse().unwrap();
    assert_eq!(again, before);
    assert_eq!(parse(&rendered), config);
}

#[test]
fn both_places_of_the_cache_mean_the_same() {
    let head = "[[runners]]\nname = \"a\"\nurl = \"https://gitlab.com\"\ntoken = \"t\"\n\
                executor = \"docker\"\n";
    let flat = format!("{head}[runners.cache]\nType = \"s3\"\nBucketName = \"b\"\n");
    let nested =
        format!("{head}[runners.cache]\nType = \"s3\"\n[runners.cache.s3]\nBucketName = \"b\"\n");
    assert_eq!(parse(&flat), parse(&nested));
}

#[test]
fn a_runner_without_a_token_is_refused() {
    let text = "[[runners]]\nname = \"a\"\nurl = \"https://gitlab.com/sub/\"\nexecutor = \"shell\"";
    let error = Config::parse(text, "config.toml").unwrap_err();
    assert!(matches!(
        error.kind(),
        ConfigErrorKind::MissingKey { key: "token", .. }
    ));
}

/// An error as shown to a person: its text, its place, its line and its hint.
fn seen(text: &str) -> String {
    let error = Config::parse(text, "config.toml").unwrap_err();
    let mut seen = String::new();
    let plain = miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::none());
    plain
        .with_width(80)
        .render_report(&mut seen, &error)
        .unwrap();
    seen
}

/// A file with one runner that has these further lines.
fn with(lines: &str) -> String {
    format!(
        "concurrent = 2\n\n[[runners]]\nname = \"docker.m3\"\nurl = \"https://gitlab.com\"\n\
         token = \"glrt-hidden\"\nexecutor = \"docker\"\n{lines}"
    )
}

#[test]
fn errors_say_what_where_and_what_instead() {
    let cases = [
        (
            "unknown key",
            with("[runners.docker]\nimage = \"alpine\"\nprivilaged = true\n"),
        ),
        ("unknown key at the top", "concurent = 3\n".to_owned()),
        (
            "a token under a misspelt key",
            with("tokn = \"glrt-hidden\"\n"),
        ),
        (
            "missing key",
            "[[runners]]\nname = \"a\"\ntoken = \"glrt-hidden\"\n".to_owned(),
        ),
        ("wrong type", with("limit = \"ten\"\n")),
        ("out of range", with("limit = -1\n")),
        (
            "unknown word",
            with("[runners.docker]\npull_policy = \"allways\"\n"),
        ),
        (
            "unknown executor",
            with("").replace("\"docker\"", "\"dokcer\""),
        ),
        (
            "bad token reference",
            with("").replace("glrt-hidden", "vault:hidden"),
        ),
        (
            "no URL",
            with("").replace("https://gitlab.com", "gitlab.com"),
        ),
        (
            "bad option",
            with(
                "[runners.machine]\nMachineDriver = \"amazonec2\"\nMachineOptions = [\n  \
             \"amazonec2-secret-key=hidden\",\n  \"amazonec2-root-size=big\",\n]\n",
            ),
        ),
        (
            "bad duration",
            with("[[runners.autoscaler.policy]]\nidle_time = \"20 min\"\n"),
        ),
        ("no TOML", with("limit =\n")),
        (
            "a token without quotes",
            with("").replace("\"glrt-hidden\"", "glrt-hidden"),
        ),
        (
            "a secret beside a bad value",
            with("environment = [\"KEY=hidden\", 5]\n"),
        ),
        ("an open quote", with("").replace("hidden\"", "hidden")),
    ];
    let all = cases
        .map(|(name, text)| format!("# {name}\n{}", seen(&text)))
        .join("\n");
    assert!(!all.contains("hidden"), "{all}");
    insta::assert_snapshot!(all);
}
