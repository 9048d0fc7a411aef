//! `[runners.workers]` of an `onspot.toml`.

use std::time::Duration;

use jiff::tz::TimeZone;
use onspot_notation::{Cron, duration};
use onspot_runnerconf::{Config, Ec2Options, Machine, Runner};
use onspot_settings::{IdlePeriod, Lifecycle, Policy};

use super::page::Page;
use super::{options, runner};
use crate::spec::{Workers, buyable};

/// How a runner scales.
#[derive(Debug)]
pub(super) struct Target {
    /// Its jobs at once.
    pub(super) jobs: u32,
    policy: Policy,
    /// Whether the file asked for more slots than a worker may have.
    too_many_slots: bool,
}

/// How the runner of the file scales.
pub(super) fn target(config: &Config, runner: &Runner) -> Target {
    let docker = runner.docker.as_ref().map(|docker| &docker.settings);
    let owns = docker.is_some_and(|docker| {
        docker.privileged
            || docker
                .volumes
                .iter()
                .any(|volume| volume.contains("docker.sock"))
    });
    let said = runner
        .autoscaler
        .as_ref()
        .map_or(1, |it| it.capacity_per_instance.max(1));
    let slots = if owns { 1 } else { said };
    let options = options(runner);
    let on_demand = options
        .as_ref()
        .is_some_and(|options| !options.request_spot);
    let stack = Policy {
        capacity_per_instance: slots,
        lifecycle: if on_demand {
            Lifecycle::OnDemand
        } else {
            Lifecycle::Spot
        },
        ..Policy::default()
    };
    let mut policy = runner.policy(&stack, config.concurrent);
    policy
        .periods
        .retain(|period| !period.when.clone().into_parts().0.is_empty());
    let jobs = runner::said_limit(config, runner);
    Target {
        jobs: jobs.min(policy.limit.saturating_mul(slots)).max(1),
        policy,
        too_many_slots: said != slots,
    }
}

/// Writes the workers of a runner.
pub(super) fn put(page: &mut Page, runner: &Runner, target: &Target) {
    page.gap();
    page.line("[runners.workers]");
    let options = options(runner);
    if let Some(options) = &options {
        put_instances(page, options, runner);
    } else if let Some(autoscaler) = &runner.autoscaler {
        let group = autoscaler
            .plugin_config
            .get("name")
            .and_then(toml::Value::as_str);
        page.changed(&format!(
            "the types, the disk and spot or not were those of the Auto Scaling group{}; here they \
             are the defaults: instance_types, disk_gb, spot. The stack needs no group.",
            group.map(|name| format!(" {name}")).unwrap_or_default()
        ));
    } else if let Some(machine) = &runner.machine {
        let driver = &machine.machine_driver;
        page.changed(&format!("the driver was {driver:?}; workers are on EC2."));
    }
    put_numbers(page, runner, target);
    let (_, periods) = folded(&target.policy);
    for period in periods {
        put_period(page, period);
    }
}

/// What was bought.
fn put_instances(page: &mut Page, options: &Ec2Options, runner: &Runner) {
    match options.instance_type.as_deref() {
        Some(name) if buyable(name) => {
            if options.request_spot {
                page.comment("More types of the same size make spot capacity run out less often.");
            }
            page.set("instance_types", runner::list(&[name.to_owned()]));
        }
        Some(name) => page.changed(&format!("workers can't be {name}; these are the defaults.")),
        None => page.changed("docker-machine bought t2.micro; the default types are larger."),
    }
    if options.request_spot {
        page.changed(
            "after 2m without spot capacity a job gets a worker on demand; \"never\" waits.",
        );
        page.comment("on_demand_after = \"never\"");
    } else {
        page.set("spot", false);
    }
    match &options.spot_price {
        Some(price) => page.set("spot_price", price.as_str()),
        None if options.request_spot && !bids(runner) => page.changed(
            "docker-machine bid 0.50 dollars an hour; here the price on demand is the most.",
        ),
        None => {}
    }
    if let Some(size) = options.root_size {
        if size < 8 {
            page.changed(&format!("the disk had {size} GB; a worker needs 8."));
        }
        page.set("disk_gb", i64::from(size.max(8)));
    }
    if let Some(ami) = &options.ami {
        page.changed("an image goes with its system; set both, or leave both out.");
        page.comment(&format!("os = \"ubuntu-22.04\", ami = \"{ami}\""));
    }
    if !options.registry_mirrors.is_empty() {
        page.set("registry_mirrors", runner::list(&options.registry_mirrors));
    }
}

