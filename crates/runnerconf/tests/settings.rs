//! A file's settings for jobs, as passed to the executor.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::time::Duration;

use onspot_runnerconf::{Config, Unusable};
use onspot_settings::{
    JobsIn, Lifecycle, LocalRunner, ManagedRunner, ManagerSettings, Policy, PullPolicy, Runner,
    Timing, WorkerPool,
};

fn local(text: &str) -> LocalRunner {
    let head = "[[runners]]\nname = 'r'\nurl = 'https://gitlab.example'\ntoken = 't'\n\
                executor = 'docker'\n";
    let config = Config::parse(&format!("{head}{text}"), "config.toml").unwrap();
    config.local().unwrap().runners.remove(0)
}

#[test]
fn the_runners_hooks_are_passed_on() {
    let runner = local("pre_get_sources_script = 'a'\npost_get_sources_script = 'b'\n").runner;
    assert_eq!(runner.pre_get_sources_script.as_deref(), Some("a"));
    assert_eq!(runner.post_get_sources_script.as_deref(), Some("b"));
}

#[test]
fn limits_and_the_build_folder_are_passed_on() {
    let runner = local(
        "prepare_timeout = '90s'\nget_sources_timeout = '1h30m'\n\
         [runners.custom_build_dir]\nenabled = false\n",
    )
    .runner;
    assert_eq!(runner.prepare_timeout, Some(Duration::from_secs(90)));
    assert_eq!(runner.get_sources_timeout, Some(Duration::from_mins(90)));
    assert_eq!(runner.custom_build_dir, Some(false));
    // GitLab Runner takes them for unset.
    let unset = local("prepare_timeout = '0s'\nget_sources_timeout = '-1m'\n").runner;
    assert_eq!(
        (unset.prepare_timeout, unset.get_sources_timeout),
        (None, None)
    );
    assert_eq!(unset.custom_build_dir, None);
}

#[test]
fn docker_settings_are_passed_on() {
    let settings = local(
        "[runners.docker]\nimage = 'alpine'\nprivileged = true\n\
         disable_cache = true\nvolumes = ['/cache', '/a:/b']\npull_policy = 'never'\n",
    )
    .docker;
    assert_eq!(settings.image.as_deref(), Some("alpine"));
    assert!(settings.privileged);
    assert!(settings.disable_cache);
    assert_eq!(settings.volumes, ["/cache", "/a:/b"]);
    assert_eq!(settings.pull_policy, [PullPolicy::Never]);
}

#[test]
fn a_key_that_limits_jobs_reaches_the_executor() {
    let local = local(
        "debug_trace_disabled = true\n[runners.docker]\nprivileged = true\n\
         allowed_privileged_images = ['docker:*']\nallowed_privileged_services = ['d:*']\n\
         services_privileged = false\nservices_security_opt = ['no-new-privileges']\n\
         allowed_users = ['app']\nshared_images = ['base/*']\ndisable_entrypoint_overwrite = true\nruntime = 'runsc'\n\
         userns_mode = 'host'\ndevice_cgroup_rules = ['c 1:3 r']\nservices_limit = 2\n\
         cgroup_parent = 'ci'\nservice_memory = '1g'\nmemory = '1.5g'\ncpus = '1.5'\n\
         [runners.docker.ulimit]\nnofile = '10:20'\n\
         [runners.docker.services_devices]\n'a/*' = ['/dev/kvm']\n\
         [[runners.docker.services]]\nname = 'docker:dind'\nalias = 'docker'\n",
    );
    assert!(local.runner.debug_trace_disabled);
    let settings = local.docker;
    assert_eq!(settings.allowed_privileged_images, ["docker:*"]);
    assert_eq!(settings.allowed_privileged_services, ["d:*"]);
    assert_eq!(settings.services_privileged, Some(false));
    assert_eq!(settings.services_security_opt, ["no-new-privileges"]);
    assert_eq!(settings.allowed_users, ["app"]);
    assert_eq!(settings.shared_images, ["base/*"]);
    assert!(settings.disable_entrypoint_overwrite);
    assert_eq!(settings.runtime.as_deref(), Some("runsc"));
    assert_eq!(settings.userns_mode.as_deref(), Some("host"));
    assert_eq!(settings.device_cgroup_rules, ["c 1:3 r"]);
    assert_eq!(settings.services_limit, Some(2));
    assert_eq!(settings.ulimits["nofile"], "10:20");
    assert_eq!(settings.services_devices["a/*"], ["/dev/kvm"]);
    assert_eq!(settings.services[0].alias, "docker");
    let (job, service) = (&settings.job, &settings.service);
    assert_eq!(job.cgroup_parent.as_deref(), Some("ci"));
    assert_eq!(job.memory.as_ref().unwrap().as_str(), "1.5g");
    assert_eq!(job.cpus.as_ref().unwrap().as_str(), "1.5");
    assert_eq!(service.memory.as_ref().unwrap().as_str(), "1g");
    assert_eq!(service.cgroup_parent, None);
}

