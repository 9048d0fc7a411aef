//! Unusable files: one sentence, the place, a hint, exit code 1.

use crate::invocation::{Folder, assert_run};

/// An onspot.toml whose one runner has these further lines.
fn stack(lines: &str) -> Folder {
    Folder::new().with(
        "onspot.toml",
        &format!(
            "region = \"eu-west-1\"\n\n[[runners]]\nname = \"docker.m3\"\n\
             url = \"https://gitlab.com\"\n{lines}"
        ),
    )
}

#[test]
fn a_missing_stack_file() {
    assert_run!("no_onspot_toml", Folder::new().run("plan"));
}

#[test]
fn an_unknown_key_gets_a_suggestion() {
    let folder = stack("token = \"env:RUNNER_TOKEN\"\nprivilaged = true\n");
    assert_run!("unknown_key", folder.run("plan"));
    assert_run!("unknown_key_json", folder.run("plan --output json"));
}

#[test]
fn a_missing_key_is_named() {
    assert_run!("missing_key", stack("").run("plan"));
}

#[test]
fn a_bad_token_reference_is_not_repeated() {
    let shown = stack("token = \"vault:glrt-hidden\"\n").run("plan");
    assert!(!shown.contains("hidden"), "{shown}");
    assert_run!("bad_token_reference", shown);
}

#[test]
fn a_token_without_quotes_is_not_shown() {
    let shown = stack("token = glrt-hidden\n").run("plan");
    assert!(!shown.contains("hidden"), "{shown}");
    assert_run!("unquoted_token", shown);
}

#[test]
fn half_a_variable_is_not_shown() {
    let lines = "token = \"env:X\"\nenvironment = [\"API_KEY=hidden\", \"hidden\"]\n";
    let shown = stack(lines).run("plan");
    assert!(!shown.contains("hidden"), "{shown}");
    assert_run!("bad_variable", shown);
}

#[test]
fn a_manager_whose_files_cannot_be_used() {
    let config = |lines: &str| {
        let text = format!(
            "[[runners]]\nname = \"a\"\nurl = \"https://gitlab.com\"\n\
             executor = \"docker+machine\"\n{lines}"
        );
        Folder::new().with("config.toml", &text)
    };
    let cases = [
        ("manager_no_file", Folder::new()),
        (
            "manager_unknown_key",
            config("token = \"glrt-hidden\"\nlimti = 3\n"),
        ),
        ("manager_unquoted_token", config("token = glrt-hidden\n")),
        ("manager_no_stack", config("token = \"glrt-hidden\"\n")),
    ];
    for (name, folder) in cases {
        let shown = folder.run("manager --config config.toml --stack manager.toml");
        assert!(!shown.contains("hidden"), "{shown}");
        assert_run!(name, shown);
    }
}

#[test]
fn a_too_small_network_is_reported_before_any_call() {
    let folder = stack("token = \"env:RUNNER_TOKEN\"\n\n[network]\ncidr = \"10.0.0.0/30\"\n");
    assert_run!("small_network", folder.run("plan"));
}

#[test]
fn a_config_toml_that_cannot_be_used() {
    let head = "[[runners]]\nname = \"a\"\nurl = \"https://gitlab.com\"\nexecutor = \"docker\"\n";
    let cases = [
        ("run_no_file", Folder::new()),
        ("run_no_token", Folder::new().with("config.toml", head)),
        (
            "run_unknown_key",
            Folder::new().with(
                "config.toml",
                &format!("{head}token = \"glrt-hidden\"\n[runners.docker]\nimgae = \"x\"\n"),
            ),
        ),
        (
            "run_token_not_set",
            Folder::new().with("config.toml", &format!("{head}token = \"env:NOT_SET\"\n")),
        ),
        (
            "run_no_runner",
            Folder::new().with("config.toml", "concurrent = 1\n"),
        ),
    ];
    for (name, folder) in cases {
        assert_run!(name, folder.run("run"));
    }
}

#[test]
fn a_host_without_docker() {
    let folder = Folder::new()
        .with(
            "config.toml",
            "[[runners]]\nname = \"a\"\nurl = \"http://127.0.0.1:9\"\nexecutor = \"docker\"\n\
             token = \"env:RUNNER_TOKEN\"\n",
        )
        .env("RUNNER_TOKEN", "glrt-hidden")
        .env("DOCKER_HOST", "unix:///nowhere/docker.sock");
    assert_run!("run_no_docker", folder.run("run"));
}
