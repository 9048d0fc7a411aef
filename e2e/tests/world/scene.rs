//! A world with a stack, and the common steps of the proofs.

use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::FutureExt;
use onspot_e2e::hypervisor::Guest;
use onspot_e2e::poll::{self, Look};
use onspot_e2e::world::{StackOptions, World, WorldOptions, program};
use onspot_e2e::{Error, chain};
use onspot_mock_gitlab::{
    JobCallKind, JobId, JobView, MockGitlab, PipelineId, PipelineView, Project, Status,
};

use crate::diagnosis;

/// Time limit of a pipeline: two cold workers one after the other, and a lost one in between.
pub(crate) const PIPELINE: Duration = Duration::from_mins(4);
/// Time limit of one step of a job, including a cold worker's start.
pub(crate) const STEP: Duration = Duration::from_mins(2);

/// A world with a stack in it.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) config: PathBuf,
    binary: PathBuf,
    /// The world's files, removed with it.
    _folder: tempfile::TempDir,
}

/// Starts a world, creates a stack in it like a user, and runs the proof. The world is removed in
/// any case; if the proof fails, diagnosis is printed.
pub(crate) async fn prove(options: StackOptions, proof: impl AsyncFnOnce(&Scene)) {
    let scene = Scene::empty(&options).await;
    judge(scene, async |scene| {
        scene.up().await;
        proof(scene).await;
    })
    .await;
}

/// Like [`prove`] without a stack: the proof creates it.
pub(crate) async fn prove_from_nothing(options: StackOptions, proof: impl AsyncFnOnce(&Scene)) {
    judge(Scene::empty(&options).await, proof).await;
}

async fn judge(scene: Scene, proof: impl AsyncFnOnce(&Scene)) {
    let outcome = AssertUnwindSafe(proof(&scene)).catch_unwind().await;
    if outcome.is_err() {
        diagnosis::print(&scene.world).await;
    }
    let stopped = scene.world.stop().await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
    stopped.expect("the world goes");
}

impl Scene {
    async fn empty(options: &StackOptions) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let binary = program::for_guests(folder.path()).await;
        let binary = binary.expect("a binary");
        let world = World::start(WorldOptions::temporary(folder.path())).await;
        let world = world.unwrap_or_else(|error| panic!("no world: {}", chain(&error)));
        let config = world.write_stack(options).expect("onspot.toml");
        Self {
            world,
            config,
            binary,
            _folder: folder,
        }
    }

    /// Runs `onspot <verb> --config …` and returns its lines of JSON.
    pub(crate) async fn onspot(&self, verb: &[&str]) -> Vec<serde_json::Value> {
        let config = self.config.display().to_string();
        let arguments = [verb, &["--config", &config, "--output", "json"]].concat();
        let printed = self.world.run_onspot(&arguments).await;
        let printed =
            printed.unwrap_or_else(|error| panic!("onspot {}: {}", verb[0], chain(&error)));
        printed
            .lines()
            .map(|line| serde_json::from_str(line).expect("a line of JSON"))
            .collect()
    }

    /// The arguments of `onspot up`.
    pub(crate) fn up_arguments(&self) -> [String; 4] {
        let binary = self.binary.display().to_string();
        ["up".into(), "--yes".into(), "--binary".into(), binary]
    }

    /// Runs `onspot up` and returns its last line.
    pub(crate) async fn up(&self) -> serde_json::Value {
        let arguments = self.up_arguments();
        let lines = self.onspot(&arguments.each_ref().map(String::as_str)).await;
        lines.last().cloned().expect("a last line")
    }

    /// GitLab.
    pub(crate) fn gitlab(&self) -> &MockGitlab {
        self.world.gitlab()
    }

    /// Creates a project with these files and waits for its pipeline.
    pub(crate) async fn push_files(&self, name: &str, files: &[(&str, &str)]) -> PipelineView {
        push_files(self.gitlab(), name, files).await
    }

    /// The job of this name, once `wanted` is true.
    pub(crate) async fn job_when(
        &self,
        pipeline: PipelineId,
        name: &str,
        wanted: impl Fn(&JobView) -> bool,
    ) -> JobView {
        let view = self.gitlab().pipeline(pipeline).expect("a pipeline");
        let id = view.job(name).expect("a job of this name").id;
        let job = self.gitlab().wait_job(id, STEP, wanted).await;
        job.unwrap_or_else(|error| panic!("{name}: {}", chain(&error)))
    }

    /// The job of this name, once its trace contains `text`.
    pub(crate) async fn job_that_shows(
        &self,
        pipeline: PipelineId,
        name: &str,
        text: &str,
    ) -> JobView {
        let view = self.gitlab().pipeline(pipeline).expect("a pipeline");
        let id = view.job(name).expect("a job of this name").id;
        wait(&format!("{name} shows {text:?}"), STEP, async || {
            let trace = self.gitlab().trace(id);
            if trace.contains(text) {
                Ok(())
            } else {
                Err(trace)
            }
        })
        .await;
        self.gitlab().job(id).expect("a job")
    }

    /// Two jobs: `running`, whose script has started, and `waiting`, whose worker has yet to boot.
    /// These are also their names in the pipelines.
    pub(crate) async fn one_running_one_waiting(
        &self,
        running: &str,
        waiting: &str,
    ) -> (JobView, JobView) {
        let long = self
            .push_files("long", &[(".gitlab-ci.yml", running)])
            .await;
        let running = self
            .job_that_shows(long.id, "running", "\nthe script has begun")
            .await;
        let short = self
            .push_files("short", &[(".gitlab-ci.yml", waiting)])
            .await;
        let waiting = self
            .job_that_shows(short.id, "waiting", "Waiting for a worker")
            .await;
        (running, waiting)
    }

    /// How many results of a job were reported to GitLab.
    pub(crate) fn results(&self, job: JobId) -> usize {
        let calls = self.gitlab().calls(job).into_iter();
        calls
            .filter(
                |call| matches!(&call.kind, JobCallKind::State { state, .. } if state != "running"),
            )
            .count()
    }

    /// The trace of a job.
    pub(crate) fn trace(&self, job: JobId) -> String {
        self.gitlab().trace(job)
    }

    /// The live guests that are workers.
    pub(crate) fn workers(&self) -> Vec<Guest> {
        self.world.hypervisor().guests_with_role("worker")
    }

    /// The live guests that are managers.
    pub(crate) fn managers(&self) -> Vec<Guest> {
        self.world.hypervisor().guests_with_role("manager")
    }

    /// Waits until no worker is left.
    pub(crate) async fn no_worker_is_left(&self) {
        wait("no worker is left", STEP, async || {
            let workers = self.workers();
            let left = workers.iter().map(|guest| guest.instance.id.clone());
            none_of(&left.collect::<Vec<_>>())
        })
        .await;
    }

    /// No runner violated GitLab's protocol, and no signature was refused.
    pub(crate) fn nothing_was_wrong(&self) {
        let violations = self.gitlab().violations();
        assert!(violations.is_empty(), "{violations:?}");
        let refused = self
            .world
            .cloud()
            .calls()
            .matching(|call| call.refused.is_some());
        assert!(refused.is_empty(), "{refused:?}");
    }
}

