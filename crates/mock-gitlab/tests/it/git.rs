//! Real git against the server: rights to push and fetch, and what a push creates.

use std::path::Path;
use std::process::Output;

use onspot_mock_gitlab::{Status, push_folder};
use tokio::process::Command;

use crate::runner::{BOUND, Scene};

async fn git(dir: &Path, arguments: &[&str]) -> Output {
    Command::new("git")
        .args(arguments)
        .current_dir(dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("NO_PROXY", "*")
        .env("GIT_AUTHOR_NAME", "a")
        .env("GIT_AUTHOR_EMAIL", "a@example.com")
        .env("GIT_COMMITTER_NAME", "a")
        .env("GIT_COMMITTER_EMAIL", "a@example.com")
        .output()
        .await
        .unwrap()
}

async fn ok(dir: &Path, arguments: &[&str]) -> String {
    let output = git(dir, arguments).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {arguments:?}: {stderr}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

async fn refused(dir: &Path, arguments: &[&str]) -> String {
    let output = git(dir, arguments).await;
    assert!(!output.status.success(), "git {arguments:?} went through");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn a_job_fetches_its_commit_and_may_not_push() {
    let scene = Scene::new().await;
    scene.push("job: {script: x}").await;
    let job = scene.runner.take().await;
    let url = job.text("/git_info/repo_url").to_owned();
    assert!(url.contains("gitlab-ci-token:"));
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    ok(dir, &["init", "-q"]).await;
    let specs = job.payload["git_info"]["refspecs"].as_array().unwrap();
    let mut fetch = vec!["fetch", "-q", "--depth", "20", &url];
    fetch.extend(specs.iter().map(|spec| spec.as_str().unwrap()));
    ok(dir, &fetch).await;
    ok(dir, &["checkout", "-q", job.text("/git_info/sha")]).await;
    assert_eq!(
        std::fs::read_to_string(dir.join("README.md")).unwrap(),
        "hello\n"
    );

    let error = refused(dir, &["push", "-q", &url, "HEAD:refs/heads/other"]).await;
    assert!(error.contains("403"), "{error}");
    scene.runner.run(&job, "done\n", true).await;
    refused(dir, &["fetch", "-q", &url, "main"]).await;
}

#[tokio::test]
async fn pushing_to_a_new_path_creates_a_project() {
    let scene = Scene::new().await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(".gitlab-ci.yml"), "job: {script: x}").unwrap();
    let url = scene.gitlab.url().join("root/fresh.git").unwrap();
    assert!(
        push_folder(dir.path(), &url, &scene.project.token)
            .await
            .is_err(),
        "a stranger's token"
    );
    assert!(push_folder(dir.path(), &url, "glpat-no").await.is_err());
    let elsewhere = scene.gitlab.url().join("nobody/fresh.git").unwrap();
    assert!(
        push_folder(dir.path(), &elsewhere, &scene.gitlab.token())
            .await
            .is_err()
    );
    let sha = push_folder(dir.path(), &url, &scene.gitlab.token())
        .await
        .unwrap();
    let pipeline = scene.gitlab.wait_for_commit(&sha, BOUND).await.unwrap();
    assert_eq!(
        scene.gitlab.project(pipeline.project).unwrap().path,
        "root/fresh"
    );
}

#[tokio::test]
async fn a_large_push_is_streamed() {
    let scene = Scene::new().await;
    // Incompressible, and larger than a single piece of git's.
    let mut seed = 1_u32;
    let noise: String = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'!' + u8::try_from((seed >> 24) % 90).unwrap())
    })
    .take(3 << 20)
    .collect();
    let files = [
        ("noise", noise.as_str()),
        (".gitlab-ci.yml", "job: {script: x}"),
    ];
    scene
        .gitlab
        .push_files(&scene.project, &files)
        .await
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let url = scene.project.url_with_token();
    ok(dir.path(), &["clone", "-q", url.as_str(), "copy"]).await;
    assert_eq!(
        std::fs::read_to_string(dir.path().join("copy/noise")).unwrap(),
        noise
    );
}

