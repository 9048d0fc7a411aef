//! `onspot.toml`: what a person says about a stack. Only a runner's name, GitLab's URL and the
//! token have no default.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use ipnet::Ipv4Net;
use onspot_reconcile::Tags;
use onspot_settings::{Policy, Timing, TokenRef};
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

mod check;
mod error;
mod locate;
mod os;
mod registry;
mod types;

pub(crate) use check::buyable;
pub use error::{SpecError, SpecErrorKind};
pub use os::Os;
pub use registry::RegistryCache;
pub use types::{Nat, PullPolicy};

use crate::names::{Names, slug};

/// With fewer pools, spot capacity is a matter of luck.
const FEW_POOLS: usize = 6;

/// A whole stack, as `onspot.toml` describes it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The stack's name: every resource is named after it and tagged with it. 1 to 20 lowercase
    /// letters, digits and inner hyphens, beginning with a letter.
    #[serde(default = "defaults::name")]
    pub name: String,
    /// The AWS region; the AWS profile's if absent.
    #[serde(default)]
    pub region: Option<String>,
    /// How many jobs run at once over all runners, at least 1.
    #[serde(default = "defaults::concurrent")]
    pub concurrent: u32,
    /// Tags of everything that is made, beside onspot's own. Keys have letters, digits and
    /// `+ - = . _ : @`, values spaces and `/` too.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub tags: Tags,
    /// How AWS is reached.
    #[serde(default)]
    pub aws: Aws,
    /// The network that the instances are in.
    #[serde(default)]
    pub network: Network,
    /// The cache that jobs share.
    #[serde(default)]
    pub cache: Cache,
    /// The logs of managers and workers.
    #[serde(default)]
    pub logs: Logs,
    /// The instance that takes jobs from GitLab and buys workers.
    #[serde(default)]
    pub manager: Manager,
    /// How fast things are noticed. The defaults suit AWS.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub timing: Timing,
    /// The runners: each is one registration in GitLab with workers of its own.
    pub runners: Vec<Runner>,
}

/// `[aws]`: how AWS is reached.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Aws {
    /// The endpoint of an AWS look-alike, for all services, also for the instances. Absent on AWS.
    #[schemars(with = "Option<String>")]
    pub endpoint_url: Option<Url>,
}

/// `[network]`: the network that the instances are in.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// The addresses of the VPC, a prefix between /16 and /23: it has room for two
    /// subnets in each of eight zones.
    #[schemars(with = "String")]
    pub cidr: Ipv4Net,
    /// The availability zones, for example `["eu-west-1a", "eu-west-1b"]`; if empty, up to three
    /// that have the manager's instance type and the workers'. Managers and workers are in all of
    /// them; the NAT gateway is in one.
    pub zones: Vec<String>,
    /// How the private subnets reach the internet.
    pub nat: Nat,
}

/// `[cache]`: the cache that jobs share.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cache {
    /// After how many days a cache is removed, at least 1.
    pub expire_days: u32,
}

/// `[logs]`: the logs of managers and workers in CloudWatch.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Logs {
    /// How long logs are kept, in days; one of the values that CloudWatch has.
    pub retention_days: u32,
}

/// `[manager]`: the instance that takes jobs from GitLab and buys workers.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Manager {
    /// Its type.
    pub instance_type: String,
    /// How many there are, 1 to 5: one leads, the others stand by.
    pub count: u32,
    /// Its operating system.
    pub os: Os,
    /// An image of that operating system; AWS's or the distribution's newest one if absent.
    pub ami: Option<String>,
    /// The cache of images beside it; none if absent.
    pub registry_cache: Option<RegistryCache>,
    /// Where a manager serves its metrics for Prometheus at `/metrics`, for example
    /// `"127.0.0.1:9252"`; nowhere if absent. No security group opens that port.
    #[schemars(with = "Option<String>")]
    pub listen_address: Option<SocketAddr>,
}

/// `[[runners]]`: one registration in GitLab, and its workers.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Runner {
    /// Its name, 1 to 64 characters.
    pub name: String,
    /// GitLab's address.
    #[schemars(with = "String")]
    pub url: Url,
    /// Where its token is: `env:NAME`, `file:PATH`, `ssm:PARAMETER`, or the token itself.
    #[schemars(with = "String")]
    pub token: TokenRef,
    /// How many of its jobs run at once, at least 1.
    #[serde(default = "defaults::limit")]
    pub limit: u32,
    /// How many questions for a job may be open at GitLab at once, at least 1. More take a burst of
    /// jobs sooner.
    #[serde(default = "defaults::request_concurrency")]
    pub request_concurrency: u32,
    /// The image of jobs that name none.
    #[serde(default = "defaults::image")]
    pub image: String,
    /// Whether jobs may do everything on their worker, for example run Docker in Docker. A worker
    /// then runs one job in its life.
    #[serde(default)]
    pub privileged: bool,
    /// When images are pulled.
    #[serde(default)]
    pub pull_policy: PullPolicy,
    /// The volumes of jobs' containers, as Docker writes them.
    #[serde(default = "defaults::volumes")]
    pub volumes: Vec<String>,
    /// How much memory a job's container may use (`1.5g`); "0" means no limit. By default jobs
    /// share what their worker has, less what it needs itself.
    #[serde(default)]
    pub memory: Option<String>,
    /// Variables of every job, as `NAME=value`.
    #[serde(default)]
    pub environment: Vec<String>,
    /// The instances that run its jobs.
    #[serde(default)]
    pub workers: Workers,
}

