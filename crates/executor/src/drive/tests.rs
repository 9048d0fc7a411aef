//! The course of a job on a host that only pretends, in no time.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use onspot_cache::CacheAccess;
use onspot_gitlab::job::{ArtifactSpec, CacheSpec, JobPayload, Step, When};
use onspot_gitlab::{JobId, JobToken, TraceWriter, Variable};
use tokio::sync::{mpsc, watch};

use super::*;
use crate::plan::Site;
use crate::run::Stop;
use crate::settings::RunnerSettings;

/// How the pretended job behaves.
#[derive(Clone, Default)]
struct Behaviour {
    exit_code: i32,
    /// Scripts that never end by themselves.
    endless: &'static [&'static str],
    /// Requests that the helper fails.
    fails: &'static [&'static str],
    refuse_start: bool,
}

struct FakeHost {
    behaviour: Behaviour,
    log: Arc<Mutex<Vec<String>>>,
    stopped: watch::Sender<bool>,
}

impl FakeHost {
    fn note(&self, what: impl Into<String>) {
        self.log.lock().unwrap().push(what.into());
    }

    /// Endless until it is stopped, for those that are.
    async fn work(&self, what: &str) {
        if self.behaviour.endless.contains(&what) {
            let mut stopped = self.stopped.subscribe();
            let _ = stopped.wait_for(|stopped| *stopped).await;
        }
    }
}

impl Host for FakeHost {
    fn name(&self) -> &'static str {
        "fake"
    }

    async fn prepare(&mut self, _trace: &TraceWriter) -> Result<(), ExecutorError> {
        self.note("prepare");
        self.work("prepare").await;
        Ok(())
    }

    async fn call(
        &self,
        call: &HelperCall,
        _trace: &TraceWriter,
    ) -> Result<HelperAnswer, ExecutorError> {
        let name = call.request.name();
        self.note(name);
        self.work(name).await;
        if self.behaviour.fails.contains(&name) {
            return Err(ExecutorError::Helper { what: name.into(), exit_code: 1 });
        }
        Ok(match call.request {
            HelperRequest::SaveCache(_) | HelperRequest::UploadArtifacts(_) => {
                HelperAnswer::Stored { bytes: 1 }
            }
            _ => HelperAnswer::Done,
        })
    }

    async fn get_ready(&mut self, _trace: &TraceWriter) -> Result<(), ExecutorError> {
        self.note("get_ready");
        Ok(())
    }

    async fn script(&self, script: &str, _trace: &TraceWriter) -> Result<i32, ExecutorError> {
        let status = script.split("CI_JOB_STATUS=").nth(1).unwrap().lines().next().unwrap();
        if status == "running" {
            self.note("script");
            self.work("script").await;
            Ok(self.behaviour.exit_code)
        } else {
            self.note(format!("after_script({status})"));
            self.work("after_script").await;
            Ok(0)
        }
    }

    async fn stop_script(&self) {
        self.note("stop_script");
        self.stopped.send_replace(true);
    }

    async fn end_scripts(&self) {
        self.note("end_scripts");
    }

    fn helper_file(&self, name: &str) -> PathBuf {
        PathBuf::from("/helper").join(name)
    }

    async fn put_file(&self, _from: &Path, _at: &Path) -> Result<(), ExecutorError> {
        Ok(())
    }

    async fn take_file(&self, _from: &Path, to: &Path) -> Result<(), ExecutorError> {
        tokio::fs::write(to, "archive").await.map_err(ExecutorError::io("write"))
    }

    async fn clean_up(&mut self) {
        self.note("clean_up");
    }
}

struct Ended {
    outcome: Outcome,
    log: Vec<String>,
    trace: String,
}

fn payload() -> JobPayload {
    let step = |name: &str| Step {
        name: name.into(),
        script: vec!["true".into()],
        ..Step::default()
    };
    let artifact = |when| ArtifactSpec { paths: vec!["x".into()], when, ..ArtifactSpec::default() };
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
    payload
}

