//! What variables and settings change about a job's sources.

use onspot_gitlab::FailureReason;

use super::*;
use crate::helper::request::Strategy;

fn logins(sources: &Sources) -> Vec<String> {
    let logins = sources.logins.iter();
    logins
        .map(|login| format!("{} for {}", login.with_password, login.instead_of.join(" ")))
        .collect()
}

#[test]
fn git_variables_change_the_sources() {
    let variables = with_variables(&[
        ("GIT_STRATEGY", "clone"),
        ("GIT_DEPTH", "1"),
        ("GIT_CHECKOUT", "false"),
        ("GIT_CLEAN_FLAGS", "-ffdx -e 'my cache/'"),
        ("GIT_FETCH_EXTRA_FLAGS", "none"),
        ("GIT_SUBMODULE_STRATEGY", "recursive"),
        ("GIT_SUBMODULE_PATHS", "a b"),
        ("GET_SOURCES_ATTEMPTS", "3"),
        ("LD_PRELOAD", "/builds/evil.so"),
    ]);
    let sources = plan(variables).sources;
    assert_eq!(
        (sources.depth, sources.checkout, sources.attempts),
        (1, false, 3)
    );
    // As in GitLab Runner, quotes have no meaning.
    assert_eq!(sources.clean_flags, ["-ffdx", "-e", "'my", "cache/'"]);
    assert_eq!(sources.fetch_flags, Vec::<String>::new());
    let submodules = sources.submodules.unwrap();
    assert!(submodules.recursive);
    assert_eq!(submodules.paths, ["a", "b"]);
    assert!(
        !sources
            .environment
            .iter()
            .any(|(key, _)| key == "LD_PRELOAD")
    );
}

#[test]
fn the_runners_clone_url_replaces_the_host() {
    let settings = with(|runner| {
        runner.clone_url = Some("http://10.0.0.1:8080/sub".into());
    });
    let sources = JobPlan::new(&payload(json!({})), &settings, &SITE)
        .unwrap()
        .sources;
    assert_eq!(sources.url, "http://10.0.0.1:8080/sub/group/cowsay.git");
    // Submodules may name either host.
    assert_eq!(
        logins(&sources),
        [
            "https://gitlab-ci-token:glcbt-secret@gitlab.example/ for https://gitlab.example/",
            "http://gitlab-ci-token:glcbt-secret@10.0.0.1:8080/ for http://10.0.0.1:8080/",
        ]
    );
}

#[test]
fn ssh_urls_of_gitlab_become_https_only_if_the_job_says_so() {
    let forced = |more: &[(&str, &str)]| {
        let force = ("GIT_SUBMODULE_FORCE_HTTPS", "true");
        logins(&plan(with_variables(&[&[force], more].concat())).sources)
    };
    let login = "https://gitlab-ci-token:glcbt-secret@gitlab.example/ for";
    assert_eq!(
        forced(&[])[1],
        format!("{login} git@gitlab.example: ssh://git@gitlab.example/")
    );
    let ssh = [
        ("CI_SERVER_SHELL_SSH_HOST", "ssh.example"),
        ("CI_SERVER_SHELL_SSH_PORT", "2222"),
    ];
    assert_eq!(
        forced(&ssh)[1],
        format!("{login} ssh://git@ssh.example:2222/")
    );
    assert_eq!(logins(&plan(json!({})).sources).len(), 1);
}

#[test]
fn the_depth_of_submodules_is_the_jobs_own_unless_it_says_otherwise() {
    let depth = |more: &[(&str, &str)]| {
        let normal = ("GIT_SUBMODULE_STRATEGY", "normal");
        let sources = plan(with_variables(&[&[normal], more].concat())).sources;
        sources.submodules.unwrap().depth
    };
    assert_eq!(depth(&[]), 20);
    assert_eq!(depth(&[("GIT_DEPTH", "3")]), 3);
    assert_eq!(depth(&[("GIT_SUBMODULE_DEPTH", "1")]), 1);
}

