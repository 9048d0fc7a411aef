//! The keys of a `config.toml` that have no place in an `onspot.toml`, as a closing comment.

use onspot_runnerconf::{ReportedKey, ReportedRunner, Standing};
use std::borrow::Cow;

use super::page::Page;

/// Keys that limit what a job may do.
const LIMITS: [&str; 20] = [
    "allowed_images",
    "allowed_services",
    "allowed_users",
    "allowed_pull_policies",
    "allowed_privileged_images",
    "allowed_privileged_services",
    "cap_drop",
    "security_opt",
    "services_security_opt",
    "services_limit",
    "services_privileged",
    "user",
    "userns_mode",
    "runtime",
    "network_mode",
    "disable_entrypoint_overwrite",
    "debug_trace_disabled",
    "cpus",
    "ulimit",
    "output_limit",
];

/// Keys that are written, or mentioned where they would be.
const PLACED: [(&str, &[&str]); 5] = [
    ("", &["concurrent", "listen_address"]),
    (
        "runners",
        &[
            "name",
            "url",
            "token",
            "executor",
            "limit",
            "request_concurrency",
            "environment",
        ],
    ),
    (
        "runners.docker",
        &["image", "privileged", "pull_policy", "volumes", "memory"],
    ),
    (
        "runners.machine.MachineOptions",
        &[
            "amazonec2-region",
            "amazonec2-instance-type",
            "amazonec2-request-spot-instance",
            "amazonec2-spot-price",
            "amazonec2-root-size",
            "amazonec2-tags",
            "amazonec2-ami",
            "engine-registry-mirror",
        ],
    ),
    (
        "runners.autoscaler",
        &[
            "capacity_per_instance",
            "max_use_count",
            "max_instances",
            "plugin",
            "plugin_config",
        ],
    ),
];
/// Tables of which every key that is honoured is written.
const WHOLE: [&str; 3] = [
    "runners.machine",
    "runners.machine.autoscaling",
    "runners.autoscaler.policy",
];

fn has_place(key: &ReportedKey) -> bool {
    let ignored = matches!(key.standing, Standing::Ignored(_));
    let table = key.table.as_str();
    let listed = |(of, keys): &(&str, &[&str])| *of == table && keys.contains(&key.key.as_str());
    match table {
        _ if WHOLE.contains(&table) => !ignored,
        // It is ignored with the executor shell.
        "runners.docker" if ignored => false,
        _ => PLACED.iter().any(listed),
    }
}

/// Writes the closing comment.
pub(super) fn put(page: &mut Page, of_file: &[ReportedKey], runners: &[&ReportedRunner]) {
    put_keys(page, "The file", of_file);
    for runner in runners {
        put_keys(page, &format!("Runner {:?}", runner.name), &runner.keys);
    }
}

fn put_keys(page: &mut Page, whose: &str, keys: &[ReportedKey]) {
    let left = || keys.iter().filter(|key| !key.is_unset && !has_place(key));
    let groups: Vec<(&str, Vec<Cow<'_, str>>)> = [LIMITING, WORKING, REFUSED, CACHE, IGNORED]
        .into_iter()
        .map(|why| (why, names(left().filter(|key| reason(key) == why))))
        .filter(|(_, names)| !names.is_empty())
        .collect();
    if groups.is_empty() {
        return;
    }
    page.gap();
    page.comment(&format!("{whose} had keys without a place here:"));
    for (why, names) in groups {
        page.changed(&format!("{why}: {}.", names.join(", ")));
    }
}

/// Why a key has no place.
fn reason(key: &ReportedKey) -> &'static str {
    match key.standing {
        _ if key.table.starts_with("runners.cache") => CACHE,
        Standing::Ignored(_) => IGNORED,
        Standing::Refused(_) => REFUSED,
        // What an instance was made like.
        _ if key.table.ends_with("MachineOptions") => IGNORED,
        _ if LIMITS.contains(&key.key.as_str()) => LIMITING,
        _ => WORKING,
    }
}

const REFUSED: &str = "with these onspot can't work";

const LIMITING: &str = "these limited what a job may do, and do so no longer";
const WORKING: &str = "these work with `onspot run`, but onspot.toml has no key for them";
const IGNORED: &str = "these have no effect in onspot; `onspot check` says why";
const CACHE: &str = "the stack makes a cache bucket of its own, which begins empty, and reads it \
                     by its roles";

/// The names, each once. A list of services is one key.
fn names<'k>(keys: impl Iterator<Item = &'k ReportedKey>) -> Vec<Cow<'k, str>> {
    let mut names: Vec<Cow<'_, str>> = Vec::new();
    for key in keys {
        let name = match key.table.strip_prefix("runners.docker.") {
            Some(table) => table.into(),
            None => key.label(),
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}
