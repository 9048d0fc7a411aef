//! How jobs run in Docker: the keys of `[runners.docker]` that have an effect.

use std::collections::BTreeMap;
use std::time::Duration;

use onspot_notation::{Cpus, Size};
use serde::{Deserialize, Serialize, Serializer};

use super::{PullPolicy, Runner, differing};

/// GitLab Runner's default cgroup of a slot's containers.
const SLOT_CGROUP: &str = "gitlab-runner/slot-${slot}";
/// The default time for services to open their ports.
const WAIT_FOR_SERVICES: Duration = Duration::from_secs(30);

/// How jobs run in Docker on this host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Docker {
    /// The Docker engine (`unix:///run/user/1000/docker.sock`); the usual one if absent.
    pub host: Option<String>,
    /// The image of jobs that name none.
    pub image: Option<String>,
    /// Tried in this order until one gives the image; empty means always.
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
    /// Whether services are privileged, if that differs from `privileged`.
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
    /// How many services a job may have, including those of the runner; no limit if absent.
    pub services_limit: Option<u32>,
    /// Further mounts of job containers, `source:target[:mode]`, and bare paths, which become
    /// volumes that the job and its services share, and that are kept for the slot's next job of
    /// the same project and protectedness. A source is a path of the host or a volume's name.
    pub volumes: Vec<String>,
    /// Whether the volumes of bare paths end with their job.
    pub disable_cache: bool,
    /// The folder on the host that bare paths are kept in, instead of volumes.
    pub cache_dir: Option<String>,
    /// The driver of the volumes of bare paths; Docker's own if absent.
    pub volume_driver: Option<String>,
    /// The options of that driver.
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
    /// Other containers that jobs can reach by name, `container[:name]`.
    pub links: Vec<String>,
    /// The hardware address of job containers; Docker's choice if absent.
    pub mac_address: Option<String>,
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
    /// Process limits of job containers: `soft[:hard]` by name (`nofile`).
    pub ulimits: BTreeMap<String, String>,
    /// Devices of the host for job containers, `host[:container[:rwm]]`.
    pub devices: Vec<String>,
    /// The same for services, by patterns of their images.
    pub services_devices: BTreeMap<String, Vec<String>>,
    /// Rules for the kinds of devices that job containers may use (`c 188:* rmw`).
    pub device_cgroup_rules: Vec<String>,
    /// Whether job containers that exceed their memory limit are paused instead of killed.
    pub oom_kill_disable: bool,
    /// How readily the kernel kills job containers when the host has no memory left.
    pub oom_score_adjust: i32,
    /// The image of the container that handles git, cache and artifacts, pulled like the images of
    /// jobs; the embedded one if absent.
    pub helper_image: Option<String>,
    /// Patterns of private images that all jobs may use once they are on this host.
    pub shared_images: Vec<String>,
    /// Labels of every container, beside the executor's own.
    pub labels: BTreeMap<String, String>,
    /// How long jobs wait for services to open their ports, 30 s if absent; zero means not to wait.
    #[serde(with = "crate::duration::optional")]
    pub wait_for_services: Option<Duration>,
    /// The cgroup of services where slots have cgroups of their own; that of jobs if absent.
    pub service_slot_cgroup_template: Option<String>,
}

/// What the containers of jobs, or of services, may use of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Resources {
    /// Limit of memory (`512m`), if any.
    pub memory: Option<Size>,
    /// Limit of memory and swap together, if any.
    pub memory_swap: Option<Size>,
    /// The memory that is reserved when the host runs short of it, if any.
    pub memory_reservation: Option<Size>,
    /// Limit of processors (`1.5`), if any.
    pub cpus: Option<Cpus>,
    /// The relative weight while containers compete for processors; 0 means Docker's default.
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
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

impl Docker {
    /// When images are pulled; tried in this order, never empty.
    pub fn pull_policies(&self) -> &[PullPolicy] {
        match self.pull_policy.as_slice() {
            [] => &[PullPolicy::Always],
            policies => policies,
        }
    }

    /// How long to wait for services to open their ports; zero means not to wait.
    pub fn patience_with_services(&self) -> Duration {
        self.wait_for_services.unwrap_or(WAIT_FOR_SERVICES)
    }

    /// The same with the cgroups of slots, if the runner has them.
    #[must_use]
    pub fn with_slot_cgroups(mut self, runner: &Runner) -> Self {
        if runner.use_slot_cgroups {
            let said = |template: &Option<String>| {
                let template = template.clone();
                template.filter(|template| !template.is_empty())
            };
            let of_jobs = said(&runner.slot_cgroup_template).unwrap_or(SLOT_CGROUP.to_owned());
            let of_services = said(&self.service_slot_cgroup_template);
            self.service.cgroup_parent = Some(of_services.unwrap_or_else(|| of_jobs.clone()));
            self.job.cgroup_parent = Some(of_jobs);
        }
        self
    }

    /// Writes what differs from the default.
    pub(crate) fn sparse<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        differing::<_, S::Error>(self, &Self::default())?.serialize(serializer)
    }
}
