//! The keys of `[runners.docker]` that say what containers may do and use.

use std::collections::BTreeMap;

use onspot_notation::{Cpus, Size};

use super::super::runner::parse_variable;
use super::pattern;
use crate::error::ConfigError;
use crate::render::Entries;
use crate::section::{Complaint, Section};

/// What the containers of jobs and services may do and use, besides what [`super::Docker`] holds
/// itself. The fields have the keys' names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Containers {
    /// Patterns of the images that are privileged where `privileged` is set; empty means all.
    pub allowed_privileged_images: Vec<String>,
    /// Patterns of the services that are privileged if services are; empty means all.
    pub allowed_privileged_services: Vec<String>,
    /// Whether services are privileged, where that is not what `privileged` says.
    pub services_privileged: Option<bool>,
    /// Docker `--security-opt` values of services.
    pub services_security_opt: Vec<String>,
    /// The users that jobs may name; empty means `user` alone, or any if there is none.
    pub allowed_users: Vec<String>,
    /// Patterns of private images that all jobs may use once they are on the host. GitLab Runner has
    /// no such key: with `if-not-present` it lets all jobs use all images.
    pub shared_images: Vec<String>,
    /// Whether images keep their own entrypoint, whatever a job says.
    pub disable_entrypoint_overwrite: bool,
    /// The engine's runtime, for example `runsc`.
    pub runtime: Option<String>,
    /// The user namespace.
    pub userns_mode: Option<String>,
    /// The process namespace of job containers.
    pub pid_mode: Option<String>,
    /// The IPC namespace of job containers.
    pub ipcmode: Option<String>,
    /// Further groups of the job containers' user.
    pub group_add: Vec<String>,
    /// Kernel parameters of job containers.
    pub sysctls: BTreeMap<String, String>,
    /// Limits of processes of job containers, `soft[:hard]` by name.
    pub ulimit: BTreeMap<String, String>,
    /// Devices of the host for job containers.
    pub devices: Vec<String>,
    /// Devices of the host for services, by patterns of their images.
    pub services_devices: BTreeMap<String, Vec<String>>,
    /// Rules of which kinds of devices job containers may use.
    pub device_cgroup_rules: Vec<String>,
    /// Whether job containers that use too much memory wait instead of being killed.
    pub oom_kill_disable: bool,
    /// How readily the kernel kills job containers.
    pub oom_score_adjust: i32,
    /// Folders of job containers that are in memory, with their mount options.
    pub tmpfs: BTreeMap<String, String>,
    /// The same of services.
    pub services_tmpfs: BTreeMap<String, String>,
    /// What makes volumes.
    pub volume_driver: Option<String>,
    /// What it is told.
    pub volume_driver_ops: BTreeMap<String, String>,
    /// Containers whose volumes jobs get too.
    pub volumes_from: Vec<String>,
    /// Other containers that jobs reach by name.
    pub links: Vec<String>,
    /// The host name of job containers.
    pub hostname: Option<String>,
    /// Labels of job containers and services.
    pub container_labels: BTreeMap<String, String>,
    /// Whether the networks of jobs have IPv6 too.
    pub enable_ipv6: bool,
    /// The largest packet of the networks of jobs in bytes; 0 means Docker's default.
    pub network_mtu: u32,
    /// How many services a job may have; no limit if absent.
    pub services_limit: Option<u32>,
    /// Services of every job.
    pub services: Vec<Service>,
    /// What job containers may use, besides `memory` and `cpus`.
    pub job: Resources,
    /// What services may use.
    pub service: Resources,
    /// The cgroup of services where slots have cgroups of their own (`use_slot_cgroups`).
    pub service_slot_cgroup_template: Option<String>,
}

/// What the containers of jobs (`memory_swap`), or of services (`service_memory_swap`), may use.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resources {
    /// Limit of memory; of job containers it is in [`super::Docker::memory`].
    pub memory: Option<Size>,
    /// Limit of memory and swap together.
    pub memory_swap: Option<Size>,
    /// What is kept of memory when the host runs short of it.
    pub memory_reservation: Option<Size>,
    /// Limit of processors; of job containers it is in [`super::Docker::cpus`].
    pub cpus: Option<Cpus>,
    /// Weight among containers; 0 means Docker's default.
    pub cpu_shares: i64,
    /// The processors.
    pub cpuset_cpus: Option<String>,
    /// The memory nodes.
    pub cpuset_mems: Option<String>,
    /// The cgroup above the containers'.
    pub cgroup_parent: Option<String>,
    /// The graphics processors.
    pub gpus: Option<String>,
}

/// `[[runners.docker.services]]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Service {
    /// The image.
    pub name: String,
    /// The host names, separated by commas or spaces.
    pub alias: Option<String>,
    /// Replaces the image's entrypoint.
    pub entrypoint: Vec<String>,
    /// Replaces the image's command.
    pub command: Vec<String>,
    /// `NAME=value` lines.
    pub environment: Vec<String>,
    /// Kept, not used.
    pub other: toml::Table,
}