/// Whether the option of the price is there, even if empty.
fn bids(runner: &Runner) -> bool {
    let options = |machine: &Machine| {
        let price = |option: &String| option.starts_with("amazonec2-spot-price");
        machine.machine_options.iter().any(price)
    };
    runner.machine.as_ref().is_some_and(options)
}

/// The numbers that hold outside of all periods, and the periods that are left. A first period that
/// always holds is no period.
fn folded(policy: &Policy) -> (IdleNumbers, &[IdlePeriod]) {
    let always = |period: &IdlePeriod| {
        let (crons, _) = period.when.clone().into_parts();
        crons.iter().any(|cron| five(cron) == "* * * * *")
    };
    if let Some((first, others)) = policy.periods.split_first()
        && always(first)
    {
        return (IdleNumbers::of_period(first), others);
    }
    let numbers = IdleNumbers {
        count: policy.idle_count,
        least: policy.idle_count_min,
        factor: policy.idle_scale_factor,
        time: policy.idle_time,
    };
    (numbers.sound(), &policy.periods)
}

fn put_numbers(page: &mut Page, runner: &Runner, target: &Target) {
    let policy = &target.policy;
    let (numbers, _) = folded(policy);
    if runner.executor.autoscales() {
        if policy.capacity_per_instance > 1 {
            page.changed("idle_count counted jobs; here it counts workers.");
        }
        numbers.put(page);
    }
    if policy.max_growth > 0 {
        page.set("growth", i64::from(policy.max_growth));
    }
    if policy.max_uses > 0 || runner.executor.autoscales() {
        page.set("max_builds", i64::from(policy.max_uses));
    }
    if target.too_many_slots {
        page.changed("a job that owns its worker can't share it: slots is 1.");
    } else if policy.capacity_per_instance > 1 {
        page.set("slots", i64::from(policy.capacity_per_instance));
    }
}

fn put_period(page: &mut Page, period: &IdlePeriod) {
    let (crons, zone) = period.when.clone().into_parts();
    page.gap();
    page.line("[[runners.workers.periods]]");
    let times: Vec<String> = crons.iter().map(five).collect();
    page.set("when", runner::list(&times));
    let zone = zone.as_ref().and_then(TimeZone::iana_name);
    if zone.is_none() {
        page.changed("the time zone was the host's; here it is the manager's, which is UTC.");
    }
    page.set("timezone", zone.unwrap_or("Local"));
    IdleNumbers::of_period(period).put(page);
}

/// The expression with five fields, if it says no more than that.
fn five(cron: &Cron) -> String {
    let fields: Vec<&str> = cron.as_str().split_whitespace().collect();
    match fields.as_slice() {
        ["*", five @ .., "*"] if five.len() == 5 => five.join(" "),
        fields => fields.join(" "),
    }
}

/// What is kept idle.
#[derive(Debug, Clone, Copy)]
struct IdleNumbers {
    count: u32,
    least: u32,
    factor: f64,
    time: Duration,
}

impl IdleNumbers {
    fn of_period(period: &IdlePeriod) -> Self {
        Self {
            count: period.idle_count,
            least: period.idle_count_min,
            factor: period.idle_scale_factor,
            time: period.idle_time,
        }
        .sound()
    }

    /// The same numbers without what has no effect, which `onspot.toml` refuses.
    fn sound(self) -> Self {
        if self.factor > 0.0 && self.count > 0 {
            let least = self.least.min(self.count);
            return Self { least, ..self };
        }
        let least = Workers::default().idle_count_min;
        Self {
            factor: 0.0,
            least,
            ..self
        }
    }

    fn put(self, page: &mut Page) {
        page.set("idle_count", i64::from(self.count));
        if self.factor > 0.0 {
            page.set("scale_factor", self.factor);
            page.set("idle_count_min", i64::from(self.least));
        }
        page.set("idle_time", duration::brief(self.time));
    }
}
