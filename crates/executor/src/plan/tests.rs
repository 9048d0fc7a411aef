//! Complete plans of complete payloads.

use onspot_gitlab::AssignedJob;
use onspot_gitlab::job::When;
use onspot_settings::{Docker, Runner};
use serde_json::{Value, json};

use super::*;

mod caches;
mod demands;
mod sources;
mod variables;

const SITE: Site<'_> = Site {
    executor: "docker",
    builds_dir: "/builds",
    slot: 0,
    short_token: "",
    world_writable: true,
};

fn settings() -> RunnerSettings {
    with(|_| ())
}

/// The settings, with a test's changes to the runner's.
fn with(change: impl FnOnce(&mut Runner)) -> RunnerSettings {
    let mut runner = Runner::new("docker.m3", "https://gitlab.example/".parse().unwrap());
    runner.environment = vec!["TZ=UTC".into(), "GREETING=from the runner".into()];
    change(&mut runner);
    RunnerSettings {
        short_token: "abcdefghi".into(),
        ..RunnerSettings::new(runner)
    }
}

/// The build job of the cowsay pipeline, with a test's changes.
fn payload(change: Value) -> JobPayload {
    let mut raw = json!({
        "id": 42,
        "token": "glcbt-secret",
        "allow_git_fetch": true,
        "job_info": {
            "name": "build", "stage": "build", "project_id": 7, "project_name": "cowsay",
            "project_full_path": "group/cowsay",
        },
        "git_info": {
            "repo_url": "https://gitlab-ci-token:glcbt-secret@gitlab.example/group/cowsay.git",
            "ref": "main", "sha": "0123456789abcdef0123456789abcdef01234567",
            "before_sha": "0000000000000000000000000000000000000000", "ref_type": "branch",
            "refspecs": ["+refs/pipelines/3:refs/pipelines/3", "+refs/heads/main:refs/remotes/origin/main"],
            "depth": 20,
        },
        "runner_info": { "timeout": 3600 },
        "variables": [
            { "key": "CI_BUILD_REF", "value": "0123456789abcdef0123456789abcdef01234567", "public": true },
            { "key": "CI_BUILD_NAME", "value": "build", "public": true },
            { "key": "CI_BUILD_STAGE", "value": "build", "public": true },
            { "key": "GREETING", "value": "hello $CI_BUILD_NAME", "public": true },
            { "key": "DEPLOY_KEY", "value": "-----BEGIN KEY-----\nit's\n", "file": true },
        ],
        "steps": [
            { "name": "script", "timeout": 3600, "script": [
                "cowsay -f ghostbusters building \"$CI_BUILD_NAME\" @ stage \"$CI_BUILD_STAGE\" > ghosts.txt",
                "if true; then\n  echo 'done'\nfi",
            ] },
            { "name": "after_script", "script": ["echo $CI_JOB_STATUS"] },
        ],
        "image": { "name": "npalm/cowsay" },
        "cache": [{ "key": "$CI_BUILD_REF", "untracked": true, "policy": "pull-push", "when": "on_success" }],
    });
    merge(&mut raw, change);
    AssignedJob::parse(raw).unwrap().job
}

