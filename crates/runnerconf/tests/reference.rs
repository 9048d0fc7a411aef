//! How every key of GitLab Runner's reference is handled.

use std::collections::BTreeSet;

use onspot_runnerconf::{Config, ConfigErrorKind, Fate, Warning, lint, reference};

/// Every key of GitLab Runner 19.4's own structs (their `toml` tags), one table and key per line.
const OF_GITLAB_RUNNER: &str = include_str!("files/reference-keys.txt");

/// Values of any type: one of them fits each key.
const SAMPLES: [&str; 6] = ["\"x\"", "5", "true", "[\"x\"]", "{ x = \"y\" }", "\"json\""];

/// A file that sets one key of one table.
fn file(table: &str, key: &str, value: &str) -> String {
    let line = format!("{key:?} = {value}\n");
    let runner = "[[runners]]\nname = \"a\"\nurl = \"https://gitlab.example\"\n\
                  token = \"env:T\"\nexecutor = \"docker\"\n";
    let section = match table {
        "" => return format!("{line}{runner}"),
        "runners" => return format!("{runner}{line}"),
        "runners.docker.services" => format!("[[{table}]]\nname = \"postgres\""),
        "runners.machine.autoscaling" | "runners.autoscaler.policy" => format!("[[{table}]]"),
        table => format!("[{table}]"),
    };
    format!("{runner}{section}\n{line}")
}

fn read(text: &str) -> Result<Vec<Warning>, onspot_runnerconf::ConfigError> {
    Config::parse(text, "config.toml").map(|config| lint(&config))
}

fn warns(table: &str, key: &str) -> bool {
    let named = format!("`{key}`");
    SAMPLES.iter().any(|value| {
        read(&file(table, key, value))
            .is_ok_and(|warnings| warnings.iter().any(|w| w.message.contains(&named)))
    })
}

#[test]
fn every_key_of_the_reference_is_in_one_list() {
    let lower = |table: &str, key: &str| format!("{table} {key}").to_ascii_lowercase();
    let ours: Vec<String> = reference()
        .map(|(table, key, _)| lower(table, key))
        .collect();
    let set: BTreeSet<String> = ours.iter().cloned().collect();
    assert_eq!(ours.len(), set.len(), "a key stands in two lists");
    let missing: Vec<&str> = OF_GITLAB_RUNNER
        .lines()
        .filter(|line| {
            let (table, key) = line.split_once(' ').unwrap();
            let table = if table == "-" { "" } else { table };
            !set.contains(&lower(table, key))
        })
        .collect();
    assert!(missing.is_empty(), "in no list: {missing:?}");
    assert!(OF_GITLAB_RUNNER.lines().count() > 200);
}

#[test]
fn a_key_without_effect_is_named_in_a_warning() {
    for (table, key, fate) in reference() {
        if matches!(fate, Fate::Warned(_)) {
            assert!(
                warns(table, key),
                "{key} in [{table}] is dropped in silence"
            );
        }
    }
}

#[test]
fn a_key_that_is_refused_stops_the_file_unless_it_is_unset() {
    for (table, key, fate) in reference() {
        let Fate::Refused(_) = fate else { continue };
        let error = read(&file(table, key, "true")).unwrap_err();
        assert!(
            matches!(error.kind(), ConfigErrorKind::Refused { key: named, .. } if *named == key),
            "{key} in [{table}]: {error}"
        );
        assert!(error.hint().is_some() && error.excerpt().is_some());
        let typed = |value| read(&file(table, key, value)).is_ok();
        assert!(
            typed("\"\"") || typed("false"),
            "{key} in [{table}] is unset"
        );
    }
}

/// Reading asserts that every key listed as honoured is requested, so it is enough to read every
/// table once.
#[test]
fn every_honoured_key_is_read() {
    let text = "[[runners]]\nname = \"a\"\nurl = \"https://gitlab.example\"\ntoken = \"env:T\"\n\
                executor = \"docker\"\n[runners.custom_build_dir]\n[runners.docker]\n[[runners.docker.services]]\nname = \"db\"\n[runners.cache.s3]\n[runners.machine]\n\
                [[runners.machine.autoscaling]]\n[runners.autoscaler]\n\
                [[runners.autoscaler.policy]]\n";
    let unused = |warning: &Warning| matches!(warning.code, "no-effect" | "unknown-key");
    assert!(!read(text).unwrap().iter().any(unused));
}

#[test]
fn a_key_newer_than_this_version_is_a_warning_and_a_misspelt_one_an_error() {
    for (table, key) in [
        ("", "quantum_mode"),
        ("runners", "retry_budget"),
        ("runners.docker", "landlock_profile"),
        ("runners.docker.services", "restart"),
        ("runners.cache", "Compression"),
        ("runners.cache.s3", "ExpressOneZone"),
        ("runners.machine", "WarmPool"),
        ("runners.machine.autoscaling", "Holidays"),
        ("runners.autoscaler", "bin_packing"),
        ("runners.autoscaler.policy", "holidays"),
    ] {
        let warnings = read(&file(table, key, "true")).unwrap();
        let warned = |w: &Warning| w.code == "unknown-key" && w.message.contains(key);
        assert!(warnings.iter().any(warned), "{key}: {warnings:?}");
    }
    for (table, key, meant) in [
        ("", "concurent", "concurrent"),
        ("runners", "limti", "limit"),
        ("runners.docker", "privilaged", "privileged"),
        ("runners.docker", "allowed_image", "allowed_images"),
        ("runners.docker", "hostnam", "hostname"),
        ("runners.machine", "IdelCount", "IdleCount"),
        ("runners.autoscaler.policy", "idle_tme", "idle_time"),
    ] {
        let error = read(&file(table, key, "\"x\"")).unwrap_err();
        assert_eq!(
            error.hint(),
            Some(format!("did you mean `{meant}`?")),
            "{key}"
        );
        assert!(error.excerpt().is_some());
    }
}
