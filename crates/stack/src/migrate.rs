//! A `config.toml` of GitLab Runner as an `onspot.toml` with the same runners. A comment stands at
//! every key that changed its meaning, and one at the end for those that have no place.

use onspot_reconcile::Tags;
use onspot_runnerconf::{Config, ConfigError, ConfigErrorKind, Ec2Options, Machine, Runner};
use onspot_settings::TokenRef;

use crate::names::slug;
use crate::spec::{Spec, SpecError};

mod leftovers;
mod page;
mod runner;
mod workers;

use page::Page;

/// An `onspot.toml` from a `config.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// The text of the file.
    pub text: String,
    /// The names of the runners in it.
    pub runners: Vec<String>,
    /// The environment variables that it needs for tokens that stood in the file.
    pub variables: Vec<String>,
    /// How many comments say what changed.
    pub changes: usize,
}

/// Why a `config.toml` can't become an `onspot.toml`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MigrateError {
    /// It can't be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// None of its runners has an executor that onspot has.
    #[error("no runner in {file} has an executor that onspot has")]
    NoRunner {
        /// The file.
        file: String,
    },
    /// What it says makes no sense for a stack.
    #[error("what it says makes no stack")]
    Spec(#[from] SpecError),
}

/// Writes the `onspot.toml` for a `config.toml`. `file` is the name that errors call it by.
///
/// # Errors
/// If the file can't be read, or nothing in it can be a stack's.
pub fn migrate(text: &str, file: &str) -> Result<Migration, MigrateError> {
    let report = onspot_runnerconf::check(text, file);
    // A key that onspot refuses has no place, and is listed with those.
    let is_wrong = |error: &ConfigError| !matches!(error.kind(), ConfigErrorKind::Refused { .. });
    if let Some(error) = report.errors.into_iter().find(is_wrong) {
        return Err(error.into());
    }
    let config = report.config.unwrap_or_default();
    let all = config.runners.iter().zip(&report.runners);
    let (kept, left): (Vec<_>, Vec<_>) =
        all.partition(|(runner, _)| runner.executor.is_supported());
    if kept.is_empty() {
        let file = file.to_owned();
        return Err(MigrateError::NoRunner { file });
    }
    let mut page = Page::default();
    put_head(&mut page, file, &config);
    let mut names = Names::default();
    for (runner, _) in &kept {
        let name = names.take(runner.name());
        let token = names.token(runner, &name, kept.len());
        runner::put(&mut page, &config, runner, &name, &token);
    }
    for (runner, _) in left {
        page.gap();
        page.changed(&format!(
            "runner {:?} is left out: onspot has no executor `{}`.",
            runner.name(),
            runner.executor
        ));
    }
    let reported: Vec<_> = kept.into_iter().map(|(_, reported)| reported).collect();
    leftovers::put(&mut page, &report.keys, &reported);
    let Page { text, changes } = page;
    Spec::parse(&text, "onspot.toml")?;
    Ok(Migration {
        text,
        runners: names.taken,
        variables: names.variables,
        changes,
    })
}

fn put_head(page: &mut Page, file: &str, config: &Config) {
    page.comment(&format!(
        "Written by `onspot migrate` from {file}. Comments that begin with \"Changed\" stand at what \
         means something else than there."
    ));
    page.gap();
    let options: Vec<Ec2Options> = config.runners.iter().filter_map(options).collect();
    let mut regions: Vec<&String> = options
        .iter()
        .filter_map(|one| one.region.as_ref())
        .collect();
    regions.dedup();
    if regions.len() > 1 {
        page.changed("a stack is in one region; the runners were in several.");
    }
    if let Some(region) = regions.first() {
        page.set("region", region.as_str());
    }
    page.set("concurrent", i64::from(config.concurrent));
    put_tags(page, &options);
    if let Some(address) = config.listen_address {
        page.gap();
        page.line("[manager]");
        page.changed("metrics are the manager's, and have other names.");
        page.set("listen_address", address.to_string());
    }
}

/// The tags of all instances become those of the stack.
fn put_tags(page: &mut Page, options: &[Ec2Options]) {
    let tags: Tags = options
        .iter()
        .flat_map(|one| one.tags.iter().cloned())
        .collect();
    if tags.is_empty() {
        return;
    }
    page.gap();
    page.changed("`amazonec2-tags` were on workers only; these are on all that the stack has.");
    match tags.check_of_owner() {
        Ok(()) => {
            page.line("[tags]");
            for (key, value) in tags.iter() {
                page.set(&page::quoted(key), value);
            }
        }
        Err(error) => page.comment(&format!("They can't be a stack's: {error}.")),
    }
}

/// The options of docker-machine, where it made instances of EC2.
fn options(runner: &Runner) -> Option<Ec2Options> {
    let machine = runner.machine.as_ref()?;
    let is_ec2 = machine.machine_driver == Machine::EC2_DRIVER;
    is_ec2.then(|| machine.ec2_options().ok()).flatten()
}

/// The names that runners have in the stack, and the variables for their tokens.
#[derive(Debug, Default)]
struct Names {
    taken: Vec<String>,
    variables: Vec<String>,
}

impl Names {
    /// The most characters of a runner's name in a stack.
    const MOST: usize = 60;

    /// The runner's name, changed where a stack can't have it.
    fn take(&mut self, name: &str) -> String {
        let allowed = |c: char| c.is_alphanumeric() || " _.:/=+-@".contains(c);
        let clean = |c: char| if allowed(c) { c } else { '-' };
        let name: String = name.chars().map(clean).take(Self::MOST).collect();
        let name = match name.trim() {
            "" => "runner",
            name => name,
        };
        let is_free = |name: &str| {
            slug(name) != "manager" && self.taken.iter().all(|taken| slug(taken) != slug(name))
        };
        let mut free = name.to_owned();
        let mut number = 2;
        while !is_free(&free) {
            free = format!("{name}-{number}");
            number += 1;
        }
        self.taken.push(free.clone());
        free
    }

    /// Where the token is. One that stands in the file goes into a variable.
    fn token(&mut self, runner: &Runner, name: &str, runners: usize) -> TokenRef {
        if !runner.token.is_plain() {
            return runner.token.clone();
        }
        let variable = match runners {
            1 => "RUNNER_TOKEN".to_owned(),
            _ => format!(
                "RUNNER_TOKEN_{}",
                slug(name).replace('-', "_").to_uppercase()
            ),
        };
        self.variables.push(variable.clone());
        TokenRef::Env(variable)
    }
}

#[cfg(test)]
mod tests;
