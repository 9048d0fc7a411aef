//! Keys of GitLab Runner that this model keeps without using them.
//!
//! Taken from the `toml` tags of GitLab Runner 19.3's `common/config.go`,
//! `cache/cacheconfig/cacheconfig.go` and `helpers/docker`; keys that older versions had and this
//! one has not are marked.

/// Outside of any table.
pub(crate) const TOP: &[&str] = &[
    "connection_max_age",
    "experimental",
    "labels",
    "machine",
    "metrics_server", // until 11
    "sentry_dsn",
    "session_server",
    "user",
];

/// In `[[runners]]`.
pub(crate) const RUNNER: &[&str] = &[
    "artifact",
    "clean_git_config",
    "custom",
    "custom_build_dir",
    "debug_trace_disabled",
    "experimental",
    "feature_flags",
    "get_sources_timeout",
    "id",
    "instance",
    "job_status_final_update_retry_limit",
    "kubernetes",
    "labels",
    "monitoring",
    "parallels",
    "prepare_timeout",
    "proxy_exec",
    "referees",
    "safe_directory_checkout",
    "slot_cgroup_template",
    "ssh",
    "step_runner_image",
    "strict_check_interval",
    "tls-cert-file",
    "tls-key-file",
    "token_expires_at",
    "token_obtained_at",
    "unhealthy_interval",
    "unhealthy_requests_limit",
    "use_slot_cgroups",
    "virtualbox",
];

/// In `[runners.docker]`.
pub(crate) const DOCKER: &[&str] = &[
    "allowed_privileged_images",
    "allowed_privileged_services",
    "allowed_users",
    "cache_dir",
    "cgroup_parent",
    "container_labels",
    "cpu_shares",
    "cpuset_cpus",
    "cpuset_mems",
    "device_cgroup_rules",
    "devices",
    "disable_entrypoint_overwrite",
    "enable_ipv6",
    "gpus",
    "group_add",
    "helper_image_flavor",
    "hostname",
    "ipcmode",
    "isolation",
    "links",
    "log_options",
    "mac_address",
    "memory_reservation",
    "memory_swap",
    "network_mtu",
    "oom_kill_disable",
    "oom_score_adjust",
    "pid_mode",
    "runtime",
    "service_cgroup_parent",
    "service_cpu_shares",
    "service_cpus",
    "service_cpuset_cpus",
    "service_gpus",
    "service_memory",
    "service_memory_reservation",
    "service_memory_swap",
    "service_slot_cgroup_template",
    "services",
    "services_devices",
    "services_limit",
    "services_privileged",
    "services_security_opt",
    "services_tmpfs",
    "sysctls",
    "tls_cert_path",
    "tmpfs",
    "ulimit",
    "userns_mode",
    "volume_driver",
    "volume_driver_ops",
    "volume_keep",
    "volumes_from",
];

/// In `[runners.cache]`.
pub(crate) const CACHE: &[&str] = &["azure", "gcs"];

/// In `[runners.cache.s3]`.
pub(crate) const CACHE_S3: &[&str] = &[
    "Accelerate",
    "AssumeRoleMaxConcurrency",
    "AuthenticationType",
    "DisableAssumeRoleCredentialsCaching",
    "DualStack",
    "PathStyle",
    "RoleARN",
    "ServerSideEncryption",
    "ServerSideEncryptionKeyID",
    "SessionToken",
    "UploadRoleARN",
];

/// In `[runners.machine]`.
pub(crate) const MACHINE: &[&str] = &[
    "MachineOptionsWithName",
    "MaxRemovalAttempts",
    "OffPeakIdleCount",
    "OffPeakIdleTime",
    "OffPeakPeriods",
    "OffPeakTimezone",
];

/// In `[runners.autoscaler]`.
pub(crate) const AUTOSCALER: &[&str] = &[
    "connector_config",
    "delete_instances_on_shutdown",
    "deletion_retry_interval",
    "failure_threshold",
    "instance_acquire_timeout",
    "instance_creation_time_buckets",
    "instance_deletion_time_buckets",
    "instance_is_running_time_buckets",
    "instance_life_duration_buckets",
    "instance_operation_time_buckets",
    "instance_readiness_time_buckets",
    "instance_ready_command",
    "log_external_ip",
    "log_internal_ip",
    "reservation_throttling",
    "scale_throttle",
    "shutdown_deletion_interval",
    "shutdown_deletion_retries",
    "state_storage",
    "update_interval",
    "update_interval_when_expecting",
    "vm_isolation",
];
