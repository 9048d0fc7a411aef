//! Takes in a job that GitLab handed out: it is written down before anything else (rule 1).

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use onspot_gitlab::{AssignedJob, JobPayload, Variables};
use onspot_ledger::{
    Error, JobKey, JobLabel, JobPayload as RawPayload, Key, Ledger, Record, Restart, RunnerName,
    Verdict, establish,
};

use super::{LeaderContext, RunnerContext, chain};

/// The time limit of a job for which GitLab names none: GitLab's own default.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_hours(1);
/// GitLab's clock runs from its 201 on. This much of the job's time is left unused, so that onspot
/// reports before GitLab ends the job.
const RESERVE: Duration = Duration::from_mins(1);
/// The first wait between tries to write a record; it doubles up to [`SLOWEST_WRITE`].
const FIRST_WRITE: Duration = Duration::from_millis(100);
/// The longest wait between tries to write a record. It is short, because nobody else knows of the
/// job.
const SLOWEST_WRITE: Duration = Duration::from_secs(5);

/// Writes a received job down, payload first (rule 1), and only then tells GitLab.
pub(super) async fn take_in(
    context: &LeaderContext,
    runner: &RunnerName,
    runner_context: &RunnerContext,
    assigned: AssignedJob,
) {
    let AssignedJob { raw, job } = assigned;
    let now = context.clock.now();
    let key = JobKey::new(runner, job.id.0);
    let record = Record::received(
        label_of(&job),
        restart_of(&job),
        now,
        deadline_of(&job, now),
    );
    tracing::info!(job = key.id, %runner, name = record.label.name,
        project = record.label.project, "received");
    write_down(context, &key, raw, record).await;
    let coordinator = Arc::clone(&runner_context.coordinator);
    tokio::spawn(async move {
        if let Err(error) = coordinator.keep_alive(&job).await {
            tracing::warn!(job = job.id.0, %error, "GitLab was not told that the job is taken");
        }
    });
}

/// Writes down a job whose payload this version can't read, so that it fails.
pub(super) async fn take_in_unreadable(
    context: &LeaderContext,
    runner: &RunnerName,
    id: u64,
    token: &str,
    source: &serde_json::Error,
) {
    let now = context.clock.now();
    let verdict = Verdict::failed(
        "runner_system_failure",
        format!("this version of onspot can't read the job: {source}"),
    );
    let record = Record::received(
        JobLabel::default(),
        Restart::Never,
        now,
        now + DEFAULT_TIMEOUT,
    );
    let record = record.finishing(verdict, now).unwrap_or(record);
    let raw = serde_json::json!({"id": id, "token": token});
    write_down(context, &JobKey::new(runner, id), raw, record).await;
}

/// Repeats until both objects are written or the job is already over. An earlier try may have been
/// applied without an answer, and others may have continued from it.
async fn write_down(context: &LeaderContext, key: &JobKey, raw: serde_json::Value, record: Record) {
    let mut wait = FIRST_WRITE;
    let mut tried = false;
    loop {
        match stands(&*context.ledger, key, &raw, &record, tried).await {
            Ok(true) => return,
            // The object that made the write fail was gone when it was read.
            Ok(false) => tracing::info!(job = key.id, "not written down yet"),
            Err(error) => {
                tracing::warn!(job = key.id, error = %chain(&error), "not written down yet");
            }
        }
        tried = true;
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(SLOWEST_WRITE);
    }
}

/// Tries to write both objects, and returns whether they exist. A refusal alone proves nothing, so
/// the existing object is read after it.
async fn stands(
    ledger: &dyn Ledger,
    key: &JobKey,
    raw: &serde_json::Value,
    record: &Record,
    tried: bool,
) -> Result<bool, Error> {
    // An earlier try has written its record, which has been removed since and must not come back.
    if tried && ledger.get(Key::past(key).as_str()).await?.is_some() {
        return Ok(true);
    }
    let payload = RawPayload { raw: raw.clone() };
    if establish(ledger, &Key::job_payload(key), payload)
        .await?
        .is_none()
    {
        return Ok(false);
    }
    match establish(ledger, &Key::record(key), record.clone()).await {
        Ok(standing) => Ok(standing.is_some()),
        // It exists, written by another version.
        Err(Error::Malformed { .. }) => Ok(true),
        Err(error) => Err(error),
    }
}

