//! The checks after a simulation.

use onspot_ledger::{Ending, Key, Ledger as _, read};

use super::{JOBS, KEPT, NEVER, Story};
use crate::world::{Execution, Report};

impl Story {
    /// Whether a job's receiver died before the record was written. Nobody else knows of the job,
    /// so it is left to GitLab's timeout.
    async fn is_abandoned(&self, job: u64) -> bool {
        let key = crate::world::job(job);
        let past = read(&*self.world.ledger, &Key::past(&key)).await.unwrap();
        let known = past.is_some() || self.world.record(job).await.is_some();
        !known && !self.world.gitlab.is_over(job) && self.world.gitlab.receiver_died(job)
    }

    pub(super) async fn is_over(&self) -> bool {
        let mut over = true;
        for job in 1..=JOBS {
            over &= self.world.gitlab.is_over(job) || self.is_abandoned(job).await;
        }
        let left = self.world.ledger.list("job/").await.unwrap();
        over && left.is_empty() && self.named_jobs().await.is_empty()
    }

    /// The jobs that orders and states still name.
    async fn named_jobs(&self) -> Vec<(String, u64)> {
        let mut named = Vec::new();
        for listed in self.world.ledger.list("").await.unwrap() {
            if let Some(worker) = Key::worker_of_order(&listed.key) {
                let order = self.world.order(worker.instance()).await.unwrap().value;
                named.extend(order.entries.keys().map(|job| (listed.key.clone(), *job)));
            }
            if let Some(worker) = Key::worker_of_state(&listed.key) {
                let state = self.world.state(worker.instance()).await.unwrap().value;
                named.extend(state.jobs.keys().map(|job| (listed.key.clone(), *job)));
            }
        }
        named
    }

    pub(super) async fn judge(&self) {
        let gitlab = &self.world.gitlab;
        for job in 1..=JOBS {
            if self.is_abandoned(job).await {
                assert!(self.world.log.executions(job).is_empty());
                continue;
            }
            let executions = self.world.log.executions(job);
            let reports = gitlab.reports(job);
            let case = format!(
                "seed {}, job {job}\n{}\nexecutions {executions:#?}\nreports {reports:#?}\n\
                 record {:#?}\ntrace\n{}",
                self.seed,
                self.told.join("\n"),
                self.world.record(job).await,
                gitlab.trace(job),
            );
            assert!(!self.world.log.overlaps(job), "S1: {case}");
            assert!(
                reports.iter().all(|r| r.ending == reports[0].ending),
                "S2: {case}"
            );
            if let Some(told) = reports.first() {
                let spans = executions.iter().flat_map(Execution::spans);
                assert!(
                    spans.into_iter().all(|span| span.0 <= told.at),
                    "S3: {case}"
                );
            }
            assert!(job != NEVER || executions.len() <= 1, "S4: {case}");
            // Nobody cancels it and its script never fails.
            let ended_well = |report: &Report| {
                report.ending == Ending::Success
                    || report.reason.as_deref() == Some("runner_system_failure")
            };
            assert!(job != KEPT || reports.iter().all(ended_well), "L: {case}");
            assert!(gitlab.is_over(job), "L: {case}");
        }
        let left = self.world.ledger.list("job/").await.unwrap();
        assert!(left.is_empty(), "L: seed {}, {left:?}", self.seed);
        let named = self.named_jobs().await;
        assert!(
            named.is_empty(),
            "L: seed {}, {named:?}\n{}",
            self.seed,
            self.told.join("\n")
        );
    }
}
