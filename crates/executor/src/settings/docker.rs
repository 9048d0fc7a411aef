//! How jobs run in Docker.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::{PullPolicy, RunnerSettings};

/// How jobs run in Docker on this host.
#[derive(Debug, Clone)]
pub struct DockerSettings {
    /// What every executor knows.
    pub runner: RunnerSettings,
    /// The Docker engine (`unix:///run/user/1000/docker.sock`); the usual one if absent.
    pub host: Option<String>,
    /// The image of jobs that name none.
    pub image: Option<String>,
    /// Tried in this order until one gives the image. Never empty.
    pub pull_policy: Vec<PullPolicy>,
    /// What a job's own `pull_policy` may be; empty means: what `pull_policy` holds.
    pub allowed_pull_policies: Vec<PullPolicy>,
    /// Patterns (`registry.example.com/team/*`) of the images jobs may name, besides the runner's
    /// own; empty means all.
    pub allowed_images: Vec<String>,
    /// The same for services.
    pub allowed_services: Vec<String>,
    /// Give job containers the host's full authority. A job then owns its worker.
    pub privileged: bool,
    /// Patterns of the images that are privileged where `privileged` is set; empty means all.
    pub allowed_privileged_images: Vec<String>,
    /// Whether services are privileged, where that is not what `privileged` says.
    pub services_privileged: Option<bool>,
    /// Patterns of the services that are privileged if services are; empty means all.
    pub allowed_privileged_services: Vec<String>,
    /// The user that job containers run as, whatever image and job say.
    pub user: Option<String>,
    /// The users that jobs may name; empty means `user` alone, or any if there is none.
    pub allowed_users: Vec<String>,
    /// Images keep their own entrypoint, whatever a job says.
    pub disable_entrypoint_overwrite: bool,
    /// Services of every job, besides its own.
    pub services: Vec<ContainerService>,
    /// How many services a job may have, those of the runner among them; no limit if absent.
    pub services_limit: Option<usize>,
    /// Further mounts of job containers, `source:target[:mode]`, and bare paths, which become
    /// volumes that the job and its services share for as long as the job runs.
    pub volumes: Vec<String>,
    /// What makes the volumes of bare paths; Docker's own driver if absent.
    pub volume_driver: Option<String>,
    /// What that driver is told.
    pub volume_driver_ops: BTreeMap<String, String>,
    /// Containers whose volumes jobs get too.
    pub volumes_from: Vec<String>,
    /// Size of `/dev/shm` in bytes; 0 means Docker's default.
    pub shm_size: u64,
    /// Folders of job containers that are in memory, with their mount options.
    pub tmpfs: BTreeMap<String, String>,
    /// The same of services.
    pub services_tmpfs: BTreeMap<String, String>,
    /// `bridge` (the default), `host`, `none` or a network's name.
    pub network_mode: Option<String>,
    /// Whether the networks of jobs have IPv6 too.
    pub enable_ipv6: bool,
    /// The largest packet of the networks of jobs in bytes; 0 means Docker's default.
    pub network_mtu: u32,
    /// `name:address` lines for `/etc/hosts` of job, service and helper containers.
    pub extra_hosts: Vec<String>,
    /// Other containers that jobs reach by name, `container[:name]`.
    pub links: Vec<String>,
    /// The host name of job containers; made from runner and project if absent.
    pub hostname: Option<String>,
    /// DNS servers.
    pub dns: Vec<String>,
    /// DNS search domains.
    pub dns_search: Vec<String>,
    /// What job containers may use.
    pub job: Resources,
    /// What services may use.
    pub service: Resources,
    /// Capabilities to add.
    pub cap_add: Vec<String>,
    /// Capabilities to drop.
    pub cap_drop: Vec<String>,
    /// Docker `--security-opt` values of job containers. `seccomp=PATH` names a file of this host.
    pub security_opt: Vec<String>,
    /// The same of services.
    pub services_security_opt: Vec<String>,
    /// The engine's runtime (`runsc`) for job, service and helper containers; its default if
    /// absent.
    pub runtime: Option<String>,
    /// The user namespace (`host`) of job, service and helper containers.
    pub userns_mode: Option<String>,
    /// The process namespace of job containers.
    pub pid_mode: Option<String>,
    /// The IPC namespace of job containers.
    pub ipc_mode: Option<String>,
    /// Further groups of the job containers' user.
    pub group_add: Vec<String>,
    /// Kernel parameters of job containers.
    pub sysctls: BTreeMap<String, String>,
    /// Limits of processes of job containers: `soft[:hard]` by name (`nofile`).
    pub ulimits: BTreeMap<String, String>,
    /// Devices of the host for job containers, `host[:container[:rwm]]`.
    pub devices: Vec<String>,
    /// The same for services, by patterns of their images.
    pub services_devices: BTreeMap<String, Vec<String>>,
    /// Rules of which kinds of devices job containers may use (`c 188:* rmw`).
    pub device_cgroup_rules: Vec<String>,
    /// Whether job containers that use more memory than they may wait instead of being killed.
    pub oom_kill_disable: bool,
    /// How readily the kernel kills job containers when the host has no memory left.
    pub oom_score_adjust: i32,
    /// The slots that share this host's memory where `job.memory` says nothing; no limit then if
    /// absent.
    pub memory_shared_by: Option<usize>,
    /// The helper's image, had as jobs' images are; the embedded one if absent.
    pub helper_image: Option<String>,
    /// What the embedded image is called on this host; built here when it is missing.
    pub embedded_helper: String,
    /// The `onspot` binary to run in the helper: this process's own, usually.
    pub helper_binary: PathBuf,
    /// Where slots have their build folders, on the Docker engine's host.
    pub builds_root: PathBuf,
    /// The file that says who pulled which private image, for all runners of this host.
    pub private_images: PathBuf,
    /// Patterns of private images that all jobs may use once they are on this host.
    pub shared_images: Vec<String>,
    /// Labels of every container, beside the executor's own.
    pub labels: BTreeMap<String, String>,
    /// `DOCKER_AUTH_CONFIG` of the runner: registries' credentials as in `~/.docker/config.json`.
    pub docker_auth_config: Option<String>,
    /// How long services get to open their ports; nothing is waited for if it is zero.
    pub wait_for_services: Duration,
}

