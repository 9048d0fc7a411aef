//! Turns the picture into the view of each runner on which `schedule` decides.

use std::time::Duration;

use jiff::Timestamp;
use onspot_fleet::{InstanceState, Lifecycle, Pool, Stage, View, Worker as Seen};
use onspot_ledger::{Ask, Intake, JobKey, Phase, RunnerName, State, WorkerId};

use super::{Picture, Worker};
use crate::schedule::{JobView, Place, RunnerView};
use onspot_settings::Timing;

/// After this many heartbeats without a new state, a worker gets no new jobs.
const STALE_HEARTBEATS: u32 = 3;

impl Picture {
    /// The view of one runner, without its settings, which the caller fills in.
    pub(crate) fn runner(&self, name: &RunnerName, timing: &Timing) -> RunnerView {
        let fleet = &self.fleets[name];
        let ids = self.by_runner.get(name).into_iter().flatten();
        let workers = ids.filter_map(|id| self.seen(id, timing));
        RunnerView {
            observed: fleet.was_looked_at(),
            jobs: self.jobs_of(name).chain(self.jobs_aside(name)).collect(),
            fleet: View {
                workers: workers.chain(self.launching(&fleet.launching)).collect(),
                pools: fleet.pools.clone(),
                candidates: fleet.candidates.clone(),
                boots: fleet.boots.clone(),
            },
            in_doubt: fleet.in_doubt,
            ..RunnerView::new(name.clone())
        }
    }

    fn jobs_of(&self, runner: &RunnerName) -> impl Iterator<Item = JobView> {
        let all = JobKey::new(runner, 0)..=JobKey::new(runner, u64::MAX);
        let known = self.records.range(all);
        let known = known.filter(|(job, _)| !self.aside.jobs.contains(job));
        known.filter_map(|(job, record)| {
            let record = &record.value;
            let place = match &record.phase {
                Phase::Waiting => Place::Waiting,
                Phase::Assigned { worker } => Place::With(worker.clone()),
                Phase::Finishing { .. } => Place::Ending,
                Phase::Done { .. } => return None,
            };
            Some(JobView {
                id: job.id,
                received_at: record.received_at,
                deadline: record.deadline,
                attempt: record.attempt,
                place,
            })
        })
    }

    /// Jobs that are set aside take up a place like any other, but nothing is done about them.
    fn jobs_aside(&self, runner: &RunnerName) -> impl Iterator<Item = JobView> {
        let aside = self.aside.jobs.iter();
        let aside = aside.filter(move |job| job.runner == *runner);
        aside.map(|job| JobView {
            id: job.id,
            received_at: self.now,
            deadline: Timestamp::MAX,
            attempt: 1,
            place: Place::With(WorkerId::new("unknown")),
        })
    }

    /// A worker as the schedule sees it; `None` if it is gone.
    fn seen(&self, id: &WorkerId, timing: &Timing) -> Option<Seen<WorkerId>> {
        let worker = self.worker(id)?;
        if worker.is_gone(timing.takeover) {
            return None;
        }
        let instance = worker.instance.as_ref();
        let pool = instance.map(|instance| instance.pool.clone());
        let state = worker.state.value();
        Some(Seen {
            id: id.clone(),
            stage: worker.stage(timing, self.now),
            // A worker that EC2 does not list is treated like one that EC2 does not interrupt.
            pool: pool.unwrap_or_else(|| Pool::unknown(Lifecycle::OnDemand)),
            launched_at: instance.map_or(self.now, |instance| instance.launched_at),
            uses: state.map_or(0, |state| state.uses) + self.not_accepted(worker),
            outdated: instance.is_some_and(|instance| instance.outdated),
        })
    }

    /// The attempts that were given to the worker and that it has not accepted yet.
    fn not_accepted(&self, worker: &Worker) -> u32 {
        let state = worker.state.value();
        let accepted = |job: u64| Some(state?.jobs.get(&job)?.attempt);
        let entries = worker.order.value().map(|order| &order.entries);
        let given = worker.jobs.iter();
        let given = given.map(|job| (job.id, self.records[job].value.attempt));
        let unread = worker.unread_jobs.iter().filter_map(|job| {
            let entry = entries?.get(&job.id)?;
            (entry.ask == Ask::Run).then_some((job.id, entry.attempt))
        });
        let open = given
            .chain(unread)
            .filter(|(job, attempt)| accepted(*job) != Some(*attempt));
        u32::try_from(open.count()).unwrap_or(u32::MAX)
    }

    /// Requested instances count like instances that are being launched.
    fn launching(&self, counts: &[(u32, Lifecycle)]) -> impl Iterator<Item = Seen<WorkerId>> {
        let each = counts.iter().flat_map(|(count, lifecycle)| {
            std::iter::repeat_n(*lifecycle, usize::try_from(*count).unwrap_or(usize::MAX))
        });
        each.enumerate().map(|(number, lifecycle)| Seen {
            id: WorkerId::new(format!("being-launched-{number}")),
            stage: Stage::Launching,
            pool: Pool::unknown(lifecycle),
            launched_at: self.now,
            uses: 0,
            outdated: false,
        })
    }
}

impl Worker {
    fn stage(&self, timing: &Timing, now: Timestamp) -> Stage {
        let jobs = self.assigned();
        let leaving = |losing, done| Stage::Leaving { jobs, losing, done };
        let instance = self.instance_state();
        match instance {
            Some(InstanceState::ShuttingDown | InstanceState::Terminated) => {
                return Stage::Ending { jobs };
            }
            // Somebody has stopped it. It may come back, so it counts until it is terminated.
            Some(InstanceState::Stopping | InstanceState::Stopped) => return leaving(true, false),
            Some(InstanceState::Pending | InstanceState::Running) | None => {}
        }
        if self.is_aside() {
            // What it does is not known now: it gets nothing, and is not given back.
            return Stage::Ready {
                free: 0,
                jobs: jobs.max(1),
                idle_since: None,
            };
        }
        match self.state.value() {
            Some(state) => self.reporting(state, timing, now),
            // It can't be talked to: it finishes what it has, and goes.
            None if self.state.is_malformed() => leaving(false, true),
            None if instance == Some(InstanceState::Pending) => Stage::Launching,
            None => Stage::Booting,
        }
    }

    /// The stage of a worker that has written a state.
    fn reporting(&self, state: &State, timing: &Timing, now: Timestamp) -> Stage {
        let (assigned, silent): (u32, Duration) = (self.assigned(), self.silent_for);
        let jobs = assigned.max(self.unfinished());
        let leaving = |jobs, losing, done| Stage::Leaving { jobs, losing, done };
        if silent >= timing.takeover {
            return leaving(assigned, true, true);
        }
        if state.interruption.is_some() {
            return leaving(jobs, true, true);
        }
        let order = self.order.value();
        if state.intake != Intake::Open || order.is_some_and(|order| order.drain) {
            return leaving(jobs, false, state.intake == Intake::Drained);
        }
        let fresh = silent < timing.heartbeat * STALE_HEARTBEATS && order.is_some();
        let free = if fresh {
            state.slots.saturating_sub(jobs)
        } else {
            0
        };
        Stage::Ready {
            free,
            jobs,
            // Its last job may have ended in this very round: then it is idle from now on.
            idle_since: (jobs == 0).then(|| self.idle_since.unwrap_or(now)),
        }
    }
}
