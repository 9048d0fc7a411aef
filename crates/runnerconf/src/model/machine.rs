//! `[runners.machine]`: autoscaled instances, as in 2017.

use std::time::Duration;

use jiff::tz::TimeZone;
use onspot_notation::{Cron, Periods};
use onspot_settings::{IdlePeriod, Policy};

use super::periods;
use crate::ec2_options::{Ec2Options, OptionError};
use crate::error::ConfigError;
use crate::reference::{Key, OWN_LOOPS};
use crate::render::Entries;
use crate::section::{Complaint, Section};

/// How the keys of `[runners.machine]` are handled.
pub(crate) const KEYS: &[Key] = &[
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

/// How the keys of `[[runners.machine.autoscaling]]` are handled.
pub(crate) const KEYS_OF_PERIODS: &[Key] = &[
    Key::honoured("IdleCount"),
    Key::honoured("IdleCountMin"),
    Key::honoured("IdleScaleFactor"),
    Key::honoured("IdleTime"),
    Key::honoured("Periods"),
    Key::honoured("Timezone"),
];

/// The number and the kind of instances.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Machine {
    /// How many idle instances are kept.
    pub idle_count: u32,
    /// Idle instances as a factor of busy ones, at most `idle_count`; 0 disables it.
    pub idle_scale_factor: f64,
    /// The minimum of idle instances with `idle_scale_factor`; 0 means 1.
    pub idle_count_min: u32,
    /// Seconds after which an idle instance is removed.
    pub idle_time: u32,
    /// Jobs after which an instance is removed; 0 means never.
    pub max_builds: u32,
    /// How many instances may be starting at the same time; 0 means no limit.
    pub max_growth_rate: u32,
    /// The docker-machine driver, for example `amazonec2`.
    pub machine_driver: String,
    /// The pattern of instances' names, with one `%s`.
    pub machine_name: String,
    /// The driver's options, `name=value`; see [`Machine::ec2_options`].
    pub machine_options: Vec<String>,
    /// Other numbers for certain times; the last match applies.
    pub autoscaling: Vec<MachinePeriod>,
    /// The times in `OffPeakPeriods`, the notation until 2020; a match in `autoscaling` takes
    /// precedence.
    pub off_peak: OffPeak,
    /// Kept, not used.
    pub other: toml::Table,
}

/// One `[[runners.machine.autoscaling]]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MachinePeriod {
    /// When this applies: cron expressions with seconds and year, as in GitLab Runner.
    pub periods: Vec<Cron>,
    /// The time zone of the periods; the host's if absent.
    pub timezone: Option<TimeZone>,
    /// As in [`Machine`].
    pub idle_count: u32,
    /// As in [`Machine`].
    pub idle_scale_factor: f64,
    /// As in [`Machine`].
    pub idle_count_min: u32,
    /// As in [`Machine`].
    pub idle_time: u32,
    /// Kept, not used.
    pub other: toml::Table,
}

/// The keys `OffPeak…` of `[runners.machine]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OffPeak {
    /// When this applies: cron expressions as in [`MachinePeriod`]; empty means never.
    pub periods: Vec<Cron>,
    /// The time zone of the periods; the host's if absent.
    pub timezone: Option<TimeZone>,
    /// As in [`Machine`].
    pub idle_count: u32,
    /// As in [`Machine`].
    pub idle_time: u32,
}

impl Machine {
    /// The name of docker-machine's EC2 driver.
    pub const EC2_DRIVER: &str = "amazonec2";

    /// `machine_options` in terms of the driver `amazonec2`.
    ///
    /// # Errors
    /// See [`Ec2Options::from_machine_options`].
    pub fn ec2_options(&self) -> Result<Ec2Options, OptionError> {
        Ec2Options::from_machine_options(&self.machine_options)
    }

    /// The scaling policy with these settings; `base` provides the others.
    pub(crate) fn policy(&self, base: &Policy) -> Policy {
        // Without `..`, so that an unused key is noticed here.
        let Self {
            idle_count,
            idle_scale_factor,
            idle_count_min,
            idle_time,
            max_builds,
            max_growth_rate,
            autoscaling,
            off_peak,
            // Compared with the pool by `strange_options`, or named in a warning by `lint`.
            machine_driver: _,
            machine_name: _,
            machine_options: _,
            other: _,
        } = self;
        // The last match applies, so `autoscaling` comes after `OffPeak…`, which it replaced.
        let mut periods = vec![off_peak.period()];
        periods.extend(autoscaling.iter().map(MachinePeriod::period));
        Policy {
            idle_count: *idle_count,
            idle_count_min: least(*idle_count_min),
            idle_scale_factor: *idle_scale_factor,
            idle_time: seconds(*idle_time),
            max_uses: *max_builds,
            max_growth: *max_growth_rate,
            periods,
            ..*base
        }
    }

