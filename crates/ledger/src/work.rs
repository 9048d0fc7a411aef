//! Whether the ledger shows work for a worker.

use crate::{Phase, Record, State, WorkerId};

/// Whether a job may be running on the worker on `instance`, or about to.
///
/// `states` and `records` are what the ledger holds; each record has its job's number. A worker
/// that has been silent for too long no longer runs its jobs; the caller has to consider that.
pub fn has_work<'a>(
    instance: &str,
    states: impl IntoIterator<Item = (&'a WorkerId, &'a State)>,
    records: impl IntoIterator<Item = (u64, &'a Record)>,
) -> bool {
    let is_meant = |worker: &WorkerId| worker.instance() == instance;
    let mut states = states.into_iter();
    let state = states.find_map(|(worker, state)| is_meant(worker).then_some(state));
    let known = |job: u64| state.is_some_and(|state| state.jobs.contains_key(&job));
    let on_its_way = records.into_iter().any(|(job, record)| {
        matches!(&record.phase, Phase::Assigned { worker } if is_meant(worker)) && !known(job)
    });
    let says_so = |state: &State| state.jobs.values().any(|attempt| !attempt.phase.is_over());
    on_its_way || state.is_some_and(says_so)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{AttemptPhase, BootId, JobLabel, Restart};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn worker() -> WorkerId {
        WorkerId::of("AROA", "i-1")
    }

    #[test]
    fn a_worker_has_work_by_its_state_or_by_a_record() {
        let mut state = State::first(&BootId::new("b"), "1", 1, NOW);
        let work = |state: &State, records: &[(u64, &Record)]| {
            has_work("i-1", [(&worker(), state)], records.iter().copied())
        };
        assert!(!work(&state, &[]));
        let record = Record::received(JobLabel::default(), Restart::Never, NOW, NOW);
        assert!(!work(&state, &[(7, &record)]), "it waits for any worker");
        let record = record.assigned(&worker(), None, NOW).unwrap();
        assert!(work(&state, &[(7, &record)]), "it is on its way");
        state.accept(7, 1, NOW);
        assert!(work(&state, &[]));
        let over = AttemptPhase::GivenUp {
            started: true,
            why: "interrupted".to_owned(),
        };
        state.advance(7, 1, over);
        assert!(
            !work(&state, &[(7, &record)]),
            "the leader will learn of it"
        );
        assert!(!has_work("i-2", [(&worker(), &state)], [(8, &record)]));
    }
}
