//! The `config.toml` of a stack in GitLab Runner's format of 2017, for people and for GitLab Runner
//! itself. onspot's instances do not use it; they read `manager.toml` and `worker.toml`.

use std::time::Duration;

use onspot_netplan::Network;
use onspot_notation::Cron;
use onspot_runnerconf::{
    Cache, CacheType, Config, Docker, Ec2Options, ExecutorKind, Machine, MachinePeriod,
    Runner as Section, S3,
};
use onspot_settings::{IdlePeriod, Policy, TokenRef};
use url::Url;

use crate::instances::settings::{self, Told};
use crate::names::{Names, cache_prefix};
use crate::spec::{Runner, Spec};

/// The values that are not in `spec` and come from AWS.
#[derive(Debug, Clone)]
pub(crate) struct Places<'a> {
    pub(crate) names: &'a Names,
    pub(crate) bucket: String,
    pub(crate) endpoint: Option<&'a Url>,
    /// The network, once it exists.
    pub(crate) network: Option<&'a Network>,
}

/// Every runner, with references to tokens that its manager can read.
pub(crate) fn of_stack(spec: &Spec, places: &Places<'_>) -> Config {
    let runners = spec.runners.iter().map(|runner| {
        let Told {
            manager,
            worker,
            docker,
        } = Told::of(runner);
        Section {
            settings: onspot_settings::Runner {
                environment: worker.environment,
                // 1 is the default of 2017.
                request_concurrency: match manager.request_concurrency {
                    1 => 0,
                    more => more,
                },
                ..manager
            },
            token: TokenRef::Ssm(token_parameter(runner, places.names)),
            executor: ExecutorKind::DockerMachine,
            docker: Some(Docker {
                settings: docker,
                ..Docker::default()
            }),
            cache: Some(cache(runner, places)),
            machine: Some(machine(settings::policy(spec, runner), runner, places)),
            autoscaler: None,
            other: toml::Table::new(),
        }
    });
    Config {
        concurrent: spec.concurrent,
        runners: runners.collect(),
        ..Config::default()
    }
}

/// The SSM parameter that holds the runner's token: the one that the file refers to, or else one
/// that `up` stores.
pub(crate) fn token_parameter(runner: &Runner, names: &Names) -> String {
    match &runner.token {
        TokenRef::Ssm(name) => name.clone(),
        _ => names.token_parameter(&runner.slug()),
    }
}

/// Every runner has a prefix of its own, to which its workers' role has access. Keys below it need
/// no runner token, so the cache survives a change of the token.
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

fn machine(policy: Policy, runner: &Runner, places: &Places<'_>) -> Machine {
    let Policy {
        idle_count,
        idle_count_min,
        idle_scale_factor,
        idle_time,
        max_uses,
        max_growth,
        periods,
        // `limit` and `request_spot`.
        limit: _,
        lifecycle: _,
        // The format of 2017 can't express these.
        capacity_per_instance: _,
        on_demand_after: _,
        boot_limit: _,
    } = policy;
    Machine {
        idle_count,
        idle_scale_factor,
        idle_count_min: least(idle_count_min, idle_scale_factor),
        idle_time: seconds(idle_time),
        max_builds: max_uses,
        max_growth_rate: max_growth,
        machine_driver: Machine::EC2_DRIVER.to_owned(),
        machine_name: "runner-%s".to_owned(),
        machine_options: options(runner, places).to_machine_options(),
        autoscaling: periods.into_iter().map(period).collect(),
        ..Machine::default()
    }
}

fn period(period: IdlePeriod) -> MachinePeriod {
    let IdlePeriod {
        when,
        idle_count,
        idle_count_min,
        idle_scale_factor,
        idle_time,
    } = period;
    let (periods, timezone) = when.into_parts();
    MachinePeriod {
        periods: periods.into_iter().map(Cron::in_seven_fields).collect(),
        timezone,
        idle_count,
        idle_scale_factor,
        idle_count_min: least(idle_count_min, idle_scale_factor),
        idle_time: seconds(idle_time),
        other: toml::Table::new(),
    }
}

/// Without a factor the key has no meaning and is left out.
fn least(idle_count_min: u32, factor: f64) -> u32 {
    if factor > 0.0 { idle_count_min } else { 0 }
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

fn options(runner: &Runner, places: &Places<'_>) -> Ec2Options {
    let workers = &runner.workers;
    let network = places.network;
    let subnet = network.and_then(|network| network.instance_subnets().first());
    let private = network.is_none_or(|network| network.nat != onspot_netplan::Nat::None);
    Ec2Options {
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
    }
}

/// Host and port of a URL.
pub(crate) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or(host.to_owned(), |port| format!("{host}:{port}"))
}
