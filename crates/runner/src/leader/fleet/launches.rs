//! Launches and terminates instances. Every request is repeated until it is answered, and nothing
//! is launched twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use onspot_fleet::{InstanceId, LaunchFailure, LaunchRequest, Launched, Lifecycle};

use super::{Fleet, Known, chain};
use crate::capacity::CapacityError;

/// The pause before the next request after an answer without any instance.
const LAUNCH_AGAIN: Duration = Duration::from_secs(10);

/// The first and the longest pause between two tries of a request that had no answer.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(1));

/// How long a request without an answer is repeated. By then, EC2 lists by tag whatever it has
/// launched.
const ASK_UNTIL: Duration = Duration::from_mins(15);

/// The pause before EC2 is asked again to terminate the same instance.
const TERMINATE_AGAIN: Duration = Duration::from_secs(30);

/// How long instances to be terminated are collected for one call.
const COLLECT: Duration = Duration::from_millis(50);

/// Launches whose outcome is not known, by their tokens.
#[derive(Debug, Default)]
pub(super) struct Launches {
    open: BTreeMap<String, OpenLaunch>,
    made: u64,
}

#[derive(Debug)]
struct OpenLaunch {
    count: u32,
    lifecycle: Lifecycle,
    /// It had no answer, so it may or may not have been carried out.
    in_doubt: bool,
}

impl Launches {
    /// Makes a new decision with its own token; `None` while another one is in doubt, because that
    /// may already launch what is wanted.
    fn decide(&mut self, count: u32, lifecycle: Lifecycle, term: u64) -> Option<String> {
        if self.in_doubt() {
            return None;
        }
        self.made += 1;
        let unique = uuid::Uuid::new_v4();
        let token = format!("onspot-{term}-{}-{}", self.made, unique.simple());
        let open = OpenLaunch {
            count,
            lifecycle,
            in_doubt: false,
        };
        self.open.insert(token.clone(), open);
        Some(token)
    }

    pub(super) fn in_doubt(&self) -> bool {
        self.open.values().any(|open| open.in_doubt)
    }

    /// The numbers and lifecycles of instances that are being launched.
    pub(super) fn on_their_way(&self) -> Vec<(u32, Lifecycle)> {
        let open = self.open.values();
        open.map(|open| (open.count, open.lifecycle)).collect()
    }
}

/// Whether the result of a try leaves open whether anything was launched.
fn is_unknown(result: &Result<Launched, CapacityError>) -> bool {
    let failure = result.as_ref().err().map(CapacityError::launch_failure);
    failure == Some(LaunchFailure::Unknown)
}

impl Fleet {
    /// Launches instances in the background, unless the last request gave nothing a moment ago.
    pub(crate) fn launch(self: &Arc<Self>, count: u32, lifecycle: Lifecycle, term: u64) {
        let request = {
            let mut known = self.known();
            if self.clock.steady() < known.not_before {
                return;
            }
            let Some(token) = known.launches.decide(count, lifecycle, term) else {
                return;
            };
            LaunchRequest {
                count,
                lifecycle,
                token,
                avoid: known.pools.out(self.clock.now()).cloned().collect(),
            }
        };
        tracing::info!(runner = %self.runner, count, %lifecycle, "launching workers");
        let fleet = Arc::clone(self);
        tokio::spawn(async move { fleet.ask(request).await });
    }

    /// Repeats the request until there is an answer. All tries have the same token and parameters,
    /// so that EC2 treats them as one request and launches once.
    async fn ask(&self, request: LaunchRequest) {
        let begun = self.clock.steady();
        let (mut pause, longest) = ASK_AGAIN;
        loop {
            let result = self.capacity.launch(request.clone()).await;
            let waited = self.clock.steady().saturating_sub(begun);
            if !is_unknown(&result) || waited >= ASK_UNTIL {
                self.settle(&request, result);
                return;
            }
            if let Err(error) = result {
                tracing::warn!(runner = %self.runner, error = %chain(&error), token = request.token,
                    "a launch had no answer: it is asked for again");
            }
            self.doubt(&request.token);
            tokio::select! {
                // The next leader finds launched instances by their tags.
                () = self.over.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(longest);
        }
    }

    fn doubt(&self, token: &str) {
        let mut known = self.known();
        if let Some(open) = known.launches.open.get_mut(token) {
            open.in_doubt = true;
        }
        drop(known);
        self.wake.notify_one();
    }

    /// Records how a request ended.
    fn settle(&self, request: &LaunchRequest, result: Result<Launched, CapacityError>) {
        let steady = self.clock.steady();
        let mut known = self.known();
        known.launches.open.remove(&request.token);
        match result {
            Ok(launched) => {
                if launched.instances.is_empty() {
                    known.not_before = steady + LAUNCH_AGAIN;
                }
                self.take_in(&mut known, launched);
            }
            Err(error) => {
                tracing::warn!(runner = %self.runner, error = %chain(&error), "launch failed");
                known.not_before = steady + LAUNCH_AGAIN;
                if let LaunchFailure::Refused(refusal) = error.launch_failure() {
                    let (code, message) = error.code_and_message();
                    known.pools.note_call(
                        request.lifecycle,
                        refusal,
                        &code,
                        &message,
                        self.clock.now(),
                    );
                }
            }
        }
        drop(known);
        // Instances that an earlier try has launched are not in this answer.
        self.look_now.notify_one();
        self.wake.notify_one();
    }

    fn take_in(&self, known: &mut Known, launched: Launched) {
        for error in &launched.errors {
            tracing::warn!(runner = %self.runner, pool = %error.pool, code = error.code,
                message = error.message, refusal = ?error.refusal(), "EC2 launched nothing there");
            known.pools.note(error, self.clock.now());
        }
        for instance in launched.instances {
            tracing::info!(runner = %self.runner, worker = %instance.id, "launched");
            known.pools.note_launched(&instance.pool);
            let worker = known.worker(&instance.id);
            known.instances.insert(worker, instance);
        }
    }

    /// Terminates instances in the background; those of one round go into one call.
    pub(crate) fn terminate(self: &Arc<Self>, instance: InstanceId, why: &str) {
        if !self.known().is_new_end(&instance, self.clock.steady()) {
            return;
        }
        tracing::info!(runner = %self.runner, worker = %instance, why, "terminating");
        self.end(instance);
    }

    pub(super) fn end(self: &Arc<Self>, instance: InstanceId) {
        let mut known = self.known();
        known.ending.push(instance);
        if known.ending.len() > 1 {
            return;
        }
        drop(known);
        let fleet = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(COLLECT).await;
            let instances = std::mem::take(&mut fleet.known().ending);
            if let Err(error) = fleet.capacity.terminate(instances.clone()).await {
                tracing::warn!(runner = %fleet.runner, error = %chain(&error), ?instances,
                    "could not be terminated yet");
                let mut known = fleet.known();
                for instance in &instances {
                    known.terminated.remove(instance);
                }
            }
            fleet.look_now.notify_one();
        });
    }
}

impl Known {
    /// Records that an instance is to be terminated. Returns `false` if EC2 was asked a moment ago.
    pub(super) fn is_new_end(&mut self, instance: &InstanceId, now: Duration) -> bool {
        self.terminated
            .retain(|_, asked| now.saturating_sub(*asked) < TERMINATE_AGAIN);
        // Keeps the time of the first request; else there would never be a second one.
        if self.terminated.contains_key(instance) {
            return false;
        }
        self.terminated.insert(instance.clone(), now);
        true
    }
}

#[cfg(test)]
mod tests;
