//! `[runners.docker]`.

use globset::GlobBuilder;
use onspot_notation::volume;
use onspot_settings::{ContainerService, Resources};

use super::runner::variable;
use crate::error::ConfigError;
use crate::keys::{self, Keys, Slot, keys};
use crate::reference::Key;
use crate::render::Entries;
use crate::section::{Complaint, Section};

/// `[runners.docker]`: keys with an effect, and others that are kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Docker {
    /// How jobs run in containers.
    pub settings: onspot_settings::Docker,
    /// Kept, not used.
    pub other: toml::Table,
    /// The unused keys of each of `[[runners.docker.services]]`.
    pub other_of_services: Vec<toml::Table>,
}

/// How the keys of `[runners.docker]` are handled that are not honoured.
pub(crate) const OTHERS: &[Key] = &[
    Key::warned("helper_image_flavor", "onspot has one helper image"),
    Key::warned("log_options", "a job's log goes to GitLab alone"),
    Key::refused(
        "tls_cert_path",
        "onspot reaches Docker by a socket or by plain TCP",
    ),
    Key::refused(
        "tls_verify",
        "onspot reaches Docker by a socket or by plain TCP",
    ),
    Key::warned(
        "volume_keep",
        "the volumes that an image declares end with their container",
    ),
];

/// How the keys of `[[runners.docker.services]]` are handled that are not honoured.
pub(crate) const OTHERS_OF_SERVICES: &[Key] =
    &[Key::warned("suspend_data_path", "it is for Kubernetes")];

/// All keys but `services`, in the order of 2017.
fn all<'a>(docker: &'a mut onspot_settings::Docker, tls_verify: &'a mut bool) -> Keys<'a> {
    let mut all = of_settings(docker);
    let at = all.iter().position(|(key, _)| *key == "image");
    all.insert(at.unwrap_or(0), ("tls_verify", Slot::ShownFlag(tls_verify)));
    all
}

/// The keys with an effect, apart from `services`.
fn of_settings(docker: &mut onspot_settings::Docker) -> Keys<'_> {
    use onspot_settings::Docker;
    let mut all: Keys<'_> = keys!(docker => Docker {
        host: "host" as String,
        image: "image" as String,
        privileged: "privileged" as ShownFlag,
        disable_cache: "disable_cache" as ShownFlag,
        volumes: "volumes" as Texts(volume),
        shm_size: "shm_size" as ShownNumber,
        pull_policy: "pull_policy" as Policies,
        allowed_pull_policies: "allowed_pull_policies" as Policies,
        allowed_images: "allowed_images" as Patterns(pattern),
        allowed_services: "allowed_services" as Patterns(pattern),
        network_mode: "network_mode" as String,
        extra_hosts: "extra_hosts" as Texts(extra_host),
        dns: "dns" as Strings,
        dns_search: "dns_search" as Strings,
        cap_add: "cap_add" as Strings,
        cap_drop: "cap_drop" as Strings,
        security_opt: "security_opt" as Strings,
        user: "user" as String,
        helper_image: "helper_image" as String,
        wait_for_services: "wait_for_services_timeout" as Patience,
        allowed_privileged_images: "allowed_privileged_images" as Patterns(pattern),
        allowed_privileged_services: "allowed_privileged_services" as Patterns(pattern),
        services_privileged: "services_privileged" as Choice,
        services_security_opt: "services_security_opt" as Strings,
        allowed_users: "allowed_users" as Words,
        shared_images: "shared_images" as Strings,
        disable_entrypoint_overwrite: "disable_entrypoint_overwrite" as Flag,
        runtime: "runtime" as String,
        userns_mode: "userns_mode" as String,
        pid_mode: "pid_mode" as String,
        ipc_mode: "ipcmode" as String,
        group_add: "group_add" as Strings,
        devices: "devices" as Strings,
        device_cgroup_rules: "device_cgroup_rules" as Strings,
        oom_kill_disable: "oom_kill_disable" as Flag,
        oom_score_adjust: "oom_score_adjust" as Number,
        volume_driver: "volume_driver" as String,
        volumes_from: "volumes_from" as Strings,
        links: "links" as Strings,
        cache_dir: "cache_dir" as Text(folder),
        mac_address: "mac_address" as Text(hardware_address),
        hostname: "hostname" as String,
        enable_ipv6: "enable_ipv6" as Flag,
        network_mtu: "network_mtu" as Number,
        services_limit: "services_limit" as Bound,
        service_slot_cgroup_template: "service_slot_cgroup_template" as String,
        sysctls: "sysctls" as Map,
        ulimits: "ulimit" as Map,
        tmpfs: "tmpfs" as Map,
        services_tmpfs: "services_tmpfs" as Map,
        volume_driver_ops: "volume_driver_ops" as Map,
        labels: "container_labels" as Map,
        services_devices: "services_devices" as Lists,
    } and [job, service, services]);
    all.extend(of_jobs(&mut docker.job));
    all.extend(of_services(&mut docker.service));
    all
}

