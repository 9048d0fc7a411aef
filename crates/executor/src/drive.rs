//! The steps of a job, the same in Docker and in a shell: sources, cache, artifacts, script,
//! after_script, cache, artifacts, clean-up.

mod files;
mod scripts;
mod storage;

use std::collections::BTreeMap;
use std::time::Duration;

use onspot_gitlab::FailureReason;
use onspot_gitlab::ansi;
use onspot_notation::duration;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::control::{Control, Interruption};
use crate::error::Error;
use crate::helper::{HelperAnswer, HelperCall, HelperRequest};
use crate::host::Host;
use crate::plan::JobPlan;
use crate::run::{Event, JobRun, Outcome};
use crate::settings::RunnerSettings;

/// Why a job ends early.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Failed {
        reason: FailureReason,
        exit_code: Option<i32>,
        message: String,
    },
    Canceled,
    Aborted,
}

impl End {
    fn error(error: &Error) -> Self {
        let hint = error
            .hint()
            .map_or_else(String::new, |hint| format!(" ({hint})"));
        Self::Failed {
            reason: error.failure_reason(),
            exit_code: error.exit_code(),
            message: format!("{error}{hint}"),
        }
    }

    /// Whether something went wrong, and not only took too long.
    fn is_failure(&self) -> bool {
        match self {
            Self::Failed { reason, .. } => *reason != FailureReason::JobExecutionTimeout,
            Self::Canceled | Self::Aborted => false,
        }
    }

    fn interrupted(interruption: Interruption, limit: Duration) -> Self {
        match interruption {
            Interruption::Canceled => Self::Canceled,
            Interruption::Aborted => Self::Aborted,
            Interruption::TimedOut => Self::Failed {
                reason: FailureReason::JobExecutionTimeout,
                exit_code: None,
                message: format!(
                    "execution took longer than {}",
                    duration::brief(Duration::from_secs(limit.as_secs()))
                ),
            },
        }
    }
}

/// A running job.
struct Course<'a, H> {
    host: &'a mut H,
    run: &'a JobRun,
    plan: &'a JobPlan,
    control: Control,
    after_script_timeout: Duration,
    /// The fingerprints of caches that the job has as they are stored, by their names.
    restored: Mutex<BTreeMap<String, String>>,
}

/// Runs a planned job on a host. The host is cleaned up whatever happens.
pub(crate) async fn drive<H: Host>(
    host: &mut H,
    run: &JobRun,
    plan: &JobPlan,
    after_script_timeout: Duration,
) -> Outcome {
    // Values that only expand here, with this place's and this runner's variables, are secret too.
    let masks = plan.variables.mask_values();
    if let Err(error) = run.trace.add_masks(&masks) {
        return refuse(run, &Error::Masks(error));
    }
    let control = Control::new(run.stop.clone(), run.timeout);
    let mut course = Course {
        host,
        run,
        plan,
        control,
        after_script_timeout,
        restored: Mutex::default(),
    };
    // Boxed, so that the caller's future does not contain all of it.
    let end = Box::pin(course.run()).await;
    course.host.clean_up().await;
    finish(run, end)
}

/// Writes the first line of every attempt: the runner that has the job now. The caller has written
/// the machine.
pub(crate) fn greet(run: &JobRun, runner: &RunnerSettings) {
    let short = match runner.short_token.as_str() {
        "" if run.short_token.is_empty() => String::new(),
        "" => format!(" ({})", run.short_token),
        short => format!(" ({short})"),
    };
    run.trace.info(&format!(
        "Runner {}{short}, slot {}",
        runner.runner.name, run.slot
    ));
}

/// Fails a job that could not be planned.
pub(crate) fn refuse(run: &JobRun, error: &Error) -> Outcome {
    finish(run, Err(End::error(error)))
}

fn finish(run: &JobRun, end: Result<(), End>) -> Outcome {
    match end {
        Ok(()) => {
            run.trace
                .line(&format!("{}Job succeeded{}", ansi::BOLD_GREEN, ansi::RESET));
            Outcome::Success
        }
        Err(End::Failed {
            reason,
            exit_code,
            message,
        }) => {
            run.trace.error(&format!("Job failed: {message}"));
            Outcome::Failed {
                reason,
                exit_code,
                message,
            }
        }
        Err(End::Canceled) => {
            run.trace.error("Job failed: canceled");
            Outcome::Canceled
        }
        Err(End::Aborted) => Outcome::Aborted,
    }
}

