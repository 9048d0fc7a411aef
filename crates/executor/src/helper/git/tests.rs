//! The complete git commands.

use super::super::request::{Login, Strategy, Submodules};
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
        logins: vec![Login {
            with_password: "https://gitlab-ci-token:se\"cret@gitlab.example/".into(),
            instead_of: vec![
                "https://gitlab.example/".into(),
                "git@gitlab.example:".into(),
            ],
        }],
        reference: "main".into(),
        sha: "0123456789abcdef".into(),
        protected: false,
        refspecs: vec!["+refs/heads/main:refs/remotes/origin/main".into()],
        depth: 20,
        object_format: None,
        checkout: true,
        lfs: true,
        clean_flags: vec!["-ffdx".into()],
        fetch_flags: vec!["--prune".into(), "--quiet".into()],
        clone_flags: None,
        submodules: Some(Submodules {
            recursive: true,
            depth: 1,
            paths: vec!["lib".into()],
            update_flags: vec!["--remote".into()],
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
    let wanted = sources.submodules.clone().unwrap();
    let kept = TakenUp {
        unverified: vec!["pack-1.pack".into()],
        packs: 21,
        ..TakenUp::default()
    };
    let calls = [
        init(&sources, &place()),
        fetch(&sources, None),
        checkout(&sources, None),
        pull_lfs(),
        init_submodules(&wanted.paths),
        reconnect(&sources, &kept, "https://gitlab.example/lib.git"),
        fetch_submodule(&wanted, &kept, &["fedcba".into()], "abcdef"),
        update_submodules(&wanted, &wanted.paths),
        update_submodules_again(&wanted, &wanted.paths),
        forget_commit(),
        include_login_in_submodules(&place()),
        pull_lfs_in_submodules(&wanted),
    ]
    .concat();
    let lines: Vec<String> = calls
        .iter()
        .map(|call| format!("git {}", shell_words::join(&call.args)))
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn the_password_is_in_the_login_file_alone() {
    let sources = sources();
    insta::assert_snapshot!(login_config(&sources, &place()));
    let calls = [
        init(&sources, &place()),
        fetch(&sources, None),
        checkout(&sources, None),
    ]
    .concat();
    assert!(!format!("{calls:?}").contains("cret@"));
    assert!(!format!("{sources:?}").contains("cret@"));
}

#[test]
fn a_shallow_history_is_completed_unless_the_job_sets_the_depth() {
    let taken_up = TakenUp {
        is_shallow: true,
        ..TakenUp::default()
    };
    let asks = |depth: u32, flags: &[&str]| {
        let sources = Sources {
            depth,
            fetch_flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
            ..sources()
        };
        let args = fetch(&sources, Some(&taken_up)).remove(0).args;
        args.contains(&"--unshallow".to_owned())
    };
    assert!(asks(0, &["--prune"]));
    assert!(!asks(20, &["--prune"]));
    for flag in ["--depth=3", "--deepen", "--shallow-since=yesterday"] {
        assert!(!asks(0, &[flag]), "{flag}");
    }
}

#[test]
fn settings_of_the_job_count_up_to_the_first_incomplete_one() {
    let count = |list: &[(&str, &str)]| {
        let list: Vec<(String, String)> = list
            .iter()
            .map(|&(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        settings_of_job(&list)
    };
    let one = [
        ("GIT_CONFIG_COUNT", "2"),
        ("GIT_CONFIG_KEY_0", "user.name"),
        ("GIT_CONFIG_VALUE_0", "me"),
    ];
    assert_eq!(count(&one), 1);
    assert_eq!(count(&one[1..]), 0);
    assert_eq!(count(&[("GIT_CONFIG_COUNT", "many")]), 0);
}

#[test]
fn a_clone_is_used_only_where_the_job_asks_for_it() {
    assert_eq!(clone(&sources()), None);
    let sources = Sources {
        clone_flags: Some(vec!["--filter=blob:none".into()]),
        ..sources()
    };
    assert_eq!(
        clone(&sources).unwrap().args.join(" "),
        "clone --no-checkout https://gitlab.example/group/cowsay.git . --depth 20 --branch main \
         --filter=blob:none"
    );
}

#[test]
fn without_a_depth_a_submodule_has_its_branches() {
    let wanted = Submodules {
        depth: 0,
        ..sources().submodules.unwrap()
    };
    let shallow = TakenUp {
        is_shallow: true,
        ..TakenUp::default()
    };
    let args = fetch_submodule(&wanted, &shallow, &[], "abcdef")
        .remove(0)
        .args;
    assert!(args.contains(&"+refs/heads/*:refs/remotes/origin/*".to_owned()));
    assert!(args.contains(&"--unshallow".to_owned()));
}
