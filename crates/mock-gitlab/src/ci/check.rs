//! Checks that need all jobs: stages, needs, dependencies.

use super::error::CiError;
use super::spec::JobSpec;

/// How many jobs one job may need in GitLab.
const MAX_NEEDS: usize = 50;

/// Check the jobs of a configuration against its stages and one another.
pub(super) fn all(stages: &[String], jobs: &[JobSpec]) -> Result<(), CiError> {
    if jobs.is_empty() {
        return Err(CiError::at(
            "jobs config",
            "should contain at least one visible job",
        ));
    }
    let jobs = Jobs { stages, jobs };
    for job in jobs.jobs {
        jobs.stage(job)?;
        jobs.dependencies(job)?;
        jobs.needs(job)?;
    }
    match jobs.jobs.iter().find(|job| jobs.needs_itself(job)) {
        Some(job) => Err(of(job, "The pipeline has circular dependencies")),
        None => Ok(()),
    }
}

/// An error if a job needs another that is not in the pipeline.
pub(crate) fn missing_needs(jobs: &[JobSpec]) -> Result<(), CiError> {
    for job in jobs {
        let needs = job.needs.iter().flatten();
        for need in needs.filter(|need| !need.optional) {
            if !jobs.iter().any(|other| other.name == need.job) {
                let (name, need) = (&job.name, &need.job);
                let problem = format!(
                    "job needs '{need}' job, but '{need}' does not exist in the pipeline. This \
                     might be because of the only, except, or rules keywords. To need a job that \
                     sometimes does not exist in the pipeline, use needs:optional."
                );
                return Err(CiError::at(format!("'{name}'"), problem));
            }
        }
    }
    Ok(())
}

fn of(job: &JobSpec, problem: impl Into<String>) -> CiError {
    CiError::at(format!("{} job:", job.name), problem)
}

struct Jobs<'a> {
    stages: &'a [String],
    jobs: &'a [JobSpec],
}

impl<'a> Jobs<'a> {
    fn named(&self, name: &str) -> Option<&'a JobSpec> {
        self.jobs.iter().find(|job| job.name == name)
    }

    fn stage_index(&self, job: &JobSpec) -> Option<usize> {
        self.stages.iter().position(|stage| *stage == job.stage)
    }

    fn stage(&self, job: &JobSpec) -> Result<(), CiError> {
        if self.stage_index(job).is_some() {
            return Ok(());
        }
        let (chosen, available) = (&job.stage, self.stages.join(", "));
        let problem =
            format!("chosen stage {chosen} does not exist; available stages are {available}");
        Err(of(job, problem))
    }

    fn dependencies(&self, job: &JobSpec) -> Result<(), CiError> {
        for name in job.dependencies.iter().flatten() {
            self.comes_before(job, name, "dependency")?;
        }
        Ok(())
    }

    fn needs(&self, job: &JobSpec) -> Result<(), CiError> {
        let needs = job.needs.as_deref().unwrap_or_default();
        if needs.len() > MAX_NEEDS {
            let listed = needs.len();
            let problem = format!(
                "one job can only need {MAX_NEEDS} others, but you have listed {listed}. See needs \
                 keyword documentation for more details"
            );
            return Err(CiError::at(format!("{}:", job.name), problem));
        }
        for (at, need) in needs.iter().enumerate() {
            if needs[..at].iter().any(|earlier| earlier.job == need.job) {
                let problem = format!("has the following needs duplicated: {}.", need.job);
                return Err(CiError::at(&job.name, problem));
            }
            if !(need.optional && self.named(&need.job).is_none()) {
                self.comes_before(job, &need.job, "need")?;
            }
        }
        Ok(())
    }

    fn comes_before(&self, job: &JobSpec, name: &str, what: &str) -> Result<(), CiError> {
        let Some(other) = self.named(name) else {
            return Err(of(job, format!("undefined {what}: {name}")));
        };
        if self.stage_index(other) > self.stage_index(job) {
            let problem = format!("{what} {name} is not defined in current or prior stages");
            return Err(of(job, problem));
        }
        Ok(())
    }

    /// Whether a job needs itself, directly or through others.
    fn needs_itself(&self, job: &JobSpec) -> bool {
        let mut seen: Vec<&str> = Vec::new();
        let mut open = vec![job];
        while let Some(next) = open.pop() {
            let needs = next.needs.iter().flatten();
            for need in needs.filter_map(|need| self.named(&need.job)) {
                if need.name == job.name {
                    return true;
                }
                if !seen.contains(&need.name.as_str()) {
                    seen.push(&need.name);
                    open.push(need);
                }
            }
        }
        false
    }
}