fn label_of(job: &JobPayload) -> JobLabel {
    let info = &job.job_info;
    let path = &info.project_full_path;
    let project = if path.is_empty() {
        &info.project_name
    } else {
        path
    };
    JobLabel {
        project: project.clone(),
        name: info.name.clone(),
        stage: info.stage.clone(),
    }
}

/// `ONSPOT_RESTART` decides; without it, a job that deploys or runs on a tag is not started twice.
fn restart_of(job: &JobPayload) -> Restart {
    let variables = Variables::of(job);
    let is_set = |name: &str| variables.get(name).is_some_and(|value| !value.is_empty());
    match variables.get("ONSPOT_RESTART") {
        Some("never") => Restart::Never,
        Some("always") => Restart::Allowed,
        _ if is_set("CI_ENVIRONMENT_NAME") || is_set("CI_COMMIT_TAG") => Restart::Never,
        _ => Restart::Allowed,
    }
}

/// How long GitLab gives the job.
pub(super) fn timeout_of(job: &JobPayload) -> Duration {
    match job.runner_info.timeout {
        0 => DEFAULT_TIMEOUT,
        seconds => Duration::from_secs(seconds),
    }
}

fn deadline_of(job: &JobPayload, received_at: Timestamp) -> Timestamp {
    let timeout = timeout_of(job);
    // A very short job keeps half of its time.
    let usable = timeout.saturating_sub(RESERVE).max(timeout / 2);
    let usable = SignedDuration::try_from(usable).unwrap_or(SignedDuration::from_hours(24 * 30));
    received_at.checked_add(usable).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use onspot_gitlab::Variable;
    use onspot_ledger::{MemoryLedger, PastJob, create};

    use super::*;

    fn job(variables: &[(&str, &str)]) -> JobPayload {
        let variables = variables.iter().map(|(key, value)| Variable {
            key: (*key).to_owned(),
            value: (*value).to_owned(),
            ..Variable::default()
        });
        JobPayload {
            variables: variables.collect(),
            ..JobPayload::default()
        }
    }

    /// Its first try was applied without an answer, and the job is over since.
    #[tokio::test]
    async fn a_record_that_is_tried_again_does_not_bring_a_job_back_that_is_over() {
        let (ledger, now) = (MemoryLedger::new(), Timestamp::UNIX_EPOCH);
        let key = JobKey::new(&RunnerName::new("r"), 7);
        let record = Record::received(JobLabel::default(), Restart::Allowed, now, now);
        let raw = serde_json::json!({"id": 7, "token": "t"});
        let past = PastJob {
            job: key.clone(),
            record: record.clone(),
        };
        create(&ledger, &Key::past(&key), past).await.unwrap();
        assert!(stands(&ledger, &key, &raw, &record, true).await.unwrap());
        assert!(ledger.list("job/").await.unwrap().is_empty());
        assert!(stands(&ledger, &key, &raw, &record, false).await.unwrap());
        assert_eq!(ledger.list("job/").await.unwrap().len(), 2);
    }

    #[test]
    fn jobs_that_deploy_or_are_on_a_tag_are_not_started_twice() {
        assert_eq!(restart_of(&job(&[])), Restart::Allowed);
        assert_eq!(
            restart_of(&job(&[("CI_ENVIRONMENT_NAME", "prod")])),
            Restart::Never
        );
        assert_eq!(
            restart_of(&job(&[("CI_ENVIRONMENT_NAME", "")])),
            Restart::Allowed
        );
        assert_eq!(restart_of(&job(&[("CI_COMMIT_TAG", "v1")])), Restart::Never);
        assert_eq!(
            restart_of(&job(&[("ONSPOT_RESTART", "never")])),
            Restart::Never
        );
        let asked = [("CI_COMMIT_TAG", "v1"), ("ONSPOT_RESTART", "always")];
        assert_eq!(restart_of(&job(&asked)), Restart::Allowed);
    }

    #[test]
    fn the_deadline_leaves_a_minute_of_gitlabs_time() {
        let deadline = |timeout| {
            let mut job = job(&[]);
            job.runner_info.timeout = timeout;
            deadline_of(&job, Timestamp::UNIX_EPOCH).as_second()
        };
        assert_eq!(deadline(3600), 3540);
        assert_eq!(deadline(0), 3540);
        assert_eq!(deadline(60), 30);
    }
}
