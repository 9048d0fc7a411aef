//! AWS is unreachable, or access is denied.

use crate::invocation::{Folder, assert_run};

/// A stack with an endpoint where nobody listens.
fn unreachable() -> Folder {
    // A port that was free a moment ago.
    let address = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    Folder::new()
        .with(
            "onspot.toml",
            &format!(
                "region = \"eu-west-1\"\n\n[aws]\nendpoint_url = \"http://{address}\"\n\n\
                 [[runners]]\nname = \"docker.m3\"\nurl = \"https://gitlab.com\"\n\
                 token = \"env:RUNNER_TOKEN\"\n"
            ),
        )
        .env("RUNNER_TOKEN", "glrt-hidden")
}

#[test]
fn no_credentials() {
    assert_run!("no_credentials", unreachable().run("plan"));
}

#[test]
fn no_answer() {
    let folder = unreachable()
        .env("AWS_ACCESS_KEY_ID", "AKIATEST")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_MAX_ATTEMPTS", "1");
    assert_run!("no_answer", folder.run("status"));
}

#[test]
fn no_region() {
    let folder = Folder::new().with(
        "onspot.toml",
        "[[runners]]\nname = \"a\"\nurl = \"https://gitlab.com\"\ntoken = \"env:X\"\n",
    );
    assert_run!("no_region", folder.run("plan"));
}

#[test]
fn down_without_a_terminal_requires_yes() {
    let folder = unreachable();
    assert_run!("down_unasked", folder.run("down"));
}
