//! Converts the settings to the engine's configuration of helper, job and service containers. Pure
//! except for reading seccomp profiles.
//!
//! An invalid setting is an error: leaving out a limit would mean no limit.

use std::collections::{BTreeMap, HashMap};

use bollard::models::{
    DeviceMapping, DeviceRequest, HostConfig, HostConfigLogConfig, ResourcesUlimits,
};
use onspot_notation::{Cpus, Size};
use onspot_settings::{Docker, Resources};

use crate::error::Error;

/// How many bytes of a service's log are kept, for the trace if it dies.
const SERVICE_LOG: &str = "1m";

/// The `oom_score_adj` of a job's processes: if the host runs out of memory, the kernel should kill
/// them before onspot, Docker and the helper, whose loss would affect all jobs.
const OOM_SCORE: i64 = 500;

/// What a job's container gets of its host, in addition to the settings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) slot: usize,
    /// Whether it is privileged.
    pub(super) privileged: bool,
    /// The memory limit in bytes if the settings have none.
    pub(super) memory: Option<u64>,
}

/// The settings shared by all containers of a slot. A runtime or a user namespace that limits jobs
/// also limits the helper, because it runs hooks and git for them.
fn common(settings: &Docker) -> HostConfig {
    HostConfig {
        network_mode: text(settings.network_mode.as_deref()),
        extra_hosts: list(&settings.extra_hosts),
        dns: list(&settings.dns),
        dns_search: list(&settings.dns_search),
        runtime: text(settings.runtime.as_deref()),
        userns_mode: text(settings.userns_mode.as_deref()),
        // A job's output goes to its trace and is not stored on this host.
        log_config: Some(HostConfigLogConfig {
            typ: Some("none".into()),
            config: None,
        }),
        ..HostConfig::default()
    }
}

/// For a helper, of a slot or only as a check.
pub(super) fn of_helper(settings: &Docker, slot: Option<usize>, binds: Vec<String>) -> HostConfig {
    let parent = settings.job.cgroup_parent.as_deref();
    HostConfig {
        binds: Some(binds),
        security_opt: Some(vec!["no-new-privileges".into()]),
        cgroup_parent: text(parent).map(|parent| in_slot(&parent, slot.unwrap_or_default())),
        ..common(settings)
    }
}

/// For a job's own container.
pub(super) fn of_job(
    settings: &Docker,
    limits: Limits,
    binds: Vec<String>,
) -> Result<HostConfig, Error> {
    let config = HostConfig {
        binds: Some(binds),
        privileged: Some(limits.privileged),
        tmpfs: map(&settings.tmpfs),
        cap_add: list(&settings.cap_add),
        cap_drop: list(&settings.cap_drop),
        security_opt: security(&settings.security_opt)?,
        pid_mode: text(settings.pid_mode.as_deref()),
        ipc_mode: text(settings.ipc_mode.as_deref()),
        group_add: list(&settings.group_add),
        sysctls: map(&settings.sysctls),
        ulimits: ulimits(&settings.ulimits)?,
        devices: devices(&settings.devices)?,
        device_cgroup_rules: list(&settings.device_cgroup_rules),
        oom_kill_disable: settings.oom_kill_disable.then_some(true),
        oom_score_adj: Some(match settings.oom_score_adjust {
            0 => OOM_SCORE,
            score => score.into(),
        }),
        links: list(&settings.links),
        volumes_from: list(&settings.volumes_from),
        volume_driver: text(settings.volume_driver.as_deref()),
        ..common(settings)
    };
    with_resources(config, settings, &settings.job, limits)
}

/// For a service with this image.
pub(super) fn of_service(
    settings: &Docker,
    limits: Limits,
    binds: Vec<String>,
    image: &str,
) -> Result<HostConfig, Error> {
    let mine = |(pattern, _): &(&String, &Vec<String>)| crate::plan::image::matches(pattern, image);
    let devices_of = settings.services_devices.iter().filter(mine);
    let named: Vec<String> = devices_of
        .flat_map(|(_, devices)| devices.clone())
        .collect();
    let config = HostConfig {
        binds: Some(binds),
        privileged: Some(limits.privileged),
        tmpfs: map(&settings.services_tmpfs),
        security_opt: security(&settings.services_security_opt)?,
        devices: devices(&named)?,
        oom_score_adj: Some(OOM_SCORE),
        // Kept while it runs: its log goes to the trace if it dies.
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".into()),
            config: Some(HashMap::from([
                ("max-size".to_owned(), SERVICE_LOG.to_owned()),
                ("max-file".to_owned(), "2".to_owned()),
            ])),
        }),
        ..common(settings)
    };
    with_resources(config, settings, &settings.service, limits)
}

