//! Provides images: existing or pulled ones.

use std::time::Duration;

use bollard::errors::Error as DockerError;
use bollard::models::{CreateImageInfo, ImageInspect};
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures::{Stream, StreamExt};
use onspot_gitlab::TraceWriter;

use super::Inner;
use super::auth::Logins;
use crate::error::{Error, is_out_of_reach};
use crate::plan::architecture;
use crate::plan::image::{ImagePlan, matches};
use onspot_settings::PullPolicy;

/// How often a registry that can't be reached is asked, as often as GitLab Runner does.
const PULL_TRIES: u32 = 3;
/// How long is waited after the first try; longer after each.
const BETWEEN_PULLS: Duration = Duration::from_secs(2);

/// Who needs an image.
pub(super) struct Asker<'a> {
    /// The job's project; `None` for the runner itself.
    pub(super) project: Option<u64>,
    /// The logins that may be used.
    pub(super) logins: &'a Logins,
}

impl Inner {
    /// Makes sure that an image exists, by the first policy that succeeds.
    pub(super) async fn ensure_image(
        &self,
        plan: &ImagePlan,
        asker: &Asker<'_>,
        trace: &TraceWriter,
    ) -> Result<ImageInspect, Error> {
        let mut tried = Vec::new();
        for (index, &policy) in plan.pull.iter().enumerate() {
            match self.by_policy(policy, plan, asker, trace).await {
                Ok(image) => {
                    describe(plan, &image, trace);
                    return Ok(image);
                }
                Err(error) => {
                    if index + 1 < plan.pull.len() {
                        trace.warning(&format!("{}: {error}; trying on", policy.as_str()));
                    }
                    tried.push(format!("{}: {error}", policy.as_str()));
                }
            }
        }
        Err(Error::Image {
            image: plan.name.clone(),
            tried: tried.join("; "),
        })
    }

    async fn by_policy(
        &self,
        policy: PullPolicy,
        plan: &ImagePlan,
        asker: &Asker<'_>,
        trace: &TraceWriter,
    ) -> Result<ImageInspect, String> {
        // The content of a digest can't have changed: asking for it again would only count as a
        // pull.
        let local = match policy {
            // The digest of an index does not identify the platform of the local image.
            PullPolicy::Always if !is_pinned(&plan.name) || !plan.platform.is_empty() => None,
            _ => self.local(plan).await.ok(),
        };
        match local {
            Some(image) if self.may_use(&image, plan, asker).await => Ok(image),
            Some(_) if policy == PullPolicy::Never => {
                Err("on this host, but it was pulled with a login of another project".to_owned())
            }
            None if policy == PullPolicy::Never => Err("not on this host".to_owned()),
            Some(_) => {
                trace.info(&format!(
                    "{} is on this host, pulled with a login of another project: asking the \
                     registry whether this job may have it",
                    plan.name
                ));
                self.pull(plan, asker, trace).await
            }
            None => self.pull(plan, asker, trace).await,
        }
    }

    async fn local(&self, plan: &ImagePlan) -> Result<ImageInspect, String> {
        self.docker
            .inspect_image(&plan.name)
            .await
            .map_err(|_| "not on this host".to_owned())
    }

    async fn may_use(&self, image: &ImageInspect, plan: &ImagePlan, asker: &Asker<'_>) -> bool {
        let shared = &self.settings.docker.shared_images;
        let id = image.id.as_deref().unwrap_or_default();
        if shared.iter().any(|pattern| matches(pattern, &plan.name))
            || self.grants.allow(id, asker.project, None)
        {
            return true;
        }
        // Only now: a helper may have to be asked for it. What it fails by, the pull says.
        let login = Box::pin(asker.logins.for_image(&plan.name, |_| {})).await;
        login.is_some_and(|login| {
            let login = Some(&login.credentials);
            self.grants.allow(id, asker.project, login)
        })
    }