fn merge(into: &mut Value, change: Value) {
    match (into, change) {
        (Value::Object(into), Value::Object(change)) => {
            for (key, value) in change {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, change) => *into = change,
    }
}

fn plan(change: Value) -> JobPlan {
    JobPlan::new(&payload(change), &settings(), &SITE).unwrap()
}

fn with_variables(variables: &[(&str, &str)]) -> Value {
    let list: Vec<Value> = variables
        .iter()
        .map(|(key, value)| json!({ "key": key, "value": value }))
        .collect();
    json!({ "variables": list })
}

#[test]
fn the_script_of_the_cowsay_job() {
    insta::assert_snapshot!(plan(json!({})).steps[0].script);
}

#[test]
fn the_after_script_of_the_cowsay_job() {
    let script = plan(json!({})).after_script("failed").unwrap();
    insta::assert_snapshot!(script);
    assert!(script.contains("CI_JOB_STATUS=failed"));
}

#[test]
fn the_sources_of_the_cowsay_job() {
    let mut sources = plan(json!({})).sources;
    sources.environment.clear();
    insta::assert_json_snapshot!(sources);
}

#[test]
fn the_scripts_of_the_runner_surround_the_jobs() {
    let settings = with(|runner| {
        runner.pre_get_sources_script = Some("echo before the sources".into());
        runner.pre_build_script = Some("echo before the build".into());
        runner.post_build_script = Some("echo after the build".into());
    });
    let plan = JobPlan::new(&payload(json!({})), &settings, &SITE).unwrap();
    let [before, cowsay, after] = ["before the build", "cowsay -f", "after the build"]
        .map(|text| plan.steps[0].script.rfind(text).unwrap());
    assert!(before < cowsay && cowsay < after);
    assert!(
        plan.sources
            .before
            .unwrap()
            .contains("echo before the sources")
    );
}

#[test]
fn the_runners_hooks_run_first_before_and_last_after_the_sources() {
    let settings = with(|runner| {
        runner.pre_get_sources_script = Some("echo runner".into());
        runner.post_get_sources_script = Some("echo runner".into());
    });
    let hook = |name| json!({ "name": name, "script": ["echo job"] });
    let hooks = json!([
        hook("pre_get_sources_script"),
        hook("post_get_sources_script")
    ]);
    let payload = payload(json!({ "hooks": hooks }));
    let sources = JobPlan::new(&payload, &settings, &SITE).unwrap().sources;
    let order = |script: Option<String>| {
        let script = script.unwrap();
        script.find("echo runner").unwrap() < script.find("echo job").unwrap()
    };
    assert!(order(sources.before));
    assert!(!order(sources.after));
}

#[test]
fn limits_use_gos_durations_and_others_are_errors() {
    let limit = |text: &str| {
        plan(with_variables(&[("RUNNER_SCRIPT_TIMEOUT", text)])).limit("RUNNER_SCRIPT_TIMEOUT")
    };
    assert_eq!(limit("1.5h"), Ok(Some(Duration::from_mins(90))));
    assert_eq!(limit(" 5m "), Ok(Some(Duration::from_mins(5))));
    assert_eq!((limit("0"), limit("")), (Ok(None), Ok(None)));
    // Months elsewhere, and nothing in Go.
    assert_eq!(limit("5M").unwrap_err().to_string(), "`5M` is no duration");
    assert!(limit("1h 30m").is_err());
}

#[test]
fn each_step_but_after_script_is_run_in_turn() {
    let step = |name: &str| json!({ "name": name, "script": [format!("echo {name}")] });
    let steps = json!([step("script"), step("release"), step("after_script")]);
    let plan = plan(json!({ "steps": steps }));
    let sections: Vec<&str> = plan.steps.iter().map(|step| &*step.section).collect();
    assert_eq!(sections, ["step_script", "step_release"]);
    assert!(plan.steps[1].script.contains("echo release"));
    assert!(!plan.steps[0].script.contains("echo release"));
}

#[test]
fn variables_change_what_a_failure_means() {
    assert!(plan(json!({})).ignores_after_script());
    let strict = plan(with_variables(&[
        ("AFTER_SCRIPT_IGNORE_ERRORS", "false"),
        ("RESTORE_CACHE_ATTEMPTS", "3"),
        ("CI_DEBUG_TRACE", "true"),
    ]));
    assert!(!strict.ignores_after_script());
    assert_eq!(strict.restore_attempts, 3);
    assert!(strict.steps[0].script.contains("set -x"));
}

#[test]
fn a_protected_cache_is_not_reached_by_a_fallback_key() {
    for key in [
        "main-protected",
        "main-protected ",
        "main-protected/.",
        "main-protected%2f",
        "main-protected..",
        "main-protected. /",
        r"x/..\main-protected",
    ] {
        let variables = [("CACHE_FALLBACK_KEY", key), ("CI_BUILD_REF", "1ecfd275")];
        let plan = plan(with_variables(&variables));
        assert_eq!(plan.caches[0].restore.len(), 1, "{key}");
    }
    let variables = [("CACHE_FALLBACK_KEY", "main"), ("CI_BUILD_REF", "1ecfd275")];
    let plan = plan(with_variables(&variables));
    assert_eq!(plan.caches[0].restore[1].name, "main");
}

#[test]
fn the_runners_environment_is_weaker_than_the_jobs() {
    let variables = plan(json!({})).variables;
    assert_eq!(variables.get("TZ"), Some("UTC"));
    assert_eq!(variables.get("GREETING"), Some("hello build"));
    assert_eq!(
        variables.get("CI_PROJECT_DIR"),
        Some("/builds/group/cowsay")
    );
    assert_eq!(
        variables.get("CI_SERVER_URL"),
        Some("https://gitlab.example")
    );
    assert_eq!(variables.get("CI_SERVER_HOST"), Some("gitlab.example"));
    assert_eq!(variables.get("CI_SERVER_PORT"), Some("443"));
    assert_eq!(variables.get("CI_DISPOSABLE_ENVIRONMENT"), Some("true"));
}

#[test]
fn a_job_cannot_move_its_folder() {
    for (path, sound) in [
        ("a/b", true),
        ("../etc", false),
        ("a//b", false),
        ("a/./b", false),
        ("", true),
    ] {
        let payload = payload(json!({ "job_info": { "project_full_path": path } }));
        let planned = JobPlan::new(&payload, &settings(), &SITE);
        assert_eq!(planned.is_ok(), sound, "{path:?}");
    }
    let moved = plan(with_variables(&[("CI_PROJECT_DIR", "/etc")]));
    assert_eq!(
        moved.variables.get("CI_PROJECT_DIR"),
        Some("/builds/group/cowsay")
    );
}

#[test]
fn default_refspecs_are_used_if_gitlab_sends_none() {
    for (git, expected) in [
        (
            json!({ "refspecs": [] }),
            "+refs/heads/main:refs/remotes/origin/main",
        ),
        (
            json!({ "refspecs": null, "ref": "v1", "ref_type": "tag" }),
            "+refs/tags/v1:refs/tags/v1",
        ),
    ] {
        assert_eq!(
            plan(json!({ "git_info": git })).sources.refspecs,
            [expected]
        );
    }
}

#[test]
fn caches_have_keys_candidates_and_policies() {
    let caches = plan(json!({
        "variables": [
            { "key": "CACHE_FALLBACK_KEY", "value": "main-protected" },
            { "key": "BRANCH", "value": "feature" },
            { "key": "CACHE_COMPRESSION_FORMAT", "value": "tarzstd" },
        ],
        "cache": [
            { "key": "$BRANCH", "paths": ["$BRANCH/"], "fallback_keys": ["main", "$BRANCH", " "] },
            { "key": "", "paths": ["x"], "policy": "push", "when": "always" },
            { "key": "k", "paths": ["x"], "policy": "pull" },
            { "key": "k", "paths": ["x"], "policy": "everything" },
            { "key": "nothing in it", "paths": [] },
        ],
    }))
    .caches;
    let shown: Vec<_> = caches
        .iter()
        .map(|c| {
            let restore: Vec<_> = c.restore.iter().map(|key| key.name.as_str()).collect();
            (c.key.name.as_str(), restore, c.save)
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("feature", vec!["feature", "main"], Some(When::OnSuccess)),
            ("build/main", vec![], Some(When::Always)),
            ("k", vec!["k"], None),
            ("k", vec![], None),
        ]
    );
    assert_eq!(caches[0].selection.paths, ["feature/"]);
    assert_eq!(caches[0].format, onspot_cache::archive::Format::TarZstd);
    assert!(caches[3].warning.as_ref().unwrap().contains("everything"));
}

#[test]
fn artifacts_have_names_and_conditions() {
    let uploads = plan(json!({
        "artifacts": [
            { "name": "$CI_BUILD_NAME/x", "paths": ["out"], "when": "always", "expire_in": "1 week" },
            { "paths": ["junit.xml"], "artifact_type": "junit", "artifact_format": "gzip" },
            { "paths": [] },
            { "paths": ["x"], "artifact_format": "rar" },
        ],
    }))
    .uploads;
    let shown: Vec<_> = uploads
        .iter()
        .map(|u| (u.request.name.as_str(), u.request.kind.as_str(), u.when))
        .collect();
    assert_eq!(
        shown,
        [
            ("x", "archive", When::Always),
            ("artifacts", "junit", When::OnSuccess)
        ]
    );
}

#[test]
fn only_dependencies_with_an_archive_are_downloaded() {
    let downloads = plan(json!({
        "dependencies": [
            { "id": 1, "name": "a", "token": "t", "artifacts_file": { "filename": "a.zip", "size": 3 } },
            { "id": 2, "name": "b", "token": "t" },
        ],
    }))
    .downloads;
    assert_eq!(downloads.downloads.len(), 1);
    assert_eq!(downloads.downloads[0].name, "a");
}

#[test]
fn images_are_expanded_and_checked() {
    let docker = Docker {
        allowed_images: vec!["registry.example/*".into(), "npalm/cowsay".into()],
        allowed_services: vec!["postgres:*".into()],
        ..Docker::default()
    };
    let resolve = |change: Value| {
        let payload = payload(change);
        let variables = JobPlan::new(&payload, &settings(), &SITE)
            .unwrap()
            .variables;
        image::of_job(&payload, &docker, &variables)
    };
    assert_eq!(resolve(json!({})).unwrap().name, "npalm/cowsay");
    let expanded = resolve(json!({ "image": { "name": "registry.example/$CI_BUILD_NAME" } }));
    assert_eq!(expanded.unwrap().name, "registry.example/build");
    for change in [
        json!({ "image": { "name": "evil.example/x" } }),
        json!({ "image": { "name": "registry.example/a/b" } }),
        json!({ "image": null }),
        json!({ "image": { "name": "npalm/cowsay", "pull_policy": ["never"] } }),
    ] {
        let error = resolve(change.clone()).unwrap_err();
        let refused = matches!(error, Error::NotAllowed(_) | Error::Unsupported(_));
        assert!(refused, "{change}: {error}");
    }
}

#[test]
fn no_job_is_traced_if_the_runner_disables_it() {
    let debug = with_variables(&[("CI_DEBUG_TRACE", "true")]);
    let allowed = plan(debug.clone());
    assert!(allowed.steps[0].script.contains("set -x"));
    let settings = with(|runner| {
        runner.debug_trace_disabled = true;
    });
    let refused = JobPlan::new(&payload(debug), &settings, &SITE).unwrap();
    assert!(!refused.steps[0].script.contains("set -x"));
    let after = refused.after_script("success").unwrap();
    assert!(!after.contains("set -x"));
    assert_eq!(
        refused.warnings[0],
        "CI_DEBUG_TRACE: this runner does not allow it"
    );
}

#[test]
fn proxies_of_the_runner_and_of_the_job_are_those_of_the_transfers() {
    let settings = with(|runner| {
        runner.environment = vec![
            "http_proxy=http://proxy:1".into(),
            "NO_PROXY=gitlab.example".into(),
            "TZ=UTC".into(),
        ];
    });
    let job = payload(with_variables(&[("HTTPS_PROXY", "http://of-the-job:2")]));
    let mut proxies = JobPlan::new(&job, &settings, &SITE).unwrap().proxies();
    proxies.sort();
    let expected = [
        ("HTTPS_PROXY", "http://of-the-job:2"),
        ("NO_PROXY", "gitlab.example"),
        ("http_proxy", "http://proxy:1"),
    ];
    assert_eq!(
        proxies,
        expected.map(|(key, value)| (key.into(), value.into()))
    );
}
