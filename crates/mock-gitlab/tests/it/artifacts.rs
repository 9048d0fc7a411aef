//! Uploading and downloading artifacts.

use onspot_mock_gitlab::Status;
use reqwest::multipart::{Form, Part};
use reqwest::{Method, Response};

use crate::runner::{Scene, Taken, header};

const TWO_JOBS: &str = "make: {stage: build, script: x, artifacts: {paths: [out], name: things}}\n\
                        use: {stage: test, script: x}";

async fn upload(scene: &Scene, job: &Taken, content: &[u8]) -> Response {
    let path = format!(
        "/jobs/{}/artifacts?artifact_format=zip&artifact_type=archive",
        job.id
    );
    let part = Part::bytes(content.to_vec()).file_name("things.zip");
    scene
        .runner
        .request(Method::POST, &path)
        .header("JOB-TOKEN", &job.token)
        .multipart(Form::new().part("file", part))
        .send()
        .await
        .unwrap()
}

async fn download(scene: &Scene, id: u64, token: &str) -> Response {
    let path = format!("/jobs/{id}/artifacts");
    scene
        .runner
        .request(Method::GET, &path)
        .header("JOB-TOKEN", token)
        .send()
        .await
        .unwrap()
}

#[tokio::test]
async fn a_later_job_gets_an_earlier_ones_artifacts() {
    let scene = Scene::new().await;
    scene.push(TWO_JOBS).await;
    let make = scene.runner.take().await;
    assert_eq!(make.text("/artifacts/0/name"), "things");
    assert_eq!(download(&scene, make.id.0, &make.token).await.status(), 404);
    assert_eq!(upload(&scene, &make, b"PK things").await.status(), 201);
    scene.runner.run(&make, "made\n", true).await;

    let user = scene.runner.take().await;
    let dependency = &user.payload["dependencies"][0];
    assert_eq!(dependency["name"], "make");
    assert_eq!(dependency["artifacts_file"]["filename"], "things.zip");
    assert_eq!(dependency["artifacts_file"]["size"], 9);
    let token = dependency["token"].as_str().unwrap();
    let file = download(&scene, dependency["id"].as_u64().unwrap(), token).await;
    assert_eq!(file.status(), 200);
    assert!(header(&file, "Content-Disposition").contains("things.zip"));
    assert_eq!(file.bytes().await.unwrap().as_ref(), b"PK things");

    assert_eq!(download(&scene, make.id.0, "glcbt-no").await.status(), 403);
    let by_person = format!("/projects/root%2Fapp/jobs/{}/artifacts", make.id);
    let file = scene.rest(Method::GET, &by_person).send().await.unwrap();
    assert_eq!(file.bytes().await.unwrap().as_ref(), b"PK things");
}

#[tokio::test]
async fn uploads_that_are_too_large_or_for_a_finished_job_are_refused() {
    let scene = Scene::with(|builder| builder.artifact_limit(10)).await;
    scene.push(TWO_JOBS).await;
    let make = scene.runner.take().await;
    assert_eq!(
        upload(&scene, &make, b"more than ten bytes").await.status(),
        413
    );
    scene.runner.run(&make, "made\n", true).await;
    let late = upload(&scene, &make, b"late").await;
    assert_eq!(
        (late.status().as_u16(), header(&late, "Job-Status")),
        (403, "success")
    );
    assert_eq!(scene.gitlab.job(make.id).unwrap().status, Status::Success);
}
