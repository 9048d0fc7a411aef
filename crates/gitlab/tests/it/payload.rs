//! Reading jobs as GitLab hands them out.

use onspot_gitlab::job::{ArtifactFormat, CachePolicy, GitInfo, JobPayload, RefType, When};
use onspot_gitlab::{AssignedJob, Error, FailureReason, JobId, Variable, Variables};
use serde_json::json;

fn recorded() -> serde_json::Value {
    serde_json::from_str(include_str!("payloads/job.json")).unwrap()
}

#[test]
fn a_whole_job_is_read() {
    let raw = recorded();
    let assigned = AssignedJob::parse(raw.clone()).unwrap();
    assert_eq!(assigned.raw, raw, "unknown fields are kept");
    let job = assigned.job;

    assert_eq!(job.id, JobId(4711));
    assert_eq!(job.job_info.project_full_path, "demo/cowsay");
    assert_eq!(job.git_info.ref_type, RefType::Branch);
    assert_eq!(
        (job.git_info.r#ref.as_str(), job.git_info.depth),
        ("main", 20)
    );
    assert_eq!(job.runner_info.timeout, 3600);
    assert_eq!(job.step("script").unwrap().script.len(), 1);
    assert_eq!(job.step("after_script").unwrap().when, When::Always);
    assert_eq!(job.hook("pre_get_sources_script").unwrap().script, ["true"]);

    let image = job.image.as_ref().unwrap();
    assert_eq!(image.name, "npalm/cowsay");
    assert!(image.entrypoint.is_empty());
    assert_eq!(image.executor_opts.docker.user, "1000");
    assert_eq!(
        job.services[0].aliases().collect::<Vec<_>>(),
        ["db", "database", "sql"]
    );

    assert_eq!(job.artifacts[0].artifact_format, ArtifactFormat::Zip);
    assert_eq!(job.artifacts[0].when, When::Always);
    assert!(job.cache[0].untracked && job.cache[0].paths.is_empty());
    assert_eq!(
        CachePolicy::parse(&job.cache[0].policy),
        Some(CachePolicy::PullPush)
    );
    assert_eq!(
        job.dependencies[0].artifacts_file.as_ref().unwrap().size,
        106_365
    );
    assert_eq!(job.dependencies[1].artifacts_file, None);
    assert!(
        job.features
            .failure_reasons
            .contains(&FailureReason::ImagePullFailure)
    );

    let variables = Variables::of(&job);
    assert_eq!(variables.get("GREETING"), Some("moo build"));
}

#[test]
fn every_secret_of_a_job_is_masked_and_none_is_shown() {
    let assigned = AssignedJob::parse(recorded()).unwrap();
    assert_eq!(
        assigned.job.mask_values(),
        ["glcbt-64_jobtoken", "glcbt-64_other", "glcbt-64_third"]
    );
    let shown = format!("{assigned:?}");
    assert!(!shown.contains("glcbt-"), "{shown}");
    assert!(!shown.contains("BEGIN"), "{shown}");
}

#[test]
fn a_minimal_job_is_read() {
    let job = AssignedJob::parse(json!({ "id": 1, "token": "t" }))
        .unwrap()
        .job;
    assert_eq!(job.image, None);
    assert!(job.steps.is_empty());
}

#[test]
fn nulls_count_as_absent() {
    let mut raw = recorded();
    for (name, value) in raw.as_object_mut().unwrap() {
        if !matches!(name.as_str(), "id" | "token") {
            *value = serde_json::Value::Null;
        }
    }
    let minimal = json!({ "id": 4711, "token": "glcbt-64_jobtoken" });
    let (nulls, minimal) = (AssignedJob::parse(raw), AssignedJob::parse(minimal));
    assert_eq!(nulls.unwrap().job, minimal.unwrap().job);
}

#[test]
fn an_image_without_a_name_is_none() {
    let raw = json!({ "id": 1, "token": "t", "image": { "name": null, "entrypoint": [] } });
    assert_eq!(AssignedJob::parse(raw).unwrap().job.image, None);
}

#[test]
fn a_job_needs_id_and_token() {
    for raw in [
        json!({}),
        json!({ "id": 1 }),
        json!({ "token": "t" }),
        json!([]),
    ] {
        assert!(matches!(
            AssignedJob::parse(raw),
            Err(Error::Payload { job: None, .. })
        ));
    }
}

#[test]
fn a_typed_job_survives_serialisation() {
    let job = AssignedJob::parse(recorded()).unwrap().job;
    let again = AssignedJob::parse(serde_json::to_value(&job).unwrap())
        .unwrap()
        .job;
    assert_eq!(again, job);
}

#[test]
fn a_job_cannot_claim_to_run_for_a_protected_branch() {
    let job = |said: Option<bool>, values: &[&str]| JobPayload {
        git_info: GitInfo {
            protected: said,
            ..GitInfo::default()
        },
        variables: values
            .iter()
            .map(|value| Variable::public("CI_COMMIT_REF_PROTECTED", *value))
            .collect(),
        ..JobPayload::default()
    };
    assert!(job(Some(true), &["false"]).is_protected());
    assert!(!job(Some(false), &["true"]).is_protected());
    assert!(job(None, &["true"]).is_protected());
    assert!(!job(None, &["false", "true"]).is_protected());
    assert!(!job(None, &[]).is_protected());
}