/// `[runners.workers]`: the instances that run a runner's jobs.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Workers {
    /// The types that may be bought, the preferred ones first. The more there are, the rarer
    /// spot capacity runs out.
    pub instance_types: Vec<String>,
    /// Whether they are spot instances.
    pub spot: bool,
    /// The most to pay for a spot instance, in dollars an hour, for example `"0.05"`; the price
    /// on demand if absent.
    pub spot_price: Option<String>,
    /// How many idle workers are kept ready; with a `scale_factor` the most.
    pub idle_count: u32,
    /// The fewest idle workers while a `scale_factor` is used, at most `idle_count`.
    pub idle_count_min: u32,
    /// Idle workers as a multiple of the busy ones, between `idle_count_min` and `idle_count`; 0
    /// keeps `idle_count` always.
    pub scale_factor: f64,
    /// How long a worker may be idle before it is given back, for example `"10m"`.
    #[serde(with = "onspot_settings::duration")]
    #[schemars(with = "String")]
    pub idle_time: Duration,
    /// Other idle numbers at certain times. The last one whose time it is holds.
    pub periods: Vec<IdlePeriod>,
    /// How many workers may be starting at once; 0 means no bound but `limit`.
    pub growth: u32,
    /// How long a job waits while there is no spot capacity before a worker on demand is bought for
    /// it, for example `"2m"`; `"never"` waits for spot.
    #[serde(with = "onspot_settings::duration::or_never")]
    #[schemars(with = "String")]
    pub on_demand_after: Option<Duration>,
    /// After how many jobs a worker is given back; 0 means never. 1 if absent and `privileged`,
    /// else 0.
    pub max_builds: Option<u32>,
    /// How many jobs a worker runs at once, at least 1.
    pub slots: u32,
    /// Their operating system.
    pub os: Os,
    /// An image of that operating system; AWS's or the distribution's newest one if absent.
    pub ami: Option<String>,
    /// The size of their disk in GB, at least 8.
    pub disk_gb: u32,
    /// Mirrors of Docker Hub, asked before it, and after the managers' `registry_cache`.
    #[schemars(with = "Vec<String>")]
    pub registry_mirrors: Vec<Url>,
}

/// `[[runners.workers.periods]]`: what is kept idle at certain times.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IdlePeriod {
    /// When it holds: cron expressions of five fields, minute hour day month weekday, for example
    /// `"* 8-18 * * mon-fri"`.
    pub when: Vec<String>,
    /// Their time zone, for example `"Europe/Berlin"`.
    #[serde(default = "defaults::timezone")]
    pub timezone: String,
    /// As in `[runners.workers]`.
    pub idle_count: u32,
    /// As in `[runners.workers]`.
    #[serde(default = "defaults::idle_count_min")]
    pub idle_count_min: u32,
    /// As in `[runners.workers]`.
    #[serde(default)]
    pub scale_factor: f64,
    /// As in `[runners.workers]`.
    #[serde(default = "defaults::idle_time", with = "onspot_settings::duration")]
    #[schemars(with = "String")]
    pub idle_time: Duration,
}

