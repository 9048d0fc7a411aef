//! Writing and reading a config returns the same config.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::tz::TimeZone;
use onspot_notation::Cron;
use onspot_runnerconf::{
    Autoscaler, AutoscalerPolicy, Cache, CacheType, Config, Docker, Ec2Options, ExecutorKind,
    Machine, MachinePeriod, OffPeak, Runner, S3, S3Authentication, render,
};
use onspot_settings::{ContainerService, Encryption, PullPolicy, Resources, Secret, TokenRef};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

/// Any text for a TOML string, including quotes and line breaks.
fn text() -> impl Strategy<Value = String> {
    "[ -~éß\n\t\"'\\\\]{1,12}"
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    vec(text(), 0..3)
}

fn secret() -> impl Strategy<Value = Secret> {
    text().prop_map(Secret::new)
}

fn token() -> impl Strategy<Value = TokenRef> {
    let word = "[A-Za-z0-9_/-]{1,12}";
    prop_oneof![
        word.prop_map(|word| TokenRef::Plain(Secret::new(word))),
        word.prop_map(TokenRef::Env),
        word.prop_map(|word| TokenRef::File(word.into())),
        word.prop_map(TokenRef::Ssm),
    ]
}

/// Tables of keys that GitLab Runner knows and the model only keeps.
fn other(keys: &'static [&'static str]) -> impl Strategy<Value = toml::Table> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(toml::Value::Integer),
        any::<bool>().prop_map(toml::Value::Boolean),
        (-1e9..1e9).prop_map(toml::Value::Float),
        text().prop_map(toml::Value::String),
    ];
    let value = leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(toml::Value::Array),
            proptest::collection::btree_map(text(), inner, 0..3)
                .prop_map(|map| toml::Value::Table(map.into_iter().collect())),
        ]
    });
    proptest::collection::btree_map(select(keys).prop_map(str::to_owned), value, 0..3)
        .prop_map(|map| map.into_iter().collect())
}

fn map() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map(text(), text(), 0..3)
}

prop_compose! {
    fn resources()(
        memory_swap in option::of(select(vec!["512m", "1.5g"])),
        cpu_shares in 0..4096_i64,
        cpuset_cpus in option::of(text()),
        cgroup_parent in option::of(text()),
        gpus in option::of(text()),
    ) -> Resources {
        let memory_swap = memory_swap.map(|text| text.parse().unwrap());
        Resources { memory_swap, cpu_shares, cpuset_cpus, cgroup_parent, gpus, ..Resources::default() }
    }
}

prop_compose! {
    fn service()(
        name in text(),
        alias in option::of(text()),
        (entrypoint, command) in (texts(), texts()),
        environment in vec("[A-Z]{1,4}=[a-z]{0,4}", 0..3),
    ) -> ContainerService {
        let alias = alias.unwrap_or_default();
        ContainerService { name, alias, entrypoint, command, environment }
    }
}

prop_compose! {
    fn containers()(
        allowed_privileged_images in vec("[a-z]{1,4}/\\*:[0-9]", 0..3),
        (allowed_users, devices) in (texts(), texts()),
        services_privileged in option::of(any::<bool>()),
        disable_entrypoint_overwrite: bool,
        (runtime, userns_mode) in (option::of(text()), option::of(text())),
        (sysctls, ulimits, tmpfs) in (map().boxed(), map().boxed(), map().boxed()),
        services_devices in btree_map(text(), texts(), 0..3).boxed(),
        oom_score_adjust in -1000..=1000_i32,
        services_limit in option::of(any::<u32>()),
        services in vec(service(), 0..3).boxed(),
        (job, service) in (resources().boxed(), resources().boxed()),
    ) -> onspot_settings::Docker {
        onspot_settings::Docker {
            allowed_privileged_images, allowed_users, devices, services_privileged,
            disable_entrypoint_overwrite, runtime, userns_mode, sysctls, ulimits, tmpfs,
            services_devices, oom_score_adjust, services_limit, services, job, service,
            ..onspot_settings::Docker::default()
        }
    }
}