fn of_jobs(resources: &mut Resources) -> Keys<'_> {
    keys!(resources => Resources {
        memory: "memory" as Size,
        memory_swap: "memory_swap" as Size,
        memory_reservation: "memory_reservation" as Size,
        cpus: "cpus" as Cpus,
        cpu_shares: "cpu_shares" as Number,
        cpuset_cpus: "cpuset_cpus" as String,
        cpuset_mems: "cpuset_mems" as String,
        cgroup_parent: "cgroup_parent" as String,
        gpus: "gpus" as String,
    } and [])
}

/// GitLab Runner has no key for the memory nodes of services.
fn of_services(resources: &mut Resources) -> Keys<'_> {
    keys!(resources => Resources {
        memory: "service_memory" as Size,
        memory_swap: "service_memory_swap" as Size,
        memory_reservation: "service_memory_reservation" as Size,
        cpus: "service_cpus" as Cpus,
        cpu_shares: "service_cpu_shares" as Number,
        cpuset_cpus: "service_cpuset_cpus" as String,
        cgroup_parent: "service_cgroup_parent" as String,
        gpus: "service_gpus" as String,
    } and [cpuset_mems])
}

/// All keys except `name`, which has no default.
fn of_service(service: &mut ContainerService) -> Keys<'_> {
    keys!(service => ContainerService {
        entrypoint: "entrypoint" as Words,
        command: "command" as Words,
        environment: "environment" as Texts(variable),
    } and [name, alias])
}

/// The keys of `[runners.docker]` that are honoured.
pub(crate) fn honoured() -> Vec<&'static str> {
    let mut names = keys::names(&of_settings(&mut onspot_settings::Docker::default()));
    names.extend(["isolation", "services"]);
    names
}

/// The keys of `[[runners.docker.services]]` that are honoured.
pub(crate) fn honoured_of_services() -> Vec<&'static str> {
    let mut names = keys::names(&of_service(&mut ContainerService::default()));
    names.extend(["name", "alias"]);
    names
}

impl Docker {
    pub(super) fn read(mut section: Section<'_>) -> Result<Self, ConfigError> {
        isolation(&mut section)?;
        let mut docker = Self::default();
        for service in section.sections("services")? {
            let (service, other) = read_service(service)?;
            docker.settings.services.push(service);
            docker.other_of_services.push(other);
        }
        // `tls_verify` is refused if it is set.
        keys::read(all(&mut docker.settings, &mut false), &mut section)?;
        docker.other = section.finish()?;
        Ok(docker)
    }

    pub(super) fn entries(&self) -> Entries {
        let Self {
            mut settings,
            other,
            other_of_services,
        } = self.clone();
        let mut entries = Entries::default();
        keys::write(all(&mut settings, &mut false), &mut entries);
        entries.put_others(&other);
        let mut others = other_of_services.into_iter();
        let services = settings.services.into_iter();
        let services =
            services.map(|service| write_service(service, &others.next().unwrap_or_default()));
        entries.put_sections("services", services.collect());
        entries
    }
}

