//! What an order asks for, given the agent's attempts. Pure.

use std::collections::BTreeMap;

use onspot_ledger::{Ask, AttemptPhase, Intake, Order, State, Verdict};

/// The agent's attempts and limits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Present {
    /// The attempts whose tasks have not ended, by job.
    pub running: BTreeMap<u64, u32>,
    /// How many jobs may run at once.
    pub slots: usize,
    /// Whether the lease holds.
    pub lease: bool,
    /// After how many attempts nothing more is taken; 0 means never.
    pub max_builds: u32,
    /// Whether the worker will shut itself down.
    pub retiring: bool,
}

/// Something to do about one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Todo {
    /// Take the attempt into a free slot.
    Accept {
        /// The job.
        job: u64,
        /// The attempt.
        attempt: u32,
    },
    /// Kill it and tell nobody, because it does not belong to this worker any more.
    Abort {
        /// The job.
        job: u64,
    },
}

/// What to do about each job.
pub(crate) fn todo(order: &Order, state: &State, present: &Present) -> Vec<Todo> {
    let mut todo = Vec::new();
    for (&job, &attempt) in &present.running {
        if !order.runs(job, attempt) {
            todo.push(Todo::Abort { job });
        }
    }
    if !takes_new(order, state, present.max_builds) || !present.lease || present.retiring {
        return todo;
    }
    let mut free = present.slots.saturating_sub(present.running.len());
    let left = match present.max_builds {
        0 => u32::MAX,
        most => most.saturating_sub(state.uses),
    };
    free = free.min(usize::try_from(left).unwrap_or(usize::MAX));
    for (&job, entry) in &order.entries {
        let known = state
            .jobs
            .get(&job)
            .is_some_and(|known| known.attempt >= entry.attempt);
        let busy = present.running.contains_key(&job);
        if entry.ask == Ask::Run && !known && !busy && free > 0 {
            free -= 1;
            todo.push(Todo::Accept {
                job,
                attempt: entry.attempt,
            });
        }
    }
    todo
}

/// The intake: drained only when nothing is left to do.
pub(crate) fn intake(order: &Order, state: &State, max_builds: u32, running: &[u64]) -> Intake {
    if takes_new(order, state, max_builds) {
        return Intake::Open;
    }
    closed(state, running)
}

/// The intake of a worker that takes nothing new.
pub(crate) fn closed(state: &State, running: &[u64]) -> Intake {
    let unfinished = state.jobs.values().any(|attempt| !attempt.phase.is_over());
    if unfinished || !running.is_empty() {
        Intake::Draining
    } else {
        Intake::Drained
    }
}

/// The results that were stored but may not have been reported.
pub(crate) fn untold(state: &State) -> Vec<(u64, u32, Verdict)> {
    let results = state
        .jobs
        .iter()
        .filter_map(|(job, attempt)| match &attempt.phase {
            AttemptPhase::Result { verdict } => Some((*job, attempt.attempt, verdict.clone())),
            _ => None,
        });
    results.collect()
}

fn takes_new(order: &Order, state: &State, max_builds: u32) -> bool {
    let used_up = max_builds > 0 && state.uses >= max_builds;
    !order.drain && !used_up && state.interruption.is_none()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use onspot_ledger::{BootId, RunnerName};

    use super::*;

    fn order() -> Order {
        Order::empty(&RunnerName::new("r"))
    }

    fn state() -> State {
        State::first(&BootId::new("b"), "1", 2, Timestamp::UNIX_EPOCH)
    }

    fn present(running: &[(u64, u32)]) -> Present {
        Present {
            running: running.iter().copied().collect(),
            slots: 2,
            lease: true,
            max_builds: 0,
            retiring: false,
        }
    }

    #[test]
    fn jobs_are_taken_while_there_are_slots() {
        let order = order().asked(1, 1).asked(2, 1).asked(3, 1);
        let accepted = todo(&order, &state(), &present(&[(1, 1)]));
        assert_eq!(accepted, [Todo::Accept { job: 2, attempt: 1 }]);
    }

    #[test]
    fn what_is_listed_is_never_taken_again_but_the_next_attempt_is() {
        let mut state = state();
        state.accept(1, 1, Timestamp::UNIX_EPOCH);
        assert_eq!(todo(&order().asked(1, 1), &state, &present(&[])), []);
        let next = todo(&order().asked(1, 2), &state, &present(&[]));
        assert_eq!(next, [Todo::Accept { job: 1, attempt: 2 }]);
        // Not while its predecessor's containers are still being killed.
        let both = todo(&order().asked(1, 2), &state, &present(&[(1, 1)]));
        assert_eq!(both, [Todo::Abort { job: 1 }]);
    }

    #[test]
    fn what_is_revoked_or_absent_is_aborted() {
        let running = present(&[(1, 1), (2, 1)]);
        let todo = todo(&order().revoked(1, 1), &state(), &running);
        assert_eq!(todo, [Todo::Abort { job: 1 }, Todo::Abort { job: 2 }]);
    }

    #[test]
    fn nothing_new_is_taken_when_draining_used_up_interrupted_or_without_a_lease() {
        let asked = order().asked(1, 1);
        assert_eq!(todo(&asked.drained(), &state(), &present(&[])), []);
        let no_lease = Present {
            lease: false,
            ..present(&[])
        };
        assert_eq!(todo(&asked, &state(), &no_lease), []);
        let retiring = Present {
            retiring: true,
            ..present(&[])
        };
        assert_eq!(todo(&asked, &state(), &retiring), []);
        let mut used = state();
        used.uses = 3;
        let last = Present {
            max_builds: 3,
            ..present(&[])
        };
        assert_eq!(todo(&asked, &used, &last), []);
        let mut leaving = state();
        leaving.interruption = Some(onspot_ledger::Interruption {
            action: "terminate".to_owned(),
            at: Timestamp::UNIX_EPOCH,
        });
        assert_eq!(todo(&asked, &leaving, &present(&[])), []);
    }

    #[test]
    fn a_worker_is_drained_when_nothing_is_left_to_do() {
        let drain = order().drained();
        let mut state = state();
        assert_eq!(intake(&order(), &state, 0, &[]), Intake::Open);
        assert_eq!(intake(&drain, &state, 0, &[]), Intake::Drained);
        state.accept(1, 1, Timestamp::UNIX_EPOCH);
        assert_eq!(intake(&drain, &state, 0, &[]), Intake::Draining);
        state.advance(
            1,
            1,
            AttemptPhase::Reported {
                verdict: Verdict::success(),
            },
        );
        assert_eq!(intake(&drain, &state, 0, &[]), Intake::Drained);
    }
}
