//! `[[runners]]` of an `onspot.toml`.

use onspot_runnerconf::{Config, ExecutorKind, Runner};
use onspot_settings::{PullPolicy, TokenRef};
use toml::Value;

use super::page::Page;
use super::workers;

/// Writes a runner with its workers.
pub(super) fn put(page: &mut Page, config: &Config, runner: &Runner, name: &str, token: &TokenRef) {
    let settings = &runner.settings;
    page.gap();
    page.line("[[runners]]");
    match runner.executor {
        ExecutorKind::Shell => page.changed(
            "jobs ran in a shell of the host; here they run in containers of `image`, by default \
             alpine:latest. To keep the shell use `onspot run`.",
        ),
        ExecutorKind::Docker => page.changed(
            "jobs ran on one host; here they run on workers that are bought for them, and what \
             volumes keep goes with the worker.",
        ),
        _ => {}
    }
    if name != runner.name() {
        page.changed(&format!("the name was {:?}.", runner.name()));
    }
    page.set("name", name);
    page.set("url", settings.url.as_str().trim_end_matches('/'));
    if runner.token.is_plain() {
        page.changed(
            "the token stood in the file. Export it in this variable before `onspot up`, which \
             stores it in SSM.",
        );
    }
    page.set("token", token.to_string());
    let target = workers::target(config, runner);
    if target.jobs < said_limit(config, runner) {
        page.changed("`max_instances` bounds the jobs at once.");
    }
    page.set("limit", i64::from(target.jobs));
    if settings.request_concurrency > 1 {
        page.set(
            "request_concurrency",
            i64::from(settings.request_concurrency),
        );
    }
    put_docker(page, runner);
    if !settings.environment.is_empty() {
        page.set("environment", list(&settings.environment));
    }
    workers::put(page, runner, &target);
}

/// How many jobs of the runner the file allows at once.
pub(super) fn said_limit(config: &Config, runner: &Runner) -> u32 {
    match runner.settings.limit {
        0 => config.concurrent,
        limit => limit,
    }
}

fn put_docker(page: &mut Page, runner: &Runner) {
    let docker = match (&runner.docker, &runner.executor) {
        (None, _) | (_, ExecutorKind::Shell) => return,
        (Some(docker), _) => &docker.settings,
    };
    if let Some(image) = &docker.image {
        page.set("image", image.as_str());
    }
    if docker.privileged {
        page.set("privileged", true);
    }
    let policies = docker.pull_policies();
    if policies.len() > 1 {
        page.changed("only the first of `pull_policy` is tried.");
    }
    if let Some(policy) = policies.first()
        && *policy != PullPolicy::Always
    {
        page.set("pull_policy", policy.as_str());
    }
    if docker.volumes != ["/cache"] {
        page.set("volumes", list(&docker.volumes));
    }
    if let Some(memory) = &docker.job.memory {
        page.set("memory", memory.as_str());
    }
}

/// A list of strings.
pub(super) fn list(texts: &[String]) -> Value {
    Value::Array(
        texts
            .iter()
            .map(|text| Value::from(text.as_str()))
            .collect(),
    )
}
