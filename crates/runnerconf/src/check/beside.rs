//! What `onspot run` takes over from a gitlab-runner on the same host, and what not.

use serde::Serialize;

use super::{Report, ReportedKey};

/// A thing that both programs have, or only one of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Beside {
    /// The thing.
    pub what: &'static str,
    /// How gitlab-runner has it.
    pub gitlab_runner: &'static str,
    /// What `onspot run` does about it.
    pub onspot_run: &'static str,
    /// Whether it is taken over as it is.
    pub taken_over: bool,
}

/// What to do before `onspot run` takes the place of gitlab-runner, in order.
pub const FIRST: [&str; 3] = [
    "pause the runner in GitLab, and wait until its jobs have ended",
    "end gitlab-runner for good: systemctl disable --now gitlab-runner",
    "start onspot run with this file, and resume the runner in GitLab",
];

/// The things that have to do with no key.
const ALWAYS: [Beside; 9] = [
    kept(
        "config.toml",
        "reads it again, writes ids into it",
        "reads it once, never writes it",
    ),
    kept(
        "token",
        "asks GitLab for jobs with it",
        "uses the same; if both run, both get jobs",
    ),
    new(
        "system id",
        ".runner_system_id",
        "made from /etc/machine-id: one manager more in GitLab",
    ),
    new(
        "concurrent",
        "counts its own jobs",
        "counts its own jobs: the sum runs if both run",
    ),
    new(
        "builds",
        "builds_dir, or Docker volumes",
        "DIR/builds/RUNNER (--data DIR); begins empty",
    ),
    new(
        "caches on this host",
        "cache_dir, or Docker volumes",
        "DIR/cache/RUNNER; begins empty",
    ),
    kept(
        "caches in S3",
        "keys in the bucket",
        "the same bucket and keys",
    ),
    new(
        "containers",
        "runner-…, com.gitlab.gitlab-runner.*",
        "onspot-…, onspot.*; others are left alone",
    ),
    new(
        "service unit",
        "gitlab-runner.service",
        "none is installed: write one, Type=notify",
    ),
];

const METRICS: Beside = kept(
    "listen_address",
    "metrics for Prometheus",
    "the same address, other names; only one can have it",
);
const SESSIONS: Beside = new("session_server", "interactive terminals", "nothing listens");

const fn kept(what: &'static str, gitlab_runner: &'static str, onspot_run: &'static str) -> Beside {
    Beside {
        what,
        gitlab_runner,
        onspot_run,
        taken_over: true,
    }
}

const fn new(what: &'static str, gitlab_runner: &'static str, onspot_run: &'static str) -> Beside {
    Beside {
        taken_over: false,
        ..kept(what, gitlab_runner, onspot_run)
    }
}

/// What `onspot run` with a file takes over from a gitlab-runner with the same file.
pub fn beside(report: &Report) -> Vec<Beside> {
    let sets = |names: &[&str]| {
        let is_one = |key: &ReportedKey| names.contains(&key.key.as_str());
        report.keys.iter().any(is_one)
    };
    let mut all = ALWAYS.to_vec();
    if sets(&["listen_address"]) {
        all.push(METRICS);
    }
    if sets(&["session_server"]) {
        all.push(SESSIONS);
    }
    all
}
