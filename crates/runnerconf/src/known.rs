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
    "ssh",
    "step_runner_image",
    "strict_check_interval",
    "tls-cert-file",
    "tls-key-file",
    "token_expires_at",
    "token_obtained_at",
    "unhealthy_interval",
    "unhealthy_requests_limit",
    "virtualbox",
];

/// In `[runners.docker]`.
pub(crate) const DOCKER: &[&str] = &[
    "cache_dir",
    "helper_image_flavor",
    "log_options",
    "mac_address",
    "tls_cert_path",
    "volume_keep",
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
