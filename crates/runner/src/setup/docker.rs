//! `[runners.docker]` in the executor's terms.

use std::path::PathBuf;
use std::time::Duration;

use onspot_executor::{ContainerService, DockerSettings, PullPolicy, Resources};
use onspot_notation::Size;
use onspot_runnerconf::{Containers, Docker, Runner, Service};

use super::{SetupError, runner_settings};

/// GitLab Runner's cgroup of a slot's containers, where `use_slot_cgroups` names none.
const SLOT_CGROUP: &str = "gitlab-runner/slot-${slot}";

/// How a runner's jobs run in Docker on this host.
pub(crate) fn docker_settings(
    runner: &Runner,
    short_token: &str,
    helper_binary: PathBuf,
) -> Result<DockerSettings, SetupError> {
    let settings = DockerSettings::new(runner_settings(runner, short_token)?, helper_binary);
    let docker = runner.docker.clone().unwrap_or_default();
    let mut settings = of_docker(settings, docker);
    settings.docker_auth_config = runner.environment.iter().rev().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "DOCKER_AUTH_CONFIG").then(|| value.to_owned())
    });
    if runner.use_slot_cgroups {
        let template = runner.slot_cgroup_template.as_deref();
        let template = template.filter(|template| !template.is_empty());
        let template = template.unwrap_or(SLOT_CGROUP).to_owned();
        let of_services = runner.docker.as_ref().and_then(|docker| {
            let template = docker.containers.service_slot_cgroup_template.clone();
            template.filter(|template| !template.is_empty())
        });
        settings.service.cgroup_parent = Some(of_services.unwrap_or_else(|| template.clone()));
        settings.job.cgroup_parent = Some(template);
    }
    Ok(settings)
}

fn of_docker(settings: DockerSettings, docker: Docker) -> DockerSettings {
    // Every field is named: one that is added to the model has to find its place here.
    let Docker {
        host,
        // Refused where it is set.
        tls_verify: _,
        image,
        privileged,
        // Volumes without a source are never kept here: each job has its own.
        disable_cache: _,
        volumes,
        shm_size,
        pull_policy,
        allowed_pull_policies,
        allowed_images,
        allowed_services,
        network_mode,
        extra_hosts,
        dns,
        dns_search,
        memory,
        cpus,
        cap_add,
        cap_drop,
        security_opt,
        user,
        helper_image,
        wait_for_services_timeout,
        containers,
        other: _,
    } = docker;
    let mut settings = of_containers(settings, containers);
    settings.job.memory = memory.map(|size| size.to_string());
    settings.job.cpus = cpus.map(|cpus| cpus.to_string());
    settings.helper_image = helper_image;
    let pull_policy = policies(&pull_policy);
    if !pull_policy.is_empty() {
        settings.pull_policy = pull_policy;
    }
    match wait_for_services_timeout {
        0 => {}
        seconds => {
            settings.wait_for_services =
                Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        }
    }
    DockerSettings {
        host,
        image,
        privileged,
        volumes,
        shm_size,
        allowed_pull_policies: policies(&allowed_pull_policies),
        allowed_images,
        allowed_services,
        network_mode,
        extra_hosts,
        dns,
        dns_search,
        cap_add,
        cap_drop,
        security_opt,
        user,
        ..settings
    }
}

fn of_containers(settings: DockerSettings, containers: Containers) -> DockerSettings {
    let Containers {
        allowed_privileged_images,
        allowed_privileged_services,
        services_privileged,
        services_security_opt,
        allowed_users,
        shared_images,
        disable_entrypoint_overwrite,
        runtime,
        userns_mode,
        pid_mode,
        ipcmode,
        group_add,
        sysctls,
        ulimit,
        devices,
        services_devices,
        device_cgroup_rules,
        oom_kill_disable,
        oom_score_adjust,
        tmpfs,
        services_tmpfs,
        volume_driver,
        volume_driver_ops,
        volumes_from,
        links,
        hostname,
        container_labels,
        enable_ipv6,
        network_mtu,
        services_limit,
        services,
        job,
        service,
        service_slot_cgroup_template: _,
    } = containers;
    DockerSettings {
        allowed_privileged_images,
        allowed_privileged_services,
        services_privileged,
        services_security_opt,
        allowed_users,
        shared_images,
        disable_entrypoint_overwrite,
        runtime,
        userns_mode,
        pid_mode,
        ipc_mode: ipcmode,
        group_add,
        sysctls,
        ulimits: ulimit,
        devices,
        services_devices,
        device_cgroup_rules,
        oom_kill_disable,
        oom_score_adjust,
        tmpfs,
        services_tmpfs,
        volume_driver,
        volume_driver_ops,
        volumes_from,
        links,
        hostname,
        labels: container_labels,
        enable_ipv6,
        network_mtu,
        services_limit: services_limit.and_then(|limit| usize::try_from(limit).ok()),
        services: services.into_iter().map(service_of).collect(),
        job: resources(job),
        service: resources(service),
        ..settings
    }
}

