//! A simulated host, and a job on it.

use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use onspot_cache::CacheAccess;
use onspot_gitlab::job::{ArtifactSpec, CacheSpec, JobPayload, Step, When};
use onspot_gitlab::{JobId, JobToken, TraceWriter, Variable};
use tokio::sync::{mpsc, watch};

use super::super::*;
use crate::plan::Site;
use crate::run::Stop;
use crate::settings::RunnerSettings;

/// How the simulated job behaves.
#[derive(Clone, Default)]
pub(super) struct Behaviour {
    pub(super) exit_code: i32,
    /// Scripts that never end by themselves.
    pub(super) endless: &'static [&'static str],
    /// Requests that fail in the helper.
    pub(super) fails: &'static [&'static str],
    pub(super) refuse_start: bool,
    /// Whether endless work continues even when the script is stopped.
    pub(super) still_endless: bool,
    /// Whether the job has a step after its script.
    pub(super) releases: bool,
    /// The request during which the job is frozen twice, and which fails because of that.
    pub(super) frozen_at: &'static str,
    /// How `after_script` ends.
    pub(super) after_exit_code: i32,
    /// The script's output.
    pub(super) says: &'static str,
    /// The runner's limits for preparing and for getting the sources.
    pub(super) limits: [Option<Duration>; 2],
    /// Further variables of the job.
    pub(super) variables: Vec<Variable>,
}

struct FakeHost {
    behaviour: Behaviour,
    log: Arc<Mutex<Vec<String>>>,
    stopped: watch::Sender<bool>,
    freezes: AtomicU64,
}

impl FakeHost {
    fn note(&self, what: impl Into<String>) {
        self.log.lock().push(what.into());
    }

    /// Endless until it is stopped, for endless scripts.
    async fn work(&self, what: &str) {
        if self.behaviour.endless.contains(&what) {
            if self.behaviour.still_endless && what != "script" {
                std::future::pending::<()>().await;
            }
            let mut stopped = self.stopped.subscribe();
            let _ = stopped.wait_for(|stopped| *stopped).await;
        }
    }
}

impl Host for FakeHost {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn freezes(&self) -> u64 {
        self.freezes.load(Ordering::SeqCst)
    }

    async fn prepare(&mut self, _trace: &TraceWriter) -> Result<(), Error> {
        self.note("prepare");
        self.work("prepare").await;
        Ok(())
    }

    async fn call(&self, call: &HelperCall, _trace: &TraceWriter) -> Result<HelperAnswer, Error> {
        let name = call.request.name();
        self.note(name);
        self.work(name).await;
        let breaks = name == self.behaviour.frozen_at && self.freezes() < 2;
        self.freezes.fetch_add(u64::from(breaks), Ordering::SeqCst);
        if breaks || self.behaviour.fails.contains(&name) {
            return Err(Error::Helper {
                what: name.into(),
                exit_code: 1,
            });
        }
        Ok(match call.request {
            HelperRequest::SaveCache(_) | HelperRequest::UploadArtifacts(_) => {
                HelperAnswer::Stored { bytes: 1 }
            }
            _ => HelperAnswer::Done,
        })
    }

    async fn get_ready(&mut self, _trace: &TraceWriter) -> Result<(), Error> {
        self.note("get_ready");
        Ok(())
    }

    async fn script(&self, script: &str, trace: &TraceWriter) -> Result<i32, Error> {
        let status = script
            .split("CI_JOB_STATUS=")
            .nth(1)
            .unwrap()
            .lines()
            .next()
            .unwrap();
        if status == "running" {
            self.note("script");
            self.work("script").await;
            trace.line(self.behaviour.says);
            Ok(self.behaviour.exit_code)
        } else {
            self.note(format!("after_script({status})"));
            self.work("after_script").await;
            Ok(self.behaviour.after_exit_code)
        }
    }

    async fn stop_script(&self) {
        self.note("stop_script");
        if self.behaviour.endless.contains(&"stop_script") {
            std::future::pending::<()>().await;
        }
        self.stopped.send_replace(true);
    }

