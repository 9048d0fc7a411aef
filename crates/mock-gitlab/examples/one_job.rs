//! One job, from a push to a green pipeline, with a runner of a few lines.

#![expect(clippy::print_stdout, reason = "examples print their results")]

use std::error::Error;
use std::time::Duration;

use onspot_mock_gitlab::{MockGitlab, NewRunner};
use reqwest::Client;
use serde_json::{Value, json};

const CONFIGURATION: &str = "greet: {script: echo hi}";
const TRACE: &str = "$ echo hi\nhi\n";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let gitlab = MockGitlab::builder().start().await?;
    println!("GitLab listens at {}", gitlab.url());

    let project = gitlab.create_project("app").await?;
    let files = [(".gitlab-ci.yml", CONFIGURATION)];
    let sha = gitlab.push_files(&project, &files).await?;
    println!("pushed {sha} to {}", project.http_url);

    let token = gitlab.create_runner(NewRunner {
        run_untagged: true,
        ..NewRunner::default()
    });
    run_one_job(&format!("{}api/v4", gitlab.url()), &token).await?;

    let bound = Duration::from_secs(5);
    let pipeline = gitlab.wait_for_commit(&sha, bound).await?;
    let pipeline = gitlab.wait_pipeline(pipeline.id, bound).await?;
    println!("pipeline {} ended: {}", pipeline.id, pipeline.status);
    for violation in gitlab.violations() {
        println!("protocol violation: {violation}");
    }
    Ok(())
}

/// What every runner does: request a job, send its trace, report its result.
async fn run_one_job(api: &str, token: &str) -> Result<(), Box<dyn Error>> {
    let client = Client::builder().no_proxy().build()?;
    let request = client.post(format!("{api}/jobs/request"));
    let answer = request.json(&json!({ "token": token })).send().await?;
    let job: Value = answer.error_for_status()?.json().await?;
    println!("got job {}: {}", job["id"], job["job_info"]["name"]);

    let url = format!("{api}/jobs/{}", job["id"]);
    let job_token = job["token"].as_str().unwrap_or_default();
    let append = client.patch(format!("{url}/trace"));
    let append = append
        .header("JOB-TOKEN", job_token)
        .header("Content-Range", format!("0-{}", TRACE.len() - 1))
        .body(TRACE);
    append.send().await?.error_for_status()?;

    let update = client.put(url);
    let update = update.json(&json!({ "token": job_token, "state": "success" }));
    update.send().await?.error_for_status()?;
    Ok(())
}
