//! `onspot run`: the same loops over a ledger in memory, with this host as the only worker.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use onspot_executor::{DockerExecutor, Executor, ShellExecutor, ShellSettings};
use onspot_fleet::InstanceId;
use onspot_gitlab::{AssignedJob, Info, RunnerIdentity, RunnerToken, SystemId};
use onspot_ledger::{
    AttemptPhase, JobKey, Key, Ledger, ManagerId, MemoryLedger, Phase, Record, RunnerName, Verdict,
    WorkerId, key::JOBS, read,
};
use onspot_settings::{JobsIn, LocalRunner, LocalSettings, Timing};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::capacity::HostCapacity;
use crate::clock::Clock;
use crate::coordinator::{Coordinator, GitLab, GitLabJobs};
use crate::leader::{LeaderContext, RunnerContext, chain, lead};
use crate::liveness::Liveness;
use crate::metrics::{self, Metrics};
use crate::setup::{SetupError, client_of, docker_settings, runner_settings};
use crate::worker::{CachePlace, WorkerContext, work};

/// How long to wait for GitLab's answer to an open request for a job. A person waits for the end,
/// and a job that arrives now could only fail.
const LAST_ANSWER: Duration = Duration::from_secs(2);
/// How long the last reports to GitLab may take.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Where `onspot run` keeps things on this host.
#[derive(Debug, Clone)]
pub struct LocalOptions {
    /// The runners' tokens, by the runners' names, with all references resolved.
    pub tokens: BTreeMap<String, RunnerToken>,
    /// The connections to the buckets of caches, by the names of the runners that have one.
    pub buckets: BTreeMap<String, onspot_cache::Connections>,
    /// The folder for build folders and caches.
    pub data: PathBuf,
    /// The liveness of the loops.
    pub liveness: Liveness,
    /// The binary that runs in the helper container: this one, or one that is linked to an older
    /// libc.
    pub helper_binary: PathBuf,
}

/// Runs the jobs of all runners in `settings` on this host until `shutdown`. Jobs that are running
/// then fail, because nobody else could continue them.
///
/// # Errors
/// If jobs can't be run on this host.
pub async fn run_local(
    settings: &LocalSettings,
    options: LocalOptions,
    shutdown: CancellationToken,
) -> Result<(), SetupError> {
    let LocalSettings {
        concurrent,
        check_interval,
        listen_address,
        runners,
    } = settings;
    if runners.is_empty() {
        return Err(SetupError::NoRunners);
    }
    let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::new());
    let (clock, timing) = (Clock::system(), timing());
    own_folders(runners)?;
    let mut contexts = BTreeMap::new();
    let mut workers = Vec::new();
    for local in runners {
        let runner = &local.runner;
        let token = options.tokens.get(&runner.name);
        let missing = || SetupError::Token {
            runner: runner.name.clone(),
        };
        let token = token.ok_or_else(missing)?.clone();
        let client = client_of(runner)?;
        let name = RunnerName::new(&runner.name);
        let host = host_name();
        let id = WorkerId::of(&runner.name, &host);
        let coordinator: Arc<dyn Coordinator> =
            Arc::new(GitLabJobs::new(client.clone(), runner.clone()));
        let short_token = token.short();
        let info = match local.jobs {
            JobsIn::Shell => Info::shell(),
            JobsIn::Docker => Info::docker(),
        };
        let identity = RunnerIdentity::new(token, SystemId::of_this_host(), info);
        let executor = executor_of(local, &short_token, &options).await?;
        let served = RunnerContext {
            source: Arc::new(GitLab::new(client, identity)),
            coordinator: Arc::clone(&coordinator),
            capacity: Arc::new(HostCapacity::new(InstanceId::new(host), Timestamp::now())),
            role_id: runner.name.clone(),
            policy: None,
            limit: runner.limit,
            request_concurrency: runner.request_concurrency.max(1),
            short_token,
        };
        contexts.insert(name, served);
        workers.push(WorkerContext {
            ledger: Arc::clone(&ledger),
            clock: clock.clone(),
            timing: timing.clone(),
            id,
            version: onspot_gitlab::VERSION.to_owned(),
            slots: slots_of(runner.limit, *concurrent),
            max_builds: 0,
            executor,
            coordinator,
            cache: cache_of(local, &options),
            lease_file: None,
            interruption: watch::channel(None).1,
            liveness: options.liveness.clone(),
            milestones: Vec::new(),
            ends_itself: false,
        });
    }
    let metrics = Arc::new(Metrics::new());
    metrics::serve_at(*listen_address, &metrics, &shutdown).await;
    let leader = Arc::new(LeaderContext {
        ledger,
        clock,
        timing,
        me: ManagerId::random(&host_name()),
        version: onspot_gitlab::VERSION.to_owned(),
        registry: None,
        concurrent: *concurrent,
        check_interval: *check_interval,
        liveness: options.liveness,
        metrics: Arc::clone(&metrics),
        last_answer: LAST_ANSWER,
        runners: contexts,
    });
    run_all(leader, workers, shutdown).await
}

