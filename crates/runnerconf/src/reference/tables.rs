//! The keys of all tables but `[runners.docker]`.

use super::Key;

const NO_METRICS: &str = "onspot serves no metrics";
const NO_SESSIONS: &str = "onspot has no session server for interactive terminals";
const OTHER_EXECUTOR: &str = "it is for an executor that onspot does not have";
const OWN_LOOPS: &str = "onspot has its own timing for this";
const NO_SSH: &str = "workers are not reached by SSH: they fetch their orders";
const BOOKKEEPING: &str = "onspot does not need it";

/// Outside of any table.
pub(super) const FILE: &[Key] = &[
    Key::honoured("check_interval"),
    Key::honoured("concurrent"),
    Key::warned("connection_max_age", OWN_LOOPS),
    Key::warned("experimental", "onspot writes no usage log"),
    Key::warned("labels", "labels are for GitLab Runner's metrics and logs"),
    Key::warned("listen_address", NO_METRICS),
    Key::warned("log_format", "use --output json, or leave it out"),
    Key::honoured("log_level"),
    Key::warned(
        "machine",
        "workers are drained, not removed, when onspot ends",
    ),
    Key::warned("metrics_server", NO_METRICS), // until 11
    Key::honoured("runners"),
    Key::warned("sentry_dsn", "onspot reports to no Sentry"),
    Key::warned("session_server", NO_SESSIONS),
    Key::warned("shutdown_timeout", OWN_LOOPS),
    Key::warned("user", "run onspot as that user instead"),
];

/// In `[[runners]]`.
pub(super) const RUNNERS: &[Key] = &[
    Key::warned("artifact", OWN_LOOPS),
    Key::honoured("autoscaler"),
    Key::honoured("builds_dir"),
    Key::honoured("cache"),
    Key::honoured("cache_dir"),
    Key::warned(
        "clean_git_config",
        "git's configuration is made anew for each job",
    ),
    Key::honoured("clone_url"),
    Key::warned("custom", OTHER_EXECUTOR),
    Key::warned("custom_build_dir", "GIT_CLONE_PATH is not used"),
    Key::honoured("debug_trace_disabled"),
    Key::honoured("docker"),
    Key::honoured("environment"),
    Key::honoured("executor"),
    Key::warned("experimental", "onspot runs no job of its own at the start"),
    Key::warned(
        "feature_flags",
        "onspot has none of GitLab Runner's feature flags",
    ),
    Key::warned(
        "get_sources_timeout",
        "set RUNNER_SCRIPT_TIMEOUT or the job's timeout",
    ),
    Key::warned("id", BOOKKEEPING),
    Key::warned("instance", OTHER_EXECUTOR),
    Key::warned("job_status_final_update_retry_limit", OWN_LOOPS),
    Key::warned("kubernetes", OTHER_EXECUTOR),
    Key::warned("labels", "labels are for GitLab Runner's metrics and logs"),
    Key::honoured("limit"),
    Key::honoured("machine"),
    Key::warned("monitoring", NO_METRICS),
    Key::honoured("name"),
    Key::honoured("output_limit"),
    Key::warned("parallels", OTHER_EXECUTOR),
    Key::honoured("post_build_script"),
    Key::honoured("post_clone_script"), // until 16
    Key::honoured("post_get_sources_script"),
    Key::honoured("pre_build_script"),
    Key::honoured("pre_clone_script"), // until 16
    Key::honoured("pre_get_sources_script"),
    Key::warned("prepare_timeout", "set the job's timeout"),
    Key::warned("proxy_exec", "scripts run without the helper between"),
    Key::warned("referees", NO_METRICS),
    Key::honoured("request_concurrency"),
    Key::warned(
        "safe_directory_checkout",
        "the build folder is safe for git as it is",
    ),
    Key::honoured("shell"),
    Key::honoured("slot_cgroup_template"),
    Key::warned("ssh", OTHER_EXECUTOR),
    Key::warned("step_runner_image", "onspot does not run steps"),
    Key::warned("strict_check_interval", OWN_LOOPS),
    Key::honoured("tls-ca-file"),
    Key::refused("tls-cert-file", "onspot has no client certificates"),
    Key::refused("tls-key-file", "onspot has no client certificates"),
    Key::honoured("token"),
    Key::warned("token_expires_at", BOOKKEEPING),
    Key::warned("token_obtained_at", BOOKKEEPING),
    Key::warned("unhealthy_interval", OWN_LOOPS),
    Key::warned("unhealthy_requests_limit", OWN_LOOPS),
    Key::honoured("url"),
    Key::honoured("use_slot_cgroups"),
    Key::warned("virtualbox", OTHER_EXECUTOR),
];

const ONLY_S3: &str = "onspot keeps caches in S3 or on the host";
const NO_ROLE: &str = "onspot assumes no role for the cache: give its own role the rights";
const NO_ENCRYPTION: &str = "set the bucket's default encryption instead";

