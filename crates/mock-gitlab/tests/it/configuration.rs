//! Configurations that query the repository, and variables passed between jobs.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use onspot_mock_gitlab::{PipelineView, Status, Variable};
use reqwest::multipart::{Form, Part};
use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::runner::{BOUND, Scene, Taken};

/// Push these files, and return the pipeline made from them.
async fn push(scene: &Scene, files: &[(&str, &str)]) -> PipelineView {
    let sha = scene.gitlab.push_files(&scene.project, files).await;
    let made = scene.gitlab.wait_for_commit(&sha.unwrap(), BOUND).await;
    made.unwrap()
}

fn names(pipeline: &PipelineView) -> Vec<&str> {
    pipeline.jobs.iter().map(|job| job.name.as_str()).collect()
}

#[tokio::test]
async fn included_files_are_those_of_the_commit() {
    let scene = Scene::new().await;
    let root = "include: ['ci/*.yml', {local: /more.yaml, rules: [{if: '$WITH_MORE'}]}]\n\
                own: {script: x}";
    let files = [
        (".gitlab-ci.yml", root),
        ("ci/a.yml", "from-a: {script: x}"),
        ("ci/deep/b.yml", "from-b: {script: x}"),
        ("more.yaml", "from-more: {script: x}"),
    ];
    let pipeline = push(&scene, &files).await;
    assert_eq!(pipeline.yaml_error, None);
    assert_eq!(names(&pipeline), ["from-a", "own"]);
    let with = Variable::public("WITH_MORE", "yes");
    scene.gitlab.set_variable(scene.project.id, with).unwrap();
    let files = [(".gitlab-ci.yml", root), ("more.yaml", files[3].1)];
    assert_eq!(names(&push(&scene, &files).await), ["from-more", "own"]);
    let lacking = push(&scene, &[(".gitlab-ci.yml", root)]).await;
    assert_eq!(lacking.status, Status::Failed);
    assert_eq!(
        lacking.yaml_error.as_deref(),
        Some("Local file `more.yaml` does not exist!")
    );
}

#[tokio::test]
async fn changes_are_those_of_the_push() {
    let scene = Scene::new().await;
    let yaml = "docs: {script: x, rules: [{changes: ['docs/**/*']}]}\n\
                code: {script: x, rules: [{changes: {paths: ['*.rs']}}]}\n\
                built: {script: x, rules: [{exists: ['**/Dockerfile']}]}";
    let first = [
        (".gitlab-ci.yml", yaml),
        ("docs/a.md", "1"),
        ("main.rs", "1"),
        ("image/Dockerfile", ""),
    ];
    // For a new branch there is nothing to compare with.
    assert_eq!(
        names(&push(&scene, &first).await),
        ["docs", "code", "built"]
    );
    let second = [first[0], ("docs/a.md", "2"), first[2]];
    assert_eq!(names(&push(&scene, &second).await), ["docs"]);
    let third = [first[0], ("docs/a.md", "2"), ("main.rs", "2")];
    assert_eq!(names(&push(&scene, &third).await), ["code"]);
}

#[tokio::test]
async fn a_ref_to_compare_with_may_be_older_than_the_push() {
    let scene = Scene::new().await;
    let yaml = "job: {script: x, rules: [{changes: {paths: [a], compare_to: $BASE}}]}\n\
                always: {script: x}";
    let files = |a: &'static str, b: &'static str| [(".gitlab-ci.yml", yaml), ("a", a), ("b", b)];
    let base = scene
        .gitlab
        .push_files(&scene.project, &files("1", "1"))
        .await;
    let base = Variable::public("BASE", base.unwrap());
    scene.gitlab.set_variable(scene.project.id, base).unwrap();
    assert_eq!(names(&push(&scene, &files("1", "2")).await), ["always"]);
    assert_eq!(
        names(&push(&scene, &files("2", "2")).await),
        ["job", "always"]
    );
    // This push did not change it, but the commits since the base did.
    assert_eq!(
        names(&push(&scene, &files("2", "3")).await),
        ["job", "always"]
    );
}

#[tokio::test]
async fn tags_of_runners_may_come_from_variables() {
    let scene = Scene::new().await;
    let yaml = "job: {script: x, tags: [$TAG], parallel: {matrix: [{TAG: [docker.m3, other]}]}}";
    scene.push(yaml).await;
    let taken = scene.runner.take().await;
    assert_eq!(taken.text("/job_info/name"), "job: [docker.m3]");
    assert_eq!(
        scene.runner.poll(None).await.status(),
        StatusCode::NO_CONTENT
    );
}