/// Runs the job; at `stop_at` (an entry of the log) the stop comes.
async fn course(behaviour: Behaviour, stop_at: Option<(&str, Stop)>) -> Ended {
    let dir = tempfile::tempdir().unwrap();
    let settings = RunnerSettings::new("r", "http://gitlab.example");
    let site = Site {
        executor: "docker",
        builds_dir: "/builds",
        slot_dir: "/slot",
        slot: 0,
        world_writable: true,
    };
    let payload = payload();
    let plan = JobPlan::new(&payload, &settings, &site).unwrap();
    let trace = TraceWriter::detached(&[]).unwrap();
    let (stop, stopped) = watch::channel(None);
    let (events, mut received) = mpsc::channel(64);
    let run = JobRun {
        payload: Arc::new(payload),
        slot: 0,
        attempt: 1,
        trace: trace.clone(),
        cache: CacheAccess::Local(dir.path().to_owned()),
        timeout: Duration::from_secs(3600),
        stop: stopped,
        events,
    };
    let log = Arc::new(Mutex::new(Vec::new()));
    let start = !behaviour.refuse_start;
    let mut host = FakeHost { behaviour, log: Arc::clone(&log), stopped: watch::channel(false).0 };
    let answers = async {
        while let Some(event) = received.recv().await {
            if let Event::ReadyToStart(answer) = event {
                let _ = answer.send(start);
            }
        }
    };
    let stopper = async {
        let Some((at, how)) = stop_at else { return };
        while !log.lock().unwrap().iter().any(|entry| entry == at) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        stop.send_replace(Some(how));
    };
    let drive = async {
        let outcome = drive(&mut host, &run, &plan, Duration::from_secs(300)).await;
        drop(run);
        outcome
    };
    let (outcome, (), ()) = tokio::join!(drive, answers, stopper);
    let log = log.lock().unwrap().clone();
    Ended { outcome, log, trace: String::from_utf8(trace.contents()).unwrap() }
}

const BEFORE: [&str; 5] = ["prepare", "get_sources", "restore_cache", "get_ready", "script"];