impl<H: Host> Course<'_, H> {
    async fn run(&mut self) -> Result<(), End> {
        self.prepare().await?;
        let end = self.stages().await;
        if end != Err(End::Aborted) {
            self.clean_up().await?;
        }
        end
    }

    async fn stages(&mut self) -> Result<(), End> {
        let end = match self.files().await {
            Ok(()) => {
                self.get_ready().await?;
                let end = self.steps().await;
                if end == Err(End::Aborted) {
                    return end;
                }
                self.after_script(end).await
            }
            // As in GitLab Runner, what is kept of a failed job is kept of this one too.
            Err(end) if end.is_failure() => Err(end),
            Err(end) => return Err(end),
        };
        if end == Err(End::Aborted) {
            return end;
        }
        // The files to pack must not change any more, and no process may interfere with the
        // packing.
        if let Err(error) = self.host.end_scripts().await {
            return end.and(Err(End::error(&error)));
        }
        if self.control.is_late() {
            return end;
        }
        self.save_all(end).await
    }

    /// Saves caches and uploads artifacts. A cancel does not stop this: as in GitLab Runner, a
    /// canceled job saves what a failed one saves.
    async fn save_all(&mut self, end: Result<(), End>) -> Result<(), End> {
        let success = end.is_ok();
        let unlimited = self.control.clone();
        if end == Err(End::Canceled) {
            self.control = unlimited.within(CANCELED_LIMIT);
        }
        let mut end = first(end, self.save_caches(success).await);
        if end != Err(End::Aborted) {
            end = first(end, self.upload_artifacts(success).await);
        }
        self.control = unlimited;
        if end.is_ok() && self.control.is_canceled() {
            return Err(End::Canceled);
        }
        end
    }

    /// Prepares everything that the script needs, then asks whether it may start.
    async fn get_ready(&mut self) -> Result<(), End> {
        let limit = self.run.timeout;
        let ready = self
            .control
            .guard(self.host.get_ready(&self.run.trace))
            .await;
        settle(ready, limit)?;
        let (answer, may_start) = oneshot::channel();
        if self
            .run
            .events
            .send(Event::ReadyToStart(answer))
            .await
            .is_err()
        {
            return Err(End::Aborted);
        }
        match self.control.guard(may_start).await {
            Ok(Ok(true)) => Ok(()),
            Ok(_) => Err(End::Aborted),
            Err(interruption) => Err(End::interrupted(interruption, limit)),
        }
    }

    /// Removes files that exist only for the job's duration.
    async fn clean_up(&self) -> Result<(), End> {
        let name = "cleanup_file_variables";
        let began = self.begin(name, "Cleaning up file based variables").await;
        let work = self.call(HelperRequest::CleanUp);
        let result = match self
            .control
            .afresh(CLEAN_UP_LIMIT)
            .guard_from_abort(work)
            .await
        {
            Err(Interruption::Aborted) => Err(End::Aborted),
            Ok(Err(error)) => {
                self.warn(&error.to_string());
                Ok(())
            }
            Ok(Ok(_)) | Err(_) => Ok(()),
        };
        self.end(name, began, &result).await;
        result
    }

    /// One section of the trace, interrupted by a stop or by the job's timeout.
    async fn section<T>(
        &self,
        name: &str,
        title: &str,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, End> {
        let began = self.begin(name, title).await;
        let result = settle(self.control.guard(work).await, self.run.timeout);
        self.end(name, began, &result).await;
        result
    }

    /// A section after the script, which a cancel no longer interrupts.
    async fn late_section<T>(
        &self,
        name: &str,
        title: &str,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, End> {
        let began = self.begin(name, title).await;
        let guarded = self.control.guard_from_abort(work).await;
        let result = settle(guarded, self.run.timeout);
        self.end(name, began, &result).await;
        result
    }

    async fn begin(&self, name: &str, title: &str) -> Instant {
        self.run.trace.section_start(name, title, false);
        if !name.starts_with("step_") && name != "after_script" {
            self.tell(Event::Preparing(name.to_owned())).await;
        }
        Instant::now()
    }

    async fn end<T>(&self, name: &str, began: Instant, result: &Result<T, End>) {
        // After an abort, another worker may be writing the trace.
        if !matches!(result, Err(End::Aborted)) {
            self.run.trace.section_end(name);
        }
        self.tell(Event::Step {
            name: name.to_owned(),
            duration: began.elapsed(),
        })
        .await;
    }

    async fn call(&self, request: HelperRequest) -> Result<HelperAnswer, Error> {
        let call = HelperCall {
            place: self.plan.place.clone(),
            request,
        };
        loop {
            let freezes = self.host.freezes();
            let answer = self.host.call(&call, &self.run.trace).await;
            if answer.is_ok() || self.host.freezes() == freezes {
                return answer;
            }
            // The server it was connected to has not waited for the frozen helper.
            self.warn("this is repeated, because the job was frozen meanwhile");
        }
    }

    fn warn(&self, text: &str) {
        self.run.trace.warning(text);
    }

    async fn tell(&self, event: Event) {
        // A dropped receiver only means that nobody wants the events; the job continues.
        let _ = self.run.events.send(event).await;
    }
}

/// Time limit for the clean-up.
const CLEAN_UP_LIMIT: Duration = Duration::from_secs(30);

/// Time limit for caches and artifacts of a canceled job, because somebody waits for its end.
const CANCELED_LIMIT: Duration = Duration::from_mins(10);

/// The first error, unless the second is an abort, which takes precedence.
fn first(end: Result<(), End>, then: Result<(), End>) -> Result<(), End> {
    match then {
        Err(End::Aborted) => then,
        then => end.and(then),
    }
}

fn settle<T>(guarded: Result<Result<T, Error>, Interruption>, limit: Duration) -> Result<T, End> {
    match guarded {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(End::error(&error)),
        Err(interruption) => Err(End::interrupted(interruption, limit)),
    }
}

#[cfg(test)]
mod tests;
