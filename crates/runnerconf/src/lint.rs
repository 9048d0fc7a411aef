//! Warnings about a `config.toml`: settings that work but should be changed, or have no effect.

use std::fmt;

use serde::Serialize;

use crate::ec2_options::Ec2Options;
use crate::model::{Autoscaler, Config, ExecutorKind, Machine, Runner};
use crate::reference::{self, Fate};

/// A setting that works but should be changed, or has no effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// A fixed identifier for programs, for example `access-keys`.
    pub code: &'static str,
    /// The runner's name; `None` for the whole file.
    pub runner: Option<String>,
    /// The warning.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(runner) = &self.runner {
            write!(f, "{runner}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// All warnings, in the order of the file.
pub fn lint(config: &Config) -> Vec<Warning> {
    let mut found = Findings {
        runner: None,
        warnings: Vec::new(),
    };
    if config.runners.is_empty() {
        found.add(
            "no-runners",
            "there is no [[runners]]",
            "add one: without it nothing is run",
        );
    }
    found.unused("", &config.other);
    found.unused_if(config.log_format.is_some(), "", "log_format");
    for runner in &config.runners {
        found.runner = Some(runner.name().to_owned());
        lint_runner(runner, &mut found);
    }
    found.warnings
}

/// Collects the warnings of the runners.
#[derive(Debug)]
struct Findings {
    runner: Option<String>,
    warnings: Vec<Warning>,
}

impl Findings {
    fn add(&mut self, code: &'static str, message: impl Into<String>, hint: impl Into<String>) {
        self.warnings.push(Warning {
            code,
            runner: self.runner.clone(),
            message: message.into(),
            hint: hint.into(),
        });
    }

    /// Keys that are kept without effect: those of GitLab Runner, and unknown ones. Keys with the
    /// same reason share a warning.
    fn unused(&mut self, table: &str, kept: &toml::Table) {
        let mut reasons: Vec<(&'static str, Vec<&str>)> = Vec::new();
        for (key, _) in kept.iter().filter(|(_, value)| !reference::is_unset(value)) {
            let Some(known) = reference::key(table, key) else {
                self.add(
                    "unknown-key",
                    format!("`{key}` in {}: not known to this version", header(table)),
                    "remove it, or check its spelling: it may be a newer GitLab Runner's",
                );
                continue;
            };
            let Fate::Warned(why) = known.fate else {
                continue;
            };
            match reasons.iter_mut().find(|(reason, _)| *reason == why) {
                Some((_, keys)) => keys.push(known.name),
                None => reasons.push((why, vec![known.name])),
            }
        }
        for (why, keys) in reasons {
            self.no_effect(&keys, header(table), why);
        }
    }

    /// A key of the model that has no effect with its present value.
    fn unused_if(&mut self, set: bool, table: &str, key: &str) {
        let fate = reference::key(table, key).map(|key| key.fate);
        if let (true, Some(Fate::Warned(why))) = (set, fate) {
            self.no_effect(&[key], header(table), why);
        }
    }

    fn no_effect(&mut self, keys: &[&str], place: impl fmt::Display, why: &'static str) {
        let names: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
        let message = format!("{} in {place}: no effect here", names.join(", "));
        self.add("no-effect", message, why);
    }
}

/// A table's header as in the file.
fn header(table: &str) -> String {
    match table {
        "" => "the file".to_owned(),
        "runners"
        | "runners.docker.services"
        | "runners.machine.autoscaling"
        | "runners.autoscaler.policy" => format!("[[{table}]]"),
        table => format!("[{table}]"),
    }
}

fn lint_runner(runner: &Runner, found: &mut Findings) {
    if runner.token.is_plain() {
        found.add(
            "plain-token",
            "the runner's token stands in the file",
            "write token = \"env:NAME\", \"file:PATH\" or \"ssm:PARAMETER\" instead",
        );
    }
    match &runner.executor {
        ExecutorKind::Other(name) => found.add(
            "executor",
            format!("onspot has no executor `{name}`; the runner is left out"),
            "use docker, shell, docker+machine or docker-autoscaler",
        ),
        ExecutorKind::DockerMachine if runner.machine.is_none() => found.add(
            "no-machine",
            "executor `docker+machine` without [runners.machine]",
            "add the section, or use the executor `docker`",
        ),
        ExecutorKind::DockerAutoscaler if runner.autoscaler.is_none() => found.add(
            "no-autoscaler",
            "executor `docker-autoscaler` without [runners.autoscaler]",
            "add the section, or use the executor `docker`",
        ),
        _ => {}
    }
    found.unused("runners", &runner.other);
    lint_feature_flags(runner, found);
    lint_docker(runner, found);
    lint_cache(runner, found);
    if let Some(machine) = &runner.machine {
        lint_machine(machine, found);
    }
    if let Some(autoscaler) = &runner.autoscaler {
        lint_autoscaler(autoscaler, found);
    }
}

/// A feature flag that GitLab Runner does not have, or that changes nothing here.
fn lint_feature_flags(runner: &Runner, found: &mut Findings) {
    for (name, &value) in &runner.settings.feature_flags {
        let Some(flag) = onspot_settings::feature_flag(name) else {
            found.add(
                "unknown-feature-flag",
                format!("`{name}` in [runners.feature_flags]: not known to this version"),
                "remove it, or check its spelling: it may be a newer GitLab Runner's",
            );
            continue;
        };
        if let Some(why) = flag.without_effect(value) {
            found.no_effect(&[name], "[runners.feature_flags]", why);
        }
    }
}

fn lint_autoscaler(autoscaler: &Autoscaler, found: &mut Findings) {
    const TABLE: &str = "runners.autoscaler";
    found.unused(TABLE, &autoscaler.other);
    // The default is one job at a time.
    let several = autoscaler.capacity_per_instance > 1;
    found.unused_if(several, TABLE, "capacity_per_instance");
    let configured = !autoscaler.plugin_config.is_empty();
    found.unused_if(configured, TABLE, "plugin_config");
    for policy in &autoscaler.policy {
        found.unused("runners.autoscaler.policy", &policy.other);
        let preemptive = policy.preemptive_mode == Some(true);
        found.unused_if(preemptive, "runners.autoscaler.policy", "preemptive_mode");
    }
    let aws = |plugin: &str| plugin.contains("aws");
    if autoscaler
        .plugin
        .as_deref()
        .is_some_and(|plugin| !aws(plugin))
    {
        found.add(
            "plugin",
            "the autoscaler's plugin is not the one for AWS",
            "onspot buys instances on AWS only",
        );
    }
}

fn lint_docker(runner: &Runner, found: &mut Findings) {
    let Some(docker) = &runner.docker else { return };
    found.unused("runners.docker", &docker.other);
    for other in &docker.other_of_services {
        found.unused("runners.docker.services", other);
    }
    let docker = &docker.settings;
    let socket = docker
        .volumes
        .iter()
        .any(|volume| volume.contains("docker.sock"));
    let services = docker.services_privileged == Some(true);
    if docker.privileged || services || socket {
        let how = if services && !docker.privileged {
            "services are privileged"
        } else if docker.privileged {
            "jobs are privileged"
        } else {
            "jobs get Docker's socket"
        };
        found.add(
            "owns-worker",
            format!("{how}: each of them owns its worker"),
            "build images without it (buildah, kaniko), or keep to one job a worker, used once",
        );
    }
}

fn lint_cache(runner: &Runner, found: &mut Findings) {
    let Some(cache) = &runner.cache else { return };
    found.unused("runners.cache", &cache.other);
    if cache.kind.is_none() && cache.s3.is_some() {
        found.add(
            "cache-type",
            "[runners.cache] names a bucket and no Type: caches stay on the host",
            "write Type = \"s3\"",
        );
    }
    if let Some(s3) = &cache.s3 {
        found.unused("runners.cache.s3", &s3.other);
        if s3.access_key.is_some() || s3.secret_key.is_some() {
            found.add(
                "access-keys",
                "an access key of the cache's bucket stands in the file",
                "remove AccessKey and SecretKey: the instance's role is used then",
            );
        }
    }
}

fn lint_machine(machine: &Machine, found: &mut Findings) {
    found.unused("runners.machine", &machine.other);
    // The name that onspot itself writes for GitLab Runner is no user's choice.
    let named = !matches!(machine.machine_name.as_str(), "" | "runner-%s");
    found.unused_if(named, "runners.machine", "MachineName");
    for period in &machine.autoscaling {
        found.unused("runners.machine.autoscaling", &period.other);
    }
    if machine.machine_driver != Machine::EC2_DRIVER {
        found.add(
            "machine-driver",
            format!("MachineDriver is `{}`", machine.machine_driver),
            "onspot has amazonec2 only",
        );
        return;
    }
    // The options were checked when the file was read.
    let Ok(options) = machine.ec2_options() else {
        return;
    };
    if options.access_key.is_some() || options.secret_key.is_some() {
        found.add(
            "access-keys",
            "an access key of AWS stands in MachineOptions",
            "remove amazonec2-access-key and amazonec2-secret-key: the manager's role is used then",
        );
    }
    let unused = unused_options(&options);
    if !unused.is_empty() {
        found.no_effect(
            &unused,
            "MachineOptions",
            "workers are described by the stack's launch template",
        );
    }
}

/// The names of the options that onspot never evaluates. The others are those written by
/// `onspot render`: the manager compares them with the stack's own.
fn unused_options(options: &Ec2Options) -> Vec<&str> {
    let Ec2Options {
        access_key: _,
        secret_key: _,
        session_token: _,
        region: _,
        zone,
        vpc_id: _,
        subnet_id: _,
        security_groups,
        instance_type: _,
        ami,
        iam_instance_profile,
        private_address_only: _,
        use_private_address,
        request_spot: _,
        spot_price: _,
        root_size: _,
        volume_type,
        tags,
        registry_mirrors: _,
        unused,
    } = options;
    let set = [
        ("amazonec2-zone", zone.is_some()),
        ("amazonec2-security-group", !security_groups.is_empty()),
        ("amazonec2-ami", ami.is_some()),
        (
            "amazonec2-iam-instance-profile",
            iam_instance_profile.is_some(),
        ),
        ("amazonec2-use-private-address", *use_private_address),
        ("amazonec2-volume-type", volume_type.is_some()),
        ("amazonec2-tags", !tags.is_empty()),
    ];
    let set = set
        .into_iter()
        .filter(|(_, set)| *set)
        .map(|(name, _)| name);
    let names = unused
        .iter()
        .map(|option| option.split('=').next().unwrap_or(option));
    set.chain(names).collect()
}