fn with_resources(
    config: HostConfig,
    settings: &Docker,
    resources: &Resources,
    limits: Limits,
) -> Result<HostConfig, Error> {
    // Without `..`, so that an unused limit is noticed here.
    let Resources {
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
    let reservation = memory_reservation.as_ref().map(bytes);
    Ok(HostConfig {
        shm_size: i64::try_from(settings.shm_size)
            .ok()
            .filter(|&size| size > 0),
        // In Docker's configuration, 0 means no limit.
        memory: match memory.as_ref().map(bytes) {
            // The engine refuses a limit below the reservation.
            None => limits
                .memory
                .and_then(|share| i64::try_from(share).ok())
                .map(|share| share.max(reservation.unwrap_or_default())),
            configured => configured,
        },
        memory_swap: memory_swap.as_ref().map(bytes),
        memory_reservation: reservation,
        nano_cpus: cpus.as_ref().map(Cpus::billionths),
        cpu_shares: Some(*cpu_shares).filter(|&shares| shares > 0),
        cpuset_cpus: text(cpuset_cpus.as_deref()),
        cpuset_mems: text(cpuset_mems.as_deref()),
        cgroup_parent: text(cgroup_parent.as_deref()).map(|parent| in_slot(&parent, limits.slot)),
        device_requests: text(gpus.as_deref())
            .map(|text| requests(text.trim()))
            .transpose()?,
        ..config
    })
}

/// A slot's cgroup: `${slot}` and `$slot` are replaced by its number.
fn in_slot(template: &str, slot: usize) -> String {
    let slot = slot.to_string();
    template.replace("${slot}", &slot).replace("$slot", &slot)
}

/// Docker uses signed numbers, which no size exceeds.
fn bytes(size: &Size) -> i64 {
    i64::try_from(size.bytes()).unwrap_or(i64::MAX)
}

fn requests(text: &str) -> Result<Vec<DeviceRequest>, Error> {
    gpus(text).ok_or_else(|| wrong(format!("gpus = {text:?}")))
}

fn wrong(what: impl std::fmt::Display) -> Error {
    Error::NotAllowed(format!("the runner's configuration can't be used: {what}"))
}

fn text(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(str::to_owned)
}

fn list(list: &[String]) -> Option<Vec<String>> {
    (!list.is_empty()).then(|| list.to_vec())
}

fn map(map: &BTreeMap<String, String>) -> Option<HashMap<String, String>> {
    (!map.is_empty()).then(|| map.clone().into_iter().collect())
}

/// The engine expects a seccomp profile's content; the command line and `config.toml` have its
/// path.
fn security(options: &[String]) -> Result<Option<Vec<String>>, Error> {
    let option = |option: &String| -> Result<String, Error> {
        let path = option
            .strip_prefix("seccomp=")
            .filter(|value| !value.starts_with('{') && !matches!(*value, "unconfined" | "builtin"));
        let Some(path) = path else {
            return Ok(option.clone());
        };
        let profile = std::fs::read(path)
            .map_err(|error| wrong(format!("the seccomp profile {path}: {error}")))?;
        let profile: serde_json::Value = serde_json::from_slice(&profile)
            .map_err(|_| wrong(format!("the seccomp profile {path} is no JSON")))?;
        Ok(format!("seccomp={profile}"))
    };
    let options: Vec<String> = options.iter().map(option).collect::<Result<_, _>>()?;
    Ok(list(&options))
}

fn ulimits(limits: &BTreeMap<String, String>) -> Result<Option<Vec<ResourcesUlimits>>, Error> {
    let limit = |(name, limit): (&String, &String)| {
        let (soft, hard) = limit.split_once(':').unwrap_or((limit, limit));
        let (Ok(soft), Ok(hard)) = (soft.trim().parse(), hard.trim().parse()) else {
            return Err(wrong(format!("ulimit {name} = {limit:?}")));
        };
        Ok(ResourcesUlimits {
            name: Some(name.clone()),
            soft: Some(soft),
            hard: Some(hard),
        })
    };
    let limits: Vec<_> = limits.iter().map(limit).collect::<Result<_, _>>()?;
    Ok((!limits.is_empty()).then_some(limits))
}

fn devices(devices: &[String]) -> Result<Option<Vec<DeviceMapping>>, Error> {
    let device = |device: &String| {
        let parts: Vec<&str> = device.split(':').collect();
        let (host, container, permissions) = match parts.as_slice() {
            [host] => (*host, *host, "rwm"),
            [host, container] => (*host, *container, "rwm"),
            [host, container, permissions] => (*host, *container, *permissions),
            _ => return Err(wrong(format!("the device {device:?}"))),
        };
        Ok(DeviceMapping {
            path_on_host: Some(host.to_owned()),
            path_in_container: Some(container.to_owned()),
            cgroup_permissions: Some(permissions.to_owned()),
        })
    };
    let devices: Vec<_> = devices.iter().map(device).collect::<Result<_, _>>()?;
    Ok((!devices.is_empty()).then_some(devices))
}

/// `docker run --gpus`: `all`, a number, or fields such as `device=GPU-1` and `"device=0,1"`.
fn gpus(text: &str) -> Option<Vec<DeviceRequest>> {
    let mut request = DeviceRequest {
        capabilities: Some(vec![vec!["gpu".into()]]),
        ..DeviceRequest::default()
    };
    for field in csv(text)? {
        let values = |values: &str| values.split(',').map(str::to_owned).collect();
        match field.split_once('=') {
            None if field == "all" => request.count = Some(-1),
            None => request.count = Some(field.parse().ok()?),
            Some(("count", "all")) => request.count = Some(-1),
            Some(("count", count)) => request.count = Some(count.parse().ok()?),
            Some(("device", devices)) => request.device_ids = Some(values(devices)),
            Some(("driver", driver)) => request.driver = Some(driver.to_owned()),
            Some(("capabilities", wanted)) => {
                let gpu = ["gpu".to_owned()];
                let wanted: Vec<String> = values(wanted);
                let others = wanted.into_iter().filter(|wanted| wanted != "gpu");
                request.capabilities = Some(vec![gpu.into_iter().chain(others).collect()]);
            }
            Some(_) => return None,
        }
    }
    if request.count.is_none() && request.device_ids.is_none() {
        request.count = Some(1);
    }
    Some(vec![request])
}

/// Comma-separated fields; commas within quotes do not separate.
fn csv(text: &str) -> Option<Vec<String>> {
    let (mut fields, mut quoted) = (vec![String::new()], false);
    for character in text.chars() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            other => fields.last_mut()?.push(other),
        }
    }
    (!quoted && fields.iter().all(|field| !field.is_empty())).then_some(fields)
}

#[cfg(test)]
mod tests;
