//! A config.toml of GitLab Runner: what becomes of it.

use crate::invocation::{Folder, assert_run};

/// The files of today's users, by the executor.
const FILES: [(&str, &str); 4] = [
    (
        "2017",
        include_str!("../../../runnerconf/tests/files/2017.toml"),
    ),
    (
        "autoscaler",
        include_str!("../../../runnerconf/tests/files/docker-autoscaler.toml"),
    ),
    ("docker", include_str!("files/docker.toml")),
    ("shell", include_str!("files/shell.toml")),
];

/// What must not be in any output.
const SECRETS: [&str; 6] = [
    "8f2a0b1c7d3e4f5a6b7c",
    "AKIA",
    "bucketsecret",
    "machinesecret",
    "glrt-",
    "hidden",
];

#[test]
fn check_says_what_becomes_of_each_key() {
    for (name, text) in FILES {
        let folder = Folder::new().with("config.toml", text);
        let shown = folder.run("check config.toml");
        for secret in SECRETS {
            assert!(!shown.contains(secret), "{secret} in\n{shown}");
        }
        let wide = shown.lines().find(|line| line.chars().count() > 80);
        assert_eq!(wide, None, "{shown}");
        assert_run!(format!("check_{name}"), shown);
    }
}

#[test]
fn check_finds_all_errors_at_once() {
    let text = "concurrent = 0\n[[runners]]\nname = \"a\"\nurl = \"gitlab\"\n\
                token = \"glrt-hidden\"\nexecutor = \"docker\"\nlimti = 3\n\
                environment = [\"hidden\"]\n[runners.docker]\nmemory = \"much\"\n\
                tls_verify = true\n[runners.cache]\nType = \"s3\"\n";
    let folder = Folder::new().with("config.toml", text);
    let shown = folder.run("check --config config.toml");
    assert!(!shown.contains("hidden"), "{shown}");
    assert_run!("check_errors", shown);
    let json = folder.output(&["check", "--output", "json"]);
    assert_eq!(json.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["usable"], false);
    assert_eq!(json["errors"][0]["line"], 1);
    assert!(!json.to_string().contains("hidden"));
}

#[test]
fn migrate_writes_the_same_runners() {
    for (name, text) in FILES {
        let folder = Folder::new().with("config.toml", text);
        let shown = folder.run("migrate config.toml");
        let file = std::fs::read_to_string(folder.path().join("onspot.toml")).unwrap();
        // The variables of jobs are kept, as they were.
        let without = file.replace("DEPLOY_KEY=hidden", "DEPLOY_KEY=…");
        for secret in SECRETS {
            assert!(!without.contains(secret), "{secret} in\n{file}");
        }
        assert_run!(
            format!("migrate_{name}"),
            format!("{shown}--- onspot.toml\n{without}")
        );
        let spec = onspot_stack::Spec::parse(&file, "onspot.toml").unwrap();
        assert_eq!(spec.runners.len(), 1);
    }
}

#[test]
fn migrate_replaces_a_file_only_if_forced() {
    let folder = Folder::new()
        .with("config.toml", FILES[0].1)
        .with("onspot.toml", "mine");
    assert_run!("migrate_again", folder.run("migrate config.toml"));
    let file = folder.path().join("onspot.toml");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    let forced = folder.output(&["migrate", "config.toml", "--force", "--output", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&forced.stdout).unwrap();
    assert_eq!(json["variables"][0], "RUNNER_TOKEN");
    assert!(
        std::fs::read_to_string(&file)
            .unwrap()
            .contains("[[runners]]")
    );
}

#[test]
fn migrate_of_a_wrong_file() {
    let folder = Folder::new().with("config.toml", "[[runners]]\nlimti = 3\n");
    assert_run!("migrate_wrong", folder.run("migrate config.toml"));
}

#[test]
fn a_file_that_is_not_there_and_wrong_usage() {
    assert_run!("check_no_file", Folder::new().run("check"));
    assert_run!(
        "check_usage",
        Folder::new().run("check a.toml --config b.toml")
    );
}