#[tokio::test]
async fn a_ref_to_compare_with_must_exist() {
    let scene = Scene::new().await;
    let yaml = "job: {script: x, rules: [{changes: {paths: [a], compare_to: nowhere}}]}";
    let pipeline = push(&scene, &[(".gitlab-ci.yml", yaml)]).await;
    assert_eq!(
        pipeline.yaml_error.as_deref(),
        Some("Failed to parse rule for job: rules:changes:compare_to is not a valid ref")
    );
}

#[tokio::test]
async fn a_needed_job_excluded_by_its_rules_is_an_error() {
    let scene = Scene::new().await;
    let job = |optional: &str| {
        format!(
            "a: {{script: x, rules: [{{if: $NO}}]}}\nb: {{script: x, needs: [{{job: a{optional}}}]}}"
        )
    };
    let pipeline = push(&scene, &[(".gitlab-ci.yml", job("").as_str())]).await;
    let error = pipeline.yaml_error.unwrap();
    assert!(
        error.starts_with("'b' job needs 'a' job, but 'a' does not exist"),
        "{error}"
    );
    let optional = job(", optional: true");
    let pipeline = push(&scene, &[(".gitlab-ci.yml", optional.as_str())]).await;
    assert_eq!(
        (pipeline.yaml_error.clone(), names(&pipeline)),
        (None, vec!["b"])
    );
}

async fn report(scene: &Scene, job: &Taken, text: &str) -> (StatusCode, Value) {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(text.as_bytes()).unwrap();
    let part = Part::bytes(packed.finish().unwrap()).file_name(".env.gz");
    let path = format!(
        "/jobs/{}/artifacts?artifact_format=gzip&artifact_type=dotenv",
        job.id
    );
    let sent = scene
        .runner
        .request(Method::POST, &path)
        .header("JOB-TOKEN", &job.token)
        .multipart(Form::new().part("file", part));
    let answer = sent.send().await.unwrap();
    (answer.status(), answer.json().await.unwrap())
}

fn value<'a>(job: &'a Taken, key: &str) -> Option<&'a str> {
    let all = job.payload["variables"].as_array().unwrap();
    let found = all.iter().find(|variable| variable["key"] == key)?;
    found["value"].as_str()
}

#[tokio::test]
async fn variables_reported_by_a_job_reach_those_that_get_its_artifacts() {
    let scene = Scene::new().await;
    let own = Variable::public("BY_PROJECT", "project");
    scene.gitlab.set_variable(scene.project.id, own).unwrap();
    let yaml = "stages: [a, b]\n\
                variables: {BY_FILE: global, BY_PROJECT: global}\n\
                emit: {stage: a, script: x, artifacts: {reports: {dotenv: r.env}}}\n\
                gets: {stage: b, script: x, variables: {BY_FILE: job}}\n\
                needy: {stage: b, script: x, needs: [emit]}\n\
                without: {stage: b, script: x, needs: [{job: emit, artifacts: false}]}\n\
                none: {stage: b, script: x, dependencies: []}";
    scene.push(yaml).await;
    let emit = scene.runner.take().await;
    let asked = &emit.payload["artifacts"][0];
    assert_eq!(
        (
            &asked["name"],
            &asked["artifact_type"],
            &asked["artifact_format"]
        ),
        (&".env".into(), &"dotenv".into(), &"gzip".into())
    );
    let text = "NEW=a b\nBY_FILE=$NEW!\nBY_PROJECT=file\n";
    assert_eq!(report(&scene, &emit, text).await.0, StatusCode::CREATED);
    scene.runner.run(&emit, "done\n", true).await;
    for _ in 0..4 {
        let job = scene.runner.take().await;
        let name = job.text("/job_info/name").to_owned();
        let seen = ["NEW", "BY_FILE", "BY_PROJECT"].map(|key| value(&job, key));
        let expected = match name.as_str() {
            "gets" | "needy" => [Some("a b"), Some("a b!"), Some("project")],
            _ => [None, Some("global"), Some("project")],
        };
        assert_eq!(seen, expected, "{name}");
    }
}

#[tokio::test]
async fn a_malformed_dotenv_report_is_refused() {
    let scene = Scene::new().await;
    scene
        .push("emit: {script: x, artifacts: {reports: {dotenv: r.env}}}")
        .await;
    let emit = scene.runner.take().await;
    let (status, answer) = report(&scene, &emit, "A=1\n\nB=2\n").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(answer["message"], "Invalid Format");
}
