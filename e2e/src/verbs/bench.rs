//! `onspot-world bench`: measures how long a job takes to start, and its overhead beyond the
//! script.
//!
//! Everything is measured in one run in a separate world: cold starts (a worker is bought and
//! boots), warm starts (a worker is idle), whole pipelines, and, for comparison, Docker alone with
//! the same container on the same worker.

mod course;
mod figures;

use std::path::Path;
use std::time::{Duration, Instant};

use onspot_mock_gitlab::{PipelineView, Project, Status, push_folder};

use course::Course;
use figures::Figures;

use crate::poll::{self, Look};
use crate::world::{JOB_IMAGE, StackOptions, World, WorldOptions, program};
use crate::{Error, Result, command, images};

/// How many cold starts are measured.
const COLD: usize = 3;
/// How many measurements of everything else are taken.
const WARM: usize = 5;
/// Time limit for a pipeline or an instance's termination.
const BOUND: Duration = Duration::from_mins(5);

/// One job with a cache for later runs.
const PIPELINE: &str = "work:
  tags: [docker.m3]
  cache: {key: bench, paths: [kept/]}
  script:
    - mkdir -p kept && echo data > kept/data
    - echo hello
";

/// Measures, and prints the figures as tables.
pub(super) async fn run() -> Result<()> {
    let folder = tempfile::tempdir().map_err(Error::io("make a temporary folder"))?;
    let world = World::start_telling(
        WorldOptions::temporary(folder.path()),
        &mut super::images::tell,
    )
    .await?;
    let measured = measure(&world, folder.path()).await;
    world.stop().await?;
    anstream::println!("{}", measured?);
    Ok(())
}

async fn measure(world: &World, folder: &Path) -> Result<Figures> {
    let mut figures = Figures::default();
    let stack = Stack::up(world, folder, &mut figures).await?;
    let work = project(world, "work", &[(".gitlab-ci.yml", PIPELINE)], folder).await?;
    let cowsay = images::repository().join("fixtures/cowsay");
    let cowsay = (create(world, "cowsay").await?, cowsay);

    for round in 1..=COLD {
        say(&format!("cold start {round} of {COLD}"));
        let course = stack.push(&work, "work").await?;
        figures.cold.push(course);
        stack.lose_worker().await?;
    }
    say("a whole pipeline on a cold worker");
    figures.cold_pipelines.push(stack.pipeline(&cowsay).await?);
    for round in 1..=WARM {
        say(&format!("warm start {round} of {WARM}"));
        figures.warm.push(stack.push(&work, "work").await?);
        figures.warm_pipelines.push(stack.pipeline(&cowsay).await?);
        figures.bare.push(stack.docker_alone().await?);
    }
    Ok(figures)
}

/// A project, and the folder that is pushed to it.
type Pushed = (Project, std::path::PathBuf);

async fn create(world: &World, name: &str) -> Result<Project> {
    let created = world.gitlab().create_project(name).await;
    created.map_err(Error::gitlab("make a project"))
}

async fn project(
    world: &World,
    name: &str,
    files: &[(&str, &str)],
    folder: &Path,
) -> Result<Pushed> {
    let folder = folder.join(name);
    let write = |()| {
        files
            .iter()
            .try_for_each(|(file, text)| std::fs::write(folder.join(file), text))
    };
    std::fs::create_dir_all(&folder)
        .and_then(write)
        .map_err(Error::io(format!("fill {}", folder.display())))?;
    Ok((create(world, name).await?, folder))
}

/// The measured stack, which keeps one worker.
struct Stack<'w> {
    world: &'w World,
    config: String,
}

impl<'w> Stack<'w> {
    async fn up(world: &'w World, folder: &Path, figures: &mut Figures) -> Result<Self> {
        let config = world.write_stack(&StackOptions {
            limit: 1,
            idle_time: "10m".to_owned(),
            max_builds: 0,
            ..StackOptions::default()
        })?;
        let stack = Self {
            world,
            config: config.display().to_string(),
        };
        let binary = program::for_guests(folder).await?.display().to_string();
        say("onspot up");
        let begin = Instant::now();
        stack.onspot(&["up", "--yes", "--binary", &binary]).await?;
        figures.up = begin.elapsed();
        Ok(stack)
    }

