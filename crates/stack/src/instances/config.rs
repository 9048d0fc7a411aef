//! The `config.toml` that a manager reads, in GitLab Runner's shape of 2017, and the part of it
//! that a worker reads.

use onspot_netplan::Network;
use onspot_runnerconf::{
    Cache, CacheType, Config, Docker, Ec2Options, ExecutorKind, Machine, Runner as Section, S3,
    TokenRef,
};
use url::Url;

use crate::names::{Names, cache_prefix};
use crate::spec::{PullPolicy, Runner, Spec};

/// What `spec` leaves open and AWS tells.
#[derive(Debug, Clone)]
pub(crate) struct Places<'a> {
    pub(crate) names: &'a Names,
    pub(crate) bucket: String,
    pub(crate) endpoint: Option<&'a Url>,
    /// The network, once it is there.
    pub(crate) network: Option<&'a Network>,
}

/// What a manager reads: every runner, with references to tokens that it can follow.
pub(crate) fn for_manager(spec: &Spec, places: &Places<'_>) -> Config {
    let runners = spec.runners.iter().map(|runner| {
        let token = TokenRef::Ssm(token_parameter(runner, places.names));
        Section {
            token,
            limit: runner.limit,
            machine: Some(machine(runner, places)),
            ..section(runner, ExecutorKind::DockerMachine, places)
        }
    });
    Config {
        concurrent: spec.concurrent,
        runners: runners.collect(),
        ..Config::default()
    }
}

/// What a worker reads: its one runner, and no token.
pub(crate) fn for_worker(runner: &Runner, places: &Places<'_>) -> Config {
    let section = Section {
        limit: runner.workers.slots,
        ..section(runner, ExecutorKind::Docker, places)
    };
    Config {
        concurrent: runner.workers.slots,
        runners: vec![section],
        ..Config::default()
    }
}

/// The SSM parameter that holds the runner's token: one that exists already is left in its place.
pub(crate) fn token_parameter(runner: &Runner, names: &Names) -> String {
    match &runner.token {
        TokenRef::Ssm(name) => name.clone(),
        _ => names.token_parameter(&runner.slug()),
    }
}

fn section(runner: &Runner, executor: ExecutorKind, places: &Places<'_>) -> Section {
    Section {
        environment: runner.environment.clone(),
        docker: Some(docker(runner)),
        cache: Some(cache(runner, places)),
        ..Section::new(&runner.name, runner.url.clone(), TokenRef::Absent, executor)
    }
}

fn docker(runner: &Runner) -> Docker {
    let policy = match runner.pull_policy {
        PullPolicy::Always => onspot_runnerconf::PullPolicy::Always,
        PullPolicy::IfNotPresent => onspot_runnerconf::PullPolicy::IfNotPresent,
        PullPolicy::Never => onspot_runnerconf::PullPolicy::Never,
    };
    Docker {
        image: Some(runner.image.clone()),
        privileged: runner.privileged,
        volumes: runner.volumes.clone(),
        // Reading the file has checked it.
        memory: runner.memory.as_ref().and_then(|size| size.parse().ok()),
        pull_policy: vec![policy],
        ..Docker::default()
    }
}

/// Every runner has a prefix of its own, which its workers' role opens; within it keys need not
/// hold the runner's token, so the cache outlives a change of the token.
fn cache(runner: &Runner, places: &Places<'_>) -> Cache {
    let region = places.names.region();
    let server = match places.endpoint {
        Some(url) => authority(url),
        None => format!("s3.{region}.{}", crate::clients::domain(region)),
    };
    Cache {
        kind: Some(CacheType::S3),
        path: Some(cache_prefix(&runner.slug())),
        shared: true,
        s3: Some(S3 {
            server_address: Some(server),
            bucket_name: Some(places.bucket.clone()),
            bucket_location: Some(region.to_owned()),
            insecure: places.endpoint.is_some_and(|url| url.scheme() == "http"),
            ..S3::default()
        }),
        ..Cache::default()
    }
}

fn machine(runner: &Runner, places: &Places<'_>) -> Machine {
    let workers = &runner.workers;
    let network = places.network;
    let subnet = network.and_then(|network| network.instance_subnets().first());
    let private = network.is_none_or(|network| network.nat != onspot_netplan::Nat::None);
    let options = Ec2Options {
        region: Some(places.names.region().to_owned()),
        vpc_id: network.map(|network| network.vpc_id.clone()),
        subnet_id: subnet.map(|subnet| subnet.id.clone()),
        instance_type: workers.instance_types.first().cloned(),
        private_address_only: private,
        request_spot: workers.spot,
        spot_price: workers.spot_price.clone(),
        root_size: Some(workers.disk_gb),
        registry_mirrors: workers
            .registry_mirrors
            .iter()
            .map(Url::to_string)
            .collect(),
        ..Ec2Options::default()
    };
    Machine {
        idle_count: workers.idle_count,
        idle_time: u32::try_from(workers.idle_time.as_secs()).unwrap_or(u32::MAX),
        max_builds: runner.max_builds(),
        machine_driver: Machine::EC2_DRIVER.to_owned(),
        machine_name: "runner-%s".to_owned(),
        machine_options: options.to_machine_options(),
        ..Machine::default()
    }
}

/// Host and port of a URL.
pub(crate) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or(host.to_owned(), |port| format!("{host}:{port}"))
}