/// In `[runners.cache]`. The keys of S3 stand here, too, as in 2017.
pub(super) const CACHE: &[Key] = &[
    Key::honoured("AccessKey"),
    Key::refused("azure", ONLY_S3),
    Key::honoured("BucketLocation"),
    Key::honoured("BucketName"),
    Key::refused("gcs", ONLY_S3),
    Key::honoured("Insecure"),
    Key::honoured("MaxUploadedArchiveSize"),
    Key::honoured("Path"),
    Key::honoured("s3"),
    Key::honoured("SecretKey"),
    Key::honoured("ServerAddress"),
    Key::honoured("Shared"),
    Key::honoured("Type"),
];

/// In `[runners.cache.s3]`.
pub(super) const CACHE_S3: &[Key] = &[
    Key::honoured("Accelerate"),
    Key::honoured("AccessKey"),
    Key::warned("AssumeRoleMaxConcurrency", NO_ROLE),
    Key::honoured("AuthenticationType"),
    Key::honoured("BucketLocation"),
    Key::honoured("BucketName"),
    Key::warned("DisableAssumeRoleCredentialsCaching", NO_ROLE),
    Key::honoured("DualStack"),
    Key::honoured("Insecure"),
    Key::honoured("PathStyle"),
    Key::refused("RoleARN", NO_ROLE),
    Key::honoured("SecretKey"),
    Key::honoured("ServerAddress"),
    Key::refused("ServerSideEncryption", NO_ENCRYPTION),
    Key::refused("ServerSideEncryptionKeyID", NO_ENCRYPTION),
    Key::honoured("SessionToken"),
    Key::refused("UploadRoleARN", NO_ROLE),
];

/// In `[runners.machine]`.
pub(super) const MACHINE: &[Key] = &[
    Key::honoured("autoscaling"),
    Key::honoured("IdleCount"),
    Key::honoured("IdleCountMin"),
    Key::honoured("IdleScaleFactor"),
    Key::honoured("IdleTime"),
    Key::honoured("MachineDriver"),
    Key::warned(
        "MachineName",
        "instances are named after the stack and the runner",
    ),
    Key::honoured("MachineOptions"),
    Key::warned(
        "MachineOptionsWithName",
        "instances are described by the stack's launch template",
    ),
    Key::honoured("MaxBuilds"),
    Key::honoured("MaxGrowthRate"),
    Key::warned("MaxRemovalAttempts", OWN_LOOPS),
    Key::honoured("OffPeakIdleCount"),
    Key::honoured("OffPeakIdleTime"),
    Key::honoured("OffPeakPeriods"),
    Key::honoured("OffPeakTimezone"),
];

/// In `[[runners.machine.autoscaling]]`.
pub(super) const MACHINE_AUTOSCALING: &[Key] = &[
    Key::honoured("IdleCount"),
    Key::honoured("IdleCountMin"),
    Key::honoured("IdleScaleFactor"),
    Key::honoured("IdleTime"),
    Key::honoured("Periods"),
    Key::honoured("Timezone"),
];

/// In `[runners.autoscaler]`.
pub(super) const AUTOSCALER: &[Key] = &[
    Key::warned(
        "capacity_per_instance",
        "the stack's own number of slots holds",
    ),
    Key::warned("connector_config", NO_SSH),
    Key::warned(
        "delete_instances_on_shutdown",
        "workers outlive the manager: their jobs go on",
    ),
    Key::warned("deletion_retry_interval", OWN_LOOPS),
    Key::warned("failure_threshold", OWN_LOOPS),
    Key::warned("instance_acquire_timeout", OWN_LOOPS),
    Key::warned("instance_creation_time_buckets", NO_METRICS),
    Key::warned("instance_deletion_time_buckets", NO_METRICS),
    Key::warned("instance_is_running_time_buckets", NO_METRICS),
    Key::warned("instance_life_duration_buckets", NO_METRICS),
    Key::warned("instance_operation_time_buckets", NO_METRICS),
    Key::warned("instance_readiness_time_buckets", NO_METRICS),
    Key::warned("instance_ready_command", NO_SSH),
    Key::warned("log_external_ip", "the addresses stand in EC2"),
    Key::warned("log_internal_ip", "the addresses stand in EC2"),
    Key::honoured("max_instances"),
    Key::honoured("max_use_count"),
    Key::honoured("plugin"),
    Key::warned("plugin_config", "the stack has its own fleet"),
    Key::honoured("policy"),
    Key::warned("reservation_throttling", OWN_LOOPS),
    Key::warned("scale_throttle", OWN_LOOPS),
    Key::warned("shutdown_deletion_interval", OWN_LOOPS),
    Key::warned("shutdown_deletion_retries", OWN_LOOPS),
    Key::warned("state_storage", "the stack's bucket holds the state"),
    Key::warned("update_interval", OWN_LOOPS),
    Key::warned("update_interval_when_expecting", OWN_LOOPS),
    Key::refused(
        "vm_isolation",
        "onspot has no virtual machines within workers",
    ),
];

/// In `[[runners.autoscaler.policy]]`.
pub(super) const AUTOSCALER_POLICY: &[Key] = &[
    Key::honoured("idle_count"),
    Key::honoured("idle_time"),
    Key::honoured("periods"),
    Key::warned(
        "preemptive_mode",
        "a job is taken as soon as a worker for it can be had",
    ),
    Key::honoured("scale_factor"),
    Key::honoured("scale_factor_limit"),
    Key::honoured("timezone"),
];
