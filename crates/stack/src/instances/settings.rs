//! Converts `onspot.toml` to settings. Every field is named, without `..`, so that a new key that
//! is not used here does not compile.

use std::collections::BTreeMap;

use onspot_notation::Periods;
use onspot_reconcile::Tags;
use onspot_settings::{Docker, IdlePeriod, Lifecycle, Policy, Runner};

use crate::spec;

/// A runner's settings for its manager and for its workers. Each gets only what it needs, because
/// an instance is replaced whenever its settings change.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    /// For the manager.
    pub(crate) manager: Runner,
    /// For workers.
    pub(crate) worker: Runner,
    /// For workers: how jobs run in containers.
    pub(crate) docker: Docker,
}

impl Told {
    pub(crate) fn of(runner: &spec::Runner) -> Self {
        let spec::Runner {
            name,
            url,
            limit,
            request_concurrency,
            image,
            privileged,
            pull_policy,
            volumes,
            memory,
            environment,
            // Stored in SSM: `token_parameter`.
            token: _,
            // `policy`, and what launch templates are made of.
            workers: _,
        } = runner;
        let bare = Runner::new(name, url.clone());
        let mut docker = Docker {
            image: Some(image.clone()),
            privileged: *privileged,
            pull_policy: vec![(*pull_policy).into()],
            volumes: volumes.clone(),
            ..Docker::default()
        };
        // Reading the file has checked it.
        docker.job.memory = memory.as_ref().and_then(|size| size.parse().ok());
        Self {
            manager: Runner {
                limit: *limit,
                request_concurrency: *request_concurrency,
                ..bare.clone()
            },
            worker: Runner {
                environment: environment.clone(),
                ..bare
            },
            docker,
        }
    }
}

/// Tags in the settings of a manager.
pub(crate) fn tags(tags: &Tags) -> BTreeMap<String, String> {
    let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    tags.iter().map(owned).collect()
}

/// The scaling policy of a runner.
pub(crate) fn policy(spec: &spec::Spec, runner: &spec::Runner) -> Policy {
    let spec::Workers {
        spot,
        idle_count,
        idle_count_min,
        scale_factor,
        idle_time,
        periods,
        growth,
        on_demand_after,
        slots,
        // The default depends on what jobs may do: `Runner::max_builds`.
        max_builds: _,
        // Used for the pool and the launch templates.
        instance_types: _,
        spot_price: _,
        os: _,
        ami: _,
        disk_gb: _,
        registry_mirrors: _,
    } = &runner.workers;
    Policy {
        limit: runner.limit.div_ceil(*slots),
        idle_count: *idle_count,
        idle_count_min: *idle_count_min,
        idle_scale_factor: *scale_factor,
        idle_time: *idle_time,
        capacity_per_instance: *slots,
        max_uses: runner.max_builds(),
        max_growth: *growth,
        lifecycle: if *spot {
            Lifecycle::Spot
        } else {
            Lifecycle::OnDemand
        },
        on_demand_after: *on_demand_after,
        boot_limit: spec.timing.boot,
        periods: periods.iter().map(period).collect(),
    }
}

fn period(period: &spec::IdlePeriod) -> IdlePeriod {
    let spec::IdlePeriod {
        when,
        timezone,
        idle_count,
        idle_count_min,
        scale_factor,
        idle_time,
    } = period;
    // Reading the file has checked both.
    let expressions = when.iter().filter_map(|cron| cron.parse().ok()).collect();
    let zone = Periods::zone(timezone).ok().flatten();
    IdlePeriod {
        when: Periods::new(expressions, zone),
        idle_count: *idle_count,
        idle_count_min: *idle_count_min,
        idle_scale_factor: *scale_factor,
        idle_time: *idle_time,
    }
}

#[cfg(test)]
mod tests;
