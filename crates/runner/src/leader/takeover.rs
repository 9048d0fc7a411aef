//! Decides what to do about a job that a worker has: rules 5 and 11 to 14 as one pure function.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use onspot_ledger::{
    Ask, Attempt, AttemptPhase, Intake, Order, Phase, Record, Restart, State, Step, Verdict,
};
use onspot_settings::Timing;

/// How often a job is tried before it fails.
const MAX_ATTEMPTS: u32 = 5;

/// What the leader knows about a worker from sources other than the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WorkerStatus {
    /// The worker will do nothing any more: EC2 said before the state was read that the instance is
    /// terminated (rule 12), or EC2 does not know it, it is silent and it has no order.
    pub gone: bool,
    /// For how long the state has been the same, by the leader's clock (rule 10).
    pub silent_for: Duration,
    /// For how long the attempt has been revoked, by the leader's clock.
    pub revoked_for: Duration,
    /// There is a state, but it can't be read, so the attempt may have started.
    pub unreadable: bool,
}

/// What to do about an assigned job.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Judgement {
    /// Do nothing: its worker handles it.
    Keep,
    /// Write *run(attempt)* into the order (rule 5).
    Order,
    /// Write *revoked(attempt)* into the order; the state is judged in the next round (rule 11).
    Revoke {
        /// Why, for people.
        why: String,
    },
    /// The worker is alive but does not give up what was revoked. Terminate its instance; rule 12
    /// settles the rest.
    Evict,
    /// The worker has told GitLab: the job is over.
    Confirm {
        /// What GitLab was told.
        verdict: Verdict,
        /// The attempt's steps.
        steps: Vec<Step>,
    },
    /// The worker has a result but can't report it any more, so a manager will.
    Adopt {
        /// The result.
        verdict: Verdict,
        /// The attempt's steps.
        steps: Vec<Step>,
    },
    /// The attempt is lost; the job waits for the next one.
    Retry {
        /// Why, for people.
        why: String,
        /// Whether the script may have begun.
        started: bool,
    },
    /// The attempt is lost, and there may not or can't be another.
    Fail {
        /// Why, for people.
        why: String,
        /// Whether the script may have begun.
        started: bool,
        /// What GitLab is told.
        verdict: Verdict,
    },
}

/// Judges one assigned job. `order` was read before `record`, and `record` before `state`
/// (rule 4).
pub(crate) fn judge(
    job: u64,
    record: &Record,
    order: Option<&Order>,
    state: Option<&State>,
    status: WorkerStatus,
    timing: &Timing,
    now: Timestamp,
) -> Judgement {
    let Phase::Assigned { worker } = &record.phase else {
        return Judgement::Keep;
    };
    let instance = worker.instance();
    let mine = state
        .and_then(|state| state.jobs.get(&job))
        .filter(|attempt| attempt.attempt == record.attempt);
    let lost =
        |why: String, started: bool| retry_or_fail(record, why, started || status.unreadable, now);
    if status.gone {
        let why = format!("worker {instance} was terminated");
        return after_the_end(mine).unwrap_or_else(|started| lost(why, started));
    }
    let silent = status.silent_for >= timing.takeover;
    let entry = order.and_then(|order| order.entries.get(&job));
    match entry {
        Some(entry) if entry.attempt == record.attempt && entry.ask == Ask::Revoked => {
            let phase = mine.map(|attempt| &attempt.phase);
            let started = phase == Some(&AttemptPhase::Started);
            if !silent && (started || phase.is_none() && status.unreadable) {
                return wait_or_evict(status, timing);
            }
            if let Some(AttemptPhase::GivenUp { started, why }) = phase {
                return lost(format!("worker {instance} gave it up: {why}"), *started);
            }
            after_the_end(mine).unwrap_or_else(|started| {
                let why = if silent {
                    why_silent(instance, status)
                } else {
                    format!("it was taken back from worker {instance} before it started")
                };
                lost(why, started)
            })
        }
        _ if silent => Judgement::Revoke {
            why: why_silent(instance, status),
        },
        Some(entry) if entry.attempt == record.attempt => {
            in_its_hands(instance, record, state, mine, timing, now)
        }
        // Absent, or a leftover of an earlier attempt on the same worker.
        _ => Judgement::Order,
    }
}

