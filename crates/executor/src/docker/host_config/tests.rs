use super::*;

fn settings() -> Docker {
    Docker::default()
}

const fn limits(privileged: bool) -> Limits {
    Limits {
        slot: 3,
        privileged,
        memory: None,
    }
}

fn message(error: &Error) -> String {
    assert!(matches!(error, Error::NotAllowed(_)), "{error:?}");
    error.to_string()
}

#[test]
fn a_sandbox_holds_for_the_helper_the_job_and_its_services() {
    let mut settings = settings();
    settings.runtime = Some("runsc".into());
    settings.userns_mode = Some("host".into());
    settings.job.cgroup_parent = Some("ci/slot-${slot}".into());
    let all = [
        of_helper(&settings, Some(3), vec![]),
        of_job(&settings, limits(false), vec![]).unwrap(),
        of_service(&settings, limits(false), vec![], "postgres").unwrap(),
    ];
    for config in &all {
        assert_eq!(config.runtime.as_deref(), Some("runsc"));
        assert_eq!(config.userns_mode.as_deref(), Some("host"));
    }
    let parents = all.map(|config| config.cgroup_parent);
    let slot = Some("ci/slot-3".to_owned());
    assert_eq!(parents, [slot.clone(), slot, None]);
}

#[test]
fn jobs_and_services_have_separate_rights() {
    let mut settings = settings();
    settings.security_opt = vec!["apparmor=jobs".into()];
    settings.services_security_opt = vec!["apparmor=services".into()];
    settings.cap_add = vec!["NET_ADMIN".into()];
    settings.devices = vec!["/dev/kvm".into(), "/dev/a:/dev/b:r".into()];
    settings.device_cgroup_rules = vec!["c 188:* rmw".into()];
    settings.services_devices = BTreeMap::from([("android/*".into(), vec!["/dev/bus".into()])]);
    settings.sysctls = BTreeMap::from([("net.core.somaxconn".into(), "1024".into())]);
    settings.ulimits = BTreeMap::from([("nofile".into(), "10:20".into())]);
    settings.job.memory = "1.5g".parse().ok();
    settings.service.memory = "64m".parse().ok();
    let job = of_job(&settings, limits(true), vec![]).unwrap();
    assert_eq!(job.security_opt, Some(vec!["apparmor=jobs".to_owned()]));
    assert_eq!((job.privileged, job.memory), (Some(true), Some(3 << 29)));
    assert_eq!(job.cap_add, Some(vec!["NET_ADMIN".to_owned()]));
    let device = |host: &str, container: &str, permissions: &str| DeviceMapping {
        path_on_host: Some(host.into()),
        path_in_container: Some(container.into()),
        cgroup_permissions: Some(permissions.into()),
    };
    let devices = vec![
        device("/dev/kvm", "/dev/kvm", "rwm"),
        device("/dev/a", "/dev/b", "r"),
    ];
    assert_eq!(job.devices, Some(devices));
    assert_eq!(
        job.device_cgroup_rules,
        Some(vec!["c 188:* rmw".to_owned()])
    );
    let limit = job.ulimits.unwrap().remove(0);
    assert_eq!((limit.soft, limit.hard), (Some(10), Some(20)));
    assert!(job.sysctls.is_some());

    let service = of_service(&settings, limits(false), vec![], "postgres").unwrap();
    assert_eq!(
        service.security_opt,
        Some(vec!["apparmor=services".to_owned()])
    );
    assert_eq!(
        (service.privileged, service.memory),
        (Some(false), Some(64 << 20))
    );
    assert_eq!((service.cap_add, service.devices), (None, None));
    assert_eq!((service.sysctls, service.ulimits), (None, None));
    let android = of_service(&settings, limits(false), vec![], "android/emulator").unwrap();
    assert_eq!(
        android.devices,
        Some(vec![device("/dev/bus", "/dev/bus", "rwm")])
    );
}

#[test]
fn a_limit_that_cannot_be_read_is_an_error() {
    type Change = fn(&mut Docker);
    let changes: [(Change, &str); 4] = [
        (|s| s.job.gpus = Some("many".into()), "gpus"),
        (
            |s| s.devices = vec!["a:b:c:d".into()],
            "the device \"a:b:c:d\"",
        ),
        (
            |s| s.ulimits = BTreeMap::from([("nofile".into(), "lots".into())]),
            "ulimit nofile",
        ),
        (
            |s| s.security_opt = vec!["seccomp=/not/there.json".into()],
            "/not/there.json",
        ),
    ];
    for (change, expected) in changes {
        let mut settings = settings();
        change(&mut settings);
        let error = of_job(&settings, limits(false), vec![]).unwrap_err();
        assert!(message(&error).contains(expected), "{error}");
    }
}

