//! The interfaces for people: REST and the pages.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::runner::{BOUND, Scene};

const TWO_STAGES: &str = "a: {stage: build, script: x}\nb: {stage: test, script: x}";

#[tokio::test]
async fn a_pipeline_can_be_followed_over_rest() {
    let scene = Scene::new().await;
    let pipeline = scene.push(TWO_STAGES).await;
    let base = format!("/projects/root%2Fapp/pipelines/{pipeline}");
    let list = scene.get("/projects/root%2Fapp/pipelines").await;
    assert_eq!(list[0]["id"], pipeline.0);
    let job = scene.runner.take().await;
    scene.runner.patch(&job, 0, "hello\n").await;
    assert_eq!(scene.get(&base).await["status"], "running");
    let jobs = scene.get(&format!("{base}/jobs")).await;
    let names: Vec<_> = jobs
        .as_array()
        .unwrap()
        .iter()
        .map(|job| &job["name"])
        .collect();
    assert_eq!(names, ["b", "a"], "newest first");
    assert_eq!(jobs[1]["worker"], "127.0.0.1");
    assert_eq!(jobs[1]["runner_manager"]["system_id"], "s_0123456789ab");
    let pending = scene.get("/jobs?scope[]=created&scope[]=pending").await;
    assert_eq!(pending.as_array().unwrap().len(), 1);
    let trace = format!("/projects/{}/jobs/{}/trace", scene.project.id, job.id);
    let trace = scene
        .rest(Method::GET, &trace)
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert_eq!(trace, "hello\n");
    let calls = scene.get(&format!("/mock/jobs/{}/calls", job.id)).await;
    assert_eq!(
        calls[1]["kind"],
        json!({ "call": "trace", "start": 0, "length": 6 })
    );
    let violations = scene.get("/mock/violations").await;
    assert_eq!(violations, json!([]));
}

