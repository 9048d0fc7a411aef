//! Shared by the tests on a real Docker engine: an executor for each test, jobs, and a minimal
//! GitLab.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

pub(crate) mod ghost;
pub(crate) mod gitlab;
pub(crate) mod registry;

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use onspot_cache::CacheAccess;
use onspot_executor::{
    DockerExecutor, DockerSettings, Event, Executor, JobRun, Outcome, RunnerSettings, Stop,
};
use onspot_gitlab::job::{Image, JobPayload, Step};
use onspot_gitlab::{JobId, JobToken, TraceWriter, Variable};
use onspot_settings::{Docker, PullPolicy, Runner};
use tokio::sync::{OnceCell, mpsc, watch};

/// The image of the jobs: a shell is all they need.
pub(crate) const IMAGE: &str = "debian:bookworm-slim";

/// More than any job here takes on a slow machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// The helper's image is built once, not by each test in parallel.
static IMAGE_READY: OnceCell<()> = OnceCell::const_new();

/// An executor with its own name and folder. `finish` removes its leftovers.
pub(crate) struct Bench {
    pub(crate) executor: DockerExecutor,
    pub(crate) settings: DockerSettings,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) runner: String,
}

/// A running job.
pub(crate) struct Running {
    pub(crate) stop: watch::Sender<Option<Stop>>,
    pub(crate) events: mpsc::Receiver<Event>,
    pub(crate) trace: TraceWriter,
    outcome: tokio::task::JoinHandle<Outcome>,
}

/// How a job ended.
pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    pub(crate) trace: String,
    pub(crate) events: Vec<String>,
}

impl Bench {
    pub(crate) async fn new(test: &str) -> Self {
        Self::with(test, "http://127.0.0.1:9", |_| {}).await
    }

    pub(crate) async fn with(
        test: &str,
        url: &str,
        adjust: impl FnOnce(&mut DockerSettings),
    ) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("onspot-executor-")
            .tempdir()
            .unwrap();
        let runner = format!("test-{test}-{}", std::process::id());
        let binary = PathBuf::from(env!("CARGO_BIN_EXE_onspot-helper"));
        let of_runner = Runner::new(&runner, url.parse().unwrap());
        let mut settings =
            DockerSettings::new(RunnerSettings::new(of_runner), Docker::default(), binary);
        settings.common.short_token = "abcdefghi".into();
        settings.docker.pull_policy = vec![PullPolicy::IfNotPresent];
        settings.builds_root = dir.path().join("builds");
        settings.private_images = dir.path().join("private-images.json");
        settings.docker_config = None;
        adjust(&mut settings);
        let executor = DockerExecutor::connect(settings.clone()).await.expect(
            "these tests need a Docker engine: install and start one, \
             and make sure that `docker version` works for this user",
        );
        IMAGE_READY
            .get_or_try_init(|| async {
                remove_what_killed_runs_left();
                executor.prepare().await
            })
            .await
            .expect("the helper's image is built from docker/helper where it is missing");
        Self {
            executor,
            settings,
            dir,
            runner,
        }
    }

    /// The same bench after a restart of the worker.
    pub(crate) async fn with_executor(self, executor: DockerExecutor) -> Self {
        self.executor.close().await;
        Self { executor, ..self }
    }

    /// Starts a job.
    pub(crate) fn start(
        &self,
        payload: JobPayload,
        cache: CacheAccess,
        timeout: Duration,
    ) -> Running {
        let trace = TraceWriter::detached(&payload.mask_values()).unwrap();
        let (stop, stopped) = watch::channel(None);
        let (sender, events) = mpsc::channel(64);
        let run = JobRun {
            payload: Arc::new(payload),
            slot: 0,
            short_token: String::new(),
            attempt: 1,
            trace: trace.clone(),
            cache,
            timeout,
            stop: stopped,
            events: sender,
        };
        let executor = self.executor.clone();
        let outcome = tokio::spawn(async move { executor.run(run).await });
        Running {
            stop,
            events,
            trace,
            outcome,
        }
    }

    /// Runs a job to its end.
    pub(crate) async fn run(&self, payload: JobPayload) -> Ended {
        self.start(payload, CacheAccess::None, PATIENCE)
            .end(true)
            .await
    }

    /// Runs a job with a cache in a folder of this host.
    pub(crate) async fn run_with_cache(&self, payload: JobPayload) -> Ended {
        let cache = CacheAccess::Local(self.dir.path().join("cache"));
        self.start(payload, cache, PATIENCE).end(true).await
    }

    /// How many containers of this kind have this runner's label.
    pub(crate) fn containers(&self, kind: &str) -> usize {
        self.container_ids(kind).len()
    }

    /// The ids of the containers of this kind with this runner's label.
    pub(crate) fn container_ids(&self, kind: &str) -> Vec<String> {
        let output = Command::new("docker")
            .args(["ps", "--all", "--quiet"])
            .args(["--filter", &format!("label=onspot.runner={}", self.runner)])
            .args(["--filter", &format!("label=onspot.kind={kind}")])
            .output()
            .unwrap();
        let ids = String::from_utf8(output.stdout).unwrap();
        ids.lines().map(str::to_owned).collect()
    }

    /// How many networks have this runner's label.
    pub(crate) fn networks(&self) -> usize {
        self.listed("network", "network").len()
    }

    /// How many volumes that end with their job have this runner's label.
    pub(crate) fn volumes(&self) -> usize {
        self.listed("volume", "volume").len()
    }

    /// How many volumes are kept for this runner's next jobs.
    pub(crate) fn kept_volumes(&self) -> usize {
        self.listed("volume", "cache").len()
    }

    /// Waits until `holds` is true.
    pub(crate) async fn until(&self, holds: impl Fn(&Self) -> bool) {
        let reached = async {
            while !holds(self) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(crate::LONG, reached).await.unwrap();
    }

    fn listed(&self, what: &str, kind: &str) -> Vec<String> {
        let output = Command::new("docker")
            .args([what, "ls", "--quiet"])
            .args(["--filter", &format!("label=onspot.runner={}", self.runner)])
            .args(["--filter", &format!("label=onspot.kind={kind}")])
            .output()
            .unwrap();
        let listed = String::from_utf8(output.stdout).unwrap();
        listed.lines().map(str::to_owned).collect()
    }

    /// Removes helpers and folders.
    pub(crate) async fn finish(self) {
        self.executor.close().await;
        self.executor.sweep().await.unwrap();
        for volume in self.listed("volume", "cache") {
            let removed = Command::new("docker")
                .args(["volume", "rm", &volume])
                .output();
            assert!(removed.unwrap().status.success(), "{volume}");
        }
        assert_eq!(self.containers("job") + self.containers("helper"), 0);
    }
}

