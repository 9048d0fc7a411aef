//! The plan of a job, computed before it runs: folders, variables, scripts, requests to the helper.
//! Pure: the same payload and settings give the same plan.

mod choices;
mod flags;
mod folder;
pub(crate) mod image;
pub(crate) mod script;
mod sources;
mod storage;
mod variables;
pub(crate) mod volumes;

use std::time::Duration;

use onspot_gitlab::job::{JobPayload, Step};
use onspot_gitlab::{Variable, Variables};
use onspot_notation::{Malformed, duration};

use self::choices::Choices;
use self::script::Manner;
pub(crate) use self::storage::{CachePlan, UploadPlan};
pub(crate) use self::variables::architecture;
use crate::error::Error;
use crate::helper::request::{DownloadArtifacts, Place, Sources};
use crate::settings::RunnerSettings;

/// Whether each job gets a network of its own.
const NETWORK_PER_BUILD: &str = "FF_NETWORK_PER_BUILD";
/// The name of that network.
const NETWORK_NAME: &str = "CI_BUILD_NETWORK_NAME";

/// The surroundings of a job.
#[derive(Debug, Clone)]
pub(crate) struct Site<'a> {
    /// `docker` or `shell`.
    pub(crate) executor: &'static str,
    /// The folder of all builds: `/builds`.
    pub(crate) builds_dir: &'a str,
    /// The slot, counted from 0.
    pub(crate) slot: usize,
    /// The public beginning of the runner's token, if the settings do not have it.
    pub(crate) short_token: &'a str,
    /// Whether jobs may run as other users than the helper.
    pub(crate) world_writable: bool,
}

/// A script of a job.
#[derive(Debug)]
pub(crate) struct StepPlan {
    /// Its section in the trace: `step_script`, `step_release`.
    pub(crate) section: String,
    /// Its lines for a shell's standard input.
    pub(crate) script: String,
}

/// The plan of a job.
#[derive(Debug)]
pub(crate) struct JobPlan {
    /// All variables with their final values.
    pub(crate) variables: Variables,
    /// The location of its files, for the helper.
    pub(crate) place: Place,
    /// The repository.
    pub(crate) sources: Sources,
    /// The caches, in the job's order.
    pub(crate) caches: Vec<CachePlan>,
    /// Artifacts of earlier jobs.
    pub(crate) downloads: DownloadArtifacts,
    /// How often restoring a cache is tried.
    pub(crate) restore_attempts: u32,
    /// How many seconds one transfer of a cache may take, if there is a limit.
    pub(crate) transfer_seconds: Option<u64>,
    /// The job's scripts except `after_script`, in order.
    pub(crate) steps: Vec<StepPlan>,
    /// What to upload.
    pub(crate) uploads: Vec<UploadPlan>,
    /// Warnings for the job's author.
    pub(crate) warnings: Vec<String>,
    /// Whether the owner of the job's files is changed to its image's user before the script.
    pub(crate) gives_away: bool,
    /// The runner's limit for preparing the job's containers.
    pub(crate) prepare_timeout: Option<Duration>,
    /// The runner's limit for getting the sources.
    pub(crate) get_sources_timeout: Option<Duration>,
    after_script: Vec<String>,
    manner: Manner,
}

impl JobPlan {
    /// Plans a job.
    pub(crate) fn new(
        job: &JobPayload,
        settings: &RunnerSettings,
        site: &Site<'_>,
    ) -> Result<Self, Error> {
        refuse_demands(job)?;
        refuse_shell(settings)?;
        let (project, mut variables) = found(job, settings, site)?;
        let mut warnings = variables::not_boolean(&variables);
        warnings.extend(variables::without_debugging(&mut variables, settings));
        warnings.extend(flags::settle(&mut variables, &settings.runner));
        if variables.flag(NETWORK_PER_BUILD) {
            let name = variables::network_name(job, settings, site);
            variables.set(Variable::public(NETWORK_NAME, name));
        }
        let manner = Manner {
            sections: variables.flag("FF_SCRIPT_SECTIONS") && job.features.trace_sections,
            checks: variables.flag("FF_ENABLE_BASH_EXIT_CODE_CHECK"),
        };
        let (caches, odd) = storage::caches(job, &variables);
        warnings.extend(odd);
        // As in GitLab Runner: either everybody may write to the helper's files, or their owner is
        // changed to the image's user.
        let gives_away =
            site.world_writable && variables.flag("FF_DISABLE_UMASK_FOR_DOCKER_EXECUTOR");
        let place = Place {
            builds: site.builds_dir.into(),
            project,
            world_writable: site.world_writable && !gives_away,
        };
        let mut choices = Choices::new(&variables);
        let sources = sources::plan(job, settings, &mut choices, &variables, &place)?;
        warnings.extend(choices.into_warnings());
        Ok(Self {
            sources,
            prepare_timeout: settings.runner.prepare_timeout,
            get_sources_timeout: settings.runner.get_sources_timeout,
            caches,
            transfer_seconds: storage::transfer_seconds(&variables),
            downloads: storage::downloads(job, settings, &variables),
            uploads: storage::uploads(job, settings, &variables, site.executor),
            restore_attempts: sources::attempts(&variables, "RESTORE_CACHE_ATTEMPTS"),
            steps: steps(job, settings, &variables, &place, manner),
            after_script: job
                .step(Step::AFTER_SCRIPT)
                .map(|step| step.script.clone())
                .unwrap_or_default(),
            warnings,
            variables,
            place,
            gives_away,
            manner,
        })
    }