prop_compose! {
    fn docker()(
        image in option::of(text()),
        privileged: bool,
        disable_cache: bool,
        volumes in vec(select(vec!["/cache", "/a:/b", "/a:/b:ro,z"]), 0..3),
        extra_hosts in vec(select(vec!["a:10.0.0.1", "b:::1"]), 0..3),
        (dns, cap_add) in (texts(), texts()),
        shm_size in 0..=i64::MAX as u64,
        pull_policy in vec(select(vec![PullPolicy::Always, PullPolicy::IfNotPresent]), 0..3),
        allowed_pull_policies in vec(select(vec![PullPolicy::Never, PullPolicy::Always]), 0..2),
        network_mode in option::of(text()),
        memory in option::of(select(vec!["512m", "1.5g"])),
        cpus in option::of(select(vec!["2", "0.5"])),
        wait_for_services_timeout in -1..60_i64,
        // Boxed: the combined strategy is too large for a test's stack.
        containers in containers().boxed(),
        other in other(&["volume_keep", "log_options", "new_in_gitlab_runner"]).boxed(),
    ) -> Docker {
        let volumes = volumes.into_iter().map(str::to_owned).collect();
        let extra_hosts = extra_hosts.into_iter().map(str::to_owned).collect();
        let memory = memory.map(|text| text.parse().unwrap());
        let cpus = cpus.map(|text| text.parse().unwrap());
        let wait_for_services = match wait_for_services_timeout {
            0 => None,
            seconds => Some(Duration::from_secs(seconds.try_into().unwrap_or(0))),
        };
        let mut settings = onspot_settings::Docker {
            image, privileged, disable_cache, volumes, extra_hosts, dns, cap_add, shm_size, pull_policy,
            allowed_pull_policies, network_mode, wait_for_services,
            ..containers
        };
        settings.job.memory = memory;
        settings.job.cpus = cpus;
        let other_of_services = settings.services.iter().map(|_| toml::Table::new()).collect();
        Docker { settings, other, other_of_services }
    }
}

prop_compose! {
    fn cache()(
        kind in option::of(select(vec![CacheType::S3, CacheType::S3v2])),
        path in option::of(text()),
        shared: bool,
        max_uploaded_archive_size in 0..1_u64 << 40,
        s3 in option::of((
            option::of(select(vec!["s3.example:9000", "s3.amazonaws.com"])),
            option::of((secret(), secret())),
            option::of(text()),
            any::<bool>(),
            (option::of(secret()), option::of(select(vec![S3Authentication::Iam]))),
            (any::<Option<bool>>(), any::<Option<bool>>(), any::<bool>()),
            (option::of(select(Encryption::ALL.to_vec())), option::of(text()), option::of(text())),
            other(&["AssumeRoleMaxConcurrency", "NewInGitLabRunner"]),
        )),
        other in other(&["NewInGitLabRunner"]),
    ) -> Cache {
        let s3 = s3.map(
            |(server_address, keys, bucket_name, insecure, auth, ways, more, other)| {
                let server_address = server_address.map(str::to_owned);
                let (access_key, secret_key) = keys.unzip();
                let (session_token, authentication) = auth;
                let (path_style, dual_stack, accelerate) = ways;
                let (server_side_encryption, server_side_encryption_key_id, role_arn) = more;
                let upload_role_arn = role_arn.clone();
                S3 {
                    server_address, access_key, secret_key, bucket_name, insecure, session_token,
                    authentication, path_style, dual_stack, accelerate, server_side_encryption,
                    server_side_encryption_key_id, role_arn, upload_role_arn, other,
                    ..S3::default()
                }
            },
        );
        // A kind needs a bucket.
        let kind = kind.filter(|_| s3.as_ref().is_some_and(|s3| s3.bucket_name.is_some()));
        Cache { kind, path, shared, max_uploaded_archive_size, s3, other }
    }
}

fn zone() -> impl Strategy<Value = Option<TimeZone>> {
    option::of(select(vec!["Europe/Berlin", "UTC", "America/New_York"]))
        .prop_map(|name| name.map(|name| TimeZone::get(name).unwrap()))
}

prop_compose! {
    fn period()(
        periods in vec(select(vec!["* * 9-17 * * mon-fri *", "0 0 0 L * 5#3 2030"]), 0..3),
        timezone in zone(),
        idle_count: u32,
        idle_scale_factor in 0.0..4.0,
        idle_count_min: u32,
        idle_time: u32,
        other in other(&["NewInGitLabRunner"]),
    ) -> MachinePeriod {
        let periods = periods.into_iter().map(|text| Cron::seven(text).unwrap()).collect();
        MachinePeriod {
            periods, timezone, idle_count, idle_scale_factor, idle_count_min, idle_time, other,
        }
    }
}

prop_compose! {
    fn ec2_options()(
        access_key in option::of("[A-Z]{4,8}"),
        secret_key in option::of("[a-z=+/]{4,8}".prop_map(Secret::new)),
        region in option::of("[a-z]{2}-[a-z]{4}-[1-3]"),
        security_groups in vec("[a-z-]{1,8}", 0..3),
        private_address_only: bool,
        request_spot: bool,
        spot_price in option::of("0\\.[1-9]{1,3}"),
        root_size in option::of(1..2000_u32),
        tags in vec(("[a-z]{1,4}", "[a-z]{1,4}"), 0..3),
        registry_mirrors in vec("https://[a-z]{1,6}", 0..2),
        unused in vec("amazonec2-ssh-user=[a-z]{1,6}", 0..2),
    ) -> Ec2Options {
        Ec2Options {
            access_key, secret_key, region, security_groups, private_address_only, request_spot,
            spot_price, root_size, tags, registry_mirrors, unused,
            ..Ec2Options::default()
        }
    }
}