impl Containers {
    pub(super) fn read(section: &mut Section<'_>) -> Result<Self, ConfigError> {
        isolation(section)?;
        let services = section.sections("services")?;
        let limit = section.number::<i64>("services_limit")?;
        Ok(Self {
            allowed_privileged_images: section.patterns("allowed_privileged_images", pattern)?,
            allowed_privileged_services: section
                .patterns("allowed_privileged_services", pattern)?,
            services_privileged: section.boolean("services_privileged")?,
            services_security_opt: section.strings("services_security_opt")?,
            allowed_users: section.words("allowed_users")?,
            shared_images: section.strings("shared_images")?,
            disable_entrypoint_overwrite: flag(section, "disable_entrypoint_overwrite")?,
            runtime: section.string("runtime")?,
            userns_mode: section.string("userns_mode")?,
            pid_mode: section.string("pid_mode")?,
            ipcmode: section.string("ipcmode")?,
            group_add: section.strings("group_add")?,
            sysctls: section.map("sysctls")?,
            ulimit: section.map("ulimit")?,
            devices: section.strings("devices")?,
            services_devices: section.lists("services_devices")?,
            device_cgroup_rules: section.strings("device_cgroup_rules")?,
            oom_kill_disable: flag(section, "oom_kill_disable")?,
            oom_score_adjust: section.number("oom_score_adjust")?.unwrap_or(0),
            tmpfs: section.map("tmpfs")?,
            services_tmpfs: section.map("services_tmpfs")?,
            volume_driver: section.string("volume_driver")?,
            volume_driver_ops: section.map("volume_driver_ops")?,
            volumes_from: section.strings("volumes_from")?,
            links: section.strings("links")?,
            hostname: section.string("hostname")?,
            container_labels: section.map("container_labels")?,
            enable_ipv6: flag(section, "enable_ipv6")?,
            network_mtu: section.number("network_mtu")?.unwrap_or(0),
            // Below zero means no limit, as in GitLab Runner.
            services_limit: limit.and_then(|limit| u32::try_from(limit).ok()),
            services: services
                .into_iter()
                .map(Service::read)
                .collect::<Result<_, _>>()?,
            job: Resources::of_jobs(section)?,
            service: Resources::of_services(section)?,
            service_slot_cgroup_template: section.string("service_slot_cgroup_template")?,
        })
    }

    pub(super) fn put(&self, entries: &mut Entries) {
        entries.put_strings("allowed_privileged_images", &self.allowed_privileged_images);
        entries.put_strings(
            "allowed_privileged_services",
            &self.allowed_privileged_services,
        );
        entries.put_some("services_privileged", self.services_privileged);
        entries.put_strings("services_security_opt", &self.services_security_opt);
        entries.put_strings("allowed_users", &self.allowed_users);
        entries.put_strings("shared_images", &self.shared_images);
        entries.put_flag(
            "disable_entrypoint_overwrite",
            self.disable_entrypoint_overwrite,
        );
        entries.put_some("runtime", self.runtime.clone());
        entries.put_some("userns_mode", self.userns_mode.clone());
        entries.put_some("pid_mode", self.pid_mode.clone());
        entries.put_some("ipcmode", self.ipcmode.clone());
        entries.put_strings("group_add", &self.group_add);
        entries.put_strings("devices", &self.devices);
        entries.put_strings("device_cgroup_rules", &self.device_cgroup_rules);
        entries.put_flag("oom_kill_disable", self.oom_kill_disable);
        if self.oom_score_adjust != 0 {
            entries.put("oom_score_adjust", i64::from(self.oom_score_adjust));
        }
        entries.put_some("volume_driver", self.volume_driver.clone());
        entries.put_strings("volumes_from", &self.volumes_from);
        entries.put_strings("links", &self.links);
        entries.put_some("hostname", self.hostname.clone());
        entries.put_flag("enable_ipv6", self.enable_ipv6);
        entries.put_nonzero("network_mtu", self.network_mtu.into());
        entries.put_some("services_limit", self.services_limit.map(i64::from));
        self.job.put_of_jobs(entries);
        self.service.put_of_services(entries);
        entries.put_some(
            "service_slot_cgroup_template",
            self.service_slot_cgroup_template.clone(),
        );
        for (key, map) in [
            ("sysctls", &self.sysctls),
            ("ulimit", &self.ulimit),
            ("tmpfs", &self.tmpfs),
            ("services_tmpfs", &self.services_tmpfs),
            ("volume_driver_ops", &self.volume_driver_ops),
            ("container_labels", &self.container_labels),
        ] {
            entries.put_map(key, map);
        }
        entries.put_map("services_devices", &self.services_devices);
        let services = self.services.iter().map(Service::entries).collect();
        entries.put_sections("services", services);
    }
}