/// What the containers of jobs, or of services, may use of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
    /// Limit of memory (`512m`), if any.
    pub memory: Option<String>,
    /// Limit of memory and swap together, if any.
    pub memory_swap: Option<String>,
    /// What is kept of memory when the host runs short of it, if anything.
    pub memory_reservation: Option<String>,
    /// Limit of processors (`1.5`), if any.
    pub cpus: Option<String>,
    /// Weight among containers that all want processors; 0 means Docker's default.
    pub cpu_shares: i64,
    /// The processors (`0-2`), if not all.
    pub cpuset_cpus: Option<String>,
    /// The memory nodes (`0,1`), if not all.
    pub cpuset_mems: Option<String>,
    /// The cgroup above the containers'; `${slot}` in it is the slot's number.
    pub cgroup_parent: Option<String>,
    /// The graphics processors (`all`, `2`, `"device=0,1"`), if any.
    pub gpus: Option<String>,
}

/// A service that the runner starts for every job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerService {
    /// Its image.
    pub name: String,
    /// Its host names, separated by commas or spaces.
    pub alias: String,
    /// Replaces the image's entrypoint; empty keeps it.
    pub entrypoint: Vec<String>,
    /// Replaces the image's command; empty keeps it.
    pub command: Vec<String>,
    /// `NAME=value` lines.
    pub environment: Vec<String>,
}

impl DockerSettings {
    /// GitLab Runner's defaults: pull always, unprivileged, default bridge.
    pub fn new(runner: RunnerSettings, helper_binary: PathBuf) -> Self {
        Self {
            runner,
            host: None,
            image: None,
            pull_policy: vec![PullPolicy::Always],
            allowed_pull_policies: Vec::new(),
            allowed_images: Vec::new(),
            allowed_services: Vec::new(),
            privileged: false,
            allowed_privileged_images: Vec::new(),
            services_privileged: None,
            allowed_privileged_services: Vec::new(),
            user: None,
            allowed_users: Vec::new(),
            disable_entrypoint_overwrite: false,
            services: Vec::new(),
            services_limit: None,
            volumes: Vec::new(),
            volume_driver: None,
            volume_driver_ops: BTreeMap::new(),
            volumes_from: Vec::new(),
            shm_size: 0,
            tmpfs: BTreeMap::new(),
            services_tmpfs: BTreeMap::new(),
            network_mode: None,
            enable_ipv6: false,
            network_mtu: 0,
            extra_hosts: Vec::new(),
            links: Vec::new(),
            hostname: None,
            dns: Vec::new(),
            dns_search: Vec::new(),
            job: Resources::default(),
            service: Resources::default(),
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            security_opt: Vec::new(),
            services_security_opt: Vec::new(),
            runtime: None,
            userns_mode: None,
            pid_mode: None,
            ipc_mode: None,
            group_add: Vec::new(),
            sysctls: BTreeMap::new(),
            ulimits: BTreeMap::new(),
            devices: Vec::new(),
            services_devices: BTreeMap::new(),
            device_cgroup_rules: Vec::new(),
            oom_kill_disable: false,
            oom_score_adjust: 0,
            memory_shared_by: None,
            helper_image: None,
            embedded_helper: crate::HELPER_IMAGE.to_owned(),
            helper_binary,
            builds_root: PathBuf::from("/var/lib/onspot/builds"),
            private_images: PathBuf::from("/var/lib/onspot/private-images.json"),
            shared_images: Vec::new(),
            labels: BTreeMap::new(),
            docker_auth_config: None,
            wait_for_services: Duration::from_secs(30),
        }
    }
}