/// The revoked attempt has started and its worker is alive, so the worker will report "given up"
/// once it has stopped the attempt. A worker that does not is stuck.
fn wait_or_evict(status: WorkerStatus, timing: &Timing) -> Judgement {
    if status.revoked_for >= timing.takeover {
        Judgement::Evict
    } else {
        Judgement::Keep
    }
}

fn why_silent(instance: &str, status: WorkerStatus) -> String {
    let seconds = status.silent_for.as_secs();
    format!("worker {instance} was lost after {seconds} s of silence")
}

/// The order says *run(attempt)* and the worker is not silent.
fn in_its_hands(
    instance: &str,
    record: &Record,
    state: Option<&State>,
    mine: Option<&Attempt>,
    timing: &Timing,
    now: Timestamp,
) -> Judgement {
    match mine {
        Some(Attempt {
            phase: AttemptPhase::Reported { verdict },
            steps,
            ..
        }) => {
            return Judgement::Confirm {
                verdict: verdict.clone(),
                steps: steps.clone(),
            };
        }
        // The worker gave it up by itself, so nothing needs to be revoked.
        Some(Attempt {
            phase: AttemptPhase::GivenUp { started, why },
            ..
        }) => {
            let why = format!("worker {instance} gave it up: {why}");
            return retry_or_fail(record, why, *started, now);
        }
        None if state.is_some_and(|state| state.intake != Intake::Open) => {
            return Judgement::Revoke {
                why: format!("worker {instance} takes no new jobs"),
            };
        }
        _ => {}
    }
    // A worker itself ends a job at its deadline and reports it. This handles a worker that does
    // not.
    let lease = SignedDuration::try_from(timing.lease).unwrap_or(SignedDuration::ZERO);
    if now > record.deadline + lease {
        return Judgement::Revoke {
            why: format!("worker {instance} did not end it in time"),
        };
    }
    Judgement::Keep
}

/// What remains of an attempt whose worker does nothing more about it: a usable result, or else
/// whether the script may have begun.
pub(super) fn after_the_end(mine: Option<&Attempt>) -> Result<Judgement, bool> {
    let Some(Attempt { phase, steps, .. }) = mine else {
        return Err(false);
    };
    match phase {
        AttemptPhase::Reported { verdict } => Ok(Judgement::Confirm {
            verdict: verdict.clone(),
            steps: steps.clone(),
        }),
        AttemptPhase::Result { verdict } => Ok(Judgement::Adopt {
            verdict: verdict.clone(),
            steps: steps.clone(),
        }),
        phase => Err(phase.has_started()),
    }
}

/// A lost attempt is retried only if the job may be started again and the remaining time covers
/// what the lost attempt took.
fn retry_or_fail(record: &Record, why: String, started: bool, now: Timestamp) -> Judgement {
    let fail = |why: String, message: String| Judgement::Fail {
        why,
        started,
        verdict: Verdict::failed("runner_system_failure", message),
    };
    if started && record.restart == Restart::Never {
        let message = format!("{why}, and its script must not be started twice");
        return fail(why, message);
    }
    if record.attempt >= MAX_ATTEMPTS {
        let message = format!("{why}; this was attempt {}, the last one", record.attempt);
        return fail(why, message);
    }
    let left = now.duration_until(record.deadline);
    let took = match record.assigned_at() {
        Some(assigned) if started => assigned.duration_until(now),
        _ => SignedDuration::ZERO,
    };
    if left <= took {
        let message = format!(
            "{why}, and the {} s left of its time do not cover the {} s it took so far",
            left.as_secs().max(0),
            took.as_secs()
        );
        return fail(why, message);
    }
    Judgement::Retry { why, started }
}

#[cfg(test)]
mod tests;