fn read_service(mut section: Section<'_>) -> Result<(ContainerService, toml::Table), ConfigError> {
    let name = section.string("name")?;
    let mut service = ContainerService {
        name: section.required("name", name)?,
        alias: section.string("alias")?.unwrap_or_default(),
        ..ContainerService::default()
    };
    keys::read(of_service(&mut service), &mut section)?;
    Ok((service, section.finish()?))
}

fn write_service(mut service: ContainerService, other: &toml::Table) -> Entries {
    let mut entries = Entries::default();
    entries.put("name", service.name.clone());
    let alias = Some(service.alias.clone()).filter(|alias| !alias.is_empty());
    entries.put_some("alias", alias);
    keys::write(of_service(&mut service), &mut entries);
    entries.put_others(other);
    entries
}

fn volume(text: &str) -> Result<String, Complaint> {
    volume::check(text)?;
    Ok(text.to_owned())
}

/// A folder of the host.
fn folder(text: &str) -> Result<String, Complaint> {
    if text.starts_with('/') && !text.contains(':') {
        return Ok(text.to_owned());
    }
    Err(
        Complaint::new(format!("is `{text}`, which is no absolute path"))
            .with_hint("write a folder of the host, for example \"/srv/cache\""),
    )
}

/// Six bytes in hexadecimal.
fn hardware_address(text: &str) -> Result<String, Complaint> {
    let is_byte = |part: &str| part.len() == 2 && u8::from_str_radix(part, 16).is_ok();
    let parts: Vec<&str> = text.split([':', '-']).collect();
    if parts.len() == 6 && parts.iter().all(|part| is_byte(part)) {
        return Ok(text.to_owned());
    }
    Err(
        Complaint::new(format!("is `{text}`, which is no hardware address"))
            .with_hint("write for example \"92:d0:c6:0a:29:33\""),
    )
}

/// A pattern of image names.
fn pattern(text: &str) -> Result<String, Complaint> {
    match GlobBuilder::new(text).literal_separator(true).build() {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(Complaint::new(format!(
            "has `{text}`, which is no pattern: {}",
            error.kind()
        ))
        .with_hint("write for example \"registry.example.com/team/*:*\"")),
    }
}

/// `name:address`.
fn extra_host(text: &str) -> Result<String, Complaint> {
    match text.split_once([':', '=']) {
        Some((name, address)) if !name.is_empty() && !address.is_empty() => Ok(text.to_owned()),
        _ => Err(
            Complaint::new(format!("has `{text}`, which names no address"))
                .with_hint("write name:address, for example \"gitlab.example:10.0.0.5\""),
        ),
    }
}

/// Only containers of Windows can be isolated otherwise than by default, and onspot has none.
fn isolation(section: &mut Section<'_>) -> Result<(), ConfigError> {
    let Some((isolation, span)) = section.string_at("isolation")? else {
        return Ok(());
    };
    if matches!(isolation.as_str(), "" | "default") {
        return Ok(());
    }
    let complaint = Complaint::new("can't be honoured: it is for containers of Windows")
        .with_hint("remove the key, or keep this runner with GitLab Runner on Windows");
    Err(section.bad_value("isolation", complaint, span))
}

#[cfg(test)]
mod tests {
    use crate::Config;

    fn docker(text: &str) -> Result<Config, String> {
        let head = "[[runners]]\nname = 'r'\nurl = 'https://gitlab.example'\ntoken = 't'\n\
                    executor = 'docker'\n[runners.docker]\n";
        Config::parse(&format!("{head}{text}"), "config.toml").map_err(|error| error.to_string())
    }

    #[test]
    fn an_isolation_that_no_container_here_can_have_is_refused() {
        assert!(docker("isolation = 'default'\n").is_ok());
        let refused = docker("isolation = 'hyperv'\n").unwrap_err();
        assert!(refused.contains("containers of Windows"), "{refused}");
    }

    #[test]
    fn a_table_of_the_wrong_kind_is_an_error() {
        let refused = docker("[runners.docker.sysctls]\n'net.core.somaxconn' = 1024\n");
        assert!(refused.unwrap_err().contains("a table of strings"));
        let refused = docker("[runners.docker.services_devices]\n'a/*' = '/dev/kvm'\n");
        assert!(refused.unwrap_err().contains("a table of lists"));
    }
}
