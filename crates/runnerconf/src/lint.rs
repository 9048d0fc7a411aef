//! What a `config.toml` says that works and should be otherwise.

use std::fmt;

use serde::Serialize;

use crate::model::{CacheType, Config, ExecutorKind, Machine, Runner};

/// Something that works and should be otherwise, or that has no effect here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// A fixed name, for programs, for example `access-keys`.
    pub code: &'static str,
    /// The runner it is about; `None` for the whole file.
    pub runner: Option<String>,
    /// What is so.
    pub message: String,
    /// What to do.
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

/// All warnings, in the file's order.
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
    let keys = config
        .other
        .keys()
        .filter(|key| key.as_str() != "session_server");
    found.unused("the file", keys);
    for runner in &config.runners {
        found.runner = Some(runner.name.clone());
        lint_runner(runner, &mut found);
    }
    found.warnings
}

/// Collects warnings about one runner after another.
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

    /// Keys that GitLab Runner reads and onspot only keeps.
    fn unused<'k>(&mut self, section: &str, keys: impl Iterator<Item = &'k String>) {
        let names = keys.map(|key| format!("`{key}`")).collect::<Vec<_>>();
        if !names.is_empty() {
            let message = format!("{} in {section}: no effect here", names.join(", "));
            self.add(
                "no-effect",
                message,
                "onspot keeps such keys but does not use them",
            );
        }
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
    found.unused("[[runners]]", runner.other.keys());
    lint_docker(runner, found);
    lint_cache(runner, found);
    if let Some(machine) = &runner.machine {
        lint_machine(machine, found);
    }
    if let Some(autoscaler) = &runner.autoscaler {
        found.unused("[runners.autoscaler]", autoscaler.other.keys());
        if autoscaler
            .plugin
            .as_deref()
            .is_some_and(|plugin| !plugin.contains("aws"))
        {
            found.add(
                "plugin",
                "the autoscaler's plugin is not the one for AWS",
                "onspot buys instances on AWS only",
            );
        }
    }
}

fn lint_docker(runner: &Runner, found: &mut Findings) {
    let Some(docker) = &runner.docker else { return };
    found.unused("[runners.docker]", docker.other.keys());
    for service in &docker.containers.services {
        found.unused("[[runners.docker.services]]", service.other.keys());
    }
    let socket = docker
        .volumes
        .iter()
        .any(|volume| volume.contains("docker.sock"));
    let services = docker.containers.services_privileged == Some(true);
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
    found.unused("[runners.cache]", cache.other.keys());
    if matches!(cache.kind, Some(CacheType::Gcs | CacheType::Azure)) {
        found.add(
            "cache-type",
            "the cache is not on S3",
            "only S3 is used; there is no cache",
        );
    }
    if let Some(s3) = &cache.s3 {
        found.unused("[runners.cache.s3]", s3.other.keys());
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
    found.unused("[runners.machine]", machine.other.keys());
    if machine.machine_driver != Machine::EC2_DRIVER {
        found.add(
            "machine-driver",
            format!("MachineDriver is `{}`", machine.machine_driver),
            "onspot has amazonec2 only",
        );
        return;
    }
    // Reading the file has checked the options.
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
    let names = options
        .unused
        .iter()
        .map(|option| option.split('=').next().unwrap_or(option));
    let names = names.map(str::to_owned).collect::<Vec<_>>();
    found.unused("MachineOptions", names.iter());
}