fn after(start: &[&str], rest: &[&str]) -> Vec<String> {
    start.iter().chain(rest).map(|&entry| entry.to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn success_saves_the_cache_and_uploads() {
    let ended = course(Behaviour::default(), None).await;
    assert_eq!(ended.outcome, Outcome::Success);
    let rest = [
        "after_script(success)",
        "end_scripts",
        "archive_cache",
        "upload_artifacts",
        "cleanup_file_variables",
        "clean_up",
    ];
    assert_eq!(ended.log, after(&BEFORE, &rest));
    assert!(ended.trace.ends_with("Job succeeded\u{1b}[0;m\n"), "{}", ended.trace);
}

#[tokio::test(start_paused = true)]
async fn failure_does_what_is_meant_for_it() {
    let ended = course(Behaviour { exit_code: 2, ..Behaviour::default() }, None).await;
    assert!(matches!(ended.outcome, Outcome::Failed { exit_code: Some(2), .. }));
    assert!(ended.log.contains(&"after_script(failed)".to_owned()));
    assert_eq!(ended.log.iter().filter(|entry| *entry == "upload_artifacts").count(), 1);
    assert!(ended.trace.contains("archive_cache_on_failure"), "{}", ended.trace);
    assert!(ended.trace.contains("upload_artifacts_on_failure"), "{}", ended.trace);
}

#[tokio::test(start_paused = true)]
async fn the_script_never_runs_when_something_before_it_fails() {
    let ended = course(Behaviour { fails: &["get_sources"], ..Behaviour::default() }, None).await;
    let Outcome::Failed { reason, message, .. } = ended.outcome else { panic!() };
    assert_eq!(reason, FailureReason::RunnerSystemFailure);
    assert_eq!(message, "get_sources failed in the helper (exit code 1)");
    assert_eq!(ended.log, after(&BEFORE[..2], &["clean_up"]));
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_fails_fails_nothing() {
    let fails = &["restore_cache", "archive_cache", "cleanup_file_variables"];
    let ended = course(Behaviour { fails, ..Behaviour::default() }, None).await;
    assert_eq!(ended.outcome, Outcome::Success, "{}", ended.trace);
}

#[tokio::test(start_paused = true)]
async fn artifacts_that_fail_fail_the_job() {
    let ended =
        course(Behaviour { fails: &["upload_artifacts"], ..Behaviour::default() }, None).await;
    let Outcome::Failed { reason, exit_code, message } = ended.outcome else { panic!() };
    assert_eq!((reason, exit_code), (FailureReason::RunnerSystemFailure, None));
    assert!(message.starts_with("the artifacts were not uploaded: "), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_cancel_of_the_script_runs_after_script_and_nothing_else() {
    let behaviour = Behaviour { endless: &["script"], ..Behaviour::default() };
    let ended = course(behaviour, Some(("script", Stop::Cancel))).await;
    assert_eq!(ended.outcome, Outcome::Canceled);
    let rest = [
        "stop_script",
        "after_script(canceled)",
        "end_scripts",
        "cleanup_file_variables",
        "clean_up",
    ];
    assert_eq!(ended.log, after(&BEFORE, &rest));
}

#[tokio::test(start_paused = true)]
async fn a_cancel_before_the_script_ends_at_once() {
    let behaviour = Behaviour { endless: &["get_sources"], ..Behaviour::default() };
    let ended = course(behaviour, Some(("get_sources", Stop::Cancel))).await;
    assert_eq!(ended.outcome, Outcome::Canceled);
    assert_eq!(ended.log, after(&BEFORE[..2], &["clean_up"]));
}

#[tokio::test(start_paused = true)]
async fn an_abort_at_any_point_only_cleans_up() {
    let points =
        ["prepare", "get_sources", "script", "after_script(success)", "archive_cache", "upload_artifacts"];
    for point in points {
        for stop in [Stop::Abort, Stop::Interrupt] {
            let endless =
                &["prepare", "get_sources", "script", "after_script", "archive_cache", "upload_artifacts"];
            let index = endless.iter().position(|what| point.starts_with(what)).unwrap();
            let behaviour = Behaviour { endless: &endless[index..=index], ..Behaviour::default() };
            let ended = course(behaviour, Some((point, stop))).await;
            assert_eq!(ended.outcome, Outcome::Aborted, "{point}");
            let rest: Vec<_> = ended.log.iter().skip_while(|entry| *entry != point).collect();
            assert!(
                rest == [point, "clean_up"] || rest == [point, "end_scripts", "clean_up"],
                "{point}: {rest:?}"
            );
            assert!(!ended.trace.contains("Job "), "{}", ended.trace);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_endless_script_is_ended_by_the_timeout_without_after_script() {
    let ended = course(Behaviour { endless: &["script"], ..Behaviour::default() }, None).await;
    let Outcome::Failed { reason, exit_code, message } = ended.outcome else { panic!() };
    assert_eq!((reason, exit_code), (FailureReason::JobExecutionTimeout, None));
    assert_eq!(message, "execution took longer than 1h");
    assert!(ended.log.contains(&"stop_script".to_owned()));
    assert!(!ended.log.iter().any(|entry| entry.starts_with("after_script")), "{:?}", ended.log);
}

#[tokio::test(start_paused = true)]
async fn an_endless_after_script_does_not_change_the_result() {
    let ended = course(Behaviour { endless: &["after_script"], ..Behaviour::default() }, None).await;
    assert_eq!(ended.outcome, Outcome::Success);
    assert!(ended.trace.contains("after_script was stopped after 5m"), "{}", ended.trace);
}

#[tokio::test(start_paused = true)]
async fn a_refused_start_runs_nothing() {
    let ended = course(Behaviour { refuse_start: true, ..Behaviour::default() }, None).await;
    assert_eq!(ended.outcome, Outcome::Aborted);
    assert_eq!(ended.log, after(&BEFORE[..4], &["clean_up"]));
}