fn resources(resources: onspot_runnerconf::Resources) -> Resources {
    let onspot_runnerconf::Resources {
        memory,
        memory_swap,
        memory_reservation,
        cpus,
        cpu_shares,
        cpuset_cpus,
        cpuset_mems,
        cgroup_parent,
        gpus,
    } = resources;
    let size = |size: Option<Size>| size.map(|size| size.to_string());
    Resources {
        memory: size(memory),
        memory_swap: size(memory_swap),
        memory_reservation: size(memory_reservation),
        cpus: cpus.map(|cpus| cpus.to_string()),
        cpu_shares,
        cpuset_cpus,
        cpuset_mems,
        cgroup_parent,
        gpus,
    }
}

fn service_of(service: Service) -> ContainerService {
    ContainerService {
        name: service.name,
        alias: service.alias.unwrap_or_default(),
        entrypoint: service.entrypoint,
        command: service.command,
        environment: service.environment,
    }
}

fn policies(written: &[onspot_runnerconf::PullPolicy]) -> Vec<PullPolicy> {
    written
        .iter()
        .filter_map(|policy| PullPolicy::parse(policy.as_str()))
        .collect()
}

#[cfg(test)]
mod tests {
    use onspot_runnerconf::Config;

    use super::*;

    fn settings(text: &str) -> DockerSettings {
        let head = "[[runners]]\nname = 'r'\nurl = 'https://gitlab.example'\ntoken = 't'\n\
                    executor = 'docker'\n";
        let config = Config::parse(&format!("{head}{text}"), "config.toml").unwrap();
        docker_settings(&config.runners[0], "abc", "/onspot".into()).unwrap()
    }

    #[test]
    fn docker_settings_are_passed_on() {
        let settings = settings(
            "[runners.docker]\nimage = 'alpine'\nprivileged = true\n\
             disable_cache = true\nvolumes = ['/cache', '/a:/b']\npull_policy = 'never'\n",
        );
        assert_eq!(settings.image.as_deref(), Some("alpine"));
        assert!(settings.privileged);
        // `disable_cache` is about what is kept of volumes, and nothing is.
        assert_eq!(settings.volumes, ["/cache", "/a:/b"]);
        assert_eq!(settings.pull_policy, [PullPolicy::Never]);
    }

    #[test]
    fn a_key_that_limits_jobs_reaches_the_executor() {
        let settings = settings(
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
        assert!(settings.runner.debug_trace_disabled);
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
        assert_eq!(job.memory.as_deref(), Some("1.5g"));
        assert_eq!(job.cpus.as_deref(), Some("1.5"));
        assert_eq!(service.memory.as_deref(), Some("1g"));
        assert_eq!(service.cgroup_parent, None);
    }

    #[test]
    fn the_runners_registry_logins_are_its_own_also_where_no_job_asks() {
        let config = r#"{"auths":{}}"#;
        let settings = settings(&format!(
            "environment = ['A=b', 'DOCKER_AUTH_CONFIG={config}']\n"
        ));
        assert_eq!(settings.docker_auth_config.as_deref(), Some(config));
    }

    #[test]
    fn slots_have_cgroups_of_their_own_where_the_runner_says_so() {
        let parents = |text: &str| {
            let settings = settings(text);
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
    fn services_are_not_waited_for_where_the_timeout_is_negative() {
        let wait = |seconds: i32| {
            let text = format!("[runners.docker]\nwait_for_services_timeout = {seconds}\n");
            settings(&text).wait_for_services.as_secs()
        };
        assert_eq!([wait(-1), wait(0), wait(7)], [0, 30, 7]);
    }
}
