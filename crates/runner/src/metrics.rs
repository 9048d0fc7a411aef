//! The metrics of a manager and of `onspot run`, in the text format of Prometheus.
//!
//! A metric is added in this file alone: a field of [`Metrics`], its registration in
//! [`Metrics::new`], and the line that sets it. The names follow GitLab Runner's where it has the
//! same metric (<https://docs.gitlab.com/runner/monitoring/>).

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use onspot_fleet::Stage;
use onspot_ledger::{Ending, RunnerName};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::schedule::{Place, View};

/// The media type of what [`Metrics::render`] returns.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything that is measured.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    concurrent: Gauge,
    limit: Family<OfRunner, Gauge>,
    jobs: Family<InState, Gauge>,
    workers: Family<InState, Gauge>,
    longest_wait: Family<OfRunner, Gauge<f64, AtomicU64>>,
    ended: Family<Ended, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRunner {
    runner: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InState {
    runner: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    runner: String,
    ending: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics, at zero.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            concurrent: Gauge::default(),
            limit: Family::default(),
            jobs: Family::default(),
            workers: Family::default(),
            longest_wait: Family::default(),
            ended: Family::default(),
        };
        let registry = &mut metrics.registry;
        registry.register(
            "gitlab_runner_concurrent",
            "The most jobs at a time, over all runners",
            metrics.concurrent.clone(),
        );
        registry.register(
            "gitlab_runner_limit",
            "The most jobs of a runner at a time, 0 for no limit of its own",
            metrics.limit.clone(),
        );
        registry.register(
            "gitlab_runner_jobs",
            "Jobs that are not over, by state",
            metrics.jobs.clone(),
        );
        registry.register(
            "onspot_workers",
            "Workers, by state",
            metrics.workers.clone(),
        );
        registry.register(
            "onspot_longest_wait_seconds",
            "How long the oldest waiting job has waited",
            metrics.longest_wait.clone(),
        );
        registry.register(
            "onspot_jobs_ended",
            "Jobs that ended since this process started, by ending",
            metrics.ended.clone(),
        );
        metrics
    }

    /// Sets what a round of the leader has seen.
    pub(crate) fn see(&self, view: &View, now: jiff::Timestamp) {
        self.concurrent.set(view.concurrent.into());
        for runner in &view.runners {
            let name = runner.name.as_str();
            let of_runner = OfRunner {
                runner: name.to_owned(),
            };
            let in_state = |state| InState {
                runner: name.to_owned(),
                state,
            };
            self.limit
                .get_or_create(&of_runner)
                .set(runner.limit.into());
            let jobs = runner.jobs.iter().map(|job| state_of(&job.place));
            for (state, count) in counted(PLACES, jobs) {
                self.jobs.get_or_create(&in_state(state)).set(count);
            }
            let workers = runner.fleet.workers.iter().map(stage_of);
            for (state, count) in counted(STAGES, workers) {
                self.workers.get_or_create(&in_state(state)).set(count);
            }
            let waiting = runner.jobs.iter();
            let waiting = waiting.filter(|job| job.place == Place::Waiting);
            let oldest = waiting.map(|job| job.received_at).min();
            let waited = oldest.map_or(0.0, |since| now.duration_since(since).as_secs_f64());
            self.longest_wait.get_or_create(&of_runner).set(waited);
        }
    }

    /// Drops what only a leader can say: another one says it from now on.
    pub(crate) fn forget(&self) {
        self.limit.clear();
        self.jobs.clear();
        self.workers.clear();
        self.longest_wait.clear();
    }

    /// Counts a job that ended.
    pub(crate) fn ended(&self, runner: &RunnerName, ending: Ending) {
        let labels = Ended {
            runner: runner.as_str().to_owned(),
            ending: match ending {
                Ending::Success => "success",
                Ending::Failed => "failed",
                Ending::Canceled => "canceled",
            },
        };
        self.ended.get_or_create(&labels).inc();
    }

    /// The metrics as Prometheus reads them.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut text, &self.registry);
        text
    }
}

/// How many of `found` each state has, also those that none has: a gauge keeps its last value.
fn counted<const N: usize>(
    states: [&'static str; N],
    found: impl Iterator<Item = &'static str>,
) -> [(&'static str, i64); N] {
    let mut counts = states.map(|state| (state, 0));
    for state in found {
        for (_, count) in counts.iter_mut().filter(|(known, _)| *known == state) {
            *count += 1;
        }
    }
    counts
}

const PLACES: [&str; 3] = ["waiting", "running", "ending"];
const STAGES: [&str; 5] = ["launching", "booting", "idle", "busy", "leaving"];

fn stage_of(worker: &onspot_fleet::Worker<onspot_ledger::WorkerId>) -> &'static str {
    match worker.stage {
        Stage::Launching => "launching",
        Stage::Booting => "booting",
        Stage::Ready { jobs: 0, .. } => "idle",
        Stage::Ready { .. } => "busy",
        Stage::Leaving { .. } | Stage::Ending { .. } => "leaving",
    }
}

fn state_of(place: &Place) -> &'static str {
    match place {
        Place::Waiting => "waiting",
        Place::With(_) => "running",
        Place::Ending => "ending",
    }
}

/// Answers `GET /metrics` until `shutdown`.
///
/// # Errors
/// If the listener fails.
pub async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let answer = move || {
        let text = metrics.render();
        async move { ([(CONTENT_TYPE, OPENMETRICS)], text) }
    };
    let app = Router::new().route("/metrics", get(answer));
    axum::serve(listener, app)
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await
}

/// Listens at `address`, if there is one, and answers in the background. An address that can't be
/// listened at is a warning: jobs matter more.
pub(crate) async fn serve_at(
    address: Option<std::net::SocketAddr>,
    metrics: &Arc<Metrics>,
    shutdown: &CancellationToken,
) {
    let Some(address) = address else { return };
    match TcpListener::bind(address).await {
        Ok(listener) => {
            tracing::info!(%address, "metrics are served at /metrics");
            let served = serve(listener, Arc::clone(metrics), shutdown.clone());
            tokio::spawn(async move {
                if let Err(error) = served.await {
                    tracing::warn!(%address, %error, "metrics are no longer served");
                }
            });
        }
        Err(error) => tracing::warn!(
            %address, %error,
            "no metrics are served: free that port, or set another listen_address"
        ),
    }
}

#[cfg(test)]
mod tests;
