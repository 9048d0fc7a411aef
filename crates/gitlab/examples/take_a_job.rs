//! Asks a GitLab for one job, writes to its trace and reports it as done:
//! `cargo run --example take_a_job -- https://gitlab.example glrt-…`.

#![expect(clippy::print_stdout, reason = "examples print their results")]

use std::error::Error;

use onspot_gitlab::{
    Client, Info, JobRequestOutcome, JobUpdate, RunnerIdentity, RunnerToken, SystemId,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(token)) = (arguments.next(), arguments.next()) else {
        println!("usage: take_a_job URL TOKEN");
        return Ok(());
    };
    let client = Client::new(&url.parse()?)?;
    let token = RunnerToken::new(token);
    let us = RunnerIdentity::new(token, SystemId::of_this_host(), Info::docker());
    client.verify(&us).await?;

    let poll = client.request_job(&us, None).await?;
    let JobRequestOutcome::Job(job) = poll.outcome else {
        println!("no job is waiting");
        return Ok(());
    };
    let job = job.job;
    println!("got job {}: {}", job.id, job.job_info.name);
    client
        .patch_trace(job.id, &job.token, 0, b"hello\n", false)
        .await?;
    client
        .update_job(job.id, &job.token, &JobUpdate::success())
        .await?;
    Ok(())
}
