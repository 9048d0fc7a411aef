//! One mock GitLab and one `onspot run` for all fixtures.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use onspot_e2e::local_run::LocalRun;
use onspot_e2e::{chain, command, engine, images};
use onspot_mock_gitlab::{JobView, MockGitlab, NewRunner, PipelineView, Project, Violation};

use crate::fixture::Fixture;
use crate::trace;
use crate::verdict::{Ended, EndedJob};

/// How many jobs run at once.
const AT_ONCE: u32 = 4;
/// Time limit for all pipelines together.
const ALL: Duration = Duration::from_mins(10);
/// How long after a push its pipeline must be created.
const MADE: Duration = Duration::from_secs(10);

/// The runner of the fixtures that have none of their own.
const FOR_ALL: &str = "fixtures";

/// A GitLab and a runner.
pub(crate) struct Host {
    gitlab: MockGitlab,
    projects: Vec<Project>,
    onspot: LocalRun,
    folder: tempfile::TempDir,
    /// The names of its runners.
    runners: Vec<String>,
}

impl Host {
    /// Creates a project for each fixture, and starts the runner.
    pub(crate) async fn start(fixtures: &[Fixture]) -> Self {
        let docker = engine::connect().await.expect("a Docker engine");
        images::ensure_base(&docker, &mut drop)
            .await
            .expect("the base image");
        images::ensure(&docker, &[images::HELPER, images::NONROOT], &mut drop)
            .await
            .expect("images");
        let folder = tempfile::tempdir().expect("a folder");
        let gitlab = MockGitlab::builder().bind(everywhere()).start().await;
        let gitlab = gitlab.expect("GitLab");
        let for_all = gitlab.create_runner(NewRunner {
            run_untagged: true,
            ..NewRunner::default()
        });
        // An open question for a job counts, so that each runner needs one more.
        let own = fixtures
            .iter()
            .filter(|one| one.setup.own_runner().is_some())
            .count();
        let concurrent = own + usize::try_from(AT_ONCE).expect("a number");
        let mut config = format!("concurrent = {concurrent}\ncheck_interval = 1\n");
        add_runner(&mut config, &gitlab, FOR_ALL, &for_all, AT_ONCE, "");
        let mut runners = vec![FOR_ALL.to_owned()];
        let mut projects = Vec::new();
        for fixture in fixtures {
            let project = project(&gitlab, fixture).await;
            if let Some(limit) = fixture.setup.own_runner() {
                let token = runner_of(&gitlab, &project);
                let more = fixture.setup.runner.as_deref().unwrap_or_default();
                add_runner(&mut config, &gitlab, &fixture.name, &token, limit, more);
                runners.push(fixture.name.clone());
                for line in &fixture.setup.docker {
                    let _ = writeln!(config, "{line}");
                }
            }
            projects.push(project);
        }
        let onspot = LocalRun::start(folder.path(), &config).expect("onspot run");
        Self {
            gitlab,
            projects,
            onspot,
            folder,
            runners,
        }
    }

    /// Pushes all fixtures and waits for their pipelines; returns the results.
    pub(crate) async fn run(&mut self, fixtures: &[Fixture]) -> Vec<Ended> {
        let mut pipelines = Vec::new();
        for (fixture, project) in fixtures.iter().zip(&self.projects) {
            pipelines.push(self.push(fixture, project).await);
        }
        let gitlab = &self.gitlab;
        let all = async {
            let deadline = tokio::time::Instant::now() + ALL;
            let mut ended = Vec::new();
            for pipeline in pipelines {
                let left = deadline.saturating_duration_since(tokio::time::Instant::now());
                let waited = gitlab.wait_pipeline(pipeline.id, left).await;
                let unfinished = waited.err().map(|error| chain(&error));
                let pipeline = gitlab.pipeline(pipeline.id).expect("a pipeline");
                ended.push(ended_of(gitlab, pipeline, unfinished));
            }
            ended
        };
        let died = tokio::select! {
            ended = all => return ended,
            died = self.onspot.died() => died,
        };
        panic!("onspot run has ended: {died:?}\n{}", self.log());
    }

