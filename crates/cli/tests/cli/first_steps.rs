//! Help, version, init, render.

use crate::invocation::{Folder, assert_run};

#[test]
fn help_is_short_and_complete() {
    let folder = Folder::new();
    assert_run!("help", folder.run("--help"));
    for verb in [
        "init", "plan", "up", "status", "logs", "down", "render", "run", "check", "migrate",
    ] {
        assert_run!(
            format!("help_{verb}"),
            folder.run(&format!("{verb} --help"))
        );
    }
}

#[test]
fn wrong_usage_has_exit_code_2() {
    let folder = Folder::new();
    assert_run!("unknown_verb", folder.run("upp"));
    assert_run!("unknown_flag", folder.run("up --force"));
    assert_run!("bad_duration", folder.run("logs --since 5x"));
}

#[test]
fn the_version_is_printed() {
    let folder = Folder::new();
    let version = env!("CARGO_PKG_VERSION");
    for line in ["version", "--version"] {
        assert!(folder.run(line).contains(&format!("onspot {version}\n")));
    }
    let json = folder.output(&["version", "--output", "json"]).stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["version"], version);
}

#[test]
fn init_writes_a_file_once() {
    let folder = Folder::new();
    assert_run!(
        "init",
        folder.run("init --name spot --url https://gitlab.example.com --token file:token")
    );
    let text = std::fs::read_to_string(folder.path().join("onspot.toml")).unwrap();
    assert_run!("init_file", text);
    assert_run!("init_again", folder.run("init"));
}

#[test]
fn init_takes_no_token_on_the_command_line() {
    let folder = Folder::new();
    let shown = folder.run("init --token glrt-hidden");
    assert_run!(
        "init_plain_token",
        shown.replace("$ onspot init --token glrt-hidden", "$")
    );
    assert!(!folder.path().join("onspot.toml").exists());
}

#[test]
fn render_prints_what_the_manager_reads() {
    let folder = Folder::new().with(
        "onspot.toml",
        "name = \"ci\"\nregion = \"eu-west-1\"\n\n[[runners]]\nname = \"docker.m3\"\n\
         url = \"https://gitlab.com\"\ntoken = \"env:RUNNER_TOKEN\"\n",
    );
    assert_run!("render", folder.run("render"));
}
