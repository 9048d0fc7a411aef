//! `[runners.autoscaler]`: GitLab's successor of `[runners.machine]`.

use std::time::Duration;

use jiff::tz::TimeZone;
use onspot_notation::{Cron, duration};

use super::periods;
use crate::error::ConfigError;
use crate::render::Entries;
use crate::section::Section;

/// How many instances there are, for `docker-autoscaler`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Autoscaler {
    /// Jobs that an instance runs at once; 0 means 1.
    pub capacity_per_instance: u32,
    /// Jobs after which an instance is removed; 0 means never.
    pub max_use_count: u32,
    /// The most instances; 0 means no limit.
    pub max_instances: u32,
    /// The fleeting plugin, for example `aws`.
    pub plugin: Option<String>,
    /// The plugin's settings, as they are; for `aws` the Auto Scaling group's `name`.
    pub plugin_config: toml::Table,
    /// Idle instances; the last one whose periods match holds.
    pub policy: Vec<AutoscalerPolicy>,
    /// Kept, not used.
    pub other: toml::Table,
}

/// One `[[runners.autoscaler.policy]]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AutoscalerPolicy {
    /// When this holds: cron expressions of five fields; empty means always.
    pub periods: Vec<Cron>,
    /// The time zone of the periods; the host's if absent.
    pub timezone: Option<TimeZone>,
    /// Free capacity that is kept, in jobs.
    pub idle_count: u32,
    /// After which time an idle instance is removed.
    pub idle_time: Duration,
    /// Free capacity as a share of the capacity in use, at least `idle_count`; 0 turns this off.
    pub scale_factor: f64,
    /// The most that `scale_factor` may ask for; 0 means no limit.
    pub scale_factor_limit: u32,
    /// Whether a job is taken only once there is free capacity; by default if `idle_count` > 0.
    pub preemptive_mode: Option<bool>,
    /// Kept, not used.
    pub other: toml::Table,
}

impl Autoscaler {
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
        if self.scale_factor != 0.0 {
            entries.put("scale_factor", self.scale_factor);
        }
        entries.put_nonzero("scale_factor_limit", self.scale_factor_limit.into());
        entries.put_some("preemptive_mode", self.preemptive_mode);
        entries.put_others(&self.other);
        entries
    }
}