prop_compose! {
    fn machine()(
        period in period(),
        options in ec2_options().boxed(),
        autoscaling in vec(period(), 0..2),
        max_builds: u32,
        max_growth_rate: u32,
        off_peak in period(),
        other in other(&["MaxRemovalAttempts", "NewInGitLabRunner"]),
    ) -> Machine {
        Machine {
            idle_count: period.idle_count,
            idle_scale_factor: period.idle_scale_factor,
            idle_count_min: period.idle_count_min,
            idle_time: period.idle_time,
            max_builds,
            max_growth_rate,
            machine_driver: Machine::EC2_DRIVER.to_owned(),
            machine_name: "runner-%s".to_owned(),
            machine_options: options.to_machine_options(),
            autoscaling,
            off_peak: OffPeak {
                periods: off_peak.periods,
                timezone: off_peak.timezone,
                idle_count: off_peak.idle_count,
                idle_time: off_peak.idle_time,
            },
            other,
        }
    }
}

prop_compose! {
    fn autoscaler()(
        capacity_per_instance: u32,
        plugin in option::of(text()),
        plugin_config in other(&["name", "a key with spaces", ""]),
        policy in vec((zone(), any::<u32>(), any::<u64>(), 0.0..4.0, any::<Option<bool>>()), 0..2),
        other in other(&["connector_config", "state_storage", "update_interval"]),
    ) -> Autoscaler {
        let policy = policy.into_iter().map(|(timezone, idle_count, ms, scale_factor, preemptive)| {
            AutoscalerPolicy {
                periods: vec![Cron::five("* 8-15 * * mon-fri").unwrap()],
                timezone,
                idle_count,
                // Ten years in milliseconds: a float of nanoseconds is exact enough for that.
                idle_time: Duration::from_millis(ms % 315_360_000_000),
                scale_factor,
                preemptive_mode: preemptive,
                ..AutoscalerPolicy::default()
            }
        });
        Autoscaler {
            capacity_per_instance, plugin, plugin_config, policy: policy.collect(), other,
            ..Autoscaler::default()
        }
    }
}

prop_compose! {
    fn runner()(
        (name, token) in (text(), token()),
        url in select(vec!["https://gitlab.com", "http://10.0.0.1:8080/git", "https://x.y/a/b"]),
        executor in select(vec![
            ExecutorKind::Docker,
            ExecutorKind::Shell,
            ExecutorKind::DockerMachine,
            ExecutorKind::DockerAutoscaler,
            ExecutorKind::Other("kubernetes".into()),
        ]),
        limit: u32,
        (environment, clone_url, pre_build_script) in
            (
                vec("[A-Z]{1,4}=[a-z $]{0,4}", 0..3),
                option::of(select(vec!["https://git.example"]).prop_map(str::to_owned)),
                option::of(text()),
            ),
        docker in option::of(docker().boxed()),
        cache in option::of(cache().boxed()),
        machine in option::of(machine().boxed()),
        autoscaler in option::of(autoscaler().boxed()),
        other in other(&["kubernetes", "monitoring", "new_in_gitlab_runner"]),
    ) -> Runner {
        let mut runner = Runner {
            docker, cache, machine, autoscaler, other,
            ..Runner::new(name, url.parse().unwrap(), token, executor)
        };
        runner.settings.limit = limit;
        runner.settings.environment = environment;
        runner.settings.custom_build_dir = clone_url.as_ref().map(|_| limit % 2 == 0);
        runner.settings.get_sources_timeout = Some(Duration::from_secs(limit.into()))
            .filter(|limit| !limit.is_zero());
        runner.settings.clone_url = clone_url;
        runner.settings.pre_build_script = pre_build_script;
        runner
    }
}

prop_compose! {
    fn config()(
        concurrent in 1..u32::MAX,
        check_interval: u32,
        log_level in option::of(select(vec!["debug", "warning"]).prop_map(str::to_owned)),
        runners in vec(runner().boxed(), 0..3),
        other in other(&["session_server", "sentry_dsn"]),
    ) -> Config {
        // Runner names must be unique.
        let named = runners.into_iter().enumerate().map(|(index, mut runner): (usize, Runner)| {
            runner.settings.name = format!("{}{index}", runner.name());
            runner
        });
        let runners = named.collect();
        Config { concurrent, check_interval, log_level, runners, other, ..Config::default() }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_written_config_is_read_back(config in config()) {
        let text = render(&config);
        match Config::parse(&text, "config.toml") {
            Ok(again) => prop_assert_eq!(again, config, "{}", text),
            Err(error) => prop_assert!(false, "{error} in\n{text}"),
        }
    }

    #[test]
    fn machine_options_are_read_back(options in ec2_options()) {
        let again = Ec2Options::from_machine_options(options.to_machine_options()).unwrap();
        prop_assert_eq!(again, options);
    }
}