/// Runs the loops and ends them in an order that loses nothing: first it takes no more jobs, then
/// it stops the running ones, then it tells GitLab about them.
async fn run_all(
    leader: Arc<LeaderContext>,
    workers: Vec<WorkerContext>,
    shutdown: CancellationToken,
) -> Result<(), SetupError> {
    let stop_workers = CancellationToken::new();
    let mut loops = JoinSet::new();
    for worker in workers {
        loops.spawn(work(Arc::new(worker), stop_workers.clone()));
    }
    let stop_leader = shutdown.child_token();
    let leading = tokio::spawn(lead(Arc::clone(&leader), stop_leader.clone()));
    let failed = tokio::select! {
        () = shutdown.cancelled() => None,
        Some(Ok(Err(error))) = loops.join_next() => Some(error),
    };
    stop_leader.cancel();
    if leading.await.is_err() {
        tracing::error!("the leader's loop died");
    }
    stop_workers.cancel();
    while loops.join_next().await.is_some() {}
    if tokio::time::timeout(LAST_WORDS, end_all(&leader))
        .await
        .is_err()
    {
        tracing::error!("GitLab could not be told about all jobs that were stopped");
    }
    failed.map_or(Ok(()), |error| Err(error.into()))
}

/// Tells GitLab how the remaining jobs ended, because the ledger ends with this process.
async fn end_all(leader: &LeaderContext) {
    let Ok(listed) = leader.ledger.list(JOBS).await else {
        return;
    };
    for job in listed
        .iter()
        .filter_map(|object| Key::job_of_record(&object.key))
    {
        let Ok(Some(record)) = read(&*leader.ledger, &Key::record(&job)).await else {
            continue;
        };
        if let Err(error) = end(leader, &job, &record.value).await {
            tracing::error!(job = job.id, error = %chain(&error), "GitLab was not told");
        }
    }
}

async fn end(
    leader: &LeaderContext,
    job: &JobKey,
    record: &Record,
) -> Result<(), onspot_gitlab::Error> {
    let worked_out = match &record.phase {
        Phase::Done { .. } => return Ok(()),
        Phase::Finishing { verdict, .. } => Some(verdict.clone()),
        Phase::Waiting => None,
        Phase::Assigned { worker } => match phase_of(&*leader.ledger, worker, job, record).await {
            Some(AttemptPhase::Reported { .. }) => return Ok(()),
            // A result that was not reported yet; it is still valid although onspot was stopped.
            Some(AttemptPhase::Result { verdict }) => Some(verdict),
            _ => None,
        },
    };
    let stopped = || Verdict::failed("runner_system_failure", "onspot was stopped");
    let explain = worked_out.is_none();
    let verdict = worked_out.unwrap_or_else(stopped);
    let Ok(Some(payload)) = read(&*leader.ledger, &Key::job_payload(job)).await else {
        return Ok(());
    };
    let payload = AssignedJob::parse(payload.value.raw)?.job;
    let Some(runner) = leader.runners.get(&job.runner) else {
        return Ok(());
    };
    if explain
        && let Some(message) = &verdict.message
        && let Ok(trace) = runner.coordinator.open_trace(&payload, record.trace).await
    {
        trace
            .writer()
            .error(&format!("Job failed (system failure): {message}"));
        trace.close().await;
    }
    runner.coordinator.report(&payload, &verdict, None).await
}

/// The phase of this attempt on the worker.
async fn phase_of(
    ledger: &dyn Ledger,
    worker: &WorkerId,
    job: &JobKey,
    record: &Record,
) -> Option<AttemptPhase> {
    let mut state = read(ledger, &Key::state(worker)).await.ok()??.value;
    let attempt = state.jobs.remove(&job.id)?;
    (attempt.attempt == record.attempt).then_some(attempt.phase)
}

async fn executor_of(
    local: &LocalRunner,
    short_token: &str,
    options: &LocalOptions,
) -> Result<Arc<dyn Executor>, SetupError> {
    let runner = &local.runner;
    let mut builds_root = match &runner.builds_dir {
        Some(folder) => PathBuf::from(folder),
        None => options.data.join("builds"),
    };
    builds_root.push(folder_of(&runner.name));
    let helper_binary = options.helper_binary.clone();
    match local.jobs {
        JobsIn::Shell => Ok(Arc::new(ShellExecutor::new(ShellSettings {
            common: runner_settings(runner, short_token)?,
            helper_binary,
            builds_root,
        }))),
        JobsIn::Docker => {
            let mut settings = docker_settings(runner, &local.docker, short_token, helper_binary)?;
            settings.builds_root = builds_root;
            settings.private_images = options.data.join("private-images.json");
            let executor = DockerExecutor::connect(settings).await;
            Ok(Arc::new(executor.map_err(SetupError::Host)?))
        }
    }
}

