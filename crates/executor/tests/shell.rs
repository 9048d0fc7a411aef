//! Whole jobs in a shell of this host: no Docker needed.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use onspot_cache::CacheAccess;
use onspot_executor::{
    Event, Executor, JobRun, Outcome, RunnerSettings, ShellExecutor, ShellSettings, Stop,
};
use onspot_gitlab::job::{CacheSpec, JobPayload, Step};
use onspot_gitlab::{FailureReason, JobId, JobToken, TraceWriter, Variable};
use onspot_settings::Runner;
use tokio::sync::{mpsc, watch};

/// More than any job here takes on a slow machine.
const PATIENCE: Duration = Duration::from_mins(1);

struct Bench {
    executor: ShellExecutor,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runner = Runner::new("shell runner", "http://127.0.0.1:9".parse().unwrap());
        let settings = ShellSettings {
            common: RunnerSettings::new(runner),
            helper_binary: PathBuf::from(env!("CARGO_BIN_EXE_onspot-helper")),
            builds_root: dir.path().join("builds"),
        };
        Self {
            executor: ShellExecutor::new(settings),
            dir,
        }
    }

    /// Runs a job, and stops it once the trace contains the text.
    async fn run(&self, payload: JobPayload, stop_at: Option<(&str, Stop)>) -> (Outcome, String) {
        let stop = async |text: &dyn Fn() -> String, stop: &watch::Sender<Option<Stop>>| {
            let Some((at, how)) = stop_at else { return };
            until(async || text().contains(at)).await;
            stop.send_replace(Some(how));
        };
        self.run_beside(payload, stop).await
    }

    /// Runs a job in parallel to a task that sees its trace and can stop it.
    async fn run_beside(
        &self,
        payload: JobPayload,
        story: impl AsyncFnOnce(&dyn Fn() -> String, &watch::Sender<Option<Stop>>),
    ) -> (Outcome, String) {
        let trace = TraceWriter::detached(&[]).unwrap();
        let (stop, stopped) = watch::channel(None);
        let (events, mut received) = mpsc::channel(64);
        let run = JobRun {
            payload: Arc::new(payload),
            slot: 0,
            short_token: String::new(),
            attempt: 1,
            trace: trace.clone(),
            cache: CacheAccess::Local(self.dir.path().join("cache")),
            timeout: PATIENCE,
            stop: stopped,
            events,
        };
        let text = || String::from_utf8(trace.contents()).unwrap();
        let answers = async {
            while let Some(event) = received.recv().await {
                if let Event::ReadyToStart(answer) = event {
                    let _ = answer.send(true);
                }
            }
        };
        let story = story(&text, &stop);
        let (outcome, (), ()) = tokio::join!(self.executor.run(run), answers, story);
        (outcome, text())
    }
}

/// Waits until `holds` is true.
async fn until(holds: impl AsyncFn() -> bool) {
    let holds = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, holds).await.unwrap();
}

fn job(script: &[&str], after_script: &str) -> JobPayload {
    let step = |name: &str, script: &[&str]| Step {
        name: name.into(),
        script: script.iter().map(|&line| line.to_owned()).collect(),
        ..Step::default()
    };
    let mut job = JobPayload {
        id: JobId(1),
        token: JobToken::new("t"),
        steps: vec![
            step(Step::SCRIPT, script),
            step(Step::AFTER_SCRIPT, &[after_script]),
        ],
        variables: vec![Variable::public("GIT_STRATEGY", "none")],
        ..JobPayload::default()
    };
    job.job_info.project_id = 7;
    job.job_info.project_full_path = "group/project".into();
    job
}