    async fn onspot(&self, verb: &[&str]) -> Result<String> {
        let arguments = [verb, &["--config", &self.config, "--output", "json"]].concat();
        self.world.run_onspot(&arguments).await
    }

    /// Pushes, waits for the pipeline and returns the course of its job `name`.
    async fn push(&self, pushed: &Pushed, name: &str) -> Result<Course> {
        let mark = self.world.cloud().calls().len();
        let begin = jiff::Timestamp::now();
        let pipeline = self.finished(pushed).await?;
        let job = pipeline
            .job(name)
            .ok_or_else(|| Error::Other(format!("the pipeline has no job {name}")))?;
        let job_calls = self.world.gitlab().calls(job.id);
        let aws_calls = self.world.cloud().calls().since(mark);
        let id = job.id.to_string();
        // The ledger's record of a job is complete a moment after GitLab was told.
        let status = poll::until("the ledger is done with the job", BOUND, || async {
            let status = self.status().await?;
            Ok(if course::past(&status, &id).is_some() {
                Look::There(status)
            } else {
                Look::NotYet("it is not among the jobs that are over".to_owned())
            })
        })
        .await?;
        Course::of(begin, job, &job_calls, &aws_calls, &status)
    }

    /// From the push to the end of the pipeline.
    async fn pipeline(&self, pushed: &Pushed) -> Result<Duration> {
        let begin = Instant::now();
        self.finished(pushed).await?;
        Ok(begin.elapsed())
    }

    async fn finished(&self, (project, folder): &Pushed) -> Result<PipelineView> {
        let gitlab = self.world.gitlab();
        let sha = push_folder(folder, &project.http_url, &project.token)
            .await
            .map_err(Error::gitlab("take a push"))?;
        let pipeline = gitlab.wait_for_commit(&sha, BOUND).await;
        let pipeline = pipeline.map_err(Error::gitlab("find the pipeline"))?;
        let pipeline = gitlab.wait_pipeline(pipeline.id, BOUND).await;
        let pipeline = pipeline.map_err(Error::gitlab("end the pipeline"))?;
        if pipeline.status != Status::Success {
            let jobs = format!("the pipeline failed: {:?}", pipeline.jobs);
            return Err(Error::Other(jobs));
        }
        Ok(pipeline)
    }

    async fn status(&self) -> Result<serde_json::Value> {
        let text = self.onspot(&["status"]).await?;
        serde_json::from_str(&text).map_err(|source| Error::Json {
            path: "onspot status".into(),
            source,
        })
    }

    /// Terminates the worker and waits until the stack has forgotten it, so that the next start is
    /// a cold one.
    async fn lose_worker(&self) -> Result<()> {
        let hypervisor = self.world.hypervisor();
        for worker in hypervisor.guests_with_role("worker") {
            hypervisor.kill(&worker.instance.id).await?;
        }
        poll::until("the stack forgets its worker", BOUND, || async {
            let status = self.status().await?;
            let workers = status["workers"].as_array().map_or(0, Vec::len);
            let states = status["ledger"]["states"].as_object();
            Ok(
                if workers == 0 && states.is_none_or(serde_json::Map::is_empty) {
                    Look::There(())
                } else {
                    Look::NotYet(format!("{workers} workers"))
                },
            )
        })
        .await
    }

    /// The job's container with Docker alone, on the same worker: created, run to its end, removed.
    async fn docker_alone(&self) -> Result<Duration> {
        let workers = self.world.hypervisor().guests_with_role("worker");
        let [worker] = &workers[..] else {
            return Err(Error::Other(format!("{} workers, not one", workers.len())));
        };
        let run = ["docker", "run", "--rm", JOB_IMAGE, "sh", "-c", "echo hello"];
        let begin = Instant::now();
        let (code, printed) = self
            .world
            .hypervisor()
            .exec(&worker.instance.id, &run)
            .await?;
        let took = begin.elapsed();
        if code == 0 {
            return Ok(took);
        }
        Err(Error::Command {
            command: run.join(" "),
            status: format!("exit status: {code}"),
            output: command::tail(&printed).to_owned(),
        })
    }
}

/// Prints progress on stderr, apart from the figures.
fn say(what: &str) {
    anstream::eprintln!("  {what} …");
}
