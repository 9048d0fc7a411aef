//! The images of a job, and whether they are allowed.

use globset::GlobBuilder;
use onspot_gitlab::job::{Image, JobPayload};
use onspot_gitlab::{Variable, Variables};
use onspot_settings::{ContainerService, Docker, PullPolicy};

use crate::error::Error;

/// A container to start.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ImagePlan {
    /// The image's name, expanded.
    pub(crate) name: String,
    /// Replaces the image's entrypoint, if it is not empty.
    pub(crate) entrypoint: Vec<String>,
    /// A service's command.
    pub(crate) command: Vec<String>,
    /// The host names of a service.
    pub(crate) aliases: Vec<String>,
    /// A service's own variables, which override the job's.
    pub(crate) variables: Vec<(String, String)>,
    /// Policies to try in this order.
    pub(crate) pull: Vec<PullPolicy>,
    /// The platform, if it is not the host's.
    pub(crate) platform: String,
    /// The user, if it is not the image's.
    pub(crate) user: String,
    /// Whether it is privileged.
    pub(crate) privileged: bool,
    /// Warnings for the job's author.
    pub(crate) warnings: Vec<String>,
}

/// The image of the job itself.
pub(crate) fn of_job(
    job: &JobPayload,
    settings: &Docker,
    variables: &Variables,
) -> Result<ImagePlan, Error> {
    let own = settings.image.as_deref().map(|name| variables.expand(name));
    let given = job.image.clone().or_else(|| {
        own.as_ref().map(|name| Image {
            name: name.clone(),
            ..Image::default()
        })
    });
    let Some(image) = given else {
        return Err(Error::NotAllowed(
            "the job names no image and the runner has no default one".into(),
        ));
    };
    let name = variables.expand(&image.name);
    // The runner's own image is always allowed, even if a job names it.
    if own.as_ref() != Some(&name) {
        check_allowed(&name, "image", &settings.allowed_images)?;
    }
    let mut plan = plan(&image, name, settings, variables)?;
    plan.user = user(plan.user, settings)?;
    plan.privileged =
        settings.privileged && matches_any(&settings.allowed_privileged_images, &plan.name);
    Ok(plan)
}

/// The images of its services, and warnings for the job's author. The services that the runner
/// starts for every job come first. As in GitLab Runner, the first service with a host name gets
/// it, and a service without any name left is not started.
pub(crate) fn of_services(
    job: &JobPayload,
    settings: &Docker,
    variables: &Variables,
) -> Result<(Vec<ImagePlan>, Vec<String>), Error> {
    let of_runner: Vec<Image> = settings.services.iter().map(service_of_runner).collect();
    let own: Vec<String> = of_runner
        .iter()
        .map(|service| variables.expand(&service.name))
        .collect();
    let of_job = job
        .services
        .iter()
        .filter(|service| !service.name.is_empty());
    let all: Vec<(&Image, bool)> = of_runner
        .iter()
        .map(|service| (service, true))
        .chain(of_job.map(|service| (service, false)))
        .collect();
    let exceeded = |limit: &u32| usize::try_from(*limit).is_ok_and(|limit| all.len() > limit);
    if let Some(limit) = settings.services_limit.filter(exceeded) {
        return Err(Error::NotAllowed(format!(
            "the job has {} services, this runner allows {limit}",
            all.len()
        )));
    }
    let privileged = settings.services_privileged.unwrap_or(settings.privileged);
    let mut plans: Vec<ImagePlan> = Vec::new();
    let mut warnings = Vec::new();
    for (service, of_runner) in all {
        let name = variables.expand(&service.name);
        if !of_runner && !own.contains(&name) {
            check_allowed(&name, "service", &settings.allowed_services)?;
        }
        let mut plan = plan(service, name, settings, variables)?;
        plan.privileged =
            privileged && matches_any(&settings.allowed_privileged_services, &plan.name);
        warnings.append(&mut plan.warnings);
        warnings.extend(give_way(&mut plan, &plans));
        if !plan.aliases.is_empty() {
            plans.push(plan);
        }
    }
    Ok((plans, warnings))
}

/// Removes host names that an earlier service has, with a warning.
fn give_way(plan: &mut ImagePlan, earlier: &[ImagePlan]) -> Vec<String> {
    let mut warnings = Vec::new();
    let name = &plan.name;
    plan.aliases.retain(|alias| {
        let taken = earlier.iter().find(|other| other.aliases.contains(alias));
        if let Some(other) = taken {
            warnings.push(format!(
                "service {name} is not reached as {alias:?}: service {} has that name",
                other.name
            ));
        }
        taken.is_none()
    });
    if plan.aliases.is_empty() {
        warnings.push(format!(
            "service {name} is not started: no name is left for it; give it an alias of its own"
        ));
    }
    warnings
}

