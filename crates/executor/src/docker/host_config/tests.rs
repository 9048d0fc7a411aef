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

fn message(error: &ExecutorError) -> String {
    assert!(matches!(error, ExecutorError::NotAllowed(_)), "{error:?}");
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
