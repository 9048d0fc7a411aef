//! Which images a job runs in, and whether it may.

use globset::GlobBuilder;
use onspot_gitlab::Variables;
use onspot_gitlab::job::{Image, JobPayload};

use crate::error::ExecutorError;
use crate::settings::{DockerSettings, PullPolicy};

/// One container to start.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ImagePlan {
    /// The image's name, expanded.
    pub(crate) name: String,
    /// Replaces the image's entrypoint, if it is not empty.
    pub(crate) entrypoint: Vec<String>,
    /// A service's command.
    pub(crate) command: Vec<String>,
    /// The host names a service is reached by.
    pub(crate) aliases: Vec<String>,
    /// A service's own variables, over the job's.
    pub(crate) variables: Vec<(String, String)>,
    /// Policies to try in this order.
    pub(crate) pull: Vec<PullPolicy>,
    /// The platform, if it is not the host's.
    pub(crate) platform: String,
    /// The user, if it is not the image's.
    pub(crate) user: String,
}

/// The image of the job itself.
pub(crate) fn of_job(
    job: &JobPayload,
    settings: &DockerSettings,
    variables: &Variables,
) -> Result<ImagePlan, ExecutorError> {
    let given = job.image.clone().or_else(|| {
        settings.image.as_ref().map(|name| Image {
            name: name.clone(),
            ..Image::default()
        })
    });
    let Some(image) = given else {
        return Err(ExecutorError::NotAllowed(
            "the job names no image and the runner has no default one".into(),
        ));
    };
    // The runner's own default is allowed whatever the list says.
    let allowed = if job.image.is_none() {
        &[][..]
    } else {
        &settings.allowed_images
    };
    plan(&image, allowed, settings, variables)
}

/// The images of its services.
pub(crate) fn of_services(
    job: &JobPayload,
    settings: &DockerSettings,
    variables: &Variables,
) -> Result<Vec<ImagePlan>, ExecutorError> {
    job.services
        .iter()
        .filter(|service| !service.name.is_empty())
        .map(|service| plan(service, &settings.allowed_services, settings, variables))
        .collect()
}

fn plan(
    image: &Image,
    allowed: &[String],
    settings: &DockerSettings,
    variables: &Variables,
) -> Result<ImagePlan, ExecutorError> {
    let name = variables.expand(&image.name);
    check_allowed(&name, allowed, variables)?;
    let mut aliases = default_aliases(&name);
    for alias in image.aliases() {
        let alias = variables.expand(alias);
        if !aliases.contains(&alias) {
            aliases.push(alias);
        }
    }
    Ok(ImagePlan {
        pull: policies(image, settings)?,
        entrypoint: image.entrypoint.clone(),
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
        aliases,
        name,
    })
}

fn check_allowed(
    name: &str,
    allowed: &[String],
    variables: &Variables,
) -> Result<(), ExecutorError> {
    let matches = |pattern: &String| {
        let pattern = variables.expand(pattern);
        GlobBuilder::new(&pattern)
            .literal_separator(true)
            .build()
            .is_ok_and(|glob| glob.compile_matcher().is_match(name))
    };
    if allowed.is_empty() || allowed.iter().any(matches) {
        return Ok(());
    }
    Err(ExecutorError::NotAllowed(format!(
        "the image {name:?} is not among those this runner allows: {}",
        allowed.join(", ")
    )))
}

/// The job's own policies if the runner allows them, otherwise the runner's.
fn policies(image: &Image, settings: &DockerSettings) -> Result<Vec<PullPolicy>, ExecutorError> {
    if image.pull_policy.is_empty() {
        return Ok(settings.pull_policy.clone());
    }
    let allowed = if settings.allowed_pull_policies.is_empty() {
        &settings.pull_policy
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
        return Err(ExecutorError::NotAllowed(format!(
            "the job wants the pull policy {}, this runner allows {}",
            image.pull_policy.join(", "),
            allowed.join(", ")
        )));
    }
    Ok(wanted)
}

/// The host names of a service by its image: `tutum/wordpress:latest` is reached as
/// `tutum-wordpress` and as `tutum__wordpress`.
fn default_aliases(image: &str) -> Vec<String> {
    let name = image.split('@').next().unwrap_or_default();
    // A colon after the last slash begins the tag, one before it a registry's port.
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
mod tests {
    use super::*;

    #[test]
    fn services_are_reached_by_their_images_names() {
        for (image, expected) in [
            ("postgres", &["postgres"][..]),
            ("postgres:11.7", &["postgres"]),
            (
                "tutum/wordpress:latest",
                &["tutum-wordpress", "tutum__wordpress"],
            ),
            (
                "registry.example:5000/a/b@sha256:00",
                &["registry.example5000-a-b", "registry.example5000__a__b"],
            ),
        ] {
            assert_eq!(default_aliases(image), expected, "{image}");
        }
    }
}