    /// `after_script` for a shell's standard input, if the job has one. `status` is the value of
    /// `CI_JOB_STATUS`: `success`, `failed` or `canceled`.
    pub(crate) fn after_script(&self, status: &str) -> Option<String> {
        if self.after_script.is_empty() {
            return None;
        }
        let mut variables = self.variables.clone();
        variables.set(Variable::public("CI_JOB_STATUS", status));
        let part = ("after_script_step", self.after_script.as_slice());
        let notice = Some("Running after script...");
        let script = script::shell(&variables, &self.place, self.manner, notice, &[part]);
        Some(script)
    }

    /// The proxy variables, which transfers of the helper use like scripts do.
    pub(crate) fn proxies(&self) -> Vec<(String, String)> {
        let variables = self.variables.iter();
        variables
            .filter(|variable| variables::is_proxy(&variable.key))
            .map(|variable| (variable.key.clone(), variable.value.clone()))
            .collect()
    }

    /// Whether failures of `after_script` are ignored, which is the default.
    pub(crate) fn ignores_after_script(&self) -> bool {
        self.variables
            .get("AFTER_SCRIPT_IGNORE_ERRORS")
            .is_none_or(|value| !is_no(value))
    }

    /// The name of the network that the job gets even without services, if it asks for one.
    pub(crate) fn network(&self) -> Option<&str> {
        let asked = self.variables.flag(NETWORK_PER_BUILD);
        self.variables.get(NETWORK_NAME).filter(|_| asked)
    }

    /// A limit set by a variable such as `RUNNER_SCRIPT_TIMEOUT` (`1h30m`), if it is set; zero
    /// means none.
    pub(crate) fn limit(&self, variable: &str) -> Result<Option<Duration>, Malformed> {
        match self.variables.get(variable).map(str::trim) {
            None | Some("") => Ok(None),
            Some(text) => Ok(Some(duration::parse(text)?).filter(|limit| !limit.is_zero())),
        }
    }
}

/// The project's folder, and all variables: those that choose the folder come before those that
/// name it.
fn found(
    job: &JobPayload,
    settings: &RunnerSettings,
    site: &Site<'_>,
) -> Result<(String, Variables), Error> {
    let usual = variables::project_path(job)?;
    let variables = variables::all(job, settings, site, &usual);
    // Its warnings come again when the sources are planned.
    let mut choices = Choices::new(&variables);
    let strategy = sources::strategy(job, &mut choices);
    let project = folder::of_project(&usual, settings, site, &choices, strategy)?;
    if project == usual {
        return Ok((project, variables));
    }
    let variables = variables::all(job, settings, site, &project);
    Ok((project, variables))
}

/// Refuses a job that asks for something unsupported: without it, the job would do something else
/// than its author expects.
fn refuse_demands(job: &JobPayload) -> Result<(), Error> {
    let demands = [
        (
            "run",
            &job.run,
            "steps of GitLab's step runner; write a `script` instead",
        ),
        (
            "secrets",
            &job.secrets,
            "fetching from a vault; use masked variables, or fetch them in the script",
        ),
        (
            "inputs",
            &job.inputs,
            "inputs of a single job; use variables instead",
        ),
    ];
    match demands.iter().find(|(_, demand, _)| demand.is_made()) {
        Some((key, _, advice)) => Err(Error::Unsupported(format!(
            "the job has `{key}`, and this runner does not know {advice}"
        ))),
        None => Ok(()),
    }
}

/// Refuses a runner whose scripts are not for a POSIX shell.
fn refuse_shell(settings: &RunnerSettings) -> Result<(), Error> {
    match settings.runner.shell.as_deref() {
        Some(shell @ ("pwsh" | "powershell" | "cmd")) => Err(Error::Unsupported(format!(
            "the runner has shell = {shell:?}, and onspot runs scripts only by bash or sh"
        ))),
        _ => Ok(()),
    }
}

/// The job's scripts except `after_script`, each for a separate shell. A job without any gets an
/// empty one, so that the runner's own lines still run.
fn steps(
    job: &JobPayload,
    settings: &RunnerSettings,
    variables: &Variables,
    place: &Place,
    manner: Manner,
) -> Vec<StepPlan> {
    let list = |script: &Option<String>| script.iter().cloned().collect::<Vec<_>>();
    let before = list(&settings.runner.pre_build_script);
    let after = list(&settings.runner.post_build_script);
    let plan = |name: &str, script: &[String]| {
        let parts = [
            ("pre_build_script", before.as_slice()),
            ("script_step", script),
            ("post_build_script", after.as_slice()),
        ];
        StepPlan {
            section: format!("step_{}", name.to_lowercase()),
            script: script::shell(variables, place, manner, None, &parts),
        }
    };
    let steps: Vec<StepPlan> = job
        .steps
        .iter()
        .filter(|step| step.name != Step::AFTER_SCRIPT)
        .map(|step| plan(&step.name, &lines_of(step, variables)))
        .collect();
    if steps.is_empty() {
        return vec![plan(Step::SCRIPT, &[])];
    }
    steps
}

/// A step's lines. GitLab writes those of `release:` with references that no shell expands.
fn lines_of(step: &Step, variables: &Variables) -> Vec<String> {
    let lines = step.script.iter();
    if step.name == "release" {
        return lines.map(|line| variables.expand(line)).collect();
    }
    lines.cloned().collect()
}

/// Whether a variable is false, by GitLab Runner's rules.
fn is_no(value: &str) -> bool {
    matches!(
        value.trim().to_ascii_lowercase().as_str(),
        "false" | "f" | "0"
    )
}

#[cfg(test)]
mod tests;