impl Resources {
    fn of_jobs(section: &mut Section<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            memory: None,
            memory_swap: size(section, "memory_swap")?,
            memory_reservation: size(section, "memory_reservation")?,
            cpus: None,
            cpu_shares: section.number("cpu_shares")?.unwrap_or(0),
            cpuset_cpus: section.string("cpuset_cpus")?,
            cpuset_mems: section.string("cpuset_mems")?,
            cgroup_parent: section.string("cgroup_parent")?,
            gpus: section.string("gpus")?,
        })
    }

    fn of_services(section: &mut Section<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            memory: size(section, "service_memory")?,
            memory_swap: size(section, "service_memory_swap")?,
            memory_reservation: size(section, "service_memory_reservation")?,
            cpus: section.parsed("service_cpus", |text| Ok(text.parse()?))?,
            cpu_shares: section.number("service_cpu_shares")?.unwrap_or(0),
            cpuset_cpus: section.string("service_cpuset_cpus")?,
            cpuset_mems: None,
            cgroup_parent: section.string("service_cgroup_parent")?,
            gpus: section.string("service_gpus")?,
        })
    }

    fn put_of_jobs(&self, entries: &mut Entries) {
        entries.put_some("memory_swap", self.memory_swap.as_ref().map(Size::as_str));
        entries.put_some(
            "memory_reservation",
            self.memory_reservation.as_ref().map(Size::as_str),
        );
        put_shares(entries, "cpu_shares", self.cpu_shares);
        entries.put_some("cpuset_cpus", self.cpuset_cpus.clone());
        entries.put_some("cpuset_mems", self.cpuset_mems.clone());
        entries.put_some("cgroup_parent", self.cgroup_parent.clone());
        entries.put_some("gpus", self.gpus.clone());
    }

    fn put_of_services(&self, entries: &mut Entries) {
        entries.put_some("service_memory", self.memory.as_ref().map(Size::as_str));
        entries.put_some(
            "service_memory_swap",
            self.memory_swap.as_ref().map(Size::as_str),
        );
        entries.put_some(
            "service_memory_reservation",
            self.memory_reservation.as_ref().map(Size::as_str),
        );
        entries.put_some("service_cpus", self.cpus.as_ref().map(Cpus::as_str));
        put_shares(entries, "service_cpu_shares", self.cpu_shares);
        entries.put_some("service_cpuset_cpus", self.cpuset_cpus.clone());
        entries.put_some("service_cgroup_parent", self.cgroup_parent.clone());
        entries.put_some("service_gpus", self.gpus.clone());
    }
}

impl Service {
    fn read(mut section: Section<'_>) -> Result<Self, ConfigError> {
        let name = section.string("name")?;
        Ok(Self {
            name: section.required("name", name)?,
            alias: section.string("alias")?,
            entrypoint: section.words("entrypoint")?,
            command: section.words("command")?,
            environment: section.each_parsed("environment", parse_variable)?,
            other: section.finish()?,
        })
    }

    fn entries(&self) -> Entries {
        let mut entries = Entries::default();
        entries.put("name", self.name.clone());
        entries.put_some("alias", self.alias.clone());
        entries.put_strings("entrypoint", &self.entrypoint);
        entries.put_strings("command", &self.command);
        entries.put_strings("environment", &self.environment);
        entries.put_others(&self.other);
        entries
    }
}

fn size(section: &mut Section<'_>, key: &'static str) -> Result<Option<Size>, ConfigError> {
    section.parsed(key, |text| Ok(text.parse()?))
}

fn flag(section: &mut Section<'_>, key: &'static str) -> Result<bool, ConfigError> {
    Ok(section.boolean(key)?.unwrap_or(false))
}

fn put_shares(entries: &mut Entries, key: &str, shares: i64) {
    if shares != 0 {
        entries.put(key, shares);
    }
}

/// Only containers of Windows can be isolated otherwise than by default, and onspot has none.
fn isolation(section: &mut Section<'_>) -> Result<(), ConfigError> {
    let Some((isolation, span)) = section.string_at("isolation")? else {
        return Ok(());
    };
    if matches!(isolation.as_str(), "" | "default") {
        return Ok(());
    }
    let complaint = Complaint::new("can't be honoured: it is for containers of Windows")
        .with_hint("remove the key, or keep this runner with GitLab Runner on Windows");
    Err(section.bad_value("isolation", complaint, span))
}

#[cfg(test)]
mod tests {
    use crate::Config;

    fn docker(text: &str) -> Result<Config, String> {
        let head = "[[runners]]\nname = 'r'\nurl = 'https://gitlab.example'\ntoken = 't'\n\
                    executor = 'docker'\n[runners.docker]\n";
        Config::parse(&format!("{head}{text}"), "config.toml").map_err(|error| error.to_string())
    }

    #[test]
    fn an_isolation_that_no_container_here_can_have_is_refused() {
        assert!(docker("isolation = 'default'\n").is_ok());
        let refused = docker("isolation = 'hyperv'\n").unwrap_err();
        assert!(refused.contains("containers of Windows"), "{refused}");
    }

    #[test]
    fn a_table_of_the_wrong_kind_is_an_error() {
        let refused = docker("[runners.docker.sysctls]\n'net.core.somaxconn' = 1024\n");
        assert!(refused.unwrap_err().contains("a table of strings"));
        let refused = docker("[runners.docker.services_devices]\n'a/*' = '/dev/kvm'\n");
        assert!(refused.unwrap_err().contains("a table of lists"));
    }
}