#[test]
fn the_runners_registry_logins_apply_to_every_job() {
    let config = r#"{"auths":{}}"#;
    let local = local(&format!(
        "environment = ['A=b', 'DOCKER_AUTH_CONFIG={config}']\n"
    ));
    assert_eq!(local.runner.variable("DOCKER_AUTH_CONFIG"), Some(config));
}

#[test]
fn slots_have_their_own_cgroups_if_configured() {
    let parents = |text: &str| {
        let local = local(text);
        let settings = local.docker.with_slot_cgroups(&local.runner);
        let parent = |parent: &Option<String>| parent.clone().unwrap_or_default();
        (
            parent(&settings.job.cgroup_parent),
            parent(&settings.service.cgroup_parent),
        )
    };
    let default = "gitlab-runner/slot-${slot}".to_owned();
    assert_eq!(
        parents("use_slot_cgroups = true\n"),
        (default.clone(), default)
    );
    assert_eq!(
        parents(
            "use_slot_cgroups = true\nslot_cgroup_template = 'a/${slot}'\n\
             [runners.docker]\ncgroup_parent = 'unused'\n\
             service_slot_cgroup_template = 'b/${slot}'\n"
        ),
        ("a/${slot}".to_owned(), "b/${slot}".to_owned())
    );
}

#[test]
fn a_negative_timeout_means_not_to_wait_for_services() {
    let wait = |seconds: i32| {
        let text = format!("[runners.docker]\nwait_for_services_timeout = {seconds}\n");
        local(&text).docker.patience_with_services().as_secs()
    };
    assert_eq!([wait(-1), wait(0), wait(7)], [0, 30, 7]);
}

#[test]
fn executors_are_distinguished_and_a_missing_one_is_refused() {
    assert_eq!(local("").jobs, JobsIn::Docker);
    let text = "[[runners]]\nname = 'r'\nurl = 'https://gitlab.example'\ntoken = 't'\n\
                executor = 'kubernetes'\n";
    let error = Config::parse(text, "config.toml")
        .unwrap()
        .local()
        .unwrap_err();
    assert!(matches!(&error, Unusable::Executor { runner, .. } if runner == "r"));
    assert!(error.hint().contains("docker+machine"));
}

fn manager(policy: Policy) -> ManagerSettings {
    let url = "https://gitlab.example".parse().unwrap();
    let managed = ManagedRunner {
        token: "ssm:/onspot/ci/token".parse().unwrap(),
        runner: Runner::new("r", url),
        policy,
        pool: WorkerPool {
            launch_template: "t".into(),
            subnets: vec!["subnet-1".into()],
            instance_types: vec!["m6i.large".into()],
            spot_max_price: None,
            role_id: "AROA".into(),
        },
    };
    ManagerSettings {
        stack: "ci".into(),
        region: "eu-west-1".into(),
        endpoint_url: None,
        bucket: "ci-1".into(),
        log_group: "ci".into(),
        registry_port: None,
        listen_address: None,
        concurrent: 1,
        check_interval: Duration::from_secs(3),
        timing: Timing::default(),
        tags: BTreeMap::new(),
        runners: vec![managed],
    }
}

#[test]
fn a_managers_own_file_replaces_all_but_where_its_workers_are_bought() {
    let stack = manager(Policy {
        capacity_per_instance: 2,
        on_demand_after: None,
        lifecycle: Lifecycle::OnDemand,
        ..Policy::default()
    });
    let text = "concurrent = 9\ncheck_interval = 7\n[[runners]]\nname = 'r'\n\
                url = 'https://other.example'\ntoken = 'env:T'\nexecutor = 'docker+machine'\n\
                request_concurrency = 4\n[runners.machine]\nIdleCount = 3\nMaxGrowthRate = 2\n";
    let config = Config::parse(text, "config.toml").unwrap();
    let settings = config.managed(stack.clone()).unwrap();
    assert_eq!(settings.concurrent, 9);
    assert_eq!(settings.check_interval, Duration::from_secs(7));
    let managed = &settings.runners[0];
    assert_eq!(managed.token, "env:T".parse().unwrap());
    assert_eq!(managed.runner.request_concurrency, 4);
    assert_eq!(managed.pool, stack.runners[0].pool);
    let policy = &managed.policy;
    assert_eq!((policy.idle_count, policy.max_growth), (3, 2));
    assert_eq!((policy.limit, policy.capacity_per_instance), (5, 2));
    assert_eq!(policy.lifecycle, Lifecycle::OnDemand);
    assert_eq!(policy.on_demand_after, None);
}

#[test]
fn a_runner_that_the_stack_does_not_have_has_no_workers() {
    let text = "[[runners]]\nname = 'other'\nurl = 'https://gitlab.example'\ntoken = 't'\n\
                executor = 'docker+machine'\n";
    let config = Config::parse(text, "config.toml").unwrap();
    let error = config.managed(manager(Policy::default())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no pool of workers for runner other"
    );
}
