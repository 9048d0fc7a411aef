//! Special requests of a job: honoured, ignored where pointless, or refused.

use super::*;

#[test]
fn hooks_run_only_where_there_is_a_repository() {
    let runner = with(|runner| {
        runner.pre_get_sources_script = Some("echo runner's first".into());
        runner.post_get_sources_script = Some("echo runner's last".into());
    });
    for (strategy, runs) in [
        ("clone", true),
        ("fetch", true),
        ("none", false),
        ("empty", false),
    ] {
        let job = payload(json!({
            "variables": [{ "key": "GIT_STRATEGY", "value": strategy }],
            "hooks": [
                { "name": "pre_get_sources_script", "script": ["echo before"] },
                { "name": "post_get_sources_script", "script": ["echo after"] },
            ],
        }));
        let sources = JobPlan::new(&job, &runner, &SITE).unwrap().sources;
        assert_eq!(sources.before.is_some(), runs, "{strategy}");
        assert_eq!(sources.after.is_some(), runs, "{strategy}");
        if let (Some(before), Some(after)) = (sources.before, sources.after) {
            let at = |script: &str, line: &str| script.find(line).unwrap();
            assert!(at(&before, "s first") < at(&before, "echo before"));
            assert!(at(&after, "echo after") < at(&after, "s last"));
        }
    }
}

#[test]
fn unsupported_requests_of_a_job_are_refused_with_an_explanation() {
    for (key, value) in [
        ("run", json!("[{\"name\": \"x\", \"step\": \"./x\"}]")),
        ("secrets", json!({ "PASSWORD": { "vault": {} } })),
        ("inputs", json!([{ "key": "a", "value": {} }])),
    ] {
        let job = payload(json!({ key: value }));
        let error = JobPlan::new(&job, &settings(), &SITE).unwrap_err();
        assert!(matches!(error, Error::Unsupported(_)), "{error:?}");
        let start = format!("the job has `{key}`, and this runner does not know ");
        assert!(error.to_string().starts_with(&start), "{error}");
    }
    let harmless = payload(json!({ "run": "[]", "secrets": {}, "inputs": [] }));
    assert!(JobPlan::new(&harmless, &settings(), &SITE).is_ok());
}

#[test]
fn files_are_for_everybody_or_for_the_images_user() {
    let with = |value: &str| {
        let flag = json!({ "key": "FF_DISABLE_UMASK_FOR_DOCKER_EXECUTOR", "value": value });
        plan(json!({ "variables": [flag] }))
    };
    for (value, gives_away) in [("false", false), ("true", true)] {
        let plan = with(value);
        assert_eq!(plan.gives_away, gives_away);
        assert_eq!(plan.place.world_writable, !gives_away);
    }
}

#[test]
fn a_job_of_a_protected_branch_is_planned_as_such() {
    for protected in [true, false] {
        let plan = plan(json!({ "git_info": { "protected": protected } }));
        assert_eq!(plan.sources.protected, protected);
    }
}
