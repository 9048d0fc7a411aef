//! Runs the job's own scripts: the steps, and `after_script`.

use std::time::Duration;

use onspot_gitlab::FailureReason;
use onspot_notation::duration;

use super::{Course, End};
use crate::control::{Control, Interruption};
use crate::error::Error;
use crate::host::Host;
use crate::plan::StepPlan;
use crate::run::Event;

impl<H: Host> Course<'_, H> {
    /// Runs the job's steps one by one, up to the first that fails.
    pub(super) async fn steps(&self) -> Result<(), End> {
        self.tell(Event::Started).await;
        let limit = self.limit("RUNNER_SCRIPT_TIMEOUT");
        let control =
            limit.map_or_else(|| self.control.clone(), |limit| self.control.within(limit));
        let last = self.plan.steps.len().saturating_sub(1);
        for (index, step) in self.plan.steps.iter().enumerate() {
            self.step(step, &control, index == last).await?;
        }
        Ok(())
    }

    async fn step(&self, step: &StepPlan, control: &Control, is_last: bool) -> Result<(), End> {
        let title = format!("Executing \"{}\" stage of the job script", step.section);
        let began = self.begin(&step.section, &title).await;
        let result = match self.script(&step.script, control).await {
            Ok(Ok(exit_code)) => {
                if is_last || exit_code != 0 {
                    self.tell(Event::ScriptDone { exit_code }).await;
                }
                match exit_code {
                    0 => Ok(()),
                    code => Err(End::Failed {
                        reason: FailureReason::ScriptFailure,
                        exit_code: Some(code),
                        message: format!("exit code {code}"),
                    }),
                }
            }
            Ok(Err(error)) => Err(End::error(&error)),
            Err(interruption) => {
                if interruption == Interruption::TimedOut {
                    self.warn(&unfinished(&step.section));
                }
                let limit = self.plan.limit("RUNNER_SCRIPT_TIMEOUT");
                let limit = limit
                    .unwrap_or_default()
                    .filter(|_| !self.control.is_late())
                    .unwrap_or(self.run.timeout);
                Err(End::interrupted(interruption, limit))
            }
        };
        self.end(&step.section, began, &result).await;
        result
    }

    /// Runs a script; if interrupted, it is stopped before this returns.
    async fn script(
        &self,
        script: &str,
        control: &Control,
    ) -> Result<Result<i32, Error>, Interruption> {
        let mut running = std::pin::pin!(self.host.script(script, &self.run.trace));
        let interruption = tokio::select! {
            done = &mut running => return Ok(done),
            interruption = control.interrupted(true) => interruption,
        };
        match interruption {
            // Output during the stop still belongs in the trace.
            Interruption::Canceled | Interruption::TimedOut => {
                let stopping = async { tokio::join!(self.host.stop_script(), &mut running) };
                tokio::select! {
                    _ = stopping => Err(interruption),
                    () = self.control.aborted() => Err(Interruption::Aborted),
                }
            }
            Interruption::Aborted => Err(Interruption::Aborted),
        }
    }

    /// Runs `after_script`, and returns the job's result after it.
    pub(super) async fn after_script(&self, end: Result<(), End>) -> Result<(), End> {
        let status = match &end {
            Ok(()) => "success",
            Err(End::Canceled) => "canceled",
            Err(End::Failed {
                reason: FailureReason::JobExecutionTimeout,
                ..
            }) => "timedout",
            Err(_) => "failed",
        };
        let Some(script) = self.plan.after_script(status) else {
            return end;
        };
        if self.control.is_late() {
            return end;
        }
        let limit = self.limit("RUNNER_AFTER_SCRIPT_TIMEOUT");
        let limit = limit.unwrap_or(self.after_script_timeout);
        let began = self.begin("after_script", "Running after_script").await;
        let running = self.host.script(&script, &self.run.trace);
        let result = match self.control.within(limit).guard_from_abort(running).await {
            Ok(Ok(0)) => end,
            Ok(Ok(code)) => self.after_script_failed(
                end,
                Some(code),
                &format!("after_script failed (exit code {code})"),
                format!("exit code {code}"),
            ),
            Ok(Err(error)) => {
                let failed = format!("after_script could not run: {error}");
                self.after_script_failed(end, None, &failed, failed.clone())
            }
            Err(Interruption::Aborted) => Err(End::Aborted),
            Err(_) => {
                self.warn(&unfinished("after_script"));
                let limit = duration::brief(limit);
                let failed = format!("after_script was stopped after {limit}");
                self.after_script_failed(end, None, &failed, failed.clone())
            }
        };
        self.end("after_script", began, &result).await;
        result
    }

    /// The limit set by a variable. An unreadable one is reported in the trace.
    fn limit(&self, variable: &str) -> Option<Duration> {
        self.plan.limit(variable).unwrap_or_else(|error| {
            self.warn(&format!("{variable} is ignored: {error}; {}", error.hint()));
            None
        })
    }

    /// A failure of `after_script` fails the job only if the job wants that
    /// (`AFTER_SCRIPT_IGNORE_ERRORS`), and if it has not failed before. `message` is for the
    /// trace's last line, the same as after a script.
    fn after_script_failed(
        &self,
        end: Result<(), End>,
        exit_code: Option<i32>,
        what: &str,
        message: String,
    ) -> Result<(), End> {
        if end.is_err() || self.plan.ignores_after_script() {
            self.warn(&format!("{what}; the job goes on"));
            return end;
        }
        Err(End::Failed {
            reason: FailureReason::ScriptFailure,
            exit_code,
            message,
        })
    }
}

/// What a script's author is told when its time is up, as with GitLab Runner.
fn unfinished(section: &str) -> String {
    format!(
        "{section} could not run to completion because the timeout was exceeded. For more control \
         over job and script timeouts see: https://docs.gitlab.com/ci/runners/configure_runners/\
         #set-script-and-after_script-timeouts"
    )
}