#[test]
fn values_without_sense_are_said_and_count_as_unset() {
    let plan = plan(with_variables(&[
        ("GIT_STRATEGY", "x"),
        ("GIT_CHECKOUT", "perhaps"),
        ("GET_SOURCES_ATTEMPTS", "11"),
    ]));
    assert_eq!(plan.sources.strategy, Strategy::Fetch);
    assert!(plan.sources.checkout);
    assert_eq!(plan.sources.attempts, 10);
    for warning in [
        "GIT_STRATEGY is \"x\" and is ignored; it can be: clone, fetch, none, empty",
        "GIT_CHECKOUT is \"perhaps\" and is ignored; it can be: true, false",
        "GET_SOURCES_ATTEMPTS is 11; it can be 1 to 10, and 10 is used",
    ] {
        let said = plan.warnings.iter().any(|said| said == warning);
        assert!(said, "{warning}: {:?}", plan.warnings);
    }
}

fn refused(site: &Site<'_>, settings: &RunnerSettings, variables: &[(&str, &str)]) -> Error {
    JobPlan::new(&payload(with_variables(variables)), settings, site).unwrap_err()
}

#[test]
fn submodules_that_cannot_be_chosen_are_an_error() {
    for (key, value) in [
        ("GIT_SUBMODULE_STRATEGY", "x"),
        ("GIT_SUBMODULE_PATHS", "a :(exclude) b"),
    ] {
        let variables = [("GIT_SUBMODULE_STRATEGY", "normal"), (key, value)];
        let error = refused(&SITE, &settings(), &variables);
        assert!(error.to_string().starts_with(key), "{error}");
        assert_eq!(error.failure_reason(), FailureReason::RunnerSystemFailure);
        // Without a repository they do not matter.
        let none = [&variables[..], &[("GIT_STRATEGY", "none")]].concat();
        assert_eq!(plan(with_variables(&none)).sources.submodules, None);
    }
}

#[test]
fn a_job_chooses_its_folder_where_the_runner_lets_it() {
    let chosen = [(
        "GIT_CLONE_PATH",
        "$CI_BUILDS_DIR/go/src/../$CI_CONCURRENT_ID",
    )];
    let plan = plan(with_variables(&chosen));
    assert_eq!(plan.place.project, "go/0");
    assert_eq!(plan.variables.get("CI_PROJECT_DIR"), Some("/builds/go/0"));
    assert!(plan.steps[0].script.contains("cd /builds/go/0\n"));

    let outside = refused(&SITE, &settings(), &[("GIT_CLONE_PATH", "/builds/../etc")]);
    assert!(
        outside.to_string().contains("below \"/builds\""),
        "{outside}"
    );
    let reason = FailureReason::RunnerConfigurationError;
    assert_eq!(outside.failure_reason(), reason);

    // In a shell only if the runner's owner has said so, in Docker unless.
    let shell = Site {
        executor: "shell",
        ..SITE
    };
    let with = |enabled| with(|runner| runner.custom_build_dir = enabled);
    for (site, enabled) in [(&shell, None), (&SITE, Some(false))] {
        let error = refused(site, &with(enabled), &chosen);
        assert!(error.to_string().contains("[runners.custom_build_dir]"));
        assert_eq!(error.failure_reason(), reason);
    }
    let payload = payload(with_variables(&chosen));
    assert!(JobPlan::new(&payload, &with(Some(true)), &shell).is_ok());
}

#[test]
fn a_job_without_a_repository_leaves_that_of_others_alone() {
    let plan = plan(with_variables(&[("GIT_STRATEGY", "empty")]));
    assert_eq!(plan.place.project, "group/cowsay-empty");
    assert_eq!(
        plan.variables.get("CI_PROJECT_DIR"),
        Some("/builds/group/cowsay-empty")
    );
}

#[test]
fn clone_flags_count_only_for_a_native_clone_of_a_branch() {
    let flags = |change: Value| {
        let mut payload = with_variables(&[
            ("GIT_STRATEGY", "clone"),
            ("FF_USE_GIT_NATIVE_CLONE", "true"),
            ("GIT_CLONE_EXTRA_FLAGS", "--filter=blob:none"),
        ]);
        merge(&mut payload, change);
        plan(payload).sources.clone_flags
    };
    assert_eq!(flags(json!({})).unwrap(), ["--filter=blob:none"]);
    let request = json!({ "git_info": { "ref": "refs/merge-requests/1/head" } });
    assert_eq!(flags(request), None);
    let fetched = plan(with_variables(&[("GIT_CLONE_EXTRA_FLAGS", "--bare")]));
    assert_eq!(fetched.sources.clone_flags, None);
}