#[tokio::test]
async fn a_script_runs_and_leaves_its_cache() {
    let bench = Bench::new();
    let mut payload = job(
        &["echo ghost >ghosts.txt", "pwd"],
        "echo \"[$CI_JOB_STATUS]\"",
    );
    payload.cache = vec![CacheSpec {
        key: "k".into(),
        paths: vec!["$CI_PROJECT_DIR/ghosts.txt".into()],
        ..CacheSpec::default()
    }];
    let (outcome, trace) = bench.run(payload.clone(), None).await;
    assert_eq!(outcome, Outcome::Success, "{trace}");
    assert!(trace.contains("/slot-0/p7/group/project\n"), "{trace}");
    assert!(trace.contains("\n[success]\n"), "{trace}");

    payload.variables = vec![Variable::public("GIT_STRATEGY", "empty")];
    payload.steps[0].script = vec!["cat ghosts.txt".into()];
    let (outcome, trace) = bench.run(payload, None).await;
    assert_eq!(outcome, Outcome::Success, "{trace}");
    assert!(trace.contains("\nghost\n"), "{trace}");
}

#[tokio::test]
async fn a_failure_has_its_exit_code() {
    let bench = Bench::new();
    let (outcome, trace) = bench
        .run(job(&["exit 9"], "echo \"[$CI_JOB_STATUS]\""), None)
        .await;
    let Outcome::Failed {
        reason, exit_code, ..
    } = outcome
    else {
        panic!("{trace}")
    };
    assert_eq!((reason, exit_code), (FailureReason::ScriptFailure, Some(9)));
    assert!(trace.contains("\n[failed]\n"), "{trace}");
}

#[tokio::test]
async fn a_cancel_ends_all_processes_and_runs_after_script() {
    let bench = Bench::new();
    let script = ["setsid sleep 1000 & echo begun; sleep 1000"];
    let began = Instant::now();
    let payload = job(&script, "echo \"[$CI_JOB_STATUS]\"");
    let (outcome, trace) = bench.run(payload, Some(("\nbegun\n", Stop::Cancel))).await;
    assert_eq!(outcome, Outcome::Canceled, "{trace}");
    assert!(trace.contains("\n[canceled]\n"), "{trace}");
    assert!(began.elapsed() < Duration::from_secs(30));
    assert_eq!(bench.executor.sweep().await.unwrap().job_containers, 0);
}

/// Whether a process with this argument is running.
fn runs(argument: &str) -> bool {
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let mut lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.any(|line| {
        line.split(|&byte| byte == 0)
            .any(|a| a == argument.as_bytes())
    })
}

#[tokio::test]
async fn a_process_without_environment_is_ended_too() {
    let bench = Bench::new();
    for (stop, time) in [(Stop::Cancel, 100_000), (Stop::Abort, 200_000)] {
        let time = (time + std::process::id()).to_string();
        let script = format!("env -i sleep {time} & echo begun; env -i sleep {time}");
        let payload = job(&[&script], "true");
        let began = Instant::now();
        let (_, trace) = bench.run(payload, Some(("\nbegun\n", stop))).await;
        assert!(began.elapsed() < Duration::from_secs(30), "{trace}");
        assert!(!runs(&time), "{trace}");
    }
}

#[tokio::test]
async fn an_abort_leaves_nothing_running() {
    let bench = Bench::new();
    let script = ["trap '' TERM; echo begun; sleep 1000; echo on; sleep 1000"];
    let (outcome, trace) = bench
        .run(job(&script, "echo after"), Some(("\nbegun\n", Stop::Abort)))
        .await;
    assert_eq!(outcome, Outcome::Aborted);
    assert!(!trace.contains("\nafter\n"), "{trace}");
    assert_eq!(bench.executor.sweep().await.unwrap().job_containers, 0);
}

#[tokio::test]
async fn background_processes_do_not_delay_the_end() {
    let bench = Bench::new();
    let began = Instant::now();
    let (outcome, trace) = bench
        .run(job(&["sleep 1000 & echo done"], "true"), None)
        .await;
    assert_eq!(outcome, Outcome::Success, "{trace}");
    assert!(began.elapsed() < Duration::from_secs(30));
    assert_eq!(bench.executor.sweep().await.unwrap().job_containers, 0);
}