#[test]
fn a_seccomp_profile_is_passed_by_content() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("profile.json");
    std::fs::write(&path, "{ \"defaultAction\": \"SCMP_ACT_ERRNO\" }").unwrap();
    let mut settings = settings();
    settings.security_opt = vec![
        format!("seccomp={}", path.display()),
        "seccomp=unconfined".into(),
    ];
    let job = of_job(&settings, limits(false), vec![]).unwrap();
    assert_eq!(
        job.security_opt.unwrap(),
        [
            r#"seccomp={"defaultAction":"SCMP_ACT_ERRNO"}"#,
            "seccomp=unconfined"
        ]
    );
    std::fs::write(&path, "no json").unwrap();
    let error = of_job(&settings, limits(false), vec![]).unwrap_err();
    assert!(message(&error).contains("is no JSON"), "{error}");
}

#[test]
fn gpus_are_requested_as_in_docker() {
    let request = |text: &str| gpus(text).map(|mut requests| requests.remove(0));
    assert_eq!(request("all").unwrap().count, Some(-1));
    assert_eq!(request("2").unwrap().count, Some(2));
    let two = request("\"device=0,1\"").unwrap();
    assert_eq!(two.device_ids, Some(vec!["0".to_owned(), "1".to_owned()]));
    assert_eq!(two.count, None);
    let able = request("count=1,\"capabilities=gpu,utility\"").unwrap();
    let capabilities = vec![vec!["gpu".to_owned(), "utility".to_owned()]];
    assert_eq!(able.capabilities, Some(capabilities));
    assert_eq!(request("some"), None);
    assert_eq!(request("speed=9"), None);
}

#[test]
fn the_default_limit_is_a_share_of_the_hosts_memory() {
    let mut settings = settings();
    let shared = Limits {
        memory: Some(700 << 20),
        ..limits(false)
    };
    let memory = |settings: &Docker| {
        let job = of_job(settings, shared, vec![]).unwrap();
        let service = of_service(settings, shared, vec![], "postgres").unwrap();
        assert_eq!(job.oom_score_adj, Some(OOM_SCORE));
        (job.memory, service.memory)
    };
    assert_eq!(memory(&settings), (Some(700 << 20), Some(700 << 20)));
    settings.job.memory = "2g".parse().ok();
    settings.service.memory = "0".parse().ok();
    assert_eq!(memory(&settings), (Some(2 << 30), Some(0)));
}

type Change = fn(&mut Docker);
type ChangeOfResources = fn(&mut Resources);

/// What of the settings is handed to the engine with a container, each with a value to see.
fn handed_to_the_engine() -> Vec<(&'static str, Change)> {
    vec![
        ("cap_add", |s| s.cap_add = vec!["NET_ADMIN".into()]),
        ("cap_drop", |s| s.cap_drop = vec!["CHOWN".into()]),
        ("device_cgroup_rules", |s| {
            s.device_cgroup_rules = vec!["c 1:3 r".into()];
        }),
        ("devices", |s| s.devices = vec!["/dev/kvm".into()]),
        ("dns", |s| s.dns = vec!["10.0.0.1".into()]),
        ("dns_search", |s| s.dns_search = vec!["example".into()]),
        ("extra_hosts", |s| s.extra_hosts = vec!["a:10.0.0.1".into()]),
        ("group_add", |s| s.group_add = vec!["audio".into()]),
        ("ipc_mode", |s| s.ipc_mode = Some("host".into())),
        ("links", |s| s.links = vec!["other".into()]),
        ("network_mode", |s| s.network_mode = Some("host".into())),
        ("oom_kill_disable", |s| s.oom_kill_disable = true),
        ("oom_score_adjust", |s| s.oom_score_adjust = 7),
        ("pid_mode", |s| s.pid_mode = Some("host".into())),
        ("runtime", |s| s.runtime = Some("runsc".into())),
        ("security_opt", |s| {
            s.security_opt = vec!["apparmor=a".into()];
        }),
        ("services_devices", |s| {
            s.services_devices = BTreeMap::from([("postgres".into(), vec!["/dev/kvm".into()])]);
        }),
        ("services_security_opt", |s| {
            s.services_security_opt = vec!["apparmor=a".into()];
        }),
        ("services_tmpfs", |s| {
            s.services_tmpfs = BTreeMap::from([("/a".into(), "rw".into())]);
        }),
        ("shm_size", |s| s.shm_size = 1 << 20),
        ("sysctls", |s| {
            s.sysctls = BTreeMap::from([("net.a".into(), "1".into())]);
        }),
        ("tmpfs", |s| {
            s.tmpfs = BTreeMap::from([("/a".into(), "rw".into())]);
        }),
        ("ulimits", |s| {
            s.ulimits = BTreeMap::from([("nofile".into(), "1:2".into())]);
        }),
        ("userns_mode", |s| s.userns_mode = Some("host".into())),
        ("volume_driver", |s| s.volume_driver = Some("nfs".into())),
        ("volumes_from", |s| s.volumes_from = vec!["other".into()]),
    ]
}

