//! The calls of git, whole.

use super::super::request::Strategy;
use super::*;

fn place() -> Place {
    Place {
        builds: "/builds".into(),
        project: "group/cowsay".into(),
        world_writable: true,
    }
}

fn sources() -> Sources {
    Sources {
        strategy: Strategy::Fetch,
        url: "https://gitlab.example/group/cowsay.git".into(),
        login: Some(Login {
            plain: "https://gitlab.example/".into(),
            with_password: "https://gitlab-ci-token:se\"cret@gitlab.example/".into(),
            host: "gitlab.example".into(),
        }),
        reference: "main".into(),
        sha: "0123456789abcdef".into(),
        refspecs: vec!["+refs/heads/main:refs/remotes/origin/main".into()],
        depth: 20,
        object_format: None,
        checkout: true,
        clean_flags: vec!["-ffdx".into()],
        fetch_flags: vec!["--prune".into(), "--quiet".into()],
        submodules: Some(Submodules {
            recursive: true,
            depth: 1,
            paths: vec!["lib".into()],
            update_flags: vec!["--remote".into()],
            force_https: true,
        }),
        ca_pem: None,
        attempts: 1,
        environment: Vec::new(),
        before: None,
        after: None,
    }
}

#[test]
fn a_checkout_with_submodules() {
    let sources = sources();
    let calls = [
        init(&sources, &place()),
        fetch(&sources),
        checkout(&sources),
        submodules(sources.submodules.as_ref().unwrap(), &place()),
    ]
    .concat();
    let lines: Vec<String> = calls
        .iter()
        .map(|call| {
            let remote = if call.remote { "*" } else { " " };
            format!("{remote} git {}", shell_words::join(&call.args))
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn the_password_is_in_the_login_file_alone() {
    let sources = sources();
    insta::assert_snapshot!(login_config(sources.login.as_ref(), &sources, &place()));
    let calls = [
        init(&sources, &place()),
        fetch(&sources),
        checkout(&sources),
    ]
    .concat();
    assert!(!format!("{calls:?}").contains("cret@"));
    assert!(!format!("{sources:?}").contains("cret@"));
}