#[tokio::test]
async fn a_token_is_required_and_limits_access() {
    let scene = Scene::new().await;
    let other = scene.gitlab.create_project("other").await.unwrap();
    let status = |token: &str, path: &str| {
        let call = scene
            .runner
            .request(Method::GET, path)
            .header("PRIVATE-TOKEN", token);
        async move { call.send().await.unwrap().status() }
    };
    let project = format!("/projects/{}", scene.project.id);
    assert_eq!(status("", &project).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status("glpat-no", &project).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&other.token, &project).await, StatusCode::NOT_FOUND);
    assert_eq!(status(&scene.project.token, &project).await, StatusCode::OK);
    assert_eq!(
        status(&scene.project.token, "/runners/all").await,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        status(&scene.gitlab.token(), "/runners/all").await,
        StatusCode::OK
    );
    assert_eq!(
        status(&scene.gitlab.token(), "/nothing").await,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn projects_variables_and_pipelines_are_created_over_rest() {
    let scene = Scene::new().await;
    let made = scene
        .rest(Method::POST, "/projects")
        .json(&json!({ "name": "My App" }));
    let made = made.send().await.unwrap();
    assert_eq!(made.status(), 201);
    assert_eq!(
        made.json::<Value>().await.unwrap()["path_with_namespace"],
        "root/my-app"
    );
    let again = scene
        .rest(Method::POST, "/projects")
        .json(&json!({ "name": "My App" }));
    assert_eq!(again.send().await.unwrap().status(), 400);

    scene.push("job: {script: x}").await;
    let set = scene
        .rest(Method::POST, "/projects/root%2Fapp/variables")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body("key=WHO&value=a+%24CI_PROJECT_NAME");
    assert_eq!(set.send().await.unwrap().status(), 201);
    scene.runner.take().await;
    let start = scene
        .rest(Method::POST, "/projects/root%2Fapp/pipeline")
        .json(&json!({ "ref": "main", "variables": [{ "key": "MORE", "value": "$WHO!" }] }));
    assert_eq!(start.send().await.unwrap().status(), 201);
    let job = scene.runner.take().await;
    assert_eq!(job.variable("MORE")["value"], "a app!");
    assert_eq!(job.variable("CI_PIPELINE_SOURCE")["value"], "api");
}

#[tokio::test]
async fn a_failed_job_is_retried_by_a_person() {
    let scene = Scene::new().await;
    let pipeline = scene.push(TWO_STAGES).await;
    let job = scene.runner.take().await;
    scene.runner.run(&job, "no\n", false).await;
    let path = format!("/projects/{}/jobs/{}/retry", scene.project.id, job.id);
    assert_eq!(
        scene
            .rest(Method::POST, &path)
            .send()
            .await
            .unwrap()
            .status(),
        201
    );
    assert_eq!(
        scene
            .rest(Method::POST, &path)
            .send()
            .await
            .unwrap()
            .status(),
        403
    );
    for _ in 0..2 {
        let job = scene.runner.take().await;
        scene.runner.run(&job, "yes\n", true).await;
    }
    let done = scene.gitlab.wait_pipeline(pipeline, BOUND).await.unwrap();
    assert_eq!(done.status.to_string(), "success");
}

#[tokio::test]
async fn the_pages_show_pipelines_and_traces() {
    let scene = Scene::new().await;
    let pipeline = scene.push(TWO_STAGES).await;
    let job = scene.runner.take().await;
    scene
        .runner
        .run(&job, "\x1b[32;1mgreen\x1b[0;m <b>\n", true)
        .await;
    let page = |path: String| {
        let url = scene.gitlab.url().join(&path).unwrap();
        async move {
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let answer = client.get(url).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{path}");
            answer.text().await.unwrap()
        }
    };
    let overview = page("/".to_owned()).await;
    assert!(overview.contains("root/app"));
    assert!(overview.contains(&format!(
        "href=\"/-/jobs/{}\" class=\"job success\">a<",
        job.id
    )));
    let trace = page(format!("/-/jobs/{}", job.id)).await;
    assert!(trace.contains("<span class=\"f2 bold\">green</span> &lt;b&gt;"));
    assert!(
        page(format!("/root/app/-/jobs/{}", job.id))
            .await
            .contains("green")
    );
    assert!(
        page(format!("/-/pipelines/{pipeline}"))
            .await
            .contains("pending")
    );
    assert!(
        page(format!("/-/jobs/{}/raw", job.id))
            .await
            .starts_with("\x1b[32;1mgreen")
    );
}

#[tokio::test]
async fn jobs_get_the_configured_address() {
    let scene =
        Scene::with(|builder| builder.external_url("http://gitlab.test:81".parse().unwrap())).await;
    assert_eq!(
        scene.project.http_url.as_str(),
        "http://gitlab.test:81/root/app.git"
    );
    let project = scene.get("/projects/root%2Fapp").await;
    assert_eq!(project["web_url"], "http://gitlab.test:81/root/app");
}

#[tokio::test]
async fn a_job_names_the_machine_that_wrote_last() {
    let scene = Scene::new().await;
    scene.push("job: {script: x}").await;
    let job = scene.runner.take().await;
    let path = format!("/jobs/{}/trace", job.id);
    for (agent, start, worker) in [
        ("onspot 0.1.0 (i-0manager)", 0, "i-0manager"),
        ("onspot 0.1.0 (i-0worker)", 1, "i-0worker"),
    ] {
        let call = scene
            .runner
            .request(Method::PATCH, &path)
            .header("User-Agent", agent);
        let call = call.header("JOB-TOKEN", &job.token).body("x");
        let call = call.header("Content-Range", format!("{start}-{start}"));
        assert_eq!(call.send().await.unwrap().status(), 202);
        assert_eq!(
            scene.gitlab.job(job.id).unwrap().worker.as_deref(),
            Some(worker)
        );
    }
    let named = json!({ "state": "success", "info": { "name": "i-0named" } });
    assert_eq!(scene.runner.update(&job, named).await.status(), 200);
    assert_eq!(
        scene.gitlab.job(job.id).unwrap().worker.as_deref(),
        Some("i-0named")
    );
}