/// The bucket that the settings name, or else a folder of this host.
fn cache_of(local: &LocalRunner, options: &LocalOptions) -> CachePlace {
    let name = &local.runner.name;
    if let (Some(cache), Some(client)) = (&local.cache, options.buckets.get(name)) {
        return CachePlace::in_bucket(cache, client.clone());
    }
    let folder = match &local.runner.cache_dir {
        Some(folder) => PathBuf::from(folder),
        None => options.data.join("cache"),
    };
    CachePlace::Local(folder.join(folder_of(name)))
}

/// Checks that no two runners share a folder, in which their jobs would disturb each other.
fn own_folders(runners: &[LocalRunner]) -> Result<(), SetupError> {
    let mut folders = BTreeMap::new();
    for local in runners {
        let name = &local.runner.name;
        if let Some(other) = folders.insert(folder_of(name), name) {
            return Err(SetupError::OneFolder {
                one: other.clone(),
                other: name.clone(),
            });
        }
    }
    Ok(())
}

/// A folder's name made from a runner's.
fn folder_of(name: &str) -> String {
    name.chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '.' {
                c
            } else {
                '-'
            }
        })
        .collect()
}

fn slots_of(limit: u32, concurrent: u32) -> u32 {
    match limit {
        0 => concurrent.max(1),
        limit => limit.min(concurrent.max(1)),
    }
}

fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// Shorter intervals, because reading from memory costs nothing.
fn timing() -> Timing {
    Timing {
        order_poll: Duration::from_millis(100),
        round: Duration::from_millis(200),
        ..Timing::default()
    }
}

#[cfg(test)]
mod tests {
    use onspot_ledger::{BootId, JobLabel, Restart, State, create};
    use onspot_settings::{Cache, Docker, Runner};

    use super::*;

    #[tokio::test]
    async fn what_is_stored_of_this_very_attempt_counts() {
        let (ledger, worker) = (MemoryLedger::new(), WorkerId::of("r", "host"));
        let (job, now) = (JobKey::new(&RunnerName::new("r"), 1), Timestamp::UNIX_EPOCH);
        let mut state = State::first(&BootId::new("b"), "1", 1, now);
        state.accept(1, 1, now);
        let verdict = Verdict::success();
        state.advance(1, 1, AttemptPhase::Result { verdict });
        create(&ledger, &Key::state(&worker), state).await.unwrap();
        let record = Record::received(JobLabel::default(), Restart::Allowed, now, now);
        let first = record.assigned(&worker, None, now).unwrap();
        let verdict = Verdict::success();
        let phase = phase_of(&ledger, &worker, &job, &first).await;
        assert_eq!(phase, Some(AttemptPhase::Result { verdict }));
        let lost = first.next_attempt("lost", true, None, now).unwrap();
        let second = lost.assigned(&worker, None, now).unwrap();
        assert_eq!(phase_of(&ledger, &worker, &job, &second).await, None);
    }

    fn runners(names: [&str; 2], cache: Option<&Cache>) -> Vec<LocalRunner> {
        let runner = |name: &str| LocalRunner {
            runner: Runner::new(name, "https://gitlab.example".parse().unwrap()),
            jobs: JobsIn::Docker,
            docker: Docker::default(),
            cache: cache.cloned(),
        };
        names.map(runner).to_vec()
    }

    #[test]
    fn runners_that_would_share_a_folder_are_refused() {
        let error = own_folders(&runners(["a b", "a_b"], None)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the runners a b and a_b would have one folder"
        );
        own_folders(&runners(["a b", "a.b"], None)).unwrap();
    }

    fn options(bucket_of: &str) -> LocalOptions {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(aws_sdk_s3::config::BehaviorVersion::latest())
            .region(aws_sdk_s3::config::Region::new("eu-west-1"))
            .build();
        let client = aws_sdk_s3::Client::from_conf(config);
        LocalOptions {
            tokens: BTreeMap::new(),
            buckets: BTreeMap::from([(bucket_of.to_owned(), client.into())]),
            liveness: Liveness::new(),
            data: "/data".into(),
            helper_binary: "/onspot".into(),
        }
    }

    #[test]
    fn the_cache_is_in_the_bucket_that_the_configuration_names() {
        let cache = Cache {
            bucket: "b".into(),
            prefix: Some("ci".into()),
            shared: true,
            upload_limit: 4096,
            encryption: None,
            encryption_key: None,
        };
        let runner = runners(["a", "b"], Some(&cache)).remove(0);
        match cache_of(&runner, &options("a")) {
            CachePlace::S3 {
                bucket,
                prefix,
                shared,
                upload_limit,
                ..
            } => {
                assert_eq!((bucket.as_str(), prefix.as_deref()), ("b", Some("ci")));
                assert_eq!((shared, upload_limit), (true, Some(4096)));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_a_bucket_it_is_on_the_host() {
        let runner = runners(["a", "b"], None).remove(0);
        match cache_of(&runner, &options("none")) {
            CachePlace::Local(folder) => assert_eq!(folder, PathBuf::from("/data/cache/a")),
            other => panic!("{other:?}"),
        }
    }
}