    async fn end_scripts(&self) -> Result<(), Error> {
        self.note("end_scripts");
        if self.behaviour.fails.contains(&"end_scripts") {
            return Err(Error::Unkillable);
        }
        Ok(())
    }

    fn helper_file(&self, name: &str) -> PathBuf {
        PathBuf::from("/helper").join(name)
    }

    async fn put_file(&self, _from: &Path, _at: &Path) -> Result<(), Error> {
        Ok(())
    }

    async fn take_file(&self, _from: &Path, to: &Path) -> Result<(), Error> {
        tokio::fs::write(to, "archive")
            .await
            .map_err(Error::io("write"))
    }

    async fn clean_up(&mut self) {
        self.note("clean_up");
    }
}

pub(super) struct Ended {
    pub(super) outcome: Outcome,
    pub(super) log: Vec<String>,
    pub(super) trace: String,
}

fn payload(behaviour: &Behaviour) -> JobPayload {
    let step = |name: &str| Step {
        name: name.into(),
        script: vec!["true".into()],
        ..Step::default()
    };
    let artifact = |when| ArtifactSpec {
        paths: vec!["x".into()],
        when,
        ..ArtifactSpec::default()
    };
    let mut payload = JobPayload {
        id: JobId(1),
        token: JobToken::new("t"),
        variables: vec![Variable::public("GIT_STRATEGY", "none")],
        steps: vec![step(Step::SCRIPT), step(Step::AFTER_SCRIPT)],
        artifacts: vec![artifact(When::OnSuccess), artifact(When::OnFailure)],
        cache: vec![CacheSpec {
            key: "k".into(),
            paths: vec!["x".into()],
            when: When::Always,
            ..CacheSpec::default()
        }],
        ..JobPayload::default()
    };
    payload.job_info.project_full_path = "g/p".into();
    payload.variables.extend(behaviour.variables.clone());
    if behaviour.releases {
        payload.steps.insert(1, step("release"));
    }
    payload
}

/// Runs the job; when the log reaches `stop_at`, it is stopped.
pub(super) async fn course(behaviour: Behaviour, stop_at: Option<(&str, Stop)>) -> Ended {
    let dir = tempfile::tempdir().unwrap();
    let url = "http://gitlab.example".parse().unwrap();
    let mut runner = onspot_settings::Runner::new("r", url);
    [runner.prepare_timeout, runner.get_sources_timeout] = behaviour.limits;
    let settings = RunnerSettings::new(runner);
    let site = Site {
        executor: "docker",
        builds_dir: "/builds",
        slot: 0,
        short_token: "",
        world_writable: true,
    };
    let payload = payload(&behaviour);
    let plan = JobPlan::new(&payload, &settings, &site).unwrap();
    let trace = TraceWriter::detached(&[]).unwrap();
    let (stop, stopped) = watch::channel(None);
    let (events, mut received) = mpsc::channel(64);
    let run = JobRun {
        payload: Arc::new(payload),
        slot: 0,
        short_token: String::new(),
        attempt: 1,
        trace: trace.clone(),
        cache: CacheAccess::Local(dir.path().to_owned()),
        timeout: Duration::from_hours(1),
        stop: stopped,
        events,
    };
    let log = Arc::new(Mutex::new(Vec::new()));
    let start = !behaviour.refuse_start;
    let mut host = FakeHost {
        behaviour,
        log: Arc::clone(&log),
        stopped: watch::channel(false).0,
        freezes: AtomicU64::new(0),
    };
    let answers = async {
        while let Some(event) = received.recv().await {
            if let Event::ReadyToStart(answer) = event {
                let _ = answer.send(start);
            }
        }
    };
    let stopper = async {
        let Some((at, how)) = stop_at else { return };
        while !log.lock().iter().any(|entry| entry == at) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        stop.send_replace(Some(how));
    };
    let drive = async {
        let outcome = drive(&mut host, &run, &plan, Duration::from_mins(5)).await;
        drop(run);
        outcome
    };
    let (outcome, (), ()) = tokio::join!(drive, answers, stopper);
    let log = log.lock().clone();
    Ended {
        outcome,
        log,
        trace: String::from_utf8(trace.contents()).unwrap(),
    }
}