    /// Stops the runner; returns its violations of the protocol.
    pub(crate) async fn end(&mut self) -> Vec<Violation> {
        let status = self.onspot.end().await;
        let status = status.unwrap_or_else(|error| panic!("{}", chain(&error)));
        assert!(status.success(), "{status}\n{}", self.log());
        // A runner keeps its jobs' volumes for the next jobs, and named ones are their owner's.
        remove_volumes("name=onspot-fixture-");
        for runner in &self.runners {
            remove_volumes(&format!("label=onspot.runner={runner}"));
        }
        self.gitlab.violations()
    }

    /// The end of the runner's log.
    pub(crate) fn log(&self) -> String {
        command::tail(&self.onspot.log()).to_owned()
    }

    async fn push(&self, fixture: &Fixture, project: &Project) -> PipelineView {
        let repository = self.folder.path().join("repositories").join(&fixture.name);
        let earlier = repository.with_extension("earlier");
        if fixture.write_earlier(&earlier) {
            self.publish(fixture, project, &earlier, &["Before [skip ci]"])
                .await;
        }
        fixture.write(&repository);
        let commits = fixture.setup.history.unwrap_or(1);
        let messages = vec![fixture.name.as_str(); commits];
        let sha = self.publish(fixture, project, &repository, &messages).await;
        let made = self.gitlab.wait_for_commit(&sha, MADE).await;
        made.unwrap_or_else(|error| panic!("{}: {}", fixture.name, chain(&error)))
    }

    async fn publish(
        &self,
        fixture: &Fixture,
        project: &Project,
        folder: &Path,
        messages: &[&str],
    ) -> String {
        let repository = &fixture.setup.repository;
        repository
            .publish(&self.gitlab, fixture, project, folder, messages)
            .await
    }
}

/// The results of a pipeline.
fn ended_of(gitlab: &MockGitlab, pipeline: PipelineView, unfinished: Option<String>) -> Ended {
    let job = |job: &JobView| EndedJob {
        name: job.name.clone(),
        status: job.status,
        exit_code: job.exit_code,
        failure_reason: job.failure_reason.clone(),
        trace: trace::plain(&gitlab.trace(job.id)),
        raw_trace: gitlab.raw_trace(job.id),
        took: Duration::from_secs_f64(job.duration_s().unwrap_or_default().max(0.0)),
    };
    Ended {
        status: pipeline.status,
        yaml_error: pipeline.yaml_error,
        jobs: pipeline.jobs.iter().map(job).collect(),
        unfinished,
    }
}

async fn project(gitlab: &MockGitlab, fixture: &Fixture) -> Project {
    let repository = &fixture.setup.repository;
    let project = repository.create(gitlab, &fixture.name).await;
    for variable in fixture.variables() {
        gitlab
            .set_variable(project.id, variable)
            .expect("a variable");
    }
    project
}

/// Creates a runner that is the only one for this project's jobs.
fn runner_of(gitlab: &MockGitlab, project: &Project) -> String {
    gitlab
        .set_instance_runners(project.id, false)
        .expect("the project");
    gitlab.create_runner(NewRunner {
        run_untagged: true,
        project: Some(project.id),
        ..NewRunner::default()
    })
}

/// Job containers reach this host at its own address, not at its loopback.
pub(crate) fn everywhere() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0)
}

/// Adds a `[[runners]]` with the docker executor.
pub(crate) fn add_runner(
    config: &mut String,
    gitlab: &MockGitlab,
    name: &str,
    token: &str,
    limit: u32,
    more: &str,
) {
    let _ = write!(
        config,
        "\n[[runners]]\nname = \"{name}\"\nurl = \"{}\"\ntoken = \"{token}\"\nlimit = {limit}\n\
         executor = \"docker\"\n{more}\n\n[runners.docker]\nimage = \"{}\"\npull_policy = \"if-not-present\"\n",
        gitlab.url(),
        images::BASE,
    );
}

/// Removes the volumes that match this filter of `docker volume ls`.
fn remove_volumes(filter: &str) {
    let listed = Command::new("docker")
        .args(["volume", "ls", "--quiet", "--filter", filter])
        .output()
        .expect("the volumes");
    assert!(listed.status.success(), "{listed:?}");
    for volume in String::from_utf8_lossy(&listed.stdout).lines() {
        let removed = Command::new("docker")
            .args(["volume", "rm", volume])
            .output();
        let removed = removed.expect("docker");
        assert!(removed.status.success(), "{volume} is removed");
    }
}