#[tokio::test]
async fn every_branch_and_tag_gets_its_own_pipeline() {
    let scene = Scene::new().await;
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    ok(dir, &["init", "-q", "-b", "main"]).await;
    let yaml = "always: {script: x}\non-tags: {script: x, only: [tags]}\n\
                on-main: {script: x, rules: [{if: '$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH'}]}";
    std::fs::write(dir.join(".gitlab-ci.yml"), yaml).unwrap();
    ok(dir, &["add", "."]).await;
    ok(dir, &["commit", "-q", "-m", "first"]).await;
    ok(dir, &["tag", "-a", "v1", "-m", "one"]).await;
    let url = scene.project.url_with_token();
    ok(dir, &["push", "-q", url.as_str(), "main", "v1"]).await;
    let sha = ok(dir, &["rev-parse", "HEAD"]).await;
    let made = scene.gitlab.pipelines();
    let shown: Vec<_> = made
        .iter()
        .map(|p| {
            (
                p.git_ref.as_str(),
                p.jobs.iter().map(|j| j.name.as_str()).collect::<Vec<_>>(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("main", vec!["always", "on-main"]),
            ("v1", vec!["always", "on-tags"])
        ]
    );
    assert!(made.iter().all(|pipeline| pipeline.sha == sha));

    ok(
        dir,
        &["commit", "-q", "--allow-empty", "-m", "nothing [skip ci]"],
    )
    .await;
    ok(dir, &["push", "-q", url.as_str(), "main"]).await;
    assert_eq!(scene.gitlab.pipelines()[2].status, Status::Skipped);
    ok(dir, &["push", "-q", url.as_str(), ":refs/tags/v1"]).await;
    assert_eq!(scene.gitlab.pipelines().len(), 3);
}

#[tokio::test]
async fn the_first_branch_is_the_default_one() {
    let scene = Scene::new().await;
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    ok(dir, &["init", "-q", "-b", "trunk"]).await;
    ok(dir, &["commit", "-q", "--allow-empty", "-m", "first"]).await;
    let url = scene.project.url_with_token();
    ok(dir, &["push", "-q", url.as_str(), "trunk"]).await;
    assert!(
        scene.gitlab.pipelines().is_empty(),
        "no configuration, no pipeline"
    );
    ok(dir, &["clone", "-q", url.as_str(), "copy"]).await;
    let branch = ok(&dir.join("copy"), &["symbolic-ref", "--short", "HEAD"]).await;
    assert_eq!(branch, "trunk");
    let project = scene.get("/projects/root%2Fapp").await;
    assert_eq!(project["default_branch"], "trunk");
}

#[tokio::test]
async fn a_bad_configuration_creates_a_failed_pipeline() {
    let scene = Scene::new().await;
    let id = scene.push("job: {scripts: x}").await;
    let pipeline = scene.gitlab.pipeline(id).unwrap();
    assert_eq!(pipeline.status, Status::Failed);
    assert_eq!(
        pipeline.yaml_error.as_deref(),
        Some("jobs:job config contains unknown keys: scripts")
    );
    assert!(pipeline.jobs.is_empty());
}

#[tokio::test]
async fn a_cache_key_of_files_follows_their_content() {
    let scene = Scene::new().await;
    let yaml = "job: {script: x, cache: {key: {files: [lock], prefix: p}, paths: [a]}}";
    let mut keys = Vec::new();
    for (lock, other) in [("1", "a"), ("1", "b"), ("2", "b")] {
        let files = [(".gitlab-ci.yml", yaml), ("lock", lock), ("other", other)];
        scene
            .gitlab
            .push_files(&scene.project, &files)
            .await
            .unwrap();
        let job = scene.runner.take().await;
        keys.push(job.text("/cache/0/key").to_owned());
    }
    assert!(keys[0].starts_with("p-"));
    assert_eq!(keys[0], keys[1]);
    assert_ne!(keys[1], keys[2]);
}