impl Spec {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`SpecError`] says what is wrong, where, and what to do about it.
    pub fn load(path: &Path) -> Result<Self, SpecError> {
        let text =
            std::fs::read_to_string(path).map_err(|source| SpecError::unread(path, source))?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Reads and checks a text; `file` is the name that errors call it by.
    ///
    /// # Errors
    /// [`SpecError`] says what is wrong, where, and what to do about it.
    pub fn parse(text: &str, file: &str) -> Result<Self, SpecError> {
        let spec: Self =
            toml::from_str(text).map_err(|error| SpecError::of_toml(&error, text, file))?;
        check::check(&spec).map_err(|flaw| flaw.into_error(text, file))?;
        Ok(spec)
    }

    /// The JSON schema of `onspot.toml`, for editors.
    pub fn json_schema() -> schemars::Schema {
        schemars::schema_for!(Self)
    }

    /// What a person should know before bringing the stack up, one sentence each.
    pub fn notes(&self) -> Vec<String> {
        let cache = self.manager.registry_cache.iter();
        let of_cache = |cache: &RegistryCache| cache.note(&self.manager.instance_type);
        let mut notes: Vec<_> = cache.map(of_cache).collect();
        for runner in &self.runners {
            if runner.owns_its_worker() {
                notes.push(format!(
                    "jobs of {:?} own their worker: they can reach its role's order, payload and \
                     cache; so each worker runs {}",
                    runner.name,
                    match runner.max_builds() {
                        1 => "one job and is given back".to_owned(),
                        0 => "any number of jobs, one after the other".to_owned(),
                        many => format!("{many} jobs, one after the other"),
                    }
                ));
            }
            let pools = self.pools_at_most(runner);
            if runner.workers.spot && pools < FEW_POOLS {
                notes.push(format!(
                    "{:?} has {pools} pools of spot capacity at most (types × zones), which run dry \
                     together: name more `instance_types`",
                    runner.name
                ));
            }
            if runner.token.is_plain() {
                notes.push(format!(
                    "the token of {:?} stands in the file: prefer env:, file: or ssm:",
                    runner.name
                ));
            }
        }
        notes
    }
}

impl Spec {
    /// The tags that the stack's owner wants, with the note by which they are known again.
    pub(crate) fn owners_tags(&self) -> Tags {
        self.tags.clone().noted()
    }

    /// The tags of everything in the stack.
    pub(crate) fn tags_in(&self, names: &Names) -> Tags {
        let mut tags = self.owners_tags();
        tags.extend(Tags::of_stack(names.stack()).iter());
        tags
    }

    /// How many pools a runner's workers may come from; up to three zones are taken where none is
    /// named.
    fn pools_at_most(&self, runner: &Runner) -> usize {
        let zones = match self.network.zones.len() {
            0 => 3,
            named => named,
        };
        zones * runner.workers.instance_types.len()
    }
}

impl Runner {
    /// The runner's name as AWS's resources may carry it.
    pub fn slug(&self) -> String {
        slug(&self.name)
    }

    /// Whether a job can take its worker over: privileged, or with Docker's socket.
    pub fn owns_its_worker(&self) -> bool {
        self.privileged
            || self
                .volumes
                .iter()
                .any(|volume| volume.contains("docker.sock"))
    }

    /// After how many jobs a worker is given back; 0 means never.
    pub fn max_builds(&self) -> u32 {
        self.workers
            .max_builds
            .unwrap_or(u32::from(self.owns_its_worker()))
    }
}

impl Default for Network {
    fn default() -> Self {
        Self {
            cidr: defaults::cidr(),
            zones: Vec::new(),
            nat: Nat::default(),
        }
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self { expire_days: 30 }
    }
}

impl Default for Logs {
    fn default() -> Self {
        Self { retention_days: 30 }
    }
}

impl Default for Manager {
    fn default() -> Self {
        Self {
            instance_type: "t3.micro".to_owned(),
            count: 1,
            os: Os::default(),
            ami: None,
            registry_cache: None,
            listen_address: None,
        }
    }
}

impl Default for Workers {
    fn default() -> Self {
        // One size over several generations and makers: what one lacks another one has.
        let types = [
            "m7i.large",
            "m7a.large",
            "m6i.large",
            "m6a.large",
            "m5.large",
            "m5a.large",
        ];
        Self {
            instance_types: types.map(str::to_owned).to_vec(),
            spot: true,
            spot_price: None,
            idle_count: 0,
            idle_count_min: defaults::idle_count_min(),
            scale_factor: 0.0,
            idle_time: defaults::idle_time(),
            periods: Vec::new(),
            growth: 0,
            on_demand_after: Policy::default().on_demand_after,
            max_builds: None,
            slots: 1,
            os: Os::default(),
            ami: None,
            disk_gb: 30,
            registry_mirrors: Vec::new(),
        }
    }
}

/// What serde takes where nothing is said.
mod defaults {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use ipnet::Ipv4Net;

    pub(super) fn name() -> String {
        "onspot".to_owned()
    }

    pub(super) fn concurrent() -> u32 {
        10
    }

    pub(super) fn limit() -> u32 {
        10
    }

    pub(super) fn request_concurrency() -> u32 {
        1
    }

    pub(super) fn idle_count_min() -> u32 {
        1
    }

    pub(super) fn idle_time() -> Duration {
        Duration::from_mins(10)
    }

    pub(super) fn timezone() -> String {
        "UTC".to_owned()
    }

    pub(super) fn image() -> String {
        "alpine:latest".to_owned()
    }

    pub(super) fn volumes() -> Vec<String> {
        vec!["/cache".to_owned()]
    }

    pub(super) fn cidr() -> Ipv4Net {
        Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 16)
    }
}

#[cfg(test)]
mod tests;