/// Removes what killed or failed test processes left; their ids are the suffix of the runners'
/// names. Containers go first, as they use the others.
fn remove_what_killed_runs_left() {
    for (list, id, remove) in [
        (
            &["ps", "--all"][..],
            "{{.ID}}",
            &["rm", "--force", "--volumes"][..],
        ),
        (&["network", "ls"], "{{.ID}}", &["network", "rm"]),
        (&["volume", "ls"], "{{.Name}}", &["volume", "rm"]),
    ] {
        let output = Command::new("docker")
            .args(list)
            .args(["--filter", "label=onspot.runner"])
            .args([
                "--format",
                &format!("{id} {{{{.Label \"onspot.runner\"}}}}"),
            ])
            .output()
            .unwrap();
        let listed = String::from_utf8(output.stdout).unwrap();
        let left = listed.lines().filter_map(|line| {
            let (id, runner) = line.split_once(' ')?;
            let process = runner.strip_prefix("test-")?.rsplit_once('-')?.1;
            let is_over = !std::path::Path::new("/proc").join(process).exists();
            is_over.then_some(id)
        });
        for id in left {
            // Another process may be removing it right now.
            let _ = Command::new("docker").args(remove).arg(id).output();
        }
    }
}

impl Running {
    /// Waits until the trace contains this text.
    pub(crate) async fn until_trace_holds(&mut self, text: &str) {
        let holds = async {
            loop {
                if String::from_utf8_lossy(&self.trace.contents()).contains(text) {
                    return;
                }
                tokio::select! {
                    event = self.events.recv() => match event {
                        Some(Event::ReadyToStart(answer)) => answer.send(true).unwrap(),
                        Some(_) => {}
                        None => panic!("the job ended before: {}", self.text()),
                    },
                    () = tokio::time::sleep(Duration::from_millis(20)) => {}
                }
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, holds).await;
        assert!(in_time.is_ok(), "no {text:?} in the trace: {}", self.text());
    }

    /// Waits until the job is over; `start` is the answer to whether it may start.
    pub(crate) async fn end(mut self, start: bool) -> Ended {
        let mut events = Vec::new();
        while let Some(event) = self.events.recv().await {
            match event {
                Event::ReadyToStart(answer) => {
                    events.push("ReadyToStart".into());
                    let _ = answer.send(start);
                }
                Event::Step { name, .. } => events.push(format!("Step({name})")),
                other => events.push(format!("{other:?}")),
            }
        }
        let trace = self.text();
        Ended {
            outcome: self.outcome.await.unwrap(),
            trace,
            events,
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.trace.contents()).into_owned()
    }
}

/// A job with a script and without a repository.
pub(crate) fn job(script: &[&str]) -> JobPayload {
    let lines = |lines: &[&str]| lines.iter().map(|&line| line.to_owned()).collect();
    let mut job = JobPayload {
        id: JobId(42),
        token: JobToken::new("glcbt-job-token"),
        image: Some(Image {
            name: IMAGE.into(),
            ..Image::default()
        }),
        steps: vec![Step {
            name: Step::SCRIPT.into(),
            script: lines(script),
            ..Step::default()
        }],
        variables: vec![Variable::public("GIT_STRATEGY", "none")],
        ..JobPayload::default()
    };
    job.job_info.project_id = 7;
    job.job_info.project_full_path = "group/project".into();
    job.job_info.name = "build".into();
    job
}

/// Gives a job an `after_script`.
pub(crate) fn with_after_script(mut job: JobPayload, line: &str) -> JobPayload {
    job.steps.push(Step {
        name: Step::AFTER_SCRIPT.into(),
        script: vec![line.into()],
        ..Step::default()
    });
    job
}
