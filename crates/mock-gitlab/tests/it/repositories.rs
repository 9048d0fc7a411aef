//! What is unusual about repositories: SHA-256, tags, other projects' jobs, files of git-lfs.

use onspot_mock_gitlab::{Project, Push};
use serde_json::{Value, json};

use crate::runner::{BOUND, Scene};

fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join(".gitlab-ci.yml");
    std::fs::write(config, "job: {script: x}").unwrap();
    dir
}

fn push<'a>(dir: &'a tempfile::TempDir, project: &'a Project) -> Push<'a> {
    Push::new(dir.path(), &project.http_url, &project.token)
}

#[tokio::test]
async fn a_repository_with_sha256_says_so_to_its_jobs() {
    let scene = Scene::new().await;
    let project = scene.gitlab.create_sha256_project("long").await.unwrap();
    let dir = folder();
    let sha = push(&dir, &project).sha256().send().await.unwrap();
    assert_eq!(sha.len(), 64);
    scene.gitlab.wait_for_commit(&sha, BOUND).await.unwrap();
    let job = scene.runner.take().await;
    assert_eq!(job.text("/git_info/repo_object_format"), "sha256");
    assert_eq!(job.text("/git_info/sha"), sha);
}

#[tokio::test]
async fn a_tag_has_a_pipeline_and_a_refspec_of_its_own() {
    let scene = Scene::new().await;
    let dir = folder();
    let sha = push(&dir, &scene.project).tag("v1").send().await.unwrap();
    scene.gitlab.wait_for_commit(&sha, BOUND).await.unwrap();
    let job = scene.runner.take().await;
    assert_eq!(job.text("/git_info/ref_type"), "tag");
    let tag = "+refs/tags/v1:refs/tags/v1";
    assert_eq!(job.text("/git_info/refspecs/1"), tag);
}

#[tokio::test]
async fn a_job_reads_another_project_only_where_that_allows_it() {
    let scene = Scene::new().await;
    let library = scene.gitlab.create_project("library").await.unwrap();
    let pointer = scene.gitlab.store_lfs(library.id, b"large").await.unwrap();
    let oid = pointer.split_once("sha256:").unwrap().1.lines().next();
    let wanted = json!({
        "operation": "download", "transfers": ["basic"],
        "objects": [{ "oid": oid, "size": 5 }, { "oid": "0".repeat(64), "size": 1 }],
    });
    scene.push("job: {script: x}").await;
    let job = scene.runner.take().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let ask = || {
        let url = format!("{}/info/lfs/objects/batch", library.http_url);
        let request = client.post(url).json(&wanted);
        request
            .basic_auth("gitlab-ci-token", Some(&job.token))
            .send()
    };
    assert_eq!(ask().await.unwrap().status(), 401);
    let gitlab = &scene.gitlab;
    gitlab
        .allow_job_tokens(library.id, scene.project.id)
        .unwrap();
    let batch: Value = ask().await.unwrap().json().await.unwrap();
    let download = &batch["objects"][0]["actions"]["download"];
    let login = download["header"]["Authorization"].as_str().unwrap();
    let file = client.get(download["href"].as_str().unwrap());
    let file = file.header("Authorization", login).send().await.unwrap();
    assert_eq!(file.text().await.unwrap(), "large");
    assert_eq!(batch["objects"][1]["error"]["code"], 404);
}
