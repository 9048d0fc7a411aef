//! How many idle workers are kept, and when.

use onspot_notation::{Cron, Periods};

use super::{Flaw, at};
use crate::spec::locate::Step;
use crate::spec::{IdlePeriod, Workers};

/// Checks the idle numbers of a runner's workers.
pub(super) fn check(workers: &Workers, here: &[Step]) -> Result<(), Flaw> {
    let Workers {
        idle_count,
        idle_count_min,
        scale_factor,
        periods,
        ..
    } = workers;
    numbers(*idle_count, *idle_count_min, *scale_factor, here)?;
    let all = at(here, "periods");
    for (index, each) in periods.iter().enumerate() {
        period(each, &[&all[..], &[Step::Index(index)]].concat())?;
    }
    Ok(())
}

fn period(period: &IdlePeriod, here: &[Step]) -> Result<(), Flaw> {
    let IdlePeriod {
        when,
        timezone,
        idle_count,
        idle_count_min,
        scale_factor,
        idle_time: _,
    } = period;
    let times = at(here, "when");
    if when.is_empty() {
        let hint = "for example when = [\"* 8-18 * * mon-fri\"]";
        return Err(Flaw::new(
            &times,
            "a period without times never holds",
            hint,
        ));
    }
    for (index, text) in when.iter().enumerate() {
        text.parse::<Cron>().map_err(|error| {
            let place = [&times[..], &[Step::Index(index)]].concat();
            Flaw::new(&place, error.to_string(), error.hint())
        })?;
    }
    Periods::zone(timezone)
        .map_err(|error| Flaw::new(&at(here, "timezone"), error.to_string(), error.hint()))?;
    numbers(*idle_count, *idle_count_min, *scale_factor, here)
}

fn numbers(most: u32, least: u32, factor: f64, here: &[Step]) -> Result<(), Flaw> {
    if !factor.is_finite() || factor < 0.0 {
        return Err(Flaw::new(
            &at(here, "scale_factor"),
            format!("{factor} is no factor"),
            "0 or above: 0.5 keeps one idle worker for two busy ones",
        ));
    }
    if factor > 0.0 && most == 0 {
        return Err(Flaw::new(
            &at(here, "scale_factor"),
            "a factor keeps no more than `idle_count` workers idle, which is 0",
            "write idle_count, the most to keep idle",
        ));
    }
    if factor > 0.0 && least > most {
        return Err(Flaw::new(
            &at(here, "idle_count_min"),
            format!("at least {least} idle workers are more than `idle_count`, {most}"),
            "write a smaller idle_count_min",
        ));
    }
    Ok(())
}
