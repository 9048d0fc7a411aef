//! A file's scaling settings, as the manager's policy.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use jiff::Timestamp;
use onspot_runnerconf::{Config, Runner, strange_options};
use onspot_settings::{Lifecycle, ManagedRunner, Policy, WorkerPool};

fn runner(text: &str) -> Runner {
    let head = "[[runners]]\nname = 'r'\nurl = 'https://gitlab.example'\ntoken = 't'\n";
    Config::parse(&format!("{head}{text}"), "config.toml")
        .unwrap()
        .runners
        .remove(0)
}

fn stack(slots: u32) -> Policy {
    Policy {
        capacity_per_instance: slots,
        lifecycle: Lifecycle::Spot,
        ..Policy::default()
    }
}

fn policy(text: &str, slots: u32) -> Policy {
    runner(text).policy(&stack(slots), 10)
}

fn idle_count(policy: &Policy, at: &str) -> u32 {
    policy.at(at.parse::<Timestamp>().unwrap()).idle_count
}

#[test]
fn the_policy_of_2017_is_read_from_runners_machine() {
    let policy = policy(
        "executor = 'docker+machine'\nlimit = 5\n[runners.machine]\nIdleCount = 1\n\
         IdleTime = 600\nMaxBuilds = 20\nMachineDriver = 'amazonec2'\nMachineName = 'r-%s'\n",
        2,
    );
    assert_eq!(
        (policy.limit, policy.idle_count, policy.max_uses),
        (3, 1, 20)
    );
    assert_eq!(policy.idle_time, Duration::from_mins(10));
    assert_eq!(policy.lifecycle, Lifecycle::Spot);
    assert_eq!(
        policy.idle_count_min, 1,
        "one at least, as with GitLab Runner"
    );
}

#[test]
fn the_periods_of_a_machine_hold_at_their_times_and_the_last_wins() {
    let policy = policy(
        "executor = 'docker+machine'\n[runners.machine]\nIdleCount = 2\nIdleTime = 600\n\
         [[runners.machine.autoscaling]]\nPeriods = ['* * 9-17 * * mon-fri *']\n\
         Timezone = 'Europe/Berlin'\nIdleCount = 50\nIdleTime = 3600\n\
         [[runners.machine.autoscaling]]\nPeriods = ['* * 12 * * * *']\nTimezone = 'UTC'\n\
         IdleCount = 5\nIdleTime = 60\n",
        1,
    );
    // 2026-07-03 is a Friday; Berlin is two hours ahead of UTC.
    for (at, count) in [
        ("2026-07-03T06:59:59Z", 2),
        ("2026-07-03T07:00:00Z", 50),
        ("2026-07-03T12:30:00Z", 5),
        ("2026-07-03T16:00:00Z", 2),
        ("2026-07-04T10:00:00Z", 2),
    ] {
        assert_eq!(idle_count(&policy, at), count, "{at}");
    }
    let noon = policy.at("2026-07-03T12:30:00Z".parse().unwrap()).idle_time;
    assert_eq!(noon, Duration::from_mins(1));
}

#[test]
fn the_off_peak_keys_of_2017_are_a_period() {
    let head = "executor = 'docker+machine'\n[runners.machine]\nIdleCount = 5\nIdleTime = 600\n";
    let off_peak = policy(
        &format!(
            "{head}OffPeakPeriods = ['* * 0-8,18-23 * * mon-fri *', '* * * * * sat,sun *']\n\
             OffPeakTimezone = 'UTC'\nOffPeakIdleCount = 1\nOffPeakIdleTime = 1200\n"
        ),
        1,
    );
    assert_eq!(idle_count(&off_peak, "2026-07-03T12:00:00Z"), 5);
    assert_eq!(idle_count(&off_peak, "2026-07-03T18:00:00Z"), 1);
    assert_eq!(idle_count(&off_peak, "2026-07-04T12:00:00Z"), 1);
    let unset = policy(
        &format!("{head}OffPeakPeriods = ['']\nOffPeakTimezone = ''\nOffPeakIdleCount = 0\n"),
        1,
    );
    assert_eq!(idle_count(&unset, "2026-07-04T12:00:00Z"), 5);
}

#[test]
fn the_policies_of_an_autoscaler_hold_at_their_times_and_count_jobs() {
    let policy = policy(
        "executor = 'docker-autoscaler'\n[runners.autoscaler]\nmax_instances = 30\n\
         [[runners.autoscaler.policy]]\nidle_count = 0\nidle_time = '0s'\n\
         [[runners.autoscaler.policy]]\nperiods = ['* 8-15 * * mon-fri']\ntimezone = 'UTC'\n\
         idle_count = 4\nidle_time = '30m0s'\nscale_factor = 0.5\nscale_factor_limit = 20\n",
        2,
    );
    assert_eq!(policy.limit, 30);
    let night = policy.at("2026-07-03T20:00:00Z".parse().unwrap());
    assert_eq!((night.idle_count, night.idle_time), (0, Duration::ZERO));
    let day = policy.at("2026-07-03T08:00:00Z".parse().unwrap());
    assert_eq!((day.idle_count_min, day.idle_count), (2, 10));
    assert_eq!(day.idle_time, Duration::from_mins(30));
}

#[test]
fn a_factor_without_a_limit_may_fill_the_fleet() {
    let policy = policy(
        "executor = 'docker-autoscaler'\nlimit = 7\n[runners.autoscaler]\n\
         [[runners.autoscaler.policy]]\nscale_factor = 1.5\n",
        1,
    );
    let now = policy.at(Timestamp::UNIX_EPOCH);
    assert_eq!((now.idle_count_min, now.idle_count), (0, 7));
}

#[test]
fn machine_options_that_differ_from_the_stack_are_found() {
    let runner = runner(
        "executor = 'docker+machine'\n[runners.machine]\nMachineDriver = 'amazonec2'\n\
         MachineOptions = ['amazonec2-region=eu-west-1', 'amazonec2-instance-type=c5.large', \
         'amazonec2-request-spot-instance', 'amazonec2-spot-price=', \
         'amazonec2-subnet-id=subnet-1']\n",
    );
    let managed = ManagedRunner {
        token: runner.token.clone(),
        runner: runner.settings.clone(),
        policy: stack(1),
        pool: WorkerPool {
            launch_template: "t".into(),
            subnets: vec!["subnet-1".into()],
            instance_types: vec!["m6i.large".into(), "m5.large".into()],
            spot_max_price: None,
            role_id: "AROA".into(),
        },
    };
    let strange = strange_options(&runner, &managed, "eu-central-1");
    assert_eq!(
        strange,
        [
            ("amazonec2-region", "eu-central-1".to_owned()),
            ("amazonec2-instance-type", "m6i.large, m5.large".to_owned()),
        ]
    );
}