/// Creates a project with these files and waits for its pipeline.
pub(crate) async fn push_files(
    gitlab: &MockGitlab,
    name: &str,
    files: &[(&str, &str)],
) -> PipelineView {
    let project = gitlab.create_project(name).await.expect("a project");
    let sha = gitlab.push_files(&project, files).await.expect("a push");
    pipeline_of(gitlab, &sha).await
}

/// Creates a project from a folder and waits for its pipeline.
pub(crate) async fn push_folder(
    gitlab: &MockGitlab,
    name: &str,
    folder: &Path,
) -> (Project, PipelineView) {
    let project = gitlab.create_project(name).await.expect("a project");
    let sha = onspot_mock_gitlab::push_folder(folder, &project.http_url, &project.token).await;
    let pipeline = pipeline_of(gitlab, &sha.expect("a push")).await;
    (project, pipeline)
}

async fn pipeline_of(gitlab: &MockGitlab, sha: &str) -> PipelineView {
    let pipeline = gitlab.wait_for_commit(sha, Duration::from_secs(10)).await;
    let pipeline = pipeline.expect("a pipeline");
    assert_eq!(pipeline.yaml_error, None);
    pipeline
}

/// Waits until a pipeline has succeeded.
pub(crate) async fn green(gitlab: &MockGitlab, pipeline: PipelineId) -> PipelineView {
    let view = gitlab.wait_pipeline(pipeline, PIPELINE).await;
    let view = view.unwrap_or_else(|error| panic!("{}", chain(&error)));
    assert_eq!(view.status, Status::Success, "{:?}", view.jobs);
    view
}

/// Polls until the result is `Ok`, for `bound` at most; `Err` is the last observation.
pub(crate) async fn wait<T>(
    what: &str,
    bound: Duration,
    look: impl AsyncFn() -> Result<T, String>,
) -> T {
    let seen = poll::until(what, bound, || async {
        Ok::<_, Error>(match look().await {
            Ok(there) => Look::There(there),
            Err(instead) => Look::NotYet(instead),
        })
    });
    seen.await
        .unwrap_or_else(|error| panic!("{}", chain(&error)))
}

/// `Ok` if it is empty, else the rest.
pub(crate) fn none_of(left: &[String]) -> Result<(), String> {
    if left.is_empty() {
        Ok(())
    } else {
        Err(left.join(", "))
    }
}
