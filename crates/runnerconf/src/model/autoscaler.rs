//! `[runners.autoscaler]`: GitLab's successor of `[runners.machine]`.

use std::time::Duration;

use jiff::tz::TimeZone;
use onspot_notation::{Cron, Periods, duration};
use onspot_settings::{IdlePeriod, Policy};

use super::periods;
use crate::error::ConfigError;
use crate::reference::{Key, NO_METRICS, NO_SSH, OWN_LOOPS};
use crate::render::Entries;
use crate::section::Section;

/// How the keys of `[runners.autoscaler]` are handled.
pub(crate) const KEYS: &[Key] = &[
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

/// How the keys of `[[runners.autoscaler.policy]]` are handled.
pub(crate) const KEYS_OF_POLICIES: &[Key] = &[
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

/// The number of instances, for `docker-autoscaler`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Autoscaler {
    /// Jobs that an instance runs at once; 0 means 1.
    pub capacity_per_instance: u32,
    /// Jobs after which an instance is removed; 0 means never.
    pub max_use_count: u32,
    /// The maximum of instances; 0 means no limit.
    pub max_instances: u32,
    /// The fleeting plugin, for example `aws`.
    pub plugin: Option<String>,
    /// The plugin's unchanged settings; for `aws` the Auto Scaling group's `name`.
    pub plugin_config: toml::Table,
    /// Numbers of idle instances; the last policy whose periods match applies.
    pub policy: Vec<AutoscalerPolicy>,
    /// Kept, not used.
    pub other: toml::Table,
}

/// One `[[runners.autoscaler.policy]]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AutoscalerPolicy {
    /// When this applies: cron expressions of five fields; empty means always.
    pub periods: Vec<Cron>,
    /// The time zone of the periods; the host's if absent.
    pub timezone: Option<TimeZone>,
    /// Free capacity to keep, in jobs.
    pub idle_count: u32,
    /// How long an instance may be idle before it is removed.
    pub idle_time: Duration,
    /// Free capacity as a factor of the capacity in use, at least `idle_count`; 0 disables it.
    pub scale_factor: f64,
    /// The maximum for `scale_factor`; 0 means no limit.
    pub scale_factor_limit: u32,
    /// Whether a job is only requested when there is free capacity; by default if `idle_count` > 0.
    pub preemptive_mode: Option<bool>,
    /// Kept, not used.
    pub other: toml::Table,
}

impl Autoscaler {
    /// The scaling policy with these settings; `base` provides the others.
    pub(crate) fn policy(&self, base: &Policy) -> Policy {
        // Without `..`, so that an unused key is noticed here.
        let Self {
            max_use_count,
            max_instances,
            policy,
            // Named in a warning by `lint`.
            capacity_per_instance: _,
            plugin: _,
            plugin_config: _,
            other: _,
        } = self;
        let limit = match max_instances {
            0 => base.limit,
            max => *max,
        };
        let slots = base.capacity_per_instance;
        let periods = policy.iter().map(|policy| policy.period(slots, limit));
        Policy {
            limit,
            max_uses: *max_use_count,
            periods: periods.collect(),
            ..*base
        }
    }

    pub(super) fn read(mut section: Section<'_>) -> Result<Self, ConfigError> {
        let mut policy = Vec::new();
        for section in section.sections("policy")? {
            policy.push(AutoscalerPolicy::read(section)?);
        }
        Ok(Self {
            capacity_per_instance: section.number("capacity_per_instance")?.unwrap_or(0),
            max_use_count: section.number("max_use_count")?.unwrap_or(0),
            max_instances: section.number("max_instances")?.unwrap_or(0),
            plugin: section.string("plugin")?,
            plugin_config: section.untyped("plugin_config")?,
            policy,
            other: section.finish()?,
        })
    }

    pub(super) fn entries(&self) -> Entries {
        let mut entries = Entries::default();
        entries.put_nonzero("capacity_per_instance", self.capacity_per_instance.into());
        entries.put_nonzero("max_use_count", self.max_use_count.into());
        entries.put_nonzero("max_instances", self.max_instances.into());
        entries.put_some("plugin", self.plugin.clone());
        entries.put_others(&self.other);
        if !self.plugin_config.is_empty() {
            let mut section = Entries::default();
            section.put_others(&self.plugin_config);
            entries.put_section("plugin_config", section);
        }
        let policies = self.policy.iter().map(AutoscalerPolicy::entries).collect();
        entries.put_sections("policy", policies);
        entries
    }
}

impl AutoscalerPolicy {
    /// Idle places are counted in jobs here. With a factor `idle_count` is the least and
    /// `scale_factor_limit` the most.
    fn period(&self, slots: u32, limit: u32) -> IdlePeriod {
        let Self {
            periods,
            timezone,
            idle_count,
            idle_time,
            scale_factor,
            scale_factor_limit,
            // Named in a warning by `lint`.
            preemptive_mode: _,
            other: _,
        } = self;
        let mut periods = periods.clone();
        if periods.is_empty() {
            periods.extend(Cron::five("* * * * *"));
        }
        let least = idle_count.div_ceil(slots);
        let most = match scale_factor_limit {
            _ if *scale_factor <= 0.0 => least,
            0 => limit.max(least),
            most => most.div_ceil(slots).max(least),
        };
        IdlePeriod {
            when: Periods::new(periods, timezone.clone()),
            idle_count: most,
            idle_count_min: least,
            idle_scale_factor: *scale_factor,
            idle_time: *idle_time,
        }
    }

    fn read(mut section: Section<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            periods: section.each_parsed("periods", |text| Ok(Cron::five(text)?))?,
            timezone: periods::zone(&mut section, "timezone")?,
            idle_count: section.number("idle_count")?.unwrap_or(0),
            idle_time: section
                .parsed("idle_time", |text| Ok(duration::parse(text)?))?
                .unwrap_or_default(),
            scale_factor: section.factor("scale_factor")?.unwrap_or(0.0),
            scale_factor_limit: section.number("scale_factor_limit")?.unwrap_or(0),
            preemptive_mode: section.boolean("preemptive_mode")?,
            other: section.finish()?,
        })
    }

    fn entries(&self) -> Entries {
        let mut entries = Entries::default();
        periods::put(
            &mut entries,
            ["periods", "timezone"],
            &self.periods,
            self.timezone.as_ref(),
        );
        entries.put_number("idle_count", self.idle_count);
        entries.put("idle_time", duration::format(self.idle_time));
        entries.put_factor("scale_factor", self.scale_factor);
        entries.put_nonzero("scale_factor_limit", self.scale_factor_limit.into());
        entries.put_some("preemptive_mode", self.preemptive_mode);
        entries.put_others(&self.other);
        entries
    }
}
