//! How many workers a runner has, and when: GitLab Runner's two ways of saying it as one policy.

use std::time::Duration;

use onspot_fleet::{IdlePeriod, Lifecycle, Policy};
use onspot_notation::{Cron, Periods};
use onspot_runnerconf::{
    Autoscaler, AutoscalerPolicy, Ec2Options, Machine, MachinePeriod, OffPeak, Runner,
};

use crate::settings::{Timing, WorkerPool};

/// The scaling policy of a runner whose jobs run on instances that come and go.
pub(crate) fn policy_of(
    runner: &Runner,
    pool: &WorkerPool,
    concurrent: u32,
    timing: &Timing,
) -> Policy {
    let slots = pool.slots.max(1);
    let jobs = if runner.limit == 0 {
        concurrent
    } else {
        runner.limit
    };
    let policy = Policy {
        limit: jobs.div_ceil(slots),
        capacity_per_instance: slots,
        lifecycle: if pool.spot {
            Lifecycle::Spot
        } else {
            Lifecycle::OnDemand
        },
        boot_limit: timing.boot,
        ..Policy::default()
    };
    match (&runner.machine, &runner.autoscaler) {
        (Some(machine), _) => of_machine(machine.clone(), &policy),
        (None, Some(autoscaler)) => of_autoscaler(autoscaler.clone(), &policy),
        (None, None) => policy,
    }
}

fn of_machine(machine: Machine, policy: &Policy) -> Policy {
    // No `..`: a key that nobody uses is to be noticed here.
    let Machine {
        idle_count,
        idle_scale_factor,
        idle_count_min,
        idle_time,
        max_builds,
        max_growth_rate,
        autoscaling,
        off_peak,
        // Compared with the pool by `strange_options`, or named in a warning by
        // `onspot_runnerconf::lint`.
        machine_driver: _,
        machine_name: _,
        machine_options: _,
        other: _,
    } = machine;
    // What holds last comes last: `autoscaling` took the place of `OffPeak…`.
    let mut periods = vec![of_off_peak(off_peak)];
    periods.extend(autoscaling.into_iter().map(of_machine_period));
    Policy {
        idle_count,
        idle_count_min: least(idle_count_min),
        idle_scale_factor,
        idle_time: Duration::from_secs(idle_time.into()),
        max_uses: max_builds,
        max_growth: max_growth_rate,
        periods,
        ..*policy
    }
}

fn of_machine_period(period: MachinePeriod) -> IdlePeriod {
    let MachinePeriod {
        periods,
        timezone,
        idle_count,
        idle_scale_factor,
        idle_count_min,
        idle_time,
        other: _,
    } = period;
    IdlePeriod {
        when: Periods::new(periods, timezone),
        idle_count,
        idle_count_min: least(idle_count_min),
        idle_scale_factor,
        idle_time: Duration::from_secs(idle_time.into()),
    }
}

/// Without periods it never holds.
fn of_off_peak(off_peak: OffPeak) -> IdlePeriod {
    let OffPeak {
        periods,
        timezone,
        idle_count,
        idle_time,
    } = off_peak;
    IdlePeriod {
        when: Periods::new(periods, timezone),
        idle_count,
        idle_count_min: 0,
        idle_scale_factor: 0.0,
        idle_time: Duration::from_secs(idle_time.into()),
    }
}

/// `IdleCountMin` is 1 where it is not set, as in GitLab Runner. It counts only beside a factor.
fn least(idle_count_min: u32) -> u32 {
    idle_count_min.max(1)
}

fn of_autoscaler(autoscaler: Autoscaler, policy: &Policy) -> Policy {
    // No `..`: a key that nobody uses is to be noticed here.
    let Autoscaler {
        max_use_count,
        max_instances,
        policy: policies,
        // Named in a warning by `onspot_runnerconf::lint`.
        capacity_per_instance: _,
        plugin: _,
        plugin_config: _,
        other: _,
    } = autoscaler;
    let limit = match max_instances {
        0 => policy.limit,
        max => max,
    };
    let slots = policy.capacity_per_instance;
    let periods = policies
        .into_iter()
        .map(|period| of_autoscaler_policy(period, slots, limit))
        .collect();
    Policy {
        limit,
        max_uses: max_use_count,
        periods,
        ..*policy
    }
}

/// Idle places are counted in jobs here. With a factor `idle_count` is the least and
/// `scale_factor_limit` the most.
fn of_autoscaler_policy(policy: AutoscalerPolicy, slots: u32, limit: u32) -> IdlePeriod {
    let AutoscalerPolicy {
        periods,
        timezone,
        idle_count,
        idle_time,
        scale_factor,
        scale_factor_limit,
        // Named in a warning by `onspot_runnerconf::lint`.
        preemptive_mode: _,
        other: _,
    } = policy;
    let always = || Cron::five("* * * * *").into_iter().collect();
    let periods = if periods.is_empty() {
        always()
    } else {
        periods
    };
    let least = idle_count.div_ceil(slots);
    let most = match scale_factor_limit {
        _ if scale_factor <= 0.0 => least,
        0 => limit.max(least),
        most => most.div_ceil(slots).max(least),
    };
    IdlePeriod {
        when: Periods::new(periods, timezone),
        idle_count: most,
        idle_count_min: least,
        idle_scale_factor: scale_factor,
        idle_time,
    }
}

/// The `MachineOptions` that say something else than the pool that the workers come from, each
/// with what holds instead: the stack's launch template describes the workers.
pub(crate) fn strange_options(
    runner: &Runner,
    pool: &WorkerPool,
    region: &str,
) -> Vec<(&'static str, String)> {
    let options = runner.machine.as_ref().map(Machine::ec2_options);
    let Some(Ok(options)) = options else {
        return Vec::new();
    };
    let Ec2Options {
        region: wanted_region,
        subnet_id,
        instance_type,
        request_spot,
        spot_price,
        ..
    } = options;
    let mut strange = Vec::new();
    let mut compare = |name, differs: bool, holds: String| {
        if differs {
            strange.push((name, holds));
        }
    };
    let other_than = |wanted: &Option<String>, holds: &[String]| {
        wanted
            .as_ref()
            .is_some_and(|wanted| !holds.contains(wanted))
    };
    let regions = [region.to_owned()];
    compare(
        "amazonec2-region",
        other_than(&wanted_region, &regions),
        region.to_owned(),
    );
    compare(
        "amazonec2-subnet-id",
        other_than(&subnet_id, &pool.subnets),
        pool.subnets.join(", "),
    );
    compare(
        "amazonec2-instance-type",
        other_than(&instance_type, &pool.instance_types),
        pool.instance_types.join(", "),
    );
    compare(
        "amazonec2-request-spot-instance",
        request_spot != pool.spot,
        pool.spot.to_string(),
    );
    compare(
        "amazonec2-spot-price",
        spot_price != pool.spot_max_price,
        pool.spot_max_price
            .clone()
            .unwrap_or_else(|| "the price on demand".to_owned()),
    );
    strange
}

#[cfg(test)]
mod tests;
