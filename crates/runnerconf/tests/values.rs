//! Every value of a file is checked when it is read; a file with a wrong one is refused.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use onspot_runnerconf::{Config, ConfigError, lint};
use onspot_settings::TokenRef;

/// Empty strings as in the examples of GitLab Runner's reference.
const EMPTY_STRINGS: &str = include_str!("files/empty-strings.toml");
/// `$VAR` and `${VAR}`.
const FROM_ENVIRONMENT: &str = include_str!("files/from-environment.toml");

fn with(lines: &str) -> String {
    format!(
        "[[runners]]\nname = \"shop-ci\"\nurl = \"https://gitlab.example\"\ntoken = \"env:T\"\n\
         executor = \"docker\"\n{lines}"
    )
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, "config.toml")
}

/// An error as shown to a person.
fn seen(text: &str) -> String {
    let error = parse(text).unwrap_err();
    assert!(error.hint().is_some(), "no hint: {error}");
    let mut seen = String::new();
    miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::none())
        .with_width(80)
        .render_report(&mut seen, &error)
        .unwrap();
    seen
}

#[test]
fn a_wrong_value_is_an_error_with_its_line_and_a_hint() {
    let docker = |line: &str| with(&format!("[runners.docker]\n{line}\n"));
    let machine = |line: &str| {
        let head = "[runners.machine]\nMachineDriver = \"amazonec2\"\n";
        with(&format!("{head}{line}\n"))
    };
    let cases = [
        format!("concurrent = 0\n{}", with("")),
        format!("log_level = \"loud\"\n{}", with("")),
        format!("log_format = \"xml\"\n{}", with("")),
        docker("memory = \"lots\""),
        docker("cpus = \"two\""),
        docker("volumes = [\"/cache\", \"some/folder:/x\"]"),
        docker("volumes = [\"cache\"]"),
        docker("volumes = [\"/a:/b:rx\"]"),
        docker("volumes = [\"/a:/\"]"),
        docker("allowed_images = [\"[\"]"),
        docker("allowed_services = [\"{a\"]"),
        docker("service_memory = \"lots\""),
        docker("memory_swap = \"2x\""),
        docker("service_cpus = \"one\""),
        docker("allowed_privileged_images = [\"[\"]"),
        docker("tls_verify = true"),
        docker("extra_hosts = [\"gitlab.example\"]"),
        docker("wait_for_services_timeout = -5"),
        with("clone_url = \"gitlab\"\n"),
        with("environment = [\"half\"]\n"),
        with("[runners.cache]\nType = \"gcs\"\n"),
        with("[runners.cache]\nType = \"s3\"\n"),
        with("[runners.cache]\nType = \"s3\"\nBucketName = \"b\"\nAccessKey = \"hidden\"\n"),
        with("[runners.cache.s3]\nServerAddress = \"http://minio:9000\"\n"),
        with("[runners.cache.s3]\nAuthenticationType = \"rsa\"\n"),
        machine("IdleScaleFactor = -1.0"),
        machine("MachineOptions = [\"amazonec2-instance-tpye=m5.large\"]"),
        machine("MachineOptions = [\"amazonec2-region\"]"),
        machine("OffPeakPeriods = [\"* * 24 * * * *\"]"),
        machine("OffPeakTimezone = \"Europe/Berln\""),
        machine("[[runners.machine.autoscaling]]\nPeriods = [\"* * 22-25 * * mon-fri *\"]"),
        machine("[[runners.machine.autoscaling]]\nTimezone = \"Mars/Olympus\""),
        with("[[runners.autoscaler.policy]]\nperiods = [\"* * 9-17 * * mon-fri *\"]\n"),
        with("[[runners.autoscaler.policy]]\nidle_time = \"5M\"\n"),
        format!("{}\n{}", with(""), with("")),
    ];
    let all = cases.map(|text| seen(&text)).join("\n");
    assert!(!all.contains("hidden"), "{all}");
    insta::assert_snapshot!(all);
}

#[test]
fn a_size_with_decimals_is_a_limit() {
    let config = parse(&with(
        "[runners.docker]\nmemory = \"1.5g\"\ncpus = \"0.5\"\n",
    ))
    .unwrap();
    let docker = config.runners[0].docker.as_ref().unwrap();
    assert_eq!(
        docker.settings.job.memory.as_ref().unwrap().bytes(),
        3 << 29
    );
    assert_eq!(
        docker.settings.job.cpus.as_ref().unwrap().billionths(),
        500_000_000
    );
}

