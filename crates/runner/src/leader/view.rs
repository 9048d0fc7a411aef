//! The schedule's view, made from what one round has read.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use onspot_fleet::{InstanceState, Lifecycle, Pool, Stage, Worker};
use onspot_ledger::{Intake, Phase, RunnerName, State, WorkerId};

use super::fleet::FleetSight;
use super::memory::Memory;
use super::snapshot::Snapshot;
use super::{LeaderContext, Seat};
use crate::schedule::{JobView, Place, RunnerView};

/// So many heartbeats without a new state, and a worker gets no new jobs.
const STALE_HEARTBEATS: u32 = 3;

/// What a view of one runner is made from.
pub(crate) struct Sights<'a> {
    pub context: &'a LeaderContext,
    pub snapshot: &'a Snapshot,
    pub memory: &'a Memory,
    pub now: Timestamp,
}

impl Sights<'_> {
    /// The view of one runner.
    pub(crate) fn runner(&self, name: &RunnerName, seat: &Seat, fleet: &FleetSight) -> RunnerView {
        let mut workers: Vec<Worker<WorkerId>> = self
            .workers_of(name, fleet)
            .into_iter()
            .filter_map(|worker| self.worker(&worker, fleet))
            .collect();
        workers.extend(self.buying(fleet));
        RunnerView {
            name: name.clone(),
            limit: seat.limit,
            asking: 0,
            request_concurrency: seat.request_concurrency,
            policy: seat.policy.clone(),
            observed: fleet.was_looked_at(),
            jobs: [self.jobs_of(name), self.jobs_aside(name)].concat(),
            fleet: onspot_fleet::View {
                workers,
                pools: fleet.pools.clone(),
                candidates: fleet.candidates.clone(),
                boots: fleet.boots.clone(),
            },
            in_doubt: fleet.in_doubt,
        }
    }

    fn jobs_of(&self, runner: &RunnerName) -> Vec<JobView> {
        let records = self
            .snapshot
            .records
            .iter()
            .filter(|(key, _)| key.runner == *runner)
            .filter(|(key, _)| !self.snapshot.aside.jobs.contains(key));
        records
            .filter_map(|(key, record)| {
                let record = &record.value;
                let place = match &record.phase {
                    Phase::Waiting => Place::Waiting,
                    Phase::Assigned { worker } => Place::With(worker.clone()),
                    Phase::Finishing { .. } => Place::Ending,
                    Phase::Done { .. } => return None,
                };
                Some(JobView {
                    id: key.id,
                    received_at: record.received_at,
                    deadline: record.deadline,
                    attempt: record.attempt,
                    place,
                })
            })
            .collect()
    }

    /// Jobs that are set aside take their place like any other, and get nothing.
    fn jobs_aside(&self, runner: &RunnerName) -> Vec<JobView> {
        let aside = self.snapshot.aside.jobs.iter();
        let aside = aside.filter(|job| job.runner == *runner);
        aside
            .map(|job| JobView {
                id: job.id,
                received_at: self.now,
                deadline: Timestamp::MAX,
                attempt: 1,
                place: Place::With(WorkerId::new("unknown")),
            })
            .collect()
    }

    /// The workers of a runner: what its capacity lists, and what has an order of it.
    fn workers_of(&self, runner: &RunnerName, fleet: &FleetSight) -> BTreeSet<WorkerId> {
        let ordered = self
            .snapshot
            .orders
            .iter()
            .filter(|(_, o)| o.value.runner == *runner);
        let ordered = ordered.map(|(worker, _)| worker.clone());
        let with = self.snapshot.records.iter();
        let with = with.filter(|(job, _)| job.runner == *runner);
        let with = with.filter_map(|(_, record)| record.value.worker().cloned());
        let instances = fleet.instances.keys().cloned();
        instances.chain(ordered).chain(with).collect()
    }

    fn worker(&self, worker: &WorkerId, fleet: &FleetSight) -> Option<Worker<WorkerId>> {
        let silent = self.memory.silent_for(worker);
        if fleet.is_gone(worker, silent, self.context.timing.takeover) {
            return None;
        }
        let instance = fleet.instances.get(worker);
        let state = self.snapshot.states.get(worker).map(|stored| &stored.value);
        let stage = match (instance.map(|instance| instance.state), state) {
            // What it does is not known now: it gets nothing, and is not given back.
            (Some(InstanceState::Pending | InstanceState::Running) | None, _)
                if self.snapshot.aside.has_worker(worker) =>
            {
                Stage::Ready {
                    free: 0,
                    jobs: self.assigned(worker).max(1),
                    idle_since: None,
                }
            }
            // It can't be talked to: it finishes what it has, and goes.
            (Some(InstanceState::Pending | InstanceState::Running) | None, None)
                if self.snapshot.unreadable.contains_key(worker) =>
            {
                let jobs = self.assigned(worker);
                Stage::Leaving {
                    jobs,
                    losing: false,
                    done: true,
                }
            }
            (Some(InstanceState::Pending), None) => Stage::Launching,
            (Some(InstanceState::Running) | None, None) => Stage::Booting,
            (Some(InstanceState::Pending | InstanceState::Running) | None, Some(state)) => {
                self.reporting(worker, state)
            }
            (Some(InstanceState::ShuttingDown | InstanceState::Terminated), _) => Stage::Ending {
                jobs: self.assigned(worker),
            },
            // Somebody stops it: it may come back, and counts until it is terminated.
            (Some(InstanceState::Stopping | InstanceState::Stopped), _) => Stage::Leaving {
                jobs: self.assigned(worker),
                losing: true,
                done: false,
            },
        };
        let pool = instance.map(|instance| instance.pool.clone());
        Some(Worker {
            id: worker.clone(),
            stage,
            pool: pool.unwrap_or_else(|| Pool::unknown(Lifecycle::OnDemand)),
            launched_at: instance.map_or(self.now, |instance| instance.launched_at),
            uses: state.map_or(0, |state| state.uses) + self.not_accepted(worker, state),
            outdated: instance.is_some_and(|instance| instance.outdated),
        })
    }

    /// The stage of a worker that has written a state.
    fn reporting(&self, worker: &WorkerId, state: &State) -> Stage {
        let timing = &self.context.timing;
        let assigned = self.assigned(worker);
        let unfinished = state
            .jobs
            .values()
            .filter(|attempt| !attempt.phase.is_over())
            .count();
        let jobs = assigned.max(u32::try_from(unfinished).unwrap_or(u32::MAX));
        let silent: Duration = self.memory.silent_for(worker);
        let order = self.snapshot.orders.get(worker).map(|stored| &stored.value);
        if silent >= timing.takeover {
            return Stage::Leaving {
                jobs: assigned,
                losing: true,
                done: true,
            };
        }
        if state.interruption.is_some() {
            return Stage::Leaving {
                jobs,
                losing: true,
                done: true,
            };
        }
        if state.intake != Intake::Open || order.is_some_and(|order| order.drain) {
            let done = state.intake == Intake::Drained;
            return Stage::Leaving {
                jobs,
                losing: false,
                done,
            };
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
            idle_since: self.memory.idle_since(worker),
        }
    }

    fn assigned(&self, worker: &WorkerId) -> u32 {
        let with = self
            .snapshot
            .records
            .values()
            .filter(|r| r.value.worker() == Some(worker));
        u32::try_from(with.count()).unwrap_or(u32::MAX)
    }

    /// The attempts that the worker was given and has not taken up yet.
    fn not_accepted(&self, worker: &WorkerId, state: Option<&State>) -> u32 {
        let unknown = self.snapshot.records.iter().filter(|(key, record)| {
            let accepted = state.and_then(|state| state.jobs.get(&key.id));
            record.value.worker() == Some(worker)
                && accepted.is_none_or(|attempt| attempt.attempt != record.value.attempt)
        });
        u32::try_from(unknown.count()).unwrap_or(u32::MAX)
    }

    /// Instances that are being asked for count like ones that are being launched.
    fn buying(&self, fleet: &FleetSight) -> Vec<Worker<WorkerId>> {
        let each = fleet.buying.iter().flat_map(|(count, lifecycle)| {
            std::iter::repeat_n(*lifecycle, usize::try_from(*count).unwrap_or(usize::MAX))
        });
        each.enumerate()
            .map(|(number, lifecycle)| Worker {
                id: WorkerId::new(format!("being-bought-{number}")),
                stage: Stage::Launching,
                pool: Pool::unknown(lifecycle),
                launched_at: self.now,
                uses: 0,
                outdated: false,
            })
            .collect()
    }
}