    async fn pull(
        &self,
        plan: &ImagePlan,
        asker: &Asker<'_>,
        trace: &TraceWriter,
    ) -> Result<ImageInspect, String> {
        let warn = |text: &str| trace.warning(text);
        let login = Box::pin(asker.logins.for_image(&plan.name, warn)).await;
        if let Some(login) = &login {
            trace.info(&format!(
                "Authenticating to the registry with a login from {}",
                login.source
            ));
        }
        trace.info(&format!("Pulling docker image {} ...", plan.name));
        let (name, tag) = split_tag(&plan.name);
        let mut options = CreateImageOptionsBuilder::default().from_image(name);
        if let Some(tag) = tag {
            options = options.tag(tag);
        }
        if !plan.platform.is_empty() {
            options = options.platform(&plan.platform);
        }
        let credentials = login.map(|login| login.credentials);
        let options = Some(options.build());
        let mut tries = 1;
        loop {
            let options = options.clone();
            let pull = self.docker.create_image(options, None, credentials.clone());
            match pulled(pull).await {
                Ok(()) => break,
                Err(error) if tries < PULL_TRIES && is_out_of_reach(&error) => {
                    let wait = BETWEEN_PULLS * tries;
                    trace.warning(&format!("{error}; trying again in {} s", wait.as_secs()));
                    tokio::time::sleep(wait).await;
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
        let image = self.local(plan).await?;
        let id = image.id.as_deref().unwrap_or_default();
        self.grants.pulled(id, asker.project, credentials.as_ref());
        Ok(image)
    }
}

/// The reference for creating a container: the exact image that was checked, even if its name has
/// moved meanwhile. An image of another platform is only found by its name.
pub(super) fn reference(plan: &ImagePlan, image: &ImageInspect) -> String {
    match &image.id {
        Some(id) if plan.platform.is_empty() => id.clone(),
        _ => plan.name.clone(),
    }
}

/// What to say of an image that this host's processor may not be able to run.
fn of_another_machine(plan: &ImagePlan, machine: Option<&str>) -> Option<String> {
    let own = architecture();
    let is_other = |machine: &&str| !machine.is_empty() && *machine != own;
    // Who names a platform knows.
    let other = machine
        .filter(is_other)
        .filter(|_| plan.platform.is_empty())?;
    Some(format!(
        "{} is for {other} and this host is {own}: unless it emulates the other, the image's \
         programs end with \"exec format error\"",
        plan.name
    ))
}

/// Reads what the engine says of a pull.
async fn pulled(
    mut pull: impl Stream<Item = Result<CreateImageInfo, DockerError>> + Unpin,
) -> Result<(), String> {
    while let Some(step) = pull.next().await {
        step.map_err(|error| match error {
            DockerError::DockerResponseServerError { message, .. } => message,
            DockerError::DockerStreamError { error } => error,
            other => other.to_string(),
        })?;
    }
    Ok(())
}

/// Whether an image is referenced by its digest.
fn is_pinned(image: &str) -> bool {
    image.contains("@sha256:") || image.starts_with("sha256:")
}

fn describe(plan: &ImagePlan, image: &ImageInspect, trace: &TraceWriter) {
    if let Some(warning) = of_another_machine(plan, image.architecture.as_deref()) {
        trace.warning(&warning);
    }
    let id = image.id.as_deref().unwrap_or("?");
    let digest = image
        .repo_digests
        .as_ref()
        .and_then(|digests| digests.first());
    let digest = digest.map_or_else(String::new, |digest| format!(" with digest {digest}"));
    trace.info(&format!(
        "Using docker image {id} for {}{digest}",
        plan.name
    ));
}

/// An image's name and tag. Without a tag the engine would pull all of them; with a digest none is
/// needed.
fn split_tag(image: &str) -> (&str, Option<&str>) {
    if image.contains('@') {
        return (image, None);
    }
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (image, Some("latest")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_for_another_processor_is_pointed_out() {
        let plan = ImagePlan {
            name: "tool:1".into(),
            ..ImagePlan::default()
        };
        let other = of_another_machine(&plan, Some("s390x")).unwrap();
        assert!(
            other.starts_with("tool:1 is for s390x and this host is "),
            "{other}"
        );
        for own in [None, Some(""), Some(architecture())] {
            assert_eq!(of_another_machine(&plan, own), None);
        }
    }

    #[test]
    fn there_is_always_a_tag() {
        for (image, expected) in [
            ("alpine", ("alpine", Some("latest"))),
            ("alpine:3.20", ("alpine", Some("3.20"))),
            ("host:5000/a/b", ("host:5000/a/b", Some("latest"))),
            ("host:5000/a/b:1", ("host:5000/a/b", Some("1"))),
            ("a@sha256:00", ("a@sha256:00", None)),
        ] {
            assert_eq!(split_tag(image), expected);
        }
    }
}