/// What they say of resources, for jobs and for services alike.
fn resources_handed_to_the_engine() -> Vec<(&'static str, ChangeOfResources)> {
    vec![
        ("cgroup_parent", |r| r.cgroup_parent = Some("ci".into())),
        ("cpu_shares", |r| r.cpu_shares = 7),
        ("cpus", |r| r.cpus = "1.5".parse().ok()),
        ("cpuset_cpus", |r| r.cpuset_cpus = Some("0".into())),
        ("cpuset_mems", |r| r.cpuset_mems = Some("0".into())),
        ("gpus", |r| r.gpus = Some("all".into())),
        ("memory", |r| r.memory = "1g".parse().ok()),
        ("memory_reservation", |r| {
            r.memory_reservation = "1g".parse().ok();
        }),
        ("memory_swap", |r| r.memory_swap = "2g".parse().ok()),
    ]
}

/// What acts elsewhere, and where.
const ELSEWHERE: [(&str, &str); 30] = [
    ("allowed_images", "plan/image"),
    ("allowed_privileged_images", "plan/image"),
    ("allowed_privileged_services", "plan/image"),
    ("allowed_pull_policies", "plan/image"),
    ("allowed_services", "plan/image"),
    ("allowed_users", "plan/image"),
    ("cache_dir", "plan/volumes"),
    ("disable_cache", "plan/volumes"),
    ("disable_entrypoint_overwrite", "plan/image"),
    ("enable_ipv6", "services: the job's network"),
    ("helper_image", "helper"),
    ("host", "the connection to the engine"),
    ("hostname", "job: the container's name"),
    ("image", "plan/image"),
    ("job", "each of its fields"),
    ("labels", "job: the containers' labels"),
    ("mac_address", "services: the job's network"),
    ("network_mtu", "services: the job's network"),
    ("privileged", "plan/image"),
    ("pull_policy", "plan/image"),
    ("service", "each of its fields"),
    ("service_slot_cgroup_template", "settings: cgroup_parent"),
    ("services", "plan/image"),
    ("services_limit", "plan/image"),
    ("services_privileged", "plan/image"),
    ("shared_images", "image"),
    ("user", "plan/image"),
    ("volume_driver_ops", "volumes"),
    ("volumes", "plan/volumes"),
    ("wait_for_services", "health"),
];

#[test]
fn every_setting_reaches_a_container_or_acts_elsewhere() {
    let all = |settings: &Docker| {
        let configs = [
            of_helper(settings, Some(3), vec![]),
            of_job(settings, limits(false), vec![]).unwrap(),
            of_service(settings, limits(false), vec![], "postgres").unwrap(),
        ];
        configs.map(|config| serde_json::to_value(config).unwrap())
    };
    let usual = all(&settings());
    let mut known: Vec<&str> = ELSEWHERE.iter().map(|(name, _)| *name).collect();
    for (name, change) in handed_to_the_engine() {
        let mut settings = settings();
        change(&mut settings);
        assert_ne!(all(&settings), usual, "{name} reaches no container");
        known.push(name);
    }
    let fields = |value: serde_json::Value| -> Vec<String> {
        let fields = value.as_object().unwrap().keys();
        fields.cloned().collect()
    };
    for field in fields(serde_json::to_value(settings()).unwrap()) {
        assert!(
            known.contains(&field.as_str()),
            "nobody knows what becomes of {field}"
        );
    }
    let mut known = Vec::new();
    for (name, change) in resources_handed_to_the_engine() {
        let (mut of_jobs, mut of_services) = (settings(), settings());
        change(&mut of_jobs.job);
        change(&mut of_services.service);
        assert_ne!(all(&of_jobs)[1], usual[1], "{name} reaches no job");
        assert_ne!(all(&of_services)[2], usual[2], "{name} reaches no service");
        known.push(name);
    }
    for field in fields(serde_json::to_value(Resources::default()).unwrap()) {
        assert!(
            known.contains(&field.as_str()),
            "nobody knows what becomes of {field}"
        );
    }
}