#[tokio::test]
async fn a_slot_keeps_files_only_for_jobs_with_the_same_protection() {
    let bench = Bench::new();
    let of = |protected: bool, script: &str| {
        let mut payload = job(&[script], "true");
        payload.git_info.protected = Some(protected);
        payload
    };
    let (outcome, trace) = bench.run(of(false, "touch left-behind"), None).await;
    assert_eq!(outcome, Outcome::Success, "{trace}");
    let (_, trace) = bench.run(of(false, "ls"), None).await;
    assert!(trace.contains("\nleft-behind\n"), "{trace}");
    let (outcome, trace) = bench.run(of(true, "ls"), None).await;
    assert_eq!(outcome, Outcome::Success, "{trace}");
    assert!(!trace.contains("\nleft-behind\n"), "{trace}");
    let (_, trace) = bench.run(of(false, "ls"), None).await;
    assert!(!trace.contains("\nleft-behind\n"), "{trace}");
}

/// Counts in a file until told to stop; the same in the background, outside of the script's own
/// group.
const COUNTS: &str = "count() { i=0; while [ ! -e enough ]; do i=$((i+1)); echo $i >$1; \
                      sleep 0.01; done; }; export -f count; \
                      setsid bash -c 'count background' & echo begun; count counter";

/// The values of both counters.
fn counters(bench: &Bench) -> Vec<u64> {
    let place = bench
        .dir
        .path()
        .join("builds/shell_runner/slot-0/p7/group/project");
    let counter = |name: &str| {
        let text = std::fs::read_to_string(place.join(name)).unwrap_or_default();
        text.trim().parse().unwrap_or_default()
    };
    ["counter", "background"].map(counter).to_vec()
}

async fn until_they_count(bench: &Bench) {
    let before = counters(bench);
    until(async || {
        let now = counters(bench);
        now.iter().zip(&before).all(|(now, before)| now > before)
    })
    .await;
}

#[tokio::test]
async fn a_frozen_job_does_nothing_and_continues_where_it_was() {
    let bench = Bench::new();
    let story = async |_: &dyn Fn() -> String, _: &watch::Sender<Option<Stop>>| {
        until_they_count(&bench).await;
        bench.executor.freeze(0).await.unwrap();
        bench.executor.freeze(0).await.unwrap();
        let frozen = counters(&bench);
        // Long enough for many steps, if it were running.
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(counters(&bench), frozen);
        bench.executor.thaw(0).await.unwrap();
        until_they_count(&bench).await;
        let place = "builds/shell_runner/slot-0/p7/group/project/enough";
        std::fs::write(bench.dir.path().join(place), "").unwrap();
    };
    let (outcome, trace) = bench.run_beside(job(&[COUNTS], "true"), story).await;
    assert_eq!(outcome, Outcome::Success, "{trace}");
}

#[tokio::test]
async fn a_frozen_job_is_killed_without_running_and_leaves_nothing() {
    let bench = Bench::new();
    let mut frozen = Vec::new();
    let story = async |_: &dyn Fn() -> String, stop: &watch::Sender<Option<Stop>>| {
        until_they_count(&bench).await;
        bench.executor.freeze(0).await.unwrap();
        frozen = counters(&bench);
        stop.send_replace(Some(Stop::Abort));
    };
    let (outcome, trace) = bench.run_beside(job(&[COUNTS], "true"), story).await;
    assert_eq!(outcome, Outcome::Aborted, "{trace}");
    assert_eq!(counters(&bench), frozen);
    assert_eq!(bench.executor.sweep().await.unwrap().job_containers, 0);
    // The slot can still be used.
    let (outcome, trace) = bench.run(job(&["echo fine"], "true"), None).await;
    assert_eq!(outcome, Outcome::Success, "{trace}");
}
