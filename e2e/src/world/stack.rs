//! The world's `onspot.toml`: a stack as a user would describe it, in this world.

use std::path::PathBuf;

use super::program::TOKEN;
use super::running::{JOB_IMAGE, RUNNER, World};
use crate::{Error, Result, images};

/// A stack's options in tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackOptions {
    /// The stack's name.
    pub name: String,
    /// How many jobs run at once.
    pub concurrent: u32,
    /// The maximum of workers.
    pub limit: u32,
    /// How many idle workers are kept.
    pub idle_count: u32,
    /// How long a worker may be idle before it is terminated.
    pub idle_time: String,
    /// How many jobs a worker runs before it is replaced; 0 means no limit.
    pub max_builds: u32,
    /// How many managers there are.
    pub managers: u32,
    /// The memory limit of a job, for example `64m`; its share of the worker's memory if absent.
    pub memory: Option<String>,
    /// Tags of the stack's owner.
    pub tags: Vec<(String, String)>,
    /// Whether managers cache images for the workers.
    pub registry_cache: bool,
    /// `key = "duration"` lines of `[timing]`.
    pub timing: Vec<(String, String)>,
}

impl Default for StackOptions {
    /// One job per worker, a short idle time, and short timings.
    fn default() -> Self {
        let timing = [
            ("heartbeat", "1s"),
            ("lease", "12s"),
            ("takeover", "20s"),
            ("leader", "6s"),
            ("order_poll", "500ms"),
            ("round", "500ms"),
            ("watch", "1s"),
            ("interruption_poll", "1s"),
            ("give_up", "5s"),
            ("waiting_probe", "2s"),
            ("boot", "3m"),
        ];
        Self {
            name: "cowsay".to_owned(),
            concurrent: 4,
            limit: 3,
            idle_count: 0,
            idle_time: "20s".to_owned(),
            max_builds: 1,
            managers: 1,
            memory: None,
            tags: Vec::new(),
            registry_cache: false,
            timing: timing
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .to_vec(),
        }
    }
}

impl World {
    /// Writes `onspot.toml` for a stack in this world.
    pub fn write_stack(&self, options: &StackOptions) -> Result<PathBuf> {
        let path = self.dir().join("onspot.toml");
        std::fs::write(&path, self.stack_toml(options))
            .map_err(Error::io(format!("write {}", path.display())))?;
        Ok(path)
    }

    fn stack_toml(&self, options: &StackOptions) -> String {
        let StackOptions {
            name,
            concurrent,
            limit,
            idle_count,
            idle_time,
            max_builds,
            managers,
            ..
        } = options;
        let lines = |pairs: &[(String, String)]| {
            let pairs = pairs.iter();
            let lines = pairs.map(|(key, value)| format!("{key} = \"{value}\""));
            lines.collect::<Vec<_>>().join("\n")
        };
        let memory = options.memory.as_ref();
        let memory = memory.map_or_else(String::new, |size| format!("memory = \"{size}\""));
        let registry_cache = if options.registry_cache {
            format!(
                "registry_cache = {{ image = \"{}\", upstream = \"{}\" }}\n",
                images::REGISTRY.name,
                self.registry_mirror()
            )
        } else {
            String::new()
        };
        format!(
            r#"# A stack in the local world. On AWS the [aws] and [timing] sections and the
# `os`, `ami` and `registry_mirrors` lines would not be there.
name = "{name}"
region = "{region}"
concurrent = {concurrent}

[aws]
endpoint_url = "{aws}"

[manager]
os = "debian-12"
ami = "{ami}"
count = {managers}
{registry_cache}
[[runners]]
name = "{RUNNER}"
url = "{gitlab}"
token = "env:{TOKEN}"
limit = {limit}
image = "{JOB_IMAGE}"
pull_policy = "if-not-present"
{memory}

[runners.workers]
os = "debian-12"
ami = "{ami}"
instance_types = ["t3.small", "t3a.small"]
spot = true
idle_count = {idle_count}
idle_time = "{idle_time}"
max_builds = {max_builds}
registry_mirrors = ["{mirror}"]

[timing]
{timing}

[tags]
{tags}
"#,
            region = self.region(),
            ami = self.machine_image(),
            aws = self.cloud().url(),
            gitlab = self.gitlab().url().as_str().trim_end_matches('/'),
            mirror = self.registry_mirror(),
            timing = lines(&options.timing),
            tags = lines(&options.tags),
        )
    }
}
