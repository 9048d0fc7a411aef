//! The figures and their display.

use std::fmt;
use std::time::Duration;

use super::course::Course;
use crate::duration::rough;

/// All measurements.
#[derive(Debug, Default)]
pub(super) struct Figures {
    /// `onspot up` from nothing.
    pub(super) up: Duration,
    /// Starts with a newly bought worker.
    pub(super) cold: Vec<Course>,
    /// Starts on an idle worker.
    pub(super) warm: Vec<Course>,
    /// Whole cowsay pipelines that started without a worker.
    pub(super) cold_pipelines: Vec<Duration>,
    /// Whole cowsay pipelines that started with an idle worker.
    pub(super) warm_pipelines: Vec<Duration>,
    /// A container of the same image, with Docker alone.
    pub(super) bare: Vec<Duration>,
}

/// The steps of both kinds of start, in order.
const STEPS: [&str; 10] = [
    "push", "poll", "launch", "boot", "assign", "order", "prepare", "clone", "cache", "start",
];

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| from `git push` to the script | warm | cold |")?;
        writeln!(f, "|---|---|---|")?;
        for name in STEPS {
            let step = |courses: &[Course]| spread(courses.iter().filter_map(|c| took(c, name)));
            writeln!(
                f,
                "| {name} | {} | {} |",
                step(&self.warm),
                step(&self.cold)
            )?;
        }
        let whole = |courses: &[Course]| spread(courses.iter().map(|course| course.to_script));
        writeln!(
            f,
            "| **all** | {} | {} |",
            whole(&self.warm),
            whole(&self.cold)
        )?;
        writeln!(f)?;
        writeln!(f, "| | min / median / max |")?;
        writeln!(f, "|---|---|")?;
        let all = |of: &[Duration]| spread(of.iter().copied());
        let overhead = spread(self.warm.iter().map(|course| course.overhead));
        writeln!(f, "| a job's time beyond its script, warm | {overhead} |")?;
        writeln!(
            f,
            "| `docker run --rm` alone, on the same worker | {} |",
            all(&self.bare)
        )?;
        writeln!(
            f,
            "| the cowsay pipeline, warm | {} |",
            all(&self.warm_pipelines)
        )?;
        writeln!(
            f,
            "| the cowsay pipeline, cold | {} |",
            all(&self.cold_pipelines)
        )?;
        write!(f, "| `onspot up` from nothing | {} |", rough(self.up))
    }
}

fn took(course: &Course, name: &str) -> Option<Duration> {
    let step = course.steps.iter().find(|(step, _)| *step == name);
    step.map(|(_, took)| *took)
}

/// Minimum, median and maximum; a single value alone.
fn spread(values: impl Iterator<Item = Duration>) -> String {
    let mut values: Vec<Duration> = values.collect();
    values.sort_unstable();
    match &values[..] {
        [] => "–".to_owned(),
        [one] => rough(*one),
        [least, .., most] => {
            let median = values[values.len() / 2];
            format!("{} / {} / {}", rough(*least), rough(median), rough(*most))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_least_median_most() {
        let millis = |values: &[u64]| spread(values.iter().map(|ms| Duration::from_millis(*ms)));
        assert_eq!(millis(&[]), "–");
        assert_eq!(millis(&[7]), "7 ms");
        assert_eq!(millis(&[30, 10, 20]), "10 ms / 20 ms / 30 ms");
    }
}