    pub(super) fn read(mut section: Section<'_>) -> Result<Self, ConfigError> {
        let driver = section.string("MachineDriver")?.unwrap_or_default();
        let mut options = section.strings_at("MachineOptions")?;
        options.retain(|(text, _)| !text.is_empty());
        if driver == Self::EC2_DRIVER {
            for (option, span) in &options {
                Ec2Options::from_machine_options([option]).map_err(|error| {
                    let complaint = Complaint {
                        reason: format!("has a bad option: {error}"),
                        hint: error.hint,
                    };
                    section.bad_value("MachineOptions", complaint, span.clone())
                })?;
            }
        }
        let mut autoscaling = Vec::new();
        for period in section.sections("autoscaling")? {
            autoscaling.push(MachinePeriod::read(period)?);
        }
        Ok(Self {
            idle_count: section.number("IdleCount")?.unwrap_or(0),
            idle_scale_factor: section.factor("IdleScaleFactor")?.unwrap_or(0.0),
            idle_count_min: section.number("IdleCountMin")?.unwrap_or(0),
            idle_time: section.number("IdleTime")?.unwrap_or(0),
            max_builds: section.number("MaxBuilds")?.unwrap_or(0),
            max_growth_rate: section.number("MaxGrowthRate")?.unwrap_or(0),
            machine_driver: driver,
            machine_name: section.string("MachineName")?.unwrap_or_default(),
            machine_options: options.into_iter().map(|(option, _)| option).collect(),
            autoscaling,
            off_peak: OffPeak::read(&mut section)?,
            other: section.finish()?,
        })
    }

    pub(super) fn entries(&self) -> Entries {
        let Self {
            idle_count,
            idle_scale_factor,
            idle_count_min,
            idle_time,
            max_builds,
            max_growth_rate,
            machine_driver,
            machine_name,
            machine_options,
            autoscaling,
            off_peak,
            other,
        } = self;
        let mut entries = Entries::default();
        entries.put_number("IdleCount", *idle_count);
        entries.put_factor("IdleScaleFactor", *idle_scale_factor);
        entries.put_nonzero("IdleCountMin", (*idle_count_min).into());
        entries.put_number("IdleTime", *idle_time);
        entries.put_nonzero("MaxBuilds", (*max_builds).into());
        entries.put_nonzero("MaxGrowthRate", (*max_growth_rate).into());
        entries.put("MachineDriver", machine_driver.clone());
        entries.put("MachineName", machine_name.clone());
        entries.put_lines("MachineOptions", machine_options);
        off_peak.put(&mut entries);
        entries.put_others(other);
        let periods = autoscaling.iter().map(MachinePeriod::entries).collect();
        entries.put_sections("autoscaling", periods);
        entries
    }
}

impl MachinePeriod {
    fn period(&self) -> IdlePeriod {
        let Self {
            periods,
            timezone,
            idle_count,
            idle_scale_factor,
            idle_count_min,
            idle_time,
            other: _,
        } = self;
        IdlePeriod {
            when: Periods::new(periods.clone(), timezone.clone()),
            idle_count: *idle_count,
            idle_count_min: least(*idle_count_min),
            idle_scale_factor: *idle_scale_factor,
            idle_time: seconds(*idle_time),
        }
    }

    fn read(mut section: Section<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            periods: section.each_parsed("Periods", |text| Ok(Cron::seven(text)?))?,
            timezone: periods::zone(&mut section, "Timezone")?,
            idle_count: section.number("IdleCount")?.unwrap_or(0),
            idle_scale_factor: section.factor("IdleScaleFactor")?.unwrap_or(0.0),
            idle_count_min: section.number("IdleCountMin")?.unwrap_or(0),
            idle_time: section.number("IdleTime")?.unwrap_or(0),
            other: section.finish()?,
        })
    }

    fn entries(&self) -> Entries {
        let mut entries = Entries::default();
        periods::put(
            &mut entries,
            ["Periods", "Timezone"],
            &self.periods,
            self.timezone.as_ref(),
        );
        entries.put_number("IdleCount", self.idle_count);
        entries.put_factor("IdleScaleFactor", self.idle_scale_factor);
        entries.put_nonzero("IdleCountMin", self.idle_count_min.into());
        entries.put_number("IdleTime", self.idle_time);
        entries.put_others(&self.other);
        entries
    }
}

impl OffPeak {
    /// Without periods it never applies.
    fn period(&self) -> IdlePeriod {
        let Self {
            periods,
            timezone,
            idle_count,
            idle_time,
        } = self;
        IdlePeriod {
            when: Periods::new(periods.clone(), timezone.clone()),
            idle_count: *idle_count,
            idle_count_min: 0,
            idle_scale_factor: 0.0,
            idle_time: seconds(*idle_time),
        }
    }

    fn read(section: &mut Section<'_>) -> Result<Self, ConfigError> {
        Ok(Self {
            periods: section.each_parsed("OffPeakPeriods", |text| Ok(Cron::seven(text)?))?,
            timezone: periods::zone(section, "OffPeakTimezone")?,
            idle_count: section.number("OffPeakIdleCount")?.unwrap_or(0),
            idle_time: section.number("OffPeakIdleTime")?.unwrap_or(0),
        })
    }

    fn put(&self, entries: &mut Entries) {
        let keys = ["OffPeakPeriods", "OffPeakTimezone"];
        periods::put(entries, keys, &self.periods, self.timezone.as_ref());
        entries.put_nonzero("OffPeakIdleCount", self.idle_count.into());
        entries.put_nonzero("OffPeakIdleTime", self.idle_time.into());
    }
}

/// `IdleCountMin` is 1 if it is not set, as in GitLab Runner. It only applies together with a
/// factor.
fn least(idle_count_min: u32) -> u32 {
    idle_count_min.max(1)
}

fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}
