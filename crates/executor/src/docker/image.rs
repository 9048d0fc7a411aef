//! Images: there already, or pulled.

use bollard::models::ImageInspect;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures::StreamExt;
use onspot_gitlab::TraceWriter;

use super::Inner;
use super::auth::Logins;
use crate::error::ExecutorError;
use crate::plan::image::ImagePlan;
use crate::settings::PullPolicy;

impl Inner {
    /// Makes sure that an image is there, by the first policy that gives it.
    pub(super) async fn ensure_image(
        &self,
        plan: &ImagePlan,
        logins: &Logins,
        trace: &TraceWriter,
    ) -> Result<ImageInspect, ExecutorError> {
        let mut tried = Vec::new();
        for (index, &policy) in plan.pull.iter().enumerate() {
            let result = match policy {
                PullPolicy::Always => self.pull(plan, logins, trace).await,
                PullPolicy::IfNotPresent => match self.local(plan).await {
                    Ok(image) => Ok(image),
                    Err(_) => self.pull(plan, logins, trace).await,
                },
                PullPolicy::Never => self.local(plan).await,
            };
            match result {
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
        Err(ExecutorError::Image {
            image: plan.name.clone(),
            tried: tried.join("; "),
        })
    }

    async fn local(&self, plan: &ImagePlan) -> Result<ImageInspect, String> {
        self.docker
            .inspect_image(&plan.name)
            .await
            .map_err(|_| "not on this host".to_owned())
    }

    async fn pull(
        &self,
        plan: &ImagePlan,
        logins: &Logins,
        trace: &TraceWriter,
    ) -> Result<ImageInspect, String> {
        let login = logins.for_image(&plan.name);
        if let Some((_, source)) = &login {
            trace.info(&format!(
                "Authenticating to the registry with a login from {source}"
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
        let credentials = login.map(|(credentials, _)| credentials);
        let mut pull = self
            .docker
            .create_image(Some(options.build()), None, credentials);
        while let Some(step) = pull.next().await {
            step.map_err(|error| match error {
                bollard::errors::Error::DockerResponseServerError { message, .. } => message,
                bollard::errors::Error::DockerStreamError { error } => error,
                other => other.to_string(),
            })?;
        }
        self.local(plan).await
    }
}

fn describe(plan: &ImagePlan, image: &ImageInspect, trace: &TraceWriter) {
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

/// An image's name and tag. Without a tag the engine would pull all of them; with a digest there
/// is nothing to add.
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
    fn a_tag_is_always_named() {
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