fn service_of_runner(service: &ContainerService) -> Image {
    let variables = service.environment.iter().filter_map(|line| {
        let (key, value) = line.split_once('=')?;
        Some(Variable::public(key.trim(), value))
    });
    Image {
        name: service.name.clone(),
        alias: service.alias.clone(),
        entrypoint: service.entrypoint.clone(),
        command: service.command.clone(),
        variables: variables
            .map(|variable| Variable {
                raw: false,
                ..variable
            })
            .collect(),
        ..Image::default()
    }
}

fn plan(
    image: &Image,
    name: String,
    settings: &Docker,
    variables: &Variables,
) -> Result<ImagePlan, Error> {
    let mut warnings = Vec::new();
    let mut entrypoint = image.entrypoint.clone();
    if settings.disable_entrypoint_overwrite && !entrypoint.is_empty() {
        entrypoint.clear();
        warnings.push(format!(
            "this runner does not let jobs replace an image's entrypoint: {name} keeps its own"
        ));
    }
    let mut aliases = default_aliases(&name);
    for alias in image.aliases() {
        let alias = variables.expand(alias);
        if !aliases.contains(&alias) {
            aliases.push(alias);
        }
    }
    Ok(ImagePlan {
        pull: policies(image, settings)?,
        entrypoint,
        command: image.command.clone(),
        variables: image
            .variables
            .iter()
            .map(|v| {
                let value = if v.raw {
                    v.value.clone()
                } else {
                    variables.expand(&v.value)
                };
                (v.key.clone(), value)
            })
            .collect(),
        platform: variables.expand(&image.executor_opts.docker.platform),
        user: variables.expand(&image.executor_opts.docker.user),
        privileged: false,
        warnings,
        aliases,
        name,
    })
}

/// The user of a job's container: the runner's has precedence over the job's, which must be allowed
/// by the runner. The image's own user is always allowed.
fn user(wanted: String, settings: &Docker) -> Result<String, Error> {
    let own = settings.user.as_deref().filter(|user| !user.is_empty());
    let user = own.map_or(wanted, str::to_owned);
    let allowed: Vec<&str> = if settings.allowed_users.is_empty() {
        own.into_iter().collect()
    } else {
        settings.allowed_users.iter().map(String::as_str).collect()
    };
    if user.is_empty() || allowed.is_empty() || allowed.contains(&user.as_str()) {
        return Ok(user);
    }
    Err(Error::NotAllowed(format!(
        "the user {user:?} is not among those this runner allows: {}",
        allowed.join(", ")
    )))
}

/// The patterns come from the runner's owner only and contain no variables of the job.
fn check_allowed(name: &str, what: &str, allowed: &[String]) -> Result<(), Error> {
    if matches_any(allowed, name) {
        return Ok(());
    }
    Err(Error::NotAllowed(format!(
        "the {what} {name:?} is not among those this runner allows: {}",
        allowed.join(", ")
    )))
}

/// Whether a list of patterns allows an image; an empty one allows all.
fn matches_any(patterns: &[String], image: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| matches(pattern, image))
}

/// Whether a pattern (`registry.example.com/team/**`) matches this image. An invalid one matches
/// none.
pub(crate) fn matches(pattern: &str, image: &str) -> bool {
    GlobBuilder::new(pattern)
        .literal_separator(true)
        .build()
        .is_ok_and(|glob| glob.compile_matcher().is_match(image))
}

/// The job's own policies if the runner allows them, otherwise the runner's.
fn policies(image: &Image, settings: &Docker) -> Result<Vec<PullPolicy>, Error> {
    if image.pull_policy.is_empty() {
        return Ok(settings.pull_policies().to_vec());
    }
    let allowed = if settings.allowed_pull_policies.is_empty() {
        settings.pull_policies()
    } else {
        &settings.allowed_pull_policies
    };
    let known: Vec<PullPolicy> = image
        .pull_policy
        .iter()
        .filter_map(|text| PullPolicy::parse(text))
        .collect();
    let wanted: Vec<PullPolicy> = known
        .into_iter()
        .filter(|policy| allowed.contains(policy))
        .collect();
    if wanted.is_empty() {
        let allowed: Vec<&str> = allowed.iter().map(|policy| policy.as_str()).collect();
        return Err(Error::Unsupported(format!(
            "the job wants the pull policy {}, this runner allows {}",
            image.pull_policy.join(", "),
            allowed.join(", ")
        )));
    }
    Ok(wanted)
}

/// The default host names of a service: `tutum/wordpress:latest` is reached as `tutum-wordpress`
/// and as `tutum__wordpress`.
fn default_aliases(image: &str) -> Vec<String> {
    let name = image.split('@').next().unwrap_or_default();
    // A colon after the last slash starts the tag, one before it a registry's port.
    let name = match name.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => path,
        _ => name,
    };
    let name = name.replace(':', "");
    let mut aliases = vec![name.replace('/', "-")];
    let older = name.replace('/', "__");
    if older != aliases[0] {
        aliases.push(older);
    }
    aliases
}

#[cfg(test)]
mod tests;