#[test]
fn durations_are_gos() {
    let text = with("[[runners.autoscaler.policy]]\nidle_time = \"1.5h\"\n");
    let config = parse(&text).unwrap();
    let autoscaler = config.runners[0].autoscaler.as_ref().unwrap();
    assert_eq!(autoscaler.policy[0].idle_time, Duration::from_mins(90));
}

#[test]
fn two_runners_of_one_name_are_refused_with_both_their_lines() {
    let error = parse(&format!("{}\n{}", with(""), with(""))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`name` is `shop-ci` in line 2 and again in line 8: two [[runners]] can't have one name"
    );
    assert_eq!(error.excerpt().unwrap().line(), 8);
}

#[test]
fn an_empty_string_is_an_unset_key() {
    let config = parse(EMPTY_STRINGS).unwrap();
    let runner = &config.runners[0];
    assert_eq!(
        (&runner.settings.builds_dir, &runner.settings.cache_dir),
        (&None, &None)
    );
    assert_eq!(runner.settings.shell, None);
    assert_eq!(runner.docker.as_ref().unwrap().settings.host, None);
    let effects = lint(&config)
        .into_iter()
        .filter(|w| w.code != "plain-token");
    assert_eq!(effects.collect::<Vec<_>>(), []);
}

/// A list with only an empty pattern allows nothing; a missing list allows everything.
#[test]
fn a_list_that_allows_only_an_empty_name_allows_nobody() {
    let docker = |line: &str| {
        let config = parse(&with(&format!("[runners.docker]\n{line}\n"))).unwrap();
        config.runners[0].docker.clone().unwrap().settings
    };
    let nobody = [String::new()];
    assert_eq!(docker("allowed_images = ['']").allowed_images, nobody);
    assert_eq!(docker("allowed_services = ['']").allowed_services, nobody);
    assert_eq!(docker("allowed_images = ''").allowed_images, [""; 0]);
    let containers = |line: &str| docker(line);
    let privileged = containers("allowed_privileged_services = ['']");
    assert_eq!(privileged.allowed_privileged_services, nobody);
    let privileged = containers("allowed_privileged_images = ['']");
    assert_eq!(privileged.allowed_privileged_images, nobody);
    assert_eq!(containers("allowed_users = ['']").allowed_users, nobody);
}

/// For every key: a file in which it is empty is read like one without it.
#[test]
fn every_key_may_be_empty() {
    for (table, key, _) in onspot_runnerconf::reference() {
        let required = matches!(key, "name" | "url" | "token" | "executor");
        let section = match table {
            "runners" => String::new(),
            "runners.machine.autoscaling" | "runners.autoscaler.policy" => format!("[[{table}]]\n"),
            table => format!("[{table}]\n"),
        };
        let without = match table {
            "" => with(""),
            _ => with(&section),
        };
        for empty in ["\"\"", "[]"] {
            let line = format!("{key:?} = {empty}\n");
            let text = match table {
                "" => format!("{line}{without}"),
                _ => format!("{without}{line}"),
            };
            // For another type, this is not a valid value.
            let Ok(read) = parse(&text) else { continue };
            assert!(!required, "{key} is required");
            let warned = lint(&read);
            assert_eq!(warned, lint(&parse(&without).unwrap()), "{key} = {empty}");
        }
    }
}

fn variable(name: &str) -> Option<String> {
    match name {
        "SHOP_GITLAB" => Some("https://gitlab.example".to_owned()),
        "SHOP_TOKEN" => Some("glrt-hidden".to_owned()),
        _ => None,
    }
}

#[test]
fn url_and_token_come_from_the_environment() {
    let config = Config::parse_with(FROM_ENVIRONMENT, "config.toml", variable).unwrap();
    let runner = &config.runners[0];
    assert_eq!(runner.settings.url.as_str(), "https://gitlab.example/");
    assert_eq!(runner.token, TokenRef::Env("SHOP_TOKEN".into()));
    let text = FROM_ENVIRONMENT.replace("${SHOP_TOKEN}", "$SHOP_TOKEN-x");
    let config = Config::parse_with(&text, "config.toml", variable).unwrap();
    assert_eq!(config.runners[0].token, "glrt-hidden-x".parse().unwrap());
}

#[test]
fn a_variable_that_is_not_set_is_named_with_its_line() {
    for (text, expected) in [
        (
            FROM_ENVIRONMENT.replace("SHOP_GITLAB", "NO_SUCH"),
            "`url` names the environment variable NO_SUCH, which is not set",
        ),
        (
            FROM_ENVIRONMENT.replace("SHOP_TOKEN", "NO_SUCH"),
            "`token` names the environment variable NO_SUCH, which is not set",
        ),
    ] {
        let error = Config::parse_with(&text, "config.toml", variable).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert!(error.hint().is_some() && error.excerpt().is_some());
    }
}
